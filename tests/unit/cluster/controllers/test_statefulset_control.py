"""StatefulSets in virtual time: names that stay, order, updates from the top, revisions."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.history import REVISIONS, data_of, revision_hash
from segue.cluster.registry import Patch
from segue.model.errors import StatusError
from segue.model.http import STRATEGIC_PATCH
from segue.model.objects import Obj, Ref, is_terminating, labels_of, name_of, uid_of
from tests.unit.cluster.controllers.small_world import World, deployment, image_of, owner_is, owner_uid

SETS = "statefulsets.apps"


def world_with(replicas: int = 3, **spec: object) -> World:
    """A world with one StatefulSet `web`; its kubelet has not looked yet."""
    world = World()
    world.registry.create(SETS, stateful_set(replicas=replicas, **spec))
    world.settle()
    return world


def stateful_set(**spec: object) -> Obj:
    made = deployment()
    made["spec"] |= {"serviceName": "web", **spec}
    return made


def running(replicas: int = 3, **spec: object) -> World:
    world = world_with(replicas, **spec)
    world.kubelet()
    return world


def set_image(world: World, image: str) -> None:
    world.edit(SETS, "web", lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image=image))


def scale(world: World, replicas: int) -> None:
    world.edit(SETS, "web", lambda obj: obj["spec"].update(replicas=replicas))


def status(world: World) -> Obj:
    found: Obj = world.get(SETS, "web")["status"]
    return found


def names(world: World) -> list[str]:
    return [name_of(pod) for pod in world.live_pods()]


def leaving(world: World) -> list[str]:
    return [name_of(pod) for pod in world.pods() if is_terminating(pod)]


def images(world: World) -> list[str]:
    return [image_of(pod) for pod in world.live_pods()]


def rolling(**more: object) -> Obj:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": more}}


def test_pods_come_one_after_the_other_each_when_the_one_before_is_ready() -> None:
    world = world_with(3)
    seen = [names(world)]
    while world.start():
        seen.append(names(world))

    assert seen == [["web-0"], ["web-0", "web-1"], ["web-0", "web-1", "web-2"], ["web-0", "web-1", "web-2"]]
    assert world.told("SuccessfulCreate")[0] == "Create Pod web-0 in StatefulSet web successful"


def test_a_pod_has_the_identity_of_its_ordinal() -> None:
    world = running(1, ordinals={"start": 5})
    (pod,) = world.pods()

    assert name_of(pod) == "web-5"
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-5", "web")
    assert labels_of(pod) == {
        "app": "web",
        "apps.kubernetes.io/pod-index": "5",
        "controller-revision-hash": status(world)["currentRevision"],
        "statefulset.kubernetes.io/pod-name": "web-5",
    }
    assert owner_is(pod, world.get(SETS, "web"))


def test_parallel_pods_come_all_at_once() -> None:
    assert names(world_with(3, podManagementPolicy="Parallel")) == ["web-0", "web-1", "web-2"]


def test_min_ready_seconds_hold_the_next_pod() -> None:
    world = world_with(2, minReadySeconds=10)
    world.start()
    world.pass_time(9)
    before = names(world)
    world.pass_time(1)

    assert (before, names(world)) == (["web-0"], ["web-0", "web-1"])


def test_a_scale_down_takes_the_highest_and_waits_until_it_is_gone() -> None:
    world = running(3)
    scale(world, 0)
    seen = [leaving(world)]
    while world.end():
        seen.append(leaving(world))

    assert seen == [["web-2"], ["web-1"], ["web-0"], []]


def test_a_parallel_scale_down_takes_all_at_once() -> None:
    world = running(3, podManagementPolicy="Parallel")
    scale(world, 1)

    assert leaving(world) == ["web-1", "web-2"]


def test_an_ordered_scale_down_waits_for_a_lower_pod_to_be_ready() -> None:
    world = running(3)
    world.report(world.get("pods", "web-0"), ready=False)
    scale(world, 1)
    held = leaving(world)
    world.start()

    assert (held, leaving(world)) == ([], ["web-2"])


def test_a_pod_comes_again_only_after_the_one_of_its_name_is_gone() -> None:
    world = running(2)
    before = uid_of(world.get("pods", "web-0"))
    world.delete("pods", "web-0")
    waiting = names(world)
    world.end()

    assert waiting == ["web-1"]
    assert uid_of(world.get("pods", "web-0")) != before


def test_a_pod_that_ended_is_replaced() -> None:
    world = running(1)
    before = uid_of(world.get("pods", "web-0"))
    world.report(world.get("pods", "web-0"), phase="Failed")
    world.kubelet()

    assert uid_of(world.get("pods", "web-0")) != before


def test_an_update_goes_from_the_top_one_at_a_time() -> None:
    world = running(3)
    set_image(world, "v2")
    seen = []
    while leaving(world):
        seen.append(leaving(world))
        assert len(world.ready_pods()) == 2
        world.end()
        world.start()

    assert seen == [["web-2"], ["web-1"], ["web-0"]]
    assert images(world) == ["v2"] * 3
    assert status(world)["currentRevision"] == status(world)["updateRevision"]


def test_an_update_stops_at_a_pod_that_never_gets_ready() -> None:
    world = running(3)
    set_image(world, "v2")
    world.end()

    assert (images(world), leaving(world)) == (["v1", "v1", "v2"], [])
    assert (status(world)["currentReplicas"], status(world)["updatedReplicas"]) == (2, 1)


def test_a_partition_keeps_the_pods_below_it_even_when_they_are_deleted() -> None:
    world = running(3, **rolling(partition=2))
    set_image(world, "v2")
    world.kubelet()
    world.delete("pods", "web-0")
    world.kubelet()

    assert images(world) == ["v1", "v1", "v2"]
    assert status(world)["currentRevision"] != status(world)["updateRevision"]


@pytest.mark.parametrize(("amount", "taken"), [(2, 2), ("50%", 2), ("10%", 1)])
def test_an_update_takes_as_many_as_may_be_unavailable(amount: int | str, taken: int) -> None:
    world = running(4, **rolling(maxUnavailable=amount))
    set_image(world, "v2")

    assert leaving(world) == ["web-2", "web-3"][-taken:]


def test_a_parallel_update_takes_what_serves_nobody_first_and_keeps_to_its_bound() -> None:
    world = running(4, podManagementPolicy="Parallel")
    world.report(world.get("pods", "web-1"), ready=False)
    set_image(world, "v2")

    assert leaving(world) == ["web-1"]


def test_on_delete_leaves_pods_until_somebody_deletes_them() -> None:
    world = running(2, updateStrategy={"type": "OnDelete"})
    set_image(world, "v2")
    world.kubelet()
    untouched = images(world)
    world.delete("pods", "web-0")
    world.kubelet()

    assert (untouched, images(world)) == (["v1", "v1"], ["v2", "v1"])


def test_each_template_has_one_revision_and_going_back_renumbers_it() -> None:
    world = running(1)
    first = status(world)["currentRevision"]
    set_image(world, "v2")
    world.kubelet()
    set_image(world, "v1")
    world.kubelet()

    numbers = {name_of(item): item["revision"] for item in world.store.all_of(REVISIONS)}
    assert len(numbers) == 2
    assert numbers[first] == 3
    assert status(world)["currentRevision"] == first
    assert {owner_uid(item) for item in world.store.all_of(REVISIONS)} == {uid_of(world.get(SETS, "web"))}


def test_revisions_beyond_the_limit_go() -> None:
    world = running(1, revisionHistoryLimit=1)
    for image in ("v2", "v3", "v4"):
        set_image(world, image)
        world.kubelet()

    kept = sorted(item["revision"] for item in world.store.all_of(REVISIONS))
    assert kept == [3, 4]


def test_a_revision_patched_back_brings_its_template_back() -> None:
    """What `kubectl rollout undo` does."""
    world = running(1)
    first = world.get(REVISIONS, status(world)["currentRevision"])
    set_image(world, "v2")
    world.kubelet()
    ref = Ref(resource=SETS, namespace="default", name="web")
    world.registry.patch(ref, Patch(content_type=STRATEGIC_PATCH, body=first["data"]))
    world.kubelet()

    assert images(world) == ["v1"]
    assert status(world)["currentRevision"] == name_of(first)


def test_a_hash_is_the_one_that_a_real_cluster_makes() -> None:
    """Recorded from a Kubernetes 1.37 for this template: equal templates have equal names there and here."""
    container = {
        "image": "host.org/testbed/pause:v1",
        "imagePullPolicy": "IfNotPresent",
        "name": "main",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    spec = {
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 1,
    }

    assert revision_hash(data_of({"metadata": {"labels": {"app": "db"}}, "spec": spec}), 0) == "9f466d868"


def test_deleted_as_an_orphan_it_leaves_pods_that_the_next_takes_up() -> None:
    world = running(2)
    pods = {name_of(pod): uid_of(pod) for pod in world.pods()}
    world.delete(SETS, "web", propagation="Orphan")
    world.kubelet()
    alone = [owner_uid(pod) for pod in world.pods()]
    world.registry.create(SETS, stateful_set(replicas=2))
    world.settle()

    assert alone == ["", ""]
    assert {name_of(pod): uid_of(pod) for pod in world.pods()} == pods
    assert all(owner_is(pod, world.get(SETS, "web")) for pod in world.pods())
    assert len(world.store.all_of(REVISIONS)) == 1


def test_deleted_it_takes_pods_and_revisions_along() -> None:
    world = running(2)
    world.delete(SETS, "web")
    world.kubelet()

    assert (world.pods(), world.store.all_of(REVISIONS)) == ([], [])


def test_a_pod_that_is_refused_is_told() -> None:
    world = world_with(1, template={**stateful_set()["spec"]["template"], "spec": _with_account("nobody")})

    assert world.pods() == []
    assert world.told("FailedCreate")[0].startswith("Create Pod web-0 in StatefulSet web failed error: ")
    assert (status(world)["observedGeneration"], status(world)["replicas"]) == (1, 0)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"podManagementPolicy": "Any"}, "spec.podManagementPolicy"),
        ({"updateStrategy": {"type": "Recreate"}}, "spec.updateStrategy"),
        (rolling(maxUnavailable=0), "spec.updateStrategy.rollingUpdate.maxUnavailable"),
        (rolling(maxUnavailable="101%"), "spec.updateStrategy.rollingUpdate.maxUnavailable"),
        (rolling(partition=-1), "spec.updateStrategy.rollingUpdate.partition"),
        ({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}}, "spec.updateStrategy.rollingUpdate"),
        ({"ordinals": {"start": -1}}, "spec.ordinals.start"),
        ({"serviceName": "A_b"}, "spec.serviceName"),
        ({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}, "spec.volumeClaimTemplates"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_its_field(spec: Obj, field: str) -> None:
    with pytest.raises(StatusError) as refused:
        World().registry.create(SETS, stateful_set(**spec))

    assert field in [cause["field"] for cause in refused.value.details["causes"]]


@pytest.mark.parametrize("change", [{"serviceName": "other"}, {"podManagementPolicy": "Parallel"}], ids=str)
def test_what_stands_is_not_changed(change: Obj) -> None:
    world = world_with(1)

    with pytest.raises(StatusError, match="field is immutable"):
        world.edit(SETS, "web", lambda obj: obj["spec"].update(change))


def _with_account(name: str) -> Obj:
    return {**stateful_set()["spec"]["template"]["spec"], "serviceAccountName": name}
