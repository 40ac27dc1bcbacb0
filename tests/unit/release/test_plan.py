"""A plan refuses what would lose requests, and warns of what may surprise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.model.errors import Conflict, Refused
from segue.model.objects import Obj, copy_of
from segue.model.services import Service
from segue.model.workloads import Deployment, Pod, ReplicaSet
from segue.release.memory import ANNOTATION, Memory, memory_of
from segue.release.plan import Approach, Plan, Target, make_plan
from segue.release.snapshot import Snapshot

LABELS = {"app": "web"}
TEMPLATE: Obj = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "web", "image": "web:1", "readinessProbe": {"tcpSocket": {"port": 80}}}]},
}


def deployment() -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "resourceVersion": "1"},
        "spec": {"replicas": 3, "selector": {"matchLabels": LABELS}, "template": copy_of(TEMPLATE)},
    }


def replica_set(name: str = "a", replicas: int = 3) -> Obj:
    template = copy_of(TEMPLATE)
    template["metadata"]["labels"] = {**LABELS, "pod-template-hash": name}
    owner = {"uid": "d", "controller": True}
    return {
        "metadata": {"name": f"web-{name}", "uid": name, "ownerReferences": [owner], "labels": dict(LABELS)},
        "spec": {"replicas": replicas, "template": template},
    }


def service(**selector: str) -> Obj:
    return {"metadata": {"name": "web"}, "spec": {"selector": selector or dict(LABELS), "ports": [{"port": 80}]}}


def pod(name: str, **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": []}, "status": {}}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    deployment: Obj = field(default_factory=deployment)
    sets: list[Obj] = field(default_factory=lambda: [replica_set()])
    pods: list[Obj] = field(default_factory=lambda: [pod("web-a-1", app="web", **{"pod-template-hash": "a"})])
    services: list[Obj] = field(default_factory=lambda: [service()])

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now_s=1000.0,
            me="me",
            deployment=Deployment(obj=self.deployment),
            sets=tuple(ReplicaSet(obj=obj) for obj in self.sets),
            pods=tuple(Pod(obj=obj) for obj in self.pods),
            services=tuple(Service(obj=obj) for obj in self.services),
            endpoints={},
        )


def planned(
    change: Callable[[Obj], None] | None = None, after: Obj | None = None, cluster: Cluster | None = None
) -> Plan:
    template = copy_of(TEMPLATE)
    template["spec"]["containers"][0]["image"] = "web:2"
    if change is not None:
        change(template)
    target = Target(kind="release", template=template, after=after or {}, metadata={})
    return make_plan(target, (cluster or Cluster()).snapshot(), Approach())


def test_a_plan_says_floor_and_peak() -> None:
    plan = planned()

    assert (plan.floor, plan.peak, plan.services, plan.old_hash) == (3, 6, ("web",), "a")
    assert plan.warnings == ()


def test_a_bigger_new_version_raises_the_peak() -> None:
    plan = planned(after={"replicas": 5})

    assert (plan.floor, plan.peak, plan.wanted) == (3, 8, 5)


def test_pods_that_a_deleted_deployment_has_left_behind_are_named_with_what_removes_them() -> None:
    left = pod("web-b-1", app="web", **{"pod-template-hash": "b"})
    left["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web-b", "uid": "b", "controller": True}]

    with pytest.raises(
        Refused, match="also selects pods of ReplicaSet/web-b, which Deployment web does not own"
    ) as error:
        planned(cluster=Cluster(pods=[left]))
    assert error.value.remedy == "kubectl delete replicaset/web-b"


def host_port(template: Obj) -> None:
    template["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80}]


def paused() -> Obj:
    obj = deployment()
    obj["spec"]["paused"] = True
    return obj


def selector_without_a_label() -> Obj:
    obj = deployment()
    obj["spec"]["selector"] = {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}
    return obj


@pytest.mark.parametrize(
    ("change", "cluster", "says"),
    [
        (None, Cluster(services=[]), "no Service"),
        (None, Cluster(pods=[pod("other-1", app="web")]), "also selects"),
        (None, Cluster(sets=[replica_set("a"), replica_set("b", 1)]), "native rollout"),
        (None, Cluster(sets=[replica_set("a", 0)]), "no ReplicaSet with pods"),
        (None, Cluster(deployment=paused()), "paused"),
        (None, Cluster(deployment=selector_without_a_label()), "selector"),
        (host_port, Cluster(), "hostPort"),
        (lambda template: template["spec"].update(hostNetwork=True), Cluster(), "hostNetwork"),
    ],
)
def test_a_plan_that_would_lose_requests_is_refused_with_a_remedy(
    change: Callable[[Obj], None] | None, cluster: Cluster, says: str
) -> None:
    with pytest.raises(Refused, match=says) as caught:
        planned(change, cluster=cluster)

    assert caught.value.remedy


def test_no_replicas_wanted_is_refused() -> None:
    with pytest.raises(Refused, match="0 replicas"):
        planned(after={"replicas": 0})


def test_what_may_surprise_is_warned_of() -> None:
    def without_probe(template: Obj) -> None:
        del template["spec"]["containers"][0]["readinessProbe"]

    plan = planned(without_probe, after={"strategy": {"type": "Recreate"}, "revisionHistoryLimit": 0})

    assert [word for word in ("readinessProbe", "Recreate", "undo") if any(word in text for text in plan.warnings)] == [
        "readinessProbe",
        "Recreate",
        "undo",
    ]


@given(st.builds(Memory, id=st.text(), kind=st.just("release"), digest=st.text(), begun_s=st.floats(0, 1e10)))
def test_a_memory_survives_its_annotation(memory: Memory) -> None:
    assert memory_of({ANNOTATION: memory.text()}) == memory


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "id": "x"}', '{"format": 1, "odd": 1}']
)
def test_an_annotation_nobody_can_read_is_a_conflict(text: str) -> None:
    with pytest.raises(Conflict):
        memory_of({ANNOTATION: text})
