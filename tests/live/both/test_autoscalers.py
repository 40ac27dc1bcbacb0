"""HorizontalPodAutoscalers: when and how far they scale, what their status says, and what pods are said to use."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from segue.model.objects import Obj, condition_of, seconds_of
from segue.model.quantities import quantity
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.test_api_answers import ask
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "HPA-bounds": "Below minReplicas and above maxReplicas an autoscaler scales at once, by the target's scale, and "
    "asks no metric.",
    "HPA-target": "A target that is not there, of an unknown kind or without a scale is AbleToScale False, with why.",
    "HPA-zero": "A target with 0 replicas is left alone: ScalingActive False, ScalingDisabled.",
    "HPA-metrics": "Resource metrics scale up to what they ask for; maxReplicas shows as ScalingLimited.",
    "HPA-unknown": "Without metrics, or without a request where a share of it is wanted, nothing is scaled, and "
    "condition and events say so.",
    "HPA-stabilized": "Down it goes only after 300 s of lower recommendations, or after the window of its behavior.",
    "HPA-policies": "Policies bound how many pods come and go per period; selectPolicy Disabled shuts a direction.",
    "HPA-shared": "Pods that two autoscalers select are scaled by neither.",
    "HPA-shape": "What is left open gets Kubernetes' defaults, and what is off is refused by field.",
    "HPA-table": "kubectl get hpa shows what is found and wanted; describe tells conditions and events.",
    "Metrics": "metrics.k8s.io tells CPU and memory of each container over a window, and of the node; kubectl top "
    "shows it.",
}
NOT_COVERED = {
    "HPA-custom": "metrics of type Object and External: nothing here serves them",
}
DIFFERENCES = {
    "HPA-shape": "real: an empty list of policies is refused; embedded: it counts as left open",
}
HPAS = "horizontalpodautoscalers"
Measured = Callable[[str, float, str], None]
FIRST_METRICS_S = 90.0  # kubelet, metrics-server and autoscaler look every 10 to 15 s each


def scaler(name: str, metrics: list[Obj] | None = None, *, low: int = 1, high: int = 4, **spec: object) -> Obj:
    """An autoscaler of the Deployment of the same name."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    made: Obj = {"minReplicas": low, "maxReplicas": high, "scaleTargetRef": target, **spec}
    if metrics is not None:
        made["metrics"] = metrics
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    return {**kind, "metadata": {"name": name}, "spec": made}


def metric(resource: str, kind: str, amount: int | str) -> Obj:
    """A resource metric."""
    target = {"type": kind, ("averageUtilization" if kind == "Utilization" else "averageValue"): amount}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def deploy(place: Place, name: str, replicas: int, *, requests: Obj | None = None, **more: object) -> None:
    """A Deployment whose pods are Ready."""
    rollouts.ready(place, rollouts.deployment(name, replicas, resources={"requests": requests or {}}, **more))


def said(place: Place, name: str, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition of the autoscaler."""
    found = condition_of(place.get(HPAS, name), kind) or {}
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def wait_said(place: Place, name: str, kind: str, reason: str, limit_s: float = FIRST_METRICS_S) -> tuple[str, str]:
    """Wait for a condition's reason: its status and message."""

    def holds() -> bool:
        return said(place, name, kind)[1] == reason

    wait_until(holds, limit_s=limit_s, what=f"{name}: {reason}, not {place.get(HPAS, name).get('status')}")
    status, _, message = said(place, name, kind)
    return status, message


def wait_size(place: Place, name: str, size: int, limit_s: float = FIRST_METRICS_S) -> None:
    """Wait until the Deployment wants so many."""

    def sized() -> bool:
        return bool(place.get("deployments", name)["spec"]["replicas"] == size)

    wait_until(sized, limit_s=limit_s, what=f"{name} at {size}: {place.get(HPAS, name).get('status')}")


def told(place: Place, name: str) -> set[tuple[str, str, str]]:
    """What events say of the autoscaler."""
    events = place.all("events")
    return {
        (each["type"], each["reason"], each["message"])
        for each in events
        if each["involvedObject"]["name"] == name and each["involvedObject"]["kind"] == "HorizontalPodAutoscaler"
    }


@pytest.mark.states("HPA-bounds")
def test_bounds_hold_at_once_and_without_metrics(place: Place, measured: Measured) -> None:
    place.create(rollouts.deployment("low", 1), rollouts.deployment("high", 3))
    place.create(scaler("low", low=2), scaler("high", high=1))
    wait_size(place, "low", 2, limit_s=10)
    wait_size(place, "high", 1, limit_s=10)
    wait_until(lambda: "lastScaleTime" in place.get(HPAS, "low").get("status", {}), what="a status")
    status = place.get(HPAS, "low")["status"]
    first = {each["type"]: (each["status"], each["reason"], each["message"]) for each in status.pop("conditions")}
    scaled_s = seconds_of(status.pop("lastScaleTime"))
    measured(
        "from its creation to the scale",
        scaled_s - seconds_of(place.get(HPAS, "low")["metadata"]["creationTimestamp"]),
        "s",
    )
    managers = {
        (each["manager"], each.get("subresource"))
        for each in place.get("deployments", "low")["metadata"]["managedFields"]
    }

    assert status == {"currentReplicas": 1, "desiredReplicas": 2, "currentMetrics": None, "observedGeneration": 1}
    assert first == {
        "AbleToScale": ("True", "SucceededRescale", "the HPA controller was able to update the target scale to 2"),
        "ScaledToZero": ("False", "NotScaledToZero", "the HPA controller did not scale the workload to zero"),
    }
    assert ("kube-controller-manager", "scale") in managers
    for name, size, why in (("low", 2, "below Spec.MinReplicas"), ("high", 1, "above Spec.MaxReplicas")):
        event = ("Normal", "SuccessfulRescale", f"New size: {size}; reason: Current number of replicas {why}")
        wait_until(lambda name=name, event=event: event in told(place, name), what=f"{event}")  # type: ignore[misc]


@pytest.mark.states("HPA-bounds")
def test_a_changed_spec_is_looked_at_at_once_and_a_stateful_set_scales_too(place: Place) -> None:
    place.create(manifests.stateful_set("set", 1))
    made = scaler("set")
    made["spec"]["scaleTargetRef"]["kind"] = "StatefulSet"
    place.create(made)
    wait_said(place, "set", "AbleToScale", "SucceededGetScale", limit_s=10)
    place.patch(HPAS, "set", {"spec": {"minReplicas": 2}}, kind="application/merge-patch+json")

    wait_until(lambda: place.get("statefulsets", "set")["spec"]["replicas"] == 2, limit_s=10, what="a second pod")


@pytest.mark.states("HPA-target")
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("Deployment", 'deployments.apps "a" not found'),
        ("DaemonSet", "the server could not find the requested resource"),
        ("Wrong", 'no matches for kind "Wrong" in group "apps"'),
    ],
)
def test_a_target_without_a_scale_is_said(place: Place, kind: str, why: str) -> None:
    made = scaler("a")
    made["spec"]["scaleTargetRef"]["kind"] = kind
    place.create(made)
    status, message = wait_said(place, "a", "AbleToScale", "FailedGetScale", limit_s=10)

    assert (status, message) == ("False", f"the HPA controller was unable to get the target's current scale: {why}")
    wait_until(lambda: ("Warning", "FailedGetScale", why) in told(place, "a"), what="the event")


@pytest.mark.states("HPA-zero")
def test_a_target_of_nothing_is_left_alone(place: Place) -> None:
    place.create(rollouts.deployment("a", 0), scaler("a", low=2))
    status, message = wait_said(place, "a", "ScalingActive", "ScalingDisabled", limit_s=10)

    assert (status, message) == ("False", "scaling is disabled since the replica count of the target is zero")
    assert place.get("deployments", "a")["spec"]["replicas"] == 0


@pytest.mark.states("HPA-unknown")
@pytest.mark.parametrize(
    ("metric_", "reason", "message", "where"),
    [
        (
            metric("cpu", "Utilization", 50),
            "FailedGetResourceMetric",
            "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource "
            "metrics API",
            "failed to get cpu resource metric value",
        ),
        (
            {
                "type": "Pods",
                "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}},
            },
            "FailedGetPodsMetric",
            "unable to get metric q: unable to fetch metrics from custom metrics API: no custom metrics API "
            "(custom.metrics.k8s.io) registered",
            "failed to get pods metric value",
        ),
    ],
    ids=["resource", "custom"],
)
def test_what_cannot_be_known_scales_nothing(place: Place, metric_: Obj, reason: str, message: str, where: str) -> None:
    """No pod has run for long enough to be measured."""
    place.create(rollouts.deployment("a", 1), scaler("a", [metric_]))
    status, condition = wait_said(place, "a", "ScalingActive", reason, limit_s=10)
    found = place.get(HPAS, "a")["status"]

    assert status == "False"
    assert condition == f"the HPA was unable to compute the replica count: {message}"
    assert (found["currentReplicas"], found["desiredReplicas"], found["currentMetrics"]) == (1, 0, [{"type": ""}])
    trouble = f"invalid metrics (1 invalid out of 1), first error is: {where}: {message}"
    wait_until(
        lambda: (
            {("Warning", reason, message), ("Warning", "FailedComputeMetricsReplicas", trouble)} <= told(place, "a")
        ),
        what="both events",
    )


@pytest.mark.states("HPA-metrics", "HPA-unknown", "HPA-table", "Metrics")
def test_what_pods_use_scales_them_up_to_the_most(place: Place, measured: Measured) -> None:
    deploy(place, "a", 1, requests={"memory": "1Mi"})
    deploy(place, "b", 1)
    place.create(
        scaler("a", [metric("memory", "Utilization", 50), metric("memory", "AverageValue", "1Gi")], high=3),
        scaler("b", [metric("cpu", "Utilization", 50)]),
    )
    wait_size(place, "a", 3)
    wait_until(lambda: place.get(HPAS, "a")["status"]["currentReplicas"] == 3, what="a sync after the scale")
    status, message = wait_said(place, "a", "ScalingLimited", "TooManyReplicas")
    found = place.get(HPAS, "a")["status"]
    share, amount = (
        found["currentMetrics"][0]["resource"]["current"][key] for key in ("averageUtilization", "averageValue")
    )
    wait_until(
        lambda: "missing request" in said(place, "b", "ScalingActive")[2], limit_s=60, what="the missing request"
    )
    pod = place.all("pods", "app=b")[0]["metadata"]["name"]
    table = place.kubectl("get", "hpa", "a").splitlines()[1].split()
    events = {each for each in told(place, "a") if each[1] == "SuccessfulRescale"}
    measured("memory of a puppet", float(quantity(amount)) / 2**20, "MiB")

    assert (status, message) == ("True", "the desired replica count is more than the maximum replica count")
    assert share > 100
    assert events == {
        (
            "Normal",
            "SuccessfulRescale",
            "New size: 3; reason: memory resource utilization (percentage of request) above target",
        )
    }
    assert said(place, "a", "ScalingActive")[:2] == ("True", "ValidMetricFound")
    assert table[:2] == ["a", "Deployment/a"]
    assert table[2:5] == ["memory:", f"{table[3]}", "memory:"]
    assert table[3].endswith("%/50%,")
    assert table[5].endswith("/1Gi")
    assert table[6:9] == ["1", "3", "3"]
    missing = f"missing request for cpu in container puppet of Pod {pod}"
    assert said(place, "b", "ScalingActive")[2].endswith(f"failed to get cpu utilization: {missing}")
    assert place.get("deployments", "b")["spec"]["replicas"] == 1


@pytest.mark.states("HPA-stabilized", "HPA-policies")
def test_down_it_goes_by_windows_and_policies(place: Place) -> None:
    little = [metric("memory", "AverageValue", "1Gi")]
    by_one = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1800}]}
    shut = {"stabilizationWindowSeconds": 0, "selectPolicy": "Disabled"}
    windows: dict[str, Obj | None] = {
        "held": None,
        "quick": {"stabilizationWindowSeconds": 0},
        "slow": by_one,
        "shut": shut,
    }
    for name in windows:
        place.create(rollouts.deployment(name, 3))
    for name, down in windows.items():
        rollouts.complete(place, name)
        made = scaler(name, little)
        if down is not None:
            made["spec"]["behavior"] = {"scaleDown": down}
        place.create(made)
    wait_size(place, "quick", 1)
    wait_size(place, "slow", 2)
    limited = wait_said(place, "slow", "ScalingLimited", "ScaleDownLimit")
    closed = wait_said(place, "shut", "ScalingLimited", "ScaleDownLimit")
    held = wait_said(place, "held", "AbleToScale", "ScaleDownStabilized")

    assert limited == ("True", "the desired replica count is decreasing faster than the maximum scale rate")
    assert closed == limited
    assert held == (
        "True",
        "recent recommendations were higher than current one, applying the highest recent recommendation",
    )
    assert [place.get("deployments", name)["spec"]["replicas"] for name in windows] == [3, 1, 2, 3]
    wait_until(
        lambda: (
            ("Normal", "SuccessfulRescale", "New size: 1; reason: All metrics below target") in told(place, "quick")
        ),
        what="the event",
    )


@pytest.mark.full
@pytest.mark.states("HPA-metrics", "HPA-policies", "Metrics")
def test_busy_pods_are_measured_and_get_help(place: Place, measured: Measured) -> None:
    deploy(place, "busy", 1, requests={"cpu": "100m"}, strings="burn=300")
    up = {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1800}]}
    place.create(scaler("busy", [metric("cpu", "Utilization", 100)], behavior={"scaleUp": up}))
    wait_size(place, "busy", 2)
    limit = wait_said(place, "busy", "ScalingLimited", "ScaleUpLimit")
    found = place.get(HPAS, "busy")["status"]["currentMetrics"][0]["resource"]["current"]
    top = [line.split() for line in place.kubectl("top", "pods", "--no-headers").splitlines()]
    node = place.kubectl("top", "nodes", "--no-headers").split()
    listed = json.loads(
        place.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{place.namespace}/pods")
    )
    item = listed["items"][0]
    measured("CPU of a pod that burns 300m", float(quantity(found["averageValue"])) * 1000, "m")

    assert limit == ("True", "the desired replica count is increasing faster than the maximum scale rate")
    assert found["averageUtilization"] > 100  # how much it gets of what it would burn is up to the machine
    assert top
    assert all(each[0].startswith("busy-") and each[1].endswith("m") and each[2].endswith("Mi") for each in top)
    assert node[0] == place.world.node
    assert listed["kind"] == "PodMetricsList"
    assert item["metadata"]["labels"]["app"] == "busy"
    assert [each["name"] for each in item["containers"]] == ["puppet"]
    assert 5 < float(item["window"].removesuffix("s")) < 40
    lost = ask(place, "GET", f"/apis/metrics.k8s.io/v1beta1/namespaces/{place.namespace}/pods/none")
    assert lost[0] == 404
    assert lost[1]["message"] == 'pods "none" not found'


@pytest.mark.states("HPA-table")
def test_kubectl_makes_one_and_describes_it(place: Place) -> None:
    place.create(rollouts.deployment("a", 1))
    made = place.kubectl("autoscale", "deployment", "a", "--min=2", "--max=3", "--cpu=70%")
    wait_size(place, "a", 2, limit_s=10)
    wait_until(lambda: told(place, "a"), what="an event")
    described = place.kubectl("describe", "hpa", "a")

    assert "horizontalpodautoscaler.autoscaling/a autoscaled" in made
    assert place.get(HPAS, "a")["spec"]["metrics"] == [metric("cpu", "Utilization", 70)]
    assert "resource cpu on pods  (as a percentage of request):  <unknown> / 70%" in described
    assert "AbleToScale" in described
    assert "New size: 2; reason: Current number of replicas below Spec.MinReplicas" in described


@pytest.mark.full
@pytest.mark.states("HPA-shared")
def test_pods_of_two_autoscalers_are_scaled_by_neither(place: Place) -> None:
    deploy(place, "a", 1)
    one, other = (
        scaler("a", [metric("memory", "AverageValue", "1Mi")]),
        scaler("a", [metric("memory", "AverageValue", "1Mi")]),
    )
    other["metadata"]["name"] = "z"
    place.create(one, other)
    status, message = wait_said(place, "a", "ScalingActive", "AmbiguousSelector")

    assert status == "False"
    both = " ".join(sorted(message.partition("[")[2].removesuffix("])").split()))
    assert message.startswith("pods by selector app=a are controlled by more than one HPA (e.g. [")
    assert both == f"{place.namespace}/a {place.namespace}/z"


@pytest.mark.states("HPA-shape")
def test_what_is_left_open_gets_the_defaults(place: Place) -> None:
    bare = scaler("a", behavior={"scaleDown": {"selectPolicy": "Min"}, "scaleUp": {"tolerance": "0.2"}})
    del bare["spec"]["minReplicas"]
    place.create(bare)
    spec = place.get(HPAS, "a")["spec"]
    del spec["scaleTargetRef"]
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}

    assert spec == {
        "minReplicas": 1,
        "maxReplicas": 4,
        "metrics": [metric("cpu", "Utilization", 80)],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent],
                "tolerance": "200m",
            },
            "scaleDown": {"selectPolicy": "Min", "policies": [percent]},
        },
    }


def resource(name: str = "cpu", **target: object) -> list[Obj]:
    """One resource metric with this target."""
    return [{"type": "Resource", "resource": {"name": name, "target": target}}]


_TYPES = '"ContainerResource", "External", "Object", "Pods", "Resource"'
_SOURCE = "spec.metrics[0].resource"


@pytest.mark.states("HPA-shape")
@pytest.mark.parametrize(
    ("off", "causes"),
    [
        (
            {"low": 0},
            [
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to "
                "zero replicas"
            ],
        ),
        ({"low": -1}, ["spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"]),
        ({"low": 7}, ["spec.maxReplicas: Invalid value: 4: must be greater than or equal to `minReplicas`"]),
        (
            {"high": 0},
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                "spec.maxReplicas: Required value",
            ],
        ),
        (
            {"high": -1},
            [
                "spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1",
                "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`",
            ],
        ),
        (
            {"metrics": resource(type="Utilization")},
            [
                f"{_SOURCE}.target.averageUtilization: Required value: must set either a target raw value or a target "
                "utilization"
            ],
        ),
        (
            {"metrics": [{"type": "Resource"}]},
            [f"{_SOURCE}: Required value: must populate information for the given metric source"],
        ),
        (
            {"metrics": [{"type": "Resource", "pods": {"metric": {"name": ""}, "target": {"type": "Value"}}}]},
            [
                "spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
                "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
                f"{_SOURCE}: Required value: must populate information for the given metric source",
            ],
        ),
        (
            {"metrics": [{**resource("", type="Odd", averageUtilization=0)[0], "type": "Odd"}]},
            [
                f"{_SOURCE}.name: Required value: must specify a resource name",
                f"{_SOURCE}.target.averageUtilization: Invalid value: 0: must be greater than 0",
                f'{_SOURCE}.target.type: Invalid value: "Odd": must be either Utilization, Value, or AverageValue',
                f'spec.metrics[0].type: Unsupported value: "Odd": supported values: {_TYPES}',
            ],
        ),
        (
            {"metrics": resource(type="AverageValue", averageValue="0")},
            [f'{_SOURCE}.target.averageValue: Invalid value: "0": must be positive'],
        ),
        (
            {"scaleTargetRef": {"kind": "", "name": ""}},
            [
                'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group',
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Required value",
            ],
        ),
        (
            {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "Odd"}}},
            [
                'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", '
                '"Min"',
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to "
                "3600",
            ],
        ),
        (
            {
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": -1,
                        "policies": [{"type": "Odd", "value": 0, "periodSeconds": 1801}],
                        "tolerance": "-1",
                    }
                }
            },
            [
                "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to "
                "1800",
                'spec.behavior.scaleDown.policies[0].type: Unsupported value: "Odd": supported values: "Percent", '
                '"Pods"',
                "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal "
                "to zero",
                'spec.behavior.scaleDown.tolerance: Invalid value: "-1": must be greater than or equal to 0',
            ],
        ),
    ],
)
def test_what_is_off_is_refused(place: Place, off: Obj, causes: list[str]) -> None:
    code, refusal = ask(place, "POST", place.path(HPAS), scaler("bad", **off))

    assert code == 422
    assert sorted(f"{each['field']}: {each['message']}" for each in refusal["details"]["causes"]) == causes
