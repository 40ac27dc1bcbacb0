"""What DELETE does: grace (T1), only ever shorter (T2), force (T13), finalizers, preconditions."""

from __future__ import annotations

import pytest

from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, seconds_of
from tests.unit.cluster.api_world import DEPLOYMENTS, ApiWorld, deployment, pod_ref

WEB = Ref(resource=DEPLOYMENTS, namespace="default", name="web")


def ends_in_s(world: ApiWorld, pod: Obj) -> float:
    return seconds_of(pod["metadata"]["deletionTimestamp"]) - world.clock.at_s


def test_a_running_pod_gets_its_own_grace() -> None:
    world = ApiWorld()
    world.run_pod(grace_s=120)
    pod = world.registry.delete(pod_ref())

    assert (ends_in_s(world, pod), pod["metadata"]["deletionGracePeriodSeconds"]) == (120, 120)
    assert pod["metadata"]["generation"] == 2 and world.store.get(pod_ref()) is pod


def test_an_asked_grace_replaces_the_pods_own() -> None:
    world = ApiWorld()
    world.run_pod(grace_s=30)

    assert ends_in_s(world, world.registry.delete(pod_ref(), grace_s=1)) == 1


def test_a_negative_grace_counts_as_one_second() -> None:
    world = ApiWorld()
    world.run_pod()

    assert world.registry.delete(pod_ref(), grace_s=-5)["metadata"]["deletionGracePeriodSeconds"] == 1


def test_an_unscheduled_pod_leaves_at_once() -> None:
    world = ApiWorld()
    world.registry.create("pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    world.registry.delete(pod_ref())

    assert world.store.get(pod_ref()) is None


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_ended_pod_leaves_at_once(phase: str) -> None:
    world = ApiWorld()
    pod = world.run_pod()
    world.registry.update("pods", {**pod, "status": {"phase": phase}}, subresource="status")
    world.registry.delete(pod_ref())

    assert world.store.get(pod_ref()) is None


def test_only_force_removes_a_running_pod_at_once() -> None:
    world = ApiWorld()
    world.run_pod()
    before = int(world.registry.delete(pod_ref(), grace_s=9)["metadata"]["resourceVersion"])
    world.registry.delete(pod_ref(), grace_s=0)
    seen = [
        (event.kind, event.obj["metadata"]["deletionGracePeriodSeconds"]) for event in world.store.events_after(before)
    ]

    assert world.store.get(pod_ref()) is None
    assert seen == [("MODIFIED", 0), ("DELETED", 0)]


def test_a_second_delete_shortens_and_never_lengthens() -> None:
    world = ApiWorld()
    world.run_pod(grace_s=60)
    first = world.registry.delete(pod_ref())
    world.clock.at_s += 5
    longer = world.registry.delete(pod_ref(), grace_s=90)
    plain = world.registry.delete(pod_ref())
    shorter = world.registry.delete(pod_ref(), grace_s=10)

    assert longer is first and plain is first
    assert (ends_in_s(world, shorter), shorter["metadata"]["deletionGracePeriodSeconds"]) == (5, 10)


def test_a_shortened_deletion_never_ends_in_the_past() -> None:
    world = ApiWorld()
    world.run_pod(grace_s=60)
    world.registry.delete(pod_ref())
    world.clock.at_s += 30
    shorter = world.registry.delete(pod_ref(), grace_s=10)

    assert (ends_in_s(world, shorter), shorter["metadata"]["deletionGracePeriodSeconds"]) == (1, 1)


def test_a_finalizer_holds_an_object_until_it_is_taken_off() -> None:
    world = ApiWorld()
    held = deployment()
    held["metadata"]["finalizers"] = ["example.org/hold"]
    world.registry.create(DEPLOYMENTS, held)
    marked = world.registry.delete(WEB)
    still = world.store.get(WEB)
    metadata = {key: value for key, value in marked["metadata"].items() if key != "finalizers"}
    world.registry.update(DEPLOYMENTS, {**marked, "metadata": metadata})

    assert still is marked and marked["metadata"]["deletionTimestamp"]
    assert world.store.get(WEB) is None


def test_no_finalizer_is_added_to_what_is_being_deleted() -> None:
    world = ApiWorld()
    held = deployment()
    held["metadata"]["finalizers"] = ["example.org/hold"]
    world.registry.create(DEPLOYMENTS, held)
    marked = world.registry.delete(WEB)
    more = {**marked["metadata"], "finalizers": ["example.org/hold", "example.org/more"]}

    with pytest.raises(StatusError, match="no new finalizers can be added"):
        world.registry.update(DEPLOYMENTS, {**marked, "metadata": more})


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_propagation_is_left_to_the_collector_by_a_finalizer(propagation: str, finalizer: str) -> None:
    world = ApiWorld()
    world.registry.create(DEPLOYMENTS, deployment())
    answer = world.call(
        "DELETE", "/apis/apps/v1/namespaces/default/deployments/web", {"propagationPolicy": propagation}
    )

    assert answer.body["metadata"]["finalizers"] == [finalizer]


def test_a_wrong_uid_deletes_nothing() -> None:
    world = ApiWorld()
    world.run_pod()
    with pytest.raises(StatusError, match=r"the UID in the precondition \(other\) does not match") as raised:
        world.registry.delete(pod_ref(), uid="other")

    assert raised.value.code == 409 and world.store.get(pod_ref()) is not None


def test_what_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(StatusError, match='pods "p" not found') as raised:
        ApiWorld().registry.delete(pod_ref())

    assert raised.value.code == 404


def test_the_default_namespace_stays() -> None:
    with pytest.raises(StatusError, match="this namespace may not be deleted"):
        ApiWorld().registry.delete(Ref(resource="namespaces", namespace="", name="default"))


def test_a_control_plane_puts_its_own_service_back() -> None:
    world = ApiWorld()
    ref = Ref(resource="services", namespace="default", name="kubernetes")
    before = world.registry.read(ref)
    world.registry.delete(ref)

    assert world.registry.read(ref)["metadata"]["uid"] != before["metadata"]["uid"]
