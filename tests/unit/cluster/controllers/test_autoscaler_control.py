"""HorizontalPodAutoscalers in virtual time: what metrics ask for, how fast it may come, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.cluster.controllers.autoscaler.limits import Past, Wish, allowed
from segue.cluster.controllers.autoscaler.replicas import Crowd, Tolerance, by_average
from segue.cluster.controllers.autoscaler.samples import Sample, sort_pods
from segue.cluster.metrics.readings import Reading, Readings, Round
from segue.cluster.writes import Update
from segue.model.errors import StatusError
from segue.model.objects import Obj, condition_of, copy_of, name_of, rfc3339, uid_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, World

HPAS = "horizontalpodautoscalers.autoscaling"
NOW_S = 1_800_000_000.0
REQUEST = {"requests": {"cpu": "100m", "memory": "100Mi"}}


class Measured(World):
    """A world in which pods use what the test says: by name, or all alike (thousandths of a CPU)."""

    def __init__(self) -> None:
        self.readings = Readings()
        self.spent: dict[str, float] = {}
        super().__init__(usages=self.readings)

    def use(self, milli: int) -> None:
        """Half a minute in which pods use so much, read twice."""
        for _ in range(2):
            self.pass_time(15)
            self.read(milli)

    def read(self, milli: int, *, unseen: str = "") -> None:
        """One round of readings: what pods have used since the last, 15 s before; one pod may be out of sight."""
        self.clock.at_s += 0.001  # a reading lies between two syncs
        at_s = self.clock.at_s
        pods = {}
        for pod in self.live_pods():
            uid = uid_of(pod)
            self.spent[uid] = self.spent.get(uid, 0.0) + milli * 0.015
            if name_of(pod) != unseen:
                pods[uid] = {"main": Reading(at_s=at_s, started_s=1.0, cpu_s=self.spent[uid], memory_bytes=50 << 20)}
        self.readings.take(Round(node=Reading(at_s=at_s, started_s=0.0, cpu_s=0.0, memory_bytes=0), pods=pods))

    def scaler(self, target: int = 50, *, low: int = 1, high: int = 10, **spec: object) -> None:
        """An autoscaler of the Deployment `web` by its share of CPU."""
        aim = {"type": "Utilization", "averageUtilization": target}
        made: Obj = {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "minReplicas": low,
                "maxReplicas": high,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": aim}}],
                **spec,
            },
        }
        self.registry.create(HPAS, made)
        self.settle()

    def size(self) -> int:
        """Of the Deployment."""
        return int(self.get(DEPLOYMENTS, "web")["spec"]["replicas"])

    def said(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition of the autoscaler."""
        found = condition_of(self.get(HPAS, "web"), kind) or {}
        return found.get("status", ""), found.get("reason", "")

    def begin(self) -> None:
        """Pods run and are Ready, and were so long ago that they count."""
        self.kubelet()
        for pod in self.live_pods():
            status = copy_of(pod["status"])
            status["startTime"] = rfc3339(self.clock.at_s)
            self.registry.perform(
                Update(resource="pods", obj={**self.get("pods", name_of(pod)), "status": status}, status=True)
            )
        self.pass_time(301)


def measured(replicas: int = 2, resources: Obj | None = None) -> Measured:
    world = Measured()
    container = {"name": "main", "image": "v1", "resources": resources if resources is not None else REQUEST}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    world.deploy(replicas=replicas, fields={"template": template})
    world.begin()
    return world


@pytest.mark.parametrize(("milli", "size"), [(50, 2), (54, 2), (56, 3), (100, 4), (46, 2)])
def test_usage_against_target_makes_the_number(milli: int, size: int) -> None:
    """Within a tenth of the target nothing changes; a share is cut to whole percents first."""
    world = measured()
    world.use(milli)
    world.scaler()

    assert world.size() == size
    assert world.said("ScalingActive") == ("True", "ValidMetricFound")


def test_a_status_tells_what_was_found() -> None:
    world = measured()
    world.use(100)
    world.scaler()
    status = world.get(HPAS, "web")["status"]

    assert status["currentMetrics"] == [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "current": {"averageValue": "100m", "averageUtilization": 100}},
        }
    ]
    assert (status["currentReplicas"], status["desiredReplicas"], status["observedGeneration"]) == (2, 4, 1)
    assert world.told("SuccessfulRescale") == [
        "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    ]


def test_it_looks_again_every_fifteen_seconds() -> None:
    world = measured()
    world.use(50)
    world.scaler()
    world.pass_time(14)
    world.read(200)
    before = world.size()
    world.pass_time(1)

    assert (before, world.size()) == (2, 4)  # at most twice as many, or 4, at a time
    assert world.said("ScalingLimited") == ("True", "ScaleUpLimit")


def test_fewer_pods_only_after_five_minutes() -> None:
    world = measured(4)
    world.use(50)
    world.scaler()
    world.use(10)
    world.pass_time(200)
    held, said = world.size(), world.said("AbleToScale")
    for _ in range(6):
        world.use(10)

    assert (held, said) == (4, ("True", "ScaleDownStabilized"))
    assert world.size() == 1


def _pod(phase: str = "Running", *, started_s: float = 0.0, ready: bool = True, since_s: float = 0.0) -> Obj:
    """A pod; its times are seconds before NOW_S."""
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(NOW_S - since_s)}
    status = {"phase": phase, "startTime": rfc3339(NOW_S - started_s), "conditions": [condition]}
    return {"metadata": {"name": "p", "uid": "u"}, "status": status}


LEAVING = {**_pod(), "metadata": {"name": "p", "uid": "u", "deletionTimestamp": rfc3339(NOW_S)}}


@pytest.mark.parametrize(
    ("pod", "window_s", "resource", "counts"),
    [
        (_pod(started_s=100, since_s=30), 15, "cpu", "ready"),
        (_pod(started_s=100, since_s=10), 15, "cpu", "unready"),  # part of its sample is its start
        (_pod(started_s=100, since_s=10), 15, "memory", "ready"),
        (_pod(started_s=100, since_s=90, ready=False), 15, "cpu", "unready"),
        (_pod(started_s=400, since_s=380, ready=False), 15, "cpu", "unready"),  # it has never been Ready
        (_pod(started_s=400, since_s=100, ready=False), 15, "cpu", "ready"),  # it works, whatever it says
        (_pod("Pending"), 15, "cpu", "unready"),
        (_pod("Failed"), 15, "cpu", "ignored"),
        (LEAVING, 15, "cpu", "ignored"),
        (_pod(started_s=400, since_s=400), None, "cpu", "missing"),
    ],
)
def test_which_pods_count(pod: Obj, window_s: float | None, resource: str, counts: str) -> None:
    samples = {} if window_s is None else {"p": Sample(milli=1, at_s=NOW_S - 5, window_s=window_s)}
    found = sort_pods([pod], samples, resource, NOW_S)
    listed = {"unready": found.unready, "missing": found.missing, "ignored": found.ignored}

    assert {name for name, names in listed.items() if names} | ({"ready"} if found.ready else set()) == {counts}


def test_young_pods_do_not_turn_more_into_fewer() -> None:
    """Two pods at 100 % of a target of 50 % want four; with two more that just came up, it stays so."""
    world = measured()
    world.use(100)
    world.scaler()
    world.kubelet()
    world.use(100)
    world.pass_time(15)

    assert world.size() == 4


def test_what_comes_up_already_is_not_asked_for_again() -> None:
    """Four pods at 130 % want 5.2; one more is on its way, and five would be within the tolerance."""
    pods = [{**_pod(started_s=400, since_s=400), "metadata": {"name": f"p{n}", "uid": f"u{n}"}} for n in range(4)]
    coming = {**_pod("Pending"), "metadata": {"name": "new", "uid": "new"}}
    samples = {name_of(pod): Sample(milli=130) for pod in pods}
    crowd = Crowd(pods=[*pods, coming], replicas=5, resource="memory", tolerance=Tolerance(), now_s=NOW_S)

    assert by_average(crowd, samples, 100).replicas == 5
    assert by_average(replace(crowd, pods=pods, replicas=4), samples, 100).replicas == 6


def test_pods_without_metrics_keep_the_number_up() -> None:
    """Of two idle pods one is out of sight: it is taken to use all it may."""
    down = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    sizes = []
    for index in (0, None):
        world = measured()
        world.use(0)
        world.pass_time(15)
        world.read(0, unseen="" if index is None else name_of(world.live_pods()[index]))
        world.scaler(behavior=down)
        sizes.append(world.size())

    assert sizes == [2, 1]


def test_without_metrics_or_requests_nothing_is_scaled() -> None:
    world = measured(resources={})
    world.scaler()
    unknown = world.said("ScalingActive")
    world.use(100)
    world.pass_time(15)
    message = (condition_of(world.get(HPAS, "web"), "ScalingActive") or {})["message"]

    assert unknown == ("False", "FailedGetResourceMetric")
    assert "missing request for cpu in container main of Pod web-" in message
    assert world.size() == 2


def test_one_metric_that_fails_lets_others_ask_for_more_only() -> None:
    little = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    }
    much = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "25Mi"}},
    }
    pods = {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}}
    sizes = []
    for metric in (little, much):
        world = measured()
        world.use(0)
        world.scaler(metrics=[pods, metric], behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
        sizes.append(world.size())

    assert sizes == [2, 4]


def test_a_target_of_another_kind_or_none_is_said_again_and_again() -> None:
    world = Measured()
    world.scaler()
    world.pass_time(30)
    event = next(each for each in world.store.all_of("events") if each["reason"] == "FailedGetScale")

    assert world.said("AbleToScale") == ("False", "FailedGetScale")
    assert event["count"] == 3


def test_a_scale_that_is_refused_is_said_and_not_remembered() -> None:
    world = measured()
    world.use(100)

    def refuse(*_arguments: object, **_options: object) -> Obj:
        raise StatusError(403, "Forbidden", "no")

    update = world.registry.update
    world.registry.update = (  # type: ignore[method-assign]  # an admission policy would say so, and needs a library
        lambda resource, obj, **more: refuse() if more.get("subresource") == "scale" else update(resource, obj, **more)
    )
    by_two = {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 1800}]}
    world.scaler(behavior={"scaleUp": by_two})
    world.registry.update = update  # type: ignore[method-assign]  # as it was
    refused, size = world.said("AbleToScale"), world.size()
    world.pass_time(15)

    assert (refused, size) == (("False", "FailedUpdateScale"), 2)
    assert world.told("FailedRescale") == ["New size: 4; error: no"]
    assert world.size() == 4


@pytest.mark.parametrize(
    ("rules", "current", "desired", "reached"),
    [
        ([("Pods", 4), ("Percent", 100)], 10, 50, 20),
        ([("Pods", 4), ("Percent", 100)], 2, 50, 6),
        ([("Percent", 10)], 3, 50, 4),
        ([("Percent", 50)], 9, 1, 4),
        ([("Pods", 1)], 9, 1, 8),
    ],
)
def test_policies_bound_a_period(rules: list[tuple[str, int]], current: int, desired: int, reached: int) -> None:
    policies = [{"type": kind, "value": value, "periodSeconds": 60} for kind, value in rules]
    way = {"selectPolicy": "Max", "policies": policies, "stabilizationWindowSeconds": 0}
    past = Past()
    wish = Wish(current=current, desired=desired, least=1, most=100, now_s=1000.0)
    first = allowed(wish, {"scaleUp": way, "scaleDown": way}, past)
    past.changes.append((1000.0, first.replicas - current))
    again = Wish(current=first.replicas, desired=desired, least=1, most=100, now_s=1030.0)

    assert first.replicas == reached
    assert first.limited
    assert allowed(again, {"scaleUp": way, "scaleDown": way}, past).replicas == reached


def test_a_rate_comes_of_two_readings_or_of_a_start_between_them() -> None:
    readings = Readings()
    old = Reading(at_s=100.0, started_s=10.0, cpu_s=1.0, memory_bytes=1)
    node = Reading(at_s=100.0, started_s=0.0, cpu_s=5.0, memory_bytes=9)
    readings.take(Round(node=node, pods={"old": {"c": old}}))
    before = readings.pod("old")
    after = Round(
        node=Reading(at_s=120.0, started_s=0.0, cpu_s=9.0, memory_bytes=9),
        pods={
            "old": {"c": Reading(at_s=120.0, started_s=10.0, cpu_s=3.0, memory_bytes=2)},
            "new": {"c": Reading(at_s=120.0, started_s=105.0, cpu_s=3.0, memory_bytes=2)},
            "fresh": {"c": Reading(at_s=120.0, started_s=115.0, cpu_s=3.0, memory_bytes=2)},
            "half": {
                "c": Reading(at_s=120.0, started_s=105.0, cpu_s=3.0, memory_bytes=2),
                "d": Reading(at_s=120.0, started_s=115.0, cpu_s=3.0, memory_bytes=2),
            },
        },
    )
    readings.take(after)
    found = {uid: readings.pod(uid) for uid in after.pods}

    assert before is not None  # it had lived for longer than ten seconds
    assert [usage["c"].cpu_nano for usage in (found["old"], found["new"]) if usage] == [100_000_000, 200_000_000]
    assert (found["fresh"], found["half"]) == (None, None)
    assert readings.node() is not None
