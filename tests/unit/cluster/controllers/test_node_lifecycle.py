"""A node that is silent for too long, and one that comes back: B10; taints that follow conditions."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.nodelife import LEASE_NAMESPACE, LEASES, SILENT_MAX_S
from segue.cluster.node.heartbeat import BEAT_S, STOPPED, beat, is_stopped
from segue.model.objects import Obj, Ref, condition_of, is_ready, name_of
from tests.unit.cluster.controllers.small_world import World


def pulse(world: World, name: str = "node-0") -> None:
    """One sign of life."""
    node = world.get("nodes", name)
    lease = world.store.get(Ref(resource=LEASES, namespace=LEASE_NAMESPACE, name=name))
    told = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": "x"}]
    for write in beat(node, lease, told, world.clock.now_s()):
        world.registry.perform(write)
    world.settle()


@pytest.fixture
def world() -> World:
    made = World(nodes=1)
    pulse(made)
    made.deploy(replicas=2)
    made.start()
    return made


def taints(world: World) -> list[tuple[str, str]]:
    return [
        (taint["key"].rpartition("/")[2], taint["effect"])
        for taint in world.get("nodes", "node-0")["spec"].get("taints") or []
    ]


def ready(world: World) -> Obj:
    return condition_of(world.get("nodes", "node-0"), "Ready") or {}


def test_a_node_that_speaks_is_left_alone(world: World) -> None:
    for _ in range(20):
        world.pass_time(BEAT_S)
        pulse(world)

    assert is_ready(world.get("nodes", "node-0"))
    assert taints(world) == []
    assert len(world.ready_pods()) == 2


def test_a_node_that_is_silent_for_too_long_is_lost_and_its_pods_are_not_ready(world: World) -> None:
    world.pass_time(SILENT_MAX_S - 1)
    assert len(world.ready_pods()) == 2
    world.pass_time(2)

    assert (ready(world)["status"], ready(world)["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert taints(world) == [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]
    assert world.ready_pods() == []
    assert len(world.live_pods()) == 2
    assert "Node is not ready" in world.told("NodeNotReady")


def test_a_pod_that_becomes_ready_on_a_lost_node_is_not_believed(world: World) -> None:
    world.pass_time(SILENT_MAX_S + 1)
    world.report(world.pods()[0], ready=True)
    assert len(world.ready_pods()) == 1, "nothing about the node happened: the next look comes with the next event"

    node = world.get("nodes", "node-0")
    world.registry.update("nodes", {**node, "metadata": {**node["metadata"], "annotations": {"a": "b"}}})
    world.settle()
    assert world.ready_pods() == []


def test_a_node_that_speaks_again_loses_its_taints(world: World) -> None:
    world.pass_time(SILENT_MAX_S + 1)
    pulse(world)

    assert ready(world)["status"] == "True"
    assert taints(world) == []


def test_a_node_without_a_lease_is_not_watched_over() -> None:
    world = World(nodes=1)
    world.pass_time(10 * SILENT_MAX_S)
    assert is_ready(world.get("nodes", "node-0"))


def test_a_cordoned_node_is_tainted_and_other_taints_stay() -> None:
    world = World(nodes=0)
    other = {"key": "mine", "effect": "NoSchedule"}
    world.add_node("node-0", unschedulable=True, taints=[other])
    world.settle()

    assert taints(world) == [("mine", "NoSchedule"), ("unschedulable", "NoSchedule")]
    node = world.get("nodes", "node-0")
    spec = {key: value for key, value in node["spec"].items() if key != "unschedulable"}
    world.registry.update("nodes", {**node, "spec": spec})
    world.settle()
    assert world.get("nodes", "node-0")["spec"]["taints"] == [other]


def test_a_node_is_stopped_by_a_word_of_its_annotations() -> None:
    assert is_stopped({"metadata": {"name": "n", "annotations": {STOPPED: "stopped"}}})
    assert not is_stopped({"metadata": {"name": "n", "annotations": {STOPPED: "runs"}}})
    assert not is_stopped({"metadata": {"name": "n"}})


def test_the_lease_names_its_node(world: World) -> None:
    lease = world.store.get(Ref(resource=LEASES, namespace=LEASE_NAMESPACE, name="node-0"))
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == name_of(lease) == "node-0"
    assert lease["metadata"]["ownerReferences"][0]["uid"] == world.get("nodes", "node-0")["metadata"]["uid"]
