"""The old ReplicaSet goes to 0 when its controller has seen that it owns no old pod any more, and not before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.model.objects import Obj, rfc3339
from segue.model.workloads import ORPHAN_OF, Pod, ReplicaSet
from segue.release.actions import HoldBack, Orphan, Resize
from segue.release.decision import Decision
from segue.release.letting_go import let_go
from segue.release.memory import Memory
from tests.unit.release.test_plan import Cluster, planned, replica_set

SWITCHED_S = 1_000_000.0
MEMORY = Memory(
    id="x", kind="release", digest="x", begun_s=0.0, services=("web",), serving="new", switched_s=SWITCHED_S
)


def old_pod(name: str, *, owned: bool, out: bool, age_s: float = 60.0, ready: bool = True) -> Pod:
    created = rfc3339(SWITCHED_S - age_s)
    obj: Obj = {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {"pod-template-hash": "a", **({ORPHAN_OF: "web"} if out else {"app": "web"})},
            "ownerReferences": [{"uid": "a", "controller": True}] if owned else [],
        },
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }
    return Pod(obj=obj)


def decided(*pods: Pod, memory: Memory = MEMORY, now_s: float = SWITCHED_S + 1) -> Decision:
    old = ReplicaSet(obj=replica_set(replicas=2))
    cluster = Cluster(pods=[pod.obj for pod in pods])
    return let_go(planned(), replace(cluster.snapshot(), now_s=now_s), memory, old)


def test_all_that_served_leave_traffic_first() -> None:
    decision = decided(old_pod("one", owned=True, out=False), old_pod("two", owned=True, out=False))

    assert [type(one) for one in decision.actions] == [HoldBack, Orphan, Orphan]


@pytest.mark.parametrize("other_is_owned", [True, False])
def test_it_keeps_its_size_until_it_has_let_go_of_all(other_is_owned: bool) -> None:
    """A size that overtook the labels would end pods with live connections."""
    decision = decided(old_pod("one", owned=True, out=True), old_pod("two", owned=other_is_owned, out=True))

    assert decision.actions == ()
    assert "has not let go of" in decision.because


def test_then_it_goes_to_0_and_what_it_ends_never_had_traffic() -> None:
    decision = decided(
        old_pod("one", owned=False, out=True),
        old_pod("two", owned=False, out=True),
        old_pod("fresh", owned=True, out=False, age_s=-0.5, ready=False),
    )

    (action,) = decision.actions
    assert isinstance(action, Resize)
    assert action.replicas == 0


def test_pods_that_stand_by_keep_their_labels_until_the_time_is_over() -> None:
    pods = (old_pod("one", owned=True, out=False), old_pod("two", owned=True, out=False))

    assert decided(*pods, memory=MEMORY.but(keep_s=30.0)).holds
    assert decided(*pods, memory=MEMORY.but(keep_s=30.0), now_s=SWITCHED_S + 31).actions
