"""The scheduler: who gets which node, and what is said when nobody does."""

from __future__ import annotations

from collections import Counter

from segue.cluster.writes import Update
from segue.model.objects import Obj, condition_of, name_of
from tests.unit.cluster.controllers.small_world import World


def places(world: World) -> Counter[str]:
    return Counter(pod["spec"].get("nodeName", "") for pod in world.pods())


def template(**spec: object) -> Obj:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "v1"}], **spec}}


def scheduled(world: World) -> Obj:
    return condition_of(world.pods()[0], "PodScheduled") or {}


def test_pods_are_spread_over_the_nodes_and_it_is_told() -> None:
    world = World(nodes=3)
    world.deploy(replicas=7)

    assert places(world) == {"node-0": 3, "node-1": 2, "node-2": 2}
    assert all((condition_of(pod, "PodScheduled") or {}).get("status") == "True" for pod in world.pods())
    assert any(text.endswith("to node-0") for text in world.told("Scheduled"))


def test_without_nodes_a_pod_waits_and_a_node_that_comes_takes_it() -> None:
    world = World(nodes=0)
    world.deploy(replicas=1)
    assert scheduled(world)["reason"] == "Unschedulable"
    assert world.told("FailedScheduling") == ["no nodes available to schedule pods"]
    world.add_node("late")
    world.settle()

    assert places(world) == {"late": 1}
    assert scheduled(world)["status"] == "True"


def test_cordoned_and_unready_nodes_take_nothing() -> None:
    world = World(nodes=0)
    world.add_node("a", unschedulable=True)
    world.add_node("b", ready=False)
    world.deploy(replicas=1)

    assert places(world) == {"": 1}
    text = "0/2 nodes are available: 1 node(s) were not ready, 1 node(s) were unschedulable."
    assert world.told("FailedScheduling") == [text]


def test_a_node_that_becomes_ready_takes_what_waits() -> None:
    world = World(nodes=0)
    world.add_node("b", ready=False)
    world.deploy(replicas=2)
    node = world.get("nodes", "b")
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    world.registry.perform(Update(resource="nodes", obj={**node, "status": status}, status=True))
    world.settle()

    assert places(world) == {"b": 2}


def test_a_node_selector_is_kept() -> None:
    world = World(nodes=3)
    world.deploy(replicas=2, template=template(nodeSelector={"name": "node-1"}))

    assert places(world) == {"node-1": 2}


def test_a_selector_that_no_node_has_leaves_the_pod_waiting() -> None:
    world = World(nodes=1)
    world.deploy(replicas=1, template=template(nodeSelector={"disk": "ssd"}))

    assert places(world) == {"": 1}
    assert "node affinity/selector" in world.told("FailedScheduling")[0]


def test_a_taint_keeps_pods_away_that_do_not_tolerate_it() -> None:
    world = World(nodes=0)
    world.add_node("a", taints=[{"key": "special", "value": "yes", "effect": "NoSchedule"}])
    world.deploy(replicas=1)
    assert places(world) == {"": 1}
    tolerated = template(tolerations=[{"key": "special", "operator": "Exists", "effect": "NoSchedule"}])
    world.deploy(name="web2", replicas=1, selector={"matchLabels": {"app": "web"}}, template=tolerated)

    assert places(world)["a"] == 1


def test_a_pod_with_a_node_is_never_moved() -> None:
    world = World(nodes=2)
    world.deploy(replicas=1, template=template(nodeName="node-1"))

    assert places(world) == {"node-1": 1}


def test_a_full_node_takes_no_more_until_a_pod_is_gone() -> None:
    world = World(nodes=1)
    world.deploy(replicas=111)
    assert places(world) == {"node-0": 110, "": 1}
    assert world.told("FailedScheduling") == ["0/1 nodes are available: 1 Too many pods."]
    world.start()
    world.delete("pods", name_of(next(pod for pod in world.pods() if pod["spec"].get("nodeName"))), grace_s=0)

    assert places(world)["node-0"] == 110
