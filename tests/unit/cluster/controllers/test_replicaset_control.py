"""The ReplicaSet controller: creates, deletes, adopts, lets go, counts (R3, R5, D5, D9)."""

from __future__ import annotations

from segue.cluster.controllers.replicaset import ReplicaSetController
from segue.cluster.writes import Create
from segue.model.objects import Obj, Ref, annotations_of, is_terminating, labels_of, name_of, uid_of
from tests.unit.cluster.controllers.small_world import SETS, Dice, World, owner_is, owner_uid


def world_with(replicas: int, **spec: object) -> World:
    """A ReplicaSet without a Deployment, and its pods Ready."""
    world = World()
    world.registry.create(SETS, replica_set(replicas, fields=spec))
    world.settle()
    world.kubelet()
    return world


def replica_set(replicas: int, name: str = "web", *, fields: Obj | None = None) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"note": "kept"}},
                "spec": {"containers": [{"name": "main", "image": "v1"}]},
            },
            **(fields or {}),
        },
    }


def resize(world: World, replicas: int) -> None:
    world.edit(SETS, "web", lambda obj: obj["spec"].update(replicas=replicas))


def test_pods_are_made_from_the_template_and_belong_to_the_set() -> None:
    world = world_with(2)
    pod = world.pods()[0]

    assert len(world.pods()) == 2
    assert labels_of(pod) == {"app": "web"}
    assert annotations_of(pod) == {"note": "kept"}
    assert pod["metadata"]["generateName"] == "web-"
    assert pod["metadata"]["ownerReferences"][0] == {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web",
        "uid": uid_of(world.get(SETS, "web")),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert f"Created pod: {name_of(pod)}" in world.told("SuccessfulCreate")


def test_a_smaller_size_deletes_plainly_and_a_larger_one_creates() -> None:
    """R5: with the pods' own grace."""
    world = world_with(4)
    resize(world, 1)
    going = [pod for pod in world.pods() if is_terminating(pod)]
    assert len(going) == 3
    assert {pod["metadata"]["deletionGracePeriodSeconds"] for pod in going} == {30}
    assert len(world.told("SuccessfulDelete")) == 3
    resize(world, 2)

    assert len(world.live_pods()) == 2


def test_a_set_scaled_to_nothing_deletes_all() -> None:
    """R3."""
    world = world_with(3)
    resize(world, 0)
    world.kubelet()

    assert not world.pods()


def test_at_most_500_pods_are_made_in_one_look_and_the_rest_in_the_next() -> None:
    """R3."""
    world = World(nodes=10)
    world.registry.create(SETS, replica_set(620))
    ref = Ref(resource=SETS, namespace="default", name="web")
    first = ReplicaSetController(Dice(9)).reconcile(world.manager.view, ref, world.clock.now_s())
    assert sum(isinstance(write, Create) for write in first.writes) == 500
    world.settle()

    assert len(world.pods()) == 620


def test_ended_pods_are_replaced_and_stay_as_objects() -> None:
    world = world_with(2)
    first = world.pods()[0]
    world.report(first, phase="Failed")
    world.kubelet()

    assert len(world.ready_pods()) == 2
    assert name_of(first) in world.names("pods")


def test_terminating_pods_are_replaced_at_once() -> None:
    """D9."""
    world = world_with(2)
    world.delete("pods", name_of(world.pods()[0]))
    status = world.get(SETS, "web")["status"]

    assert len(world.live_pods()) == 2
    assert (status["replicas"], status["terminatingReplicas"]) == (2, 1)


def test_a_relabelled_pod_is_let_go_and_replaced() -> None:
    """The orphaning of a release: it lives on, and nobody deletes it."""
    world = world_with(2)
    pod = name_of(world.pods()[0])
    world.relabel("pods", pod, app="orphan")

    assert owner_uid(world.get("pods", pod)) == ""
    assert len(world.pods()) == 3
    resize(world, 0)
    world.kubelet()
    assert world.names("pods") == [pod]


def test_a_pod_that_matches_and_has_no_owner_is_taken_in() -> None:
    world = world_with(2)
    stray: Obj = {
        "metadata": {"name": "stray", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "v1"}]},
    }
    world.registry.create("pods", stray)
    world.settle()

    assert len(world.live_pods()) == 2
    resize(world, 3)
    assert all(owner_is(pod, world.get(SETS, "web")) for pod in world.live_pods())


def test_a_pod_of_somebody_else_is_not_taken_in() -> None:
    world = world_with(1)
    world.registry.create(SETS, replica_set(1, "twin"))
    world.settle()

    assert len(world.live_pods()) == 2
    assert [item["spec"]["replicas"] for item in world.sets()] == [1, 1]


def test_the_status_counts_ready_available_and_labelled() -> None:
    """D5."""
    world = world_with(2, minReadySeconds=10)
    world.pass_time(5)
    early = world.get(SETS, "web")["status"]
    assert (early["replicas"], early["readyReplicas"], early.get("availableReplicas", 0)) == (2, 2, 0)
    world.pass_time(5)
    late = world.get(SETS, "web")["status"]

    assert (late["availableReplicas"], late["fullyLabeledReplicas"], late["observedGeneration"]) == (2, 2, 1)


def test_availability_is_looked_at_in_the_second_in_which_it_comes() -> None:
    world = world_with(1, minReadySeconds=600)

    assert world.wake_in_s == 600


def test_a_brake_of_an_int32_never_ends() -> None:
    world = world_with(1, minReadySeconds=2**31 - 2)
    world.pass_time(10 * 365 * 86_400)

    assert world.get(SETS, "web")["status"].get("availableReplicas", 0) == 0


def test_a_set_that_is_gone_takes_its_pods_with_it() -> None:
    world = world_with(3)
    world.delete(SETS, "web")
    world.kubelet()

    assert not world.pods()


def test_a_set_that_is_deleted_in_the_foreground_makes_no_new_pods() -> None:
    world = world_with(2)
    world.delete(SETS, "web", propagation="Foreground")
    world.end(1)
    assert len(world.pods()) == 1
    assert world.names(SETS) == ["web"]
    world.end()

    assert not world.names(SETS)
