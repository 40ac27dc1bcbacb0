"""DaemonSets in virtual time: one pod per node, which nodes, updates with and without surge."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.history import REVISIONS
from segue.model.errors import StatusError
from segue.model.objects import Obj, annotations_of, is_terminating, labels_of, name_of, uid_of
from tests.unit.cluster.controllers.small_world import World, deployment, image_of

SETS = "daemonsets.apps"
GENERATION = "deprecated.daemonset.template.generation"


def daemon_set(*, pod: Obj | None = None, **spec: object) -> Obj:
    made = deployment(name="agent")
    del made["spec"]["replicas"]
    made["spec"] |= spec
    made["spec"]["template"]["spec"] |= pod or {}
    return made


def world_with(nodes: int = 3, *, pod: Obj | None = None, **spec: object) -> World:
    """A world with one DaemonSet `agent`; its kubelet has not looked yet."""
    world = World(nodes=nodes)
    world.registry.create(SETS, daemon_set(pod=pod, **spec))
    world.settle()
    return world


def running(nodes: int = 3, *, pod: Obj | None = None, **spec: object) -> World:
    world = world_with(nodes, pod=pod, **spec)
    world.kubelet()
    return world


def rolling(unavailable: int | str, surge: int | str) -> Obj:
    numbers = {"maxUnavailable": unavailable, "maxSurge": surge}
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": numbers}}


def set_image(world: World, image: str) -> None:
    world.edit(SETS, "agent", lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image=image))


def status(world: World) -> Obj:
    found: Obj = world.get(SETS, "agent")["status"]
    return found


def places(world: World) -> list[str]:
    """The nodes of all pods that stay."""
    return sorted(pod["spec"].get("nodeName", "") for pod in world.live_pods())


def leaving(world: World) -> int:
    return sum(1 for pod in world.pods() if is_terminating(pod))


def edit_node(world: World, name: str, **spec: object) -> None:
    world.edit("nodes", name, lambda node: node.setdefault("spec", {}).update(spec))


def test_each_node_gets_one_pod_also_those_that_come_later() -> None:
    world = world_with(2)
    before = places(world)
    world.add_node("node-9")
    world.kubelet()

    assert (before, places(world)) == (["node-0", "node-1"], ["node-0", "node-1", "node-9"])
    found = status(world)
    assert (found["desiredNumberScheduled"], found["numberReady"], found["updatedNumberScheduled"]) == (3, 3, 3)
    assert found["numberMisscheduled"] == 0
    assert "numberUnavailable" not in found


def test_a_pod_is_made_for_a_node_and_tolerates_what_befalls_nodes() -> None:
    world = world_with(1)
    (pod,) = world.pods()
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert terms == {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}]
    }
    assert {(each["key"].partition("/")[2], each["effect"]) for each in pod["spec"]["tolerations"]} == {
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    }
    assert not any("tolerationSeconds" in each for each in pod["spec"]["tolerations"])
    (revision,) = world.store.all_of(REVISIONS)
    labels = {"app": "agent", "pod-template-generation": "1"}
    assert labels_of(pod) == {**labels, "controller-revision-hash": labels_of(revision)["controller-revision-hash"]}


def test_a_cordoned_node_gets_its_pod_all_the_same() -> None:
    world = World(nodes=1)
    edit_node(world, "node-0", unschedulable=True)
    world.registry.create(SETS, daemon_set())
    world.kubelet()

    assert places(world) == ["node-0"]


@pytest.mark.parametrize(
    "pod",
    [
        {"nodeSelector": {"name": "node-1"}},
        {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["node-0", "node-2"]}]}
                        ]
                    }
                }
            }
        },
    ],
    ids=["selector", "affinity"],
)
def test_the_template_chooses_among_nodes(pod: Obj) -> None:
    assert places(world_with(3, pod=pod)) == ["node-1"]


def test_a_taint_keeps_new_pods_away_and_one_that_evicts_takes_those_that_are_there() -> None:
    world = running(2)
    edit_node(world, "node-0", taints=[{"key": "a", "effect": "NoSchedule"}])
    stays = (places(world), status(world)["numberMisscheduled"])
    edit_node(world, "node-0", taints=[{"key": "a", "effect": "NoExecute"}])
    world.kubelet()

    assert stays == (["node-0", "node-1"], 1)
    assert (places(world), status(world)["numberMisscheduled"]) == (["node-1"], 0)


def test_a_node_that_is_no_longer_chosen_loses_its_pod() -> None:
    world = running(2, pod={"nodeSelector": {"name": "node-0"}})
    world.edit("nodes", "node-0", lambda node: node["metadata"]["labels"].update(name="other"))
    world.kubelet()

    assert places(world) == []


def test_an_update_replaces_one_pod_at_a_time_each_gone_before_the_next_is_made() -> None:
    world = running(3)
    set_image(world, "v2")
    while leaving(world):
        assert leaving(world) + sum(1 for pod in world.live_pods("v2") if pod not in world.ready_pods()) == 1
        assert len(world.pods()) <= 3
        world.end()
        world.start()

    assert [image_of(pod) for pod in world.live_pods()] == ["v2"] * 3
    assert status(world)["updatedNumberScheduled"] == 3


@pytest.mark.parametrize(("unavailable", "taken"), [(2, 2), ("50%", 2), ("34%", 2), ("100%", 3)])
def test_an_update_takes_as_many_as_may_be_unavailable(unavailable: int | str, taken: int) -> None:
    world = running(3, **rolling(unavailable, 0))
    set_image(world, "v2")

    assert leaving(world) == taken


def test_an_old_pod_that_is_not_ready_goes_at_once() -> None:
    world = running(3)
    (bad, *_) = world.live_pods()
    world.report(bad, ready=False)
    set_image(world, "v2")

    assert [name_of(pod) for pod in world.pods() if is_terminating(pod)] == [name_of(bad)]


def test_a_surge_makes_the_next_pod_before_the_old_one_goes() -> None:
    world = running(2, **rolling(0, 1))
    set_image(world, "v2")
    beside = (len(world.live_pods("v1")), len(world.live_pods("v2")))
    world.start()

    assert beside == (2, 1)
    assert (leaving(world), len(world.ready_pods())) == (1, 2)
    world.kubelet()
    assert [image_of(pod) for pod in world.live_pods()] == ["v2"] * 2


def test_with_surge_an_old_pod_that_is_not_ready_makes_room_at_once() -> None:
    world = running(1, **rolling(0, 1))
    set_image(world, "v2")
    (old,) = world.live_pods("v1")
    world.report(old, ready=False)

    assert [image_of(pod) for pod in world.live_pods()] == ["v2"]


def test_min_ready_seconds_hold_the_next_replacement() -> None:
    world = running(2, minReadySeconds=10)
    world.pass_time(10)
    set_image(world, "v2")
    world.kubelet()
    world.pass_time(9)
    before = len(world.live_pods("v2"))
    world.pass_time(2)
    world.kubelet()

    assert (before, len(world.live_pods("v2"))) == (1, 2)


def test_on_delete_updates_what_somebody_deletes() -> None:
    world = running(2, updateStrategy={"type": "OnDelete"})
    set_image(world, "v2")
    world.kubelet()
    untouched = len(world.live_pods("v1"))
    world.delete("pods", name_of(world.live_pods()[0]))
    world.kubelet()

    assert (untouched, len(world.live_pods("v1"))) == (2, 1)


def test_a_failed_pod_is_replaced_but_not_faster_than_once_a_second() -> None:
    world = world_with(1)
    (pod,) = world.pods()
    world.report(pod, phase="Failed")
    before = [uid_of(one) for one in world.pods()]
    world.pass_time(1)
    world.kubelet()

    assert before == [uid_of(pod)]
    assert [uid_of(one) for one in world.pods()] != before
    assert world.told("FailedDaemonPod") == [
        f"Found failed daemon pod default/{name_of(pod)} on node node-0, will try to kill it"
    ]


def test_a_pod_that_is_refused_is_told_and_the_nodes_are_counted() -> None:
    world = world_with(2, pod={"serviceAccountName": "nobody"})

    assert world.told("FailedCreate")[0].startswith("Error creating: pods ")
    assert (status(world)["desiredNumberScheduled"], status(world)["numberUnavailable"]) == (2, 2)


def test_the_template_is_counted_whatever_the_caller_sends() -> None:
    world = running(1)
    set_image(world, "v2")
    world.edit(SETS, "agent", lambda obj: obj["metadata"]["annotations"].update({GENERATION: "9"}))
    world.edit(SETS, "agent", lambda obj: obj["metadata"].pop("annotations"))

    assert annotations_of(world.get(SETS, "agent"))[GENERATION] == "2"


def test_revisions_are_numbered_and_those_beyond_the_limit_go() -> None:
    world = running(1, revisionHistoryLimit=1)
    for image in ("v2", "v3", "v1"):
        set_image(world, image)
        world.kubelet()

    assert sorted(item["revision"] for item in world.store.all_of(REVISIONS)) == [3, 4]


def test_deleted_it_takes_pods_and_revisions_along() -> None:
    world = running(2)
    world.delete(SETS, "agent")
    world.kubelet()

    assert (world.pods(), world.store.all_of(REVISIONS)) == ([], [])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (rolling(1, 1), "maxSurge"),
        (rolling(0, 0), "maxUnavailable"),
        (rolling("101%", 0), "maxUnavailable"),
        (rolling(0, "101%"), "maxSurge"),
        (rolling("x", 1), "maxUnavailable"),
    ],
    ids=str,
)
def test_numbers_that_do_not_go_together_are_refused(spec: Obj, field: str) -> None:
    with pytest.raises(StatusError) as refused:
        World().registry.create(SETS, daemon_set(**spec))

    fields = [cause["field"] for cause in refused.value.details["causes"]]
    assert fields == [f"spec.updateStrategy.rollingUpdate.{field}"]
