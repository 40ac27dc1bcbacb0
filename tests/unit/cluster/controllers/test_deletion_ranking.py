"""Which pod goes first (R1, R2, R4)."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.ranking import deletion_cost, first_to_go
from segue.model.objects import Obj, name_of, rfc3339
from tests.unit.cluster.controllers.small_world import SETS, World

NOW_S = 1_800_000_000.0
COST = "controller.kubernetes.io/pod-deletion-cost"


def pod(name: str, **how: object) -> Obj:
    """A Ready pod on a node, but for what `how` says."""
    facts: Obj = {"node": "a", "phase": "Running", "ready_s": 100.0, "age_s": 100.0, "restarts": 0, "cost": "", **how}
    conditions: list[Obj] = []
    if facts["ready_s"] is not None:
        at = rfc3339(NOW_S - facts["ready_s"])
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": at}]
    return {
        "metadata": {
            "name": name,
            "uid": facts.get("uid", name),
            "creationTimestamp": rfc3339(NOW_S - facts["age_s"]),
            "annotations": {COST: facts["cost"]} if facts["cost"] else {},
        },
        "spec": {"nodeName": facts["node"], "containers": []},
        "status": {
            "phase": facts["phase"],
            "conditions": conditions,
            "containerStatuses": [{"name": "main", "restartCount": facts["restarts"]}],
        },
    }


def order(*pods: Obj, related: tuple[Obj, ...] = ()) -> list[str]:
    return [name_of(item) for item in first_to_go(pods, related or pods, NOW_S)]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"node": ""}, {"phase": "Pending", "ready_s": None}),
        ({"phase": "Pending", "ready_s": None}, {"phase": "Unknown", "ready_s": None}),
        ({"phase": "Unknown", "ready_s": None}, {"ready_s": None}),
        ({"ready_s": None}, {"cost": "-1000"}),
        ({"cost": "-1000"}, {}),
        ({}, {"cost": "5", "ready_s": 1.0}),
        ({"ready_s": 1.0}, {"ready_s": 100.0, "restarts": 9}),
        ({"restarts": 2}, {"restarts": 1, "age_s": 1.0}),
        ({"age_s": 1.0}, {"age_s": 4000.0}),
    ],
)
def test_the_first_difference_decides(first: dict[str, object], then: dict[str, object]) -> None:
    """R1, in its order; the later difference of each pair points the other way."""
    assert order(pod("then", **then), pod("first", **first)) == ["first", "then"]


def test_the_more_crowded_node_gives_first() -> None:
    """R1: pods of all ReplicaSets of the owner count, not only this one's."""
    mine = (pod("x", node="b"), pod("y", node="a"))
    theirs = (pod("o1", node="b"), pod("o2", node="b"), pod("o3", node="a"))

    assert order(*mine, related=(*mine, *theirs)) == ["x", "y"]
    assert order(*mine, related=(*mine, theirs[2])) == ["y", "x"]


def test_times_in_one_power_of_two_are_decided_by_uid() -> None:
    """R2."""
    older = pod("older", ready_s=120.0, uid="1")
    younger = pod("younger", ready_s=100.0, uid="2")

    assert order(younger, older) == ["older", "younger"]
    assert order(pod("younger", ready_s=20.0, uid="2"), older) == ["younger", "older"]


@pytest.mark.parametrize("text", ["abc", "+5", "05", "1.5", str(2**31), ""])
def test_a_cost_that_is_no_plain_int32_counts_as_none(text: str) -> None:
    assert deletion_cost(pod("p", cost=text)) == 0


@pytest.mark.parametrize("text", ["-1000", "0", "7", str(2**31 - 1), str(-(2**31))])
def test_a_cost_is_an_int32(text: str) -> None:
    assert deletion_cost(pod("p", cost=text)) == int(text)


def test_the_pod_with_the_lowest_cost_goes_when_its_set_shrinks_by_one() -> None:
    """R4, M9."""
    world = World()
    world.deploy(replicas=4)
    world.kubelet()
    victim = name_of(world.pods()[2])
    world.annotate("pods", victim, COST, "-1000")
    world.scale(3)
    world.kubelet()

    assert victim not in world.names("pods")
    assert len(world.ready_pods()) == 3


def test_pods_that_are_not_ready_go_before_serving_ones() -> None:
    world = World()
    world.deploy(replicas=4)
    world.start(3)
    starting = next(name_of(pod) for pod in world.pods() if pod not in world.ready_pods())
    world.edit(SETS, name_of(world.sets()[0]), lambda obj: obj["spec"].update(replicas=4))
    world.scale(3)
    world.kubelet()

    assert starting not in world.names("pods")
