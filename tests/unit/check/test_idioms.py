"""Manifests as people write them well: no rule calls them an error. Each stands for one met among other people's."""

from __future__ import annotations

import pytest
import yaml

from segue.check.findings import Finding, Severity
from segue.check.gathering import Gathered
from segue.check.repair import repaired
from segue.check.rulebook import judge
from segue.check.settings import Settings
from segue.model.objects import Obj

SLEEP: Obj = {"preStop": {"sleep": {"seconds": 10}}}


def app(**more: object) -> Obj:
    """A container that is Ready by a check and sleeps before it is stopped."""
    ready: Obj = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5}
    made: Obj = {"name": "app", "image": "registry.example/app:1.2", "lifecycle": SLEEP, "readinessProbe": ready}
    made["ports"] = [{"name": "http", "containerPort": 8080}]
    return {key: value for key, value in {**made, **more}.items() if value is not None}


def stops(*command: str) -> Obj:
    """A preStop that runs a command."""
    return {"preStop": {"exec": {"command": list(command)}}}


def workload(*containers: Obj, kind: str = "Deployment", pod: Obj | None = None, **spec: object) -> Obj:
    """Three pods called web."""
    inner = {"terminationGracePeriodSeconds": 60, "containers": list(containers or [app()]), **(pod or {})}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": inner}
    said = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": said}


def service(name: str = "web", *ports: Obj, **spec: object) -> Obj:
    """A Service in front of them."""
    said = {"selector": {"app": "web"}, "ports": list(ports or [{"port": 80, "targetPort": "http"}]), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": said}


def named(name: str, port: int) -> Obj:
    """A port of that name."""
    return {"name": name, "port": port, "targetPort": name}


ENVOY = app(
    name="envoy",
    image="registry.example/envoy:distroless-v1",
    lifecycle={"preStop": {"httpGet": {"path": "/shutdown", "port": 8090}}},
)
MANAGER = app(name="shutdown-manager", ports=None, readinessProbe=None, lifecycle=stops("/bin/manager", "shutdown"))
EXPORTER: Obj = {"name": "exporter", "image": "registry.example/exporter:1"}
EXPORTER["ports"] = [{"name": "metrics", "containerPort": 9102}]
KAFKA = app(
    ports=[{"name": "client", "containerPort": 9092}, {"name": "peer", "containerPort": 9093}],
    readinessProbe={"tcpSocket": {"port": "client"}},
)
PEERS = service("peers", named("client", 9092), named("peer", 9093), clusterIP="None", publishNotReadyAddresses=True)
PATIENT = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 10, "failureThreshold": 6}
ROUTE: Obj = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"}}
POOL: Obj = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}
SCALER: Obj = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}}
TARGET: Obj = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
ROLLING = {"maxSurge": "25%", "maxUnavailable": "25%", "timeoutSeconds": 600, "updatePeriodSeconds": 1}

WELL_MADE: dict[str, list[Obj]] = {
    "nginx quits after a sleep": [workload(app(lifecycle=stops("sh", "-c", "sleep 10; nginx -s quit"))), service()],
    "the path of sleep": [workload(app(lifecycle=stops("/bin/sleep", "15"))), service()],
    "sleep with a unit": [workload(app(lifecycle=stops("sleep", "15s"))), service()],
    "busybox sleeps": [workload(app(lifecycle=stops("/bin/busybox", "sleep", "10"))), service()],
    "another language sleeps": [
        workload(app(lifecycle=stops("node", "-e", "setTimeout(() => {}, 9000)"))),
        service(),
    ],
    "a script of the image": [
        workload(app(lifecycle=stops("/wait-shutdown"))),
        service(type="LoadBalancer", externalTrafficPolicy="Local"),
    ],
    "another container drains the proxy": [workload(MANAGER, ENVOY), service()],
    "an exporter beside the application": [
        workload(app(), EXPORTER),
        service("web", named("http", 80), named("metrics", 9102)),
    ],
    "metrics of an operator": [
        workload(
            app(name="manager", ports=None, lifecycle=None), pod={"terminationGracePeriodSeconds": 10}, replicas=1
        ),
        service("op-controller-manager-metrics-service", {"name": "https", "port": 8443, "targetPort": 8443}),
    ],
    "peers meet before they are ready": [
        workload(KAFKA, kind="StatefulSet", serviceName="peers"),
        PEERS,
        service("web", named("client", 9092)),
    ],
    "UDP only": [
        workload(app(lifecycle=None, readinessProbe=None), kind="DaemonSet"),
        service("statsd", {"name": "statsd", "port": 8125, "protocol": "UDP"}),
    ],
    "liveness more patient than readiness": [workload(app(livenessProbe=PATIENT)), service()],
    "no pods yet": [workload(replicas=0), service()],
    "null is not there": [
        workload(
            strategy={"type": "RollingUpdate", "rollingUpdate": None}, minReadySeconds=None, pod={"volumes": None}
        ),
        service(),
    ],
    "an autoscaler has the replicas": [
        {**workload(), "spec": {key: value for key, value in workload()["spec"].items() if key != "replicas"}},
        service(),
        SCALER | {"spec": {"scaleTargetRef": TARGET, "minReplicas": 2, "maxReplicas": 5}},
    ],
    "weight 0 to what is not here": [
        workload(),
        service(),
        ROUTE
        | {
            "spec": {
                "rules": [{"backendRefs": [{"name": "web", "port": 80}, {"name": "next", "port": 80, "weight": 0}]}]
            }
        },
    ],
    "a route to no Service": [
        workload(),
        service(),
        ROUTE | {"spec": {"rules": [{"backendRefs": [POOL]}, {"filters": []}]}},
    ],
    "OpenShift before it had groups": [
        {
            **workload(
                strategy={"type": "Rolling", "activeDeadlineSeconds": 21600, "rollingParams": ROLLING},
                selector={"app": "web"},
                triggers=[{"type": "ConfigChange"}],
            ),
            "apiVersion": "v1",
            "kind": "DeploymentConfig",
        },
        service(),
    ],
    "a Service of Knative": [
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "web"}},
        workload(),
        service(),
    ],
    "a StatefulSet of somebody else": [
        {**workload(app(lifecycle=None), kind="StatefulSet"), "apiVersion": "apps.kruise.io/v1beta1"},
        service(),
    ],
    "a DeploymentConfig of somebody else": [
        {
            "apiVersion": "mio.io/v1",
            "kind": "DeploymentConfig",
            "metadata": {"name": "x"},
            "spec": {"maxSurge": 1, "strategy": "x"},
        }
    ],
}


def found_in(objects: list[Obj]) -> list[Finding]:
    """What is found, after a round through text."""
    gathered = Gathered()
    gathered.add(yaml.safe_dump_all(objects), file="web.yaml")
    assert not gathered.errors
    return list(judge(gathered.sources, Settings()).findings)


@pytest.mark.parametrize("name", WELL_MADE)
def test_what_is_well_made_has_no_error(name: str) -> None:
    assert [one.message for one in found_in(WELL_MADE[name]) if one.severity is Severity.ERROR] == []


def rules_of(objects: list[Obj]) -> set[str]:
    return {one.rule.id for one in found_in(objects)}


def test_the_same_without_what_makes_them_well_made_has_one() -> None:
    """The cases above are clean for what they have, not because nothing was looked at."""
    alone = app(name="envoy", lifecycle={"preStop": {"httpGet": {"path": "/shutdown", "port": 8090}}})

    assert "ZD105" in rules_of([workload(alone), service()])
    assert "ZD101" in rules_of([workload(app(lifecycle=None), EXPORTER), service("web", named("http", 80))])
    assert "ZD101" in rules_of([workload(app(lifecycle=None)), service("metrics-server", named("http", 443))])
    assert "ZD502" in rules_of([workload(), service(publishNotReadyAddresses=True)])
    assert "ZD101" in rules_of([workload(app(lifecycle=None), kind="StatefulSet"), service()])


def test_a_script_in_quotes_of_its_own_runs_nothing() -> None:
    objects = [workload(app(lifecycle=stops("sh", "-c", "'sleep 12'"))), service()]
    result = repaired({"web.yaml": yaml.safe_dump_all(objects)}, Settings())

    assert "ZD106" in rules_of(objects)
    assert "ZD106" not in rules_of(list(yaml.safe_load_all(result.texts["web.yaml"])))
    assert "seconds: 12" in result.texts["web.yaml"]


def test_a_field_that_stands_twice_is_taken_out_where_nobody_reads_it() -> None:
    """`replicas` of a pod's spec: the same number counts where it belongs, so nothing is lost."""
    objects = [workload(pod={"replicas": 3}), service()]
    (found,) = [one for one in found_in(objects) if one.rule.id == "ZD602"]
    (other,) = [one for one in found_in([workload(pod={"replicas": 5})]) if one.rule.id == "ZD602"]
    result = repaired({"web.yaml": yaml.safe_dump_all(objects)}, Settings())

    assert found.severity is Severity.WARNING
    assert other.severity is Severity.ERROR
    assert "replicas" not in yaml.safe_load(result.texts["web.yaml"].split("---")[0])["spec"]["template"]["spec"]


def test_a_budget_is_not_made_twice_for_the_same_pods() -> None:
    """A stable and a canary Deployment, of which one's selector matches the other's pods, too."""
    canary = workload(selector={"matchLabels": {"app": "web", "track": "canary"}})
    canary["metadata"]["name"] = "canary"
    canary["spec"]["template"]["metadata"]["labels"]["track"] = "canary"

    result = repaired({"web.yaml": yaml.safe_dump_all([workload(), canary, service()])}, Settings())

    assert "ZD404" not in {one.rule.id for one in result.left}
    assert [one.source.name for one in result.left if one.rule.id == "ZD405"] == ["web"]
    assert "matches pods of Deployment canary, too" in next(
        one.fix.question for one in result.left if one.rule.id == "ZD405"
    )
