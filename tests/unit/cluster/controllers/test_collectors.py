"""Garbage and namespaces: what goes with what, and what stays behind."""

from __future__ import annotations

from segue.model.objects import Obj, Ref, is_terminating, name_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, SETS, World, owner_uid


def running() -> World:
    world = World()
    world.deploy(replicas=2)
    world.serve()
    world.kubelet()
    return world


def owned(name: str, *owners: Obj, **more: object) -> Obj:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name_of(owner), "uid": owner["metadata"]["uid"], **more}
        for owner in owners
    ]
    return {"metadata": {"name": name, "namespace": "default", "ownerReferences": references}}


def test_a_deleted_deployment_takes_sets_and_pods_with_it() -> None:
    world = running()
    world.delete(DEPLOYMENTS, "web")
    world.kubelet()

    assert world.names(SETS) == world.names("pods") == []
    assert world.names("services") == ["kubernetes", "web"]


def test_pods_of_a_deleted_deployment_get_their_grace() -> None:
    world = running()
    world.delete(DEPLOYMENTS, "web")

    assert [pod["metadata"]["deletionGracePeriodSeconds"] for pod in world.pods()] == [30, 30]


def test_in_the_foreground_the_owner_waits_for_what_blocks_it() -> None:
    world = World()
    owner = world.registry.create("configmaps", {"metadata": {"name": "one"}})
    child = owned("child", owner, blockOwnerDeletion=True)
    child["metadata"]["finalizers"] = ["example.org/held"]
    world.registry.create("configmaps", child)
    world.delete("configmaps", "one", propagation="Foreground")
    assert world.get("configmaps", "one")["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert world.get("configmaps", "child")["metadata"]["deletionTimestamp"]
    world.edit("configmaps", "child", lambda obj: obj["metadata"].update(finalizers=[]))

    assert not {"one", "child"} & set(world.names("configmaps"))


def test_in_the_foreground_the_owner_does_not_wait_for_what_does_not_block_it() -> None:
    world = World()
    owner = world.registry.create("configmaps", {"metadata": {"name": "one"}})
    child = owned("child", owner)
    child["metadata"]["finalizers"] = ["example.org/held"]
    world.registry.create("configmaps", child)
    world.delete("configmaps", "one", propagation="Foreground")

    assert "one" not in world.names("configmaps")


def test_in_the_foreground_a_deployment_goes_last() -> None:
    world = running()
    world.delete(DEPLOYMENTS, "web", propagation="Foreground")
    assert world.names(DEPLOYMENTS) == ["web"]
    assert [is_terminating(item) for item in world.sets()] == [True]
    assert [is_terminating(pod) for pod in world.pods()] == [True, True]

    for pod in world.pods():
        world.delete("pods", name_of(pod), grace_s=0)

    assert world.names(DEPLOYMENTS) == world.names(SETS) == world.names("pods") == []


def test_orphaned_dependents_stay_without_an_owner() -> None:
    world = running()
    world.delete(DEPLOYMENTS, "web", propagation="Orphan")
    world.kubelet()

    assert world.names(DEPLOYMENTS) == []
    assert [owner_uid(item) for item in world.sets()] == [""]
    assert len(world.ready_pods()) == 2


def test_an_orphaned_set_is_taken_in_by_the_next_deployment_of_its_selector() -> None:
    world = running()
    before = world.names("pods")
    world.delete(DEPLOYMENTS, "web", propagation="Orphan")
    world.deploy(replicas=2)

    assert world.names("pods") == before
    assert len(world.sets()) == 1


def test_an_object_stays_while_one_of_its_owners_is_there() -> None:
    world = World()
    one, two = (world.registry.create("configmaps", {"metadata": {"name": name}}) for name in ("one", "two"))
    world.registry.create("configmaps", owned("child", one, two))
    world.delete("configmaps", "one")
    child = world.get("configmaps", "child")
    assert [item["name"] for item in child["metadata"]["ownerReferences"]] == ["two"]
    world.delete("configmaps", "two")

    assert "child" not in world.names("configmaps")


def test_an_owner_that_never_was_takes_its_dependent_with_it() -> None:
    world = World()
    ghost: Obj = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}}
    world.registry.create("configmaps", owned("child", ghost))
    world.settle()

    assert "child" not in world.names("configmaps")


def test_a_twin_of_the_owners_name_is_not_the_owner() -> None:
    world = World()
    owner = world.registry.create("configmaps", {"metadata": {"name": "one"}})
    world.registry.create("configmaps", owned("child", owner))
    world.registry.delete(Ref(resource="configmaps", namespace="default", name="one"))
    world.registry.create("configmaps", {"metadata": {"name": "one"}})
    world.settle()

    assert world.names("configmaps") == ["one"]


def test_a_terminating_namespace_waits_for_its_pods_and_goes() -> None:
    world = World()
    world.registry.create("namespaces", {"metadata": {"name": "shop"}})
    pod: Obj = {
        "metadata": {"name": "alone", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": "v1"}]},
    }
    world.registry.create("pods", pod)
    world.registry.create("configmaps", {"metadata": {"name": "settings", "namespace": "shop"}})
    world.settle()
    world.delete("namespaces", "shop")
    assert world.store.all_of("configmaps", "shop") == []
    assert len(world.store.all_of("pods", "shop")) == 1
    assert world.get("namespaces", "shop")["status"]["phase"] == "Terminating"
    world.registry.delete(Ref(resource="pods", namespace="shop", name="alone"), grace_s=0)
    world.settle()

    assert Ref(resource="namespaces", namespace="", name="shop") not in [
        Ref(resource="namespaces", namespace="", name=name_of(item)) for item in world.store.all_of("namespaces")
    ]


def test_other_namespaces_are_left_alone() -> None:
    world = running()
    world.registry.create("namespaces", {"metadata": {"name": "shop"}})
    world.delete("namespaces", "shop")

    assert "shop" not in [name_of(item) for item in world.store.all_of("namespaces")]
    assert len(world.ready_pods()) == 2
