"""How a Deployment finds, takes in, lets go and numbers ReplicaSets."""

from __future__ import annotations

from segue.cluster.controllers.deployment.revisions import find_new, template_hash
from segue.model.objects import Obj, annotations_of, labels_of, name_of, uid_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, SETS, World, owner_is, owner_uid, rolling


def detached(world: World, image: str) -> str:
    """Relabel the ReplicaSet object so that the Deployment lets it go; its name."""
    name = name_of(world.set_of(image))
    world.relabel(SETS, name, app="detached")
    return name


def running(**spec: object) -> World:
    world = World()
    world.deploy(replicas=3, fields=spec)
    world.kubelet()
    return world


def test_a_relabelled_replica_set_is_let_go_and_keeps_its_pods() -> None:
    """The detaching of a release: nothing that happens to the Deployment then touches the old pods."""
    world = running(strategy=rolling("100%", 0), progressDeadlineSeconds=2**31 - 1, minReadySeconds=0)

    def braked(obj: Obj) -> None:
        obj["spec"]["minReadySeconds"] = 2**31 - 2
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"

    world.edit(DEPLOYMENTS, "web", braked)
    name = detached(world, "v1")
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(minReadySeconds=0))
    world.kubelet()

    assert owner_uid(world.get(SETS, name)) == ""
    assert len(world.ready_pods("v1")) == len(world.ready_pods("v2")) == 3
    assert world.condition("Available")["status"] == "True"
    status = world.get(DEPLOYMENTS, "web")["status"]
    assert (status["replicas"], status["availableReplicas"], status["updatedReplicas"]) == (3, 3, 3)


def test_a_detached_set_still_heals_its_pods() -> None:
    world = running()
    world.set_image("v2")
    detached(world, "v1")
    world.delete("pods", name_of(world.live_pods("v1")[0]))

    assert len(world.live_pods("v1")) == 3


def test_restoring_the_label_takes_the_set_back_and_history_is_whole() -> None:
    world = running()
    world.set_image("v2")
    name = detached(world, "v1")
    world.kubelet()
    world.edit(SETS, name, lambda obj: obj["spec"].update(replicas=0))
    world.relabel(SETS, name, app="web")
    world.kubelet()

    assert owner_uid(world.get(SETS, name)) == owner_uid(world.set_of("v2"))
    assert world.sizes() == [0, 3]
    assert "collisionCount" not in world.get(DEPLOYMENTS, "web")["status"]
    world.set_image("v1")
    assert name_of(world.set_of("v1")) == name


def test_detaching_before_the_template_changes_makes_a_hash_collision() -> None:
    """The trap: the Deployment makes a second full ReplicaSet of the same version under another hash."""
    world = running()
    name = detached(world, "v1")
    world.kubelet()

    assert world.get(DEPLOYMENTS, "web")["status"]["collisionCount"] == 1
    assert len(world.sets()) == 2
    assert len(world.live_pods("v1")) == 6
    assert len({labels_of(item)["pod-template-hash"] for item in world.sets()}) == 2
    assert owner_uid(world.get(SETS, name)) == ""


def test_a_set_of_somebody_else_is_left_alone_although_the_selector_matches_it() -> None:
    world = running()
    other = world.deploy(name="other", replicas=1)

    def take_over(obj: Obj) -> None:
        obj["metadata"]["ownerReferences"][0].update(name="other", uid=uid_of(other))

    world.edit(SETS, name_of(world.set_of("v1")), take_over)
    world.kubelet()

    theirs = [item for item in world.sets() if owner_is(item, other)]
    mine = [item for item in world.sets() if owner_is(item, world.get(DEPLOYMENTS, "web"))]
    assert len(theirs) + len(mine) == len(world.sets())
    assert sum(item["spec"]["replicas"] for item in mine) == 3


def test_a_set_that_matches_the_selectors_of_another_deployment_changes_hands() -> None:
    world = running()
    world.deploy(name="other", replicas=1)
    name = name_of(world.get(DEPLOYMENTS, "web"))
    moved = name_of(next(item for item in world.sets() if owner_is(item, world.get(DEPLOYMENTS, name))))
    world.relabel(SETS, moved, app="other")

    assert owner_is(world.get(SETS, moved), world.get(DEPLOYMENTS, "other"))


def test_the_oldest_set_of_the_template_is_the_new_one() -> None:
    """D11."""
    template: Obj = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a"}]}}

    def made(name: str, at: str, **more: str) -> Obj:
        labels = {"app": "web", "pod-template-hash": name, **more}
        return {
            "metadata": {"name": name, "creationTimestamp": at},
            "spec": {"template": {**template, "metadata": {"labels": labels, "annotations": {}}}},
        }

    sets = [made("b", "2027-01-01T00:00:02Z"), made("a", "2027-01-01T00:00:01Z"), made("c", "2026", tier="x")]

    assert find_new(template, sets) is sets[1]
    assert find_new({**template, "spec": {}}, sets) is None


def test_the_hash_depends_on_content_and_collisions_but_not_on_order_or_its_own_label() -> None:
    one: Obj = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"x": 1}}
    same: Obj = {"spec": {"x": 1}, "metadata": {"labels": {"b": "2", "a": "1", "pod-template-hash": "zzz"}}}

    assert template_hash(one, None) == template_hash(same, None)
    assert len({template_hash(one, None), template_hash(one, 1), template_hash(one, 2)}) == 3
    assert template_hash({**one, "spec": {"x": 2}}, None) != template_hash(one, None)
    assert set(template_hash(one, None)) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_annotations_of_the_deployment_go_with_the_new_set_but_not_what_is_its_own() -> None:
    world = World()
    made = world.deploy(replicas=1)
    world.annotate(DEPLOYMENTS, name_of(made), "kubernetes.io/change-cause", "because")
    world.annotate(DEPLOYMENTS, name_of(made), "kubectl.kubernetes.io/last-applied-configuration", "{}")
    annotations = annotations_of(world.sets()[0])

    assert annotations["kubernetes.io/change-cause"] == "because"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations
    assert annotations["deployment.kubernetes.io/desired-replicas"] == "1"
    assert annotations["deployment.kubernetes.io/max-replicas"] == "2"
    assert annotations["deployment.kubernetes.io/revision"] == "1"


def test_the_hash_is_on_the_set_its_selector_and_its_pods() -> None:
    world = running()
    made = world.sets()[0]
    value = labels_of(made)["pod-template-hash"]

    assert name_of(made) == f"web-{value}"
    assert made["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": value}
    assert {labels_of(pod)["pod-template-hash"] for pod in world.pods()} == {value}
    assert all(name_of(pod).startswith(f"web-{value}-") for pod in world.pods())
