"""Deployments over time: rolling, rolling back, recreating, scaling in between, and the brake."""

from __future__ import annotations

import pytest

from segue.model.objects import Obj, is_ready, name_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, SETS, World, image_of, rolling

BRAKE = {"minReadySeconds": 2**31 - 2, "progressDeadlineSeconds": 2**31 - 1}


def running(replicas: int, **spec: object) -> World:
    """A world with one complete Deployment of v1."""
    world = World()
    world.deploy(replicas=replicas, fields=spec)
    world.kubelet()
    return world


def change(world: World, **spec: object) -> None:
    """Change several fields of the Deployment in one write; `image` is one of them."""

    def edit(obj: Obj) -> None:
        image = spec.pop("image", None)
        if image:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
        obj["spec"].update(spec)

    world.edit(DEPLOYMENTS, "web", edit)


def test_a_fresh_deployment_becomes_one_replica_set_with_all_pods() -> None:
    world = running(3)

    assert world.sizes() == [3]
    assert len(world.ready_pods("v1")) == 3
    assert world.told("ScalingReplicaSet") == [f"Scaled up replica set {name_of(world.sets()[0])} from 0 to 3"]


def test_a_template_change_raises_the_new_set_and_lowers_the_old_by_the_fenceposts() -> None:
    """D2 to D4 with the defaults at 10: surge 3, unavailable 2."""
    world = running(10)
    world.set_image("v2")

    assert world.sizes() == [8, 5]
    assert len(world.live_pods()) == 13


def test_a_rollout_ends_with_the_new_pods_alone() -> None:
    world = running(10)
    world.set_image("v2")
    world.kubelet()

    assert world.sizes() == [0, 10]
    assert len(world.pods()) == len(world.ready_pods("v2")) == 10


def test_pods_that_never_become_ready_keep_the_old_ones_serving() -> None:
    """D4, D6."""
    world = running(4, strategy=rolling(1, 0))
    world.set_image("broken")
    world.pass_time(300)

    assert world.sizes() == [4, 1]
    assert len(world.ready_pods("v1")) == 4


def test_full_surge_gives_one_old_pod_for_each_available_new_one() -> None:
    """D7."""
    world = running(4, strategy=rolling("100%", 0))
    world.set_image("v2")
    seen = [tuple(world.sizes())]
    while world.start(1):
        seen.append(tuple(world.sizes()))

    assert seen == [(4, 4), (3, 4), (2, 4), (1, 4), (0, 4)]


def test_terminating_pods_are_not_counted() -> None:
    """D9: the rollout completes while all old pods are still alive, and their number is told (D14)."""
    world = running(3, strategy=rolling(1, 0))
    world.set_image("v2")
    while world.start():
        pass
    status = world.get(DEPLOYMENTS, "web")["status"]

    assert len(world.pods()) == 6
    assert (status["replicas"], status["availableReplicas"], status["updatedReplicas"]) == (3, 3, 3)
    assert status["terminatingReplicas"] == 3
    assert world.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


def test_min_ready_seconds_delay_the_old_pods_end() -> None:
    """D5."""
    world = running(2, strategy=rolling(1, 0))
    change(world, image="v2", minReadySeconds=10)
    world.start()
    world.pass_time(9)
    assert world.sizes() == [2, 1]
    world.pass_time(2)

    assert world.sizes() == [1, 2]


def test_the_brake_brings_all_new_pods_up_beside_all_old_ones() -> None:
    """M5: old sets keep their own minReadySeconds, so their pods stay available."""
    world = running(10)
    change(world, image="v2", strategy=rolling("100%", 0), **BRAKE)
    world.start()
    world.pass_time(86_400)

    assert world.sizes() == [10, 10]
    assert len(world.ready_pods("v1")) == len(world.ready_pods("v2")) == 10
    assert [item["spec"].get("minReadySeconds", 0) for item in world.sets()] == [0, 2**31 - 2]


def test_the_old_template_put_back_under_the_brake_moves_nothing() -> None:
    world = running(3)
    template = world.get(DEPLOYMENTS, "web")["spec"]["template"]
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
    change(world, image="v2", minReadySeconds=500, strategy=strategy)
    world.kubelet()
    assert world.sizes() == [3, 3]
    sizes_before = {name_of(item): item["spec"]["replicas"] for item in world.sets()}

    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(template=template))
    world.pass_time(10)

    assert {name_of(item): item["spec"]["replicas"] for item in world.sets()} == sizes_before
    assert [item["spec"]["minReadySeconds"] for item in world.sets()] == [500, 500]


def test_taking_the_brake_off_ends_the_old_pods() -> None:
    """M7."""
    world = running(3)
    change(world, image="v2", strategy=rolling("100%", 0), **BRAKE)
    world.start()
    change(world, minReadySeconds=0)

    assert world.sizes() == [0, 3]


def test_changing_min_ready_seconds_alone_starts_no_rollout() -> None:
    """D11, M5."""
    world = running(3)
    change(world, minReadySeconds=5, paused=False)

    assert world.sizes() == [3]
    assert world.sets()[0]["spec"]["minReadySeconds"] == 5


def test_under_the_brake_lowering_the_old_set_by_one_raises_the_new_one_by_one() -> None:
    """M8."""
    world = running(4)
    change(world, image="v2", strategy=rolling(1, 0), **BRAKE)
    assert world.sizes() == [4, 1]
    world.start()
    world.edit(SETS, name_of(world.set_of("v1")), lambda obj: obj["spec"].update(replicas=3))

    assert world.sizes() == [3, 2]


def test_scaling_in_mid_rollout_spreads_over_both_sets() -> None:
    """D15, M10."""
    world = running(4)
    change(world, image="v2", strategy=rolling(1, 0), **BRAKE)
    old = name_of(world.set_of("v1"))
    world.edit(SETS, old, lambda obj: obj["spec"].update(replicas=3))
    world.edit(SETS, old, lambda obj: obj["spec"].update(replicas=2))
    assert world.sizes() == [2, 3]
    world.scale(6)

    assert world.sizes() == [3, 4]


def test_a_second_template_removes_the_broken_intermediate_version_first() -> None:
    """D17."""
    world = running(10)
    world.set_image("broken")
    world.set_image("v3")

    assert len(world.ready_pods("v1")) == 8
    assert len(world.live_pods("broken")) < 5
    while world.start(image="v3") + world.end():
        pass
    assert len(world.ready_pods("v3")) == 10


def test_rolling_back_uses_the_old_set_again_under_a_new_revision() -> None:
    """D12."""
    world = running(3)
    world.set_image("v2")
    world.kubelet()
    first = name_of(world.set_of("v1"))
    world.set_image("v1")
    world.kubelet()
    back = world.set_of("v1")

    assert name_of(back) == first
    assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    assert world.get(DEPLOYMENTS, "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len(world.ready_pods("v1")) == 3


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_old_sets_beyond_the_history_limit_go_once_the_rollout_is_complete(limit: int) -> None:
    """D12: with limit 0 there is nothing to go back to."""
    world = running(1, revisionHistoryLimit=limit)
    for image in ("v2", "v3", "v4"):
        world.set_image(image)
        world.kubelet()

    assert [image_of(item["spec"]["template"]) for item in world.sets()] == ["v1", "v2", "v3", "v4"][3 - limit :]


def test_the_history_is_kept_while_a_rollout_is_under_way() -> None:
    """D12."""
    world = running(2, revisionHistoryLimit=0, strategy=rolling(1, 0))
    world.set_image("broken")

    assert len(world.sets()) == 2


def test_recreate_waits_until_no_old_pod_is_left() -> None:
    """D10: a terminating pod counts as there."""
    world = running(3, strategy={"type": "Recreate"})
    world.set_image("v2")
    assert world.sizes() == [0]
    world.end(2)
    assert world.sizes() == [0]
    world.end(1)

    assert world.sizes() == [0, 3]
    assert not world.pods("v1")


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    """D15."""
    world = running(3)
    change(world, image="v2", paused=True)
    assert world.sizes() == [3]
    world.scale(5)
    assert world.sizes() == [5]
    change(world, paused=False)

    assert world.sizes() == [4, 3]


@pytest.mark.parametrize(
    "field", ["replicas", "strategy", "minReadySeconds", "paused", "revisionHistoryLimit", "progressDeadlineSeconds"]
)
def test_fields_outside_the_template_start_no_rollout(field: str) -> None:
    """D11."""
    values = {
        "replicas": 5,
        "strategy": rolling(2, 0),
        "minReadySeconds": 7,
        "paused": True,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 50,
    }
    world = running(3)
    change(world, **{field: values[field]})

    assert len(world.sets()) == 1


def test_any_byte_of_the_template_starts_a_rollout() -> None:
    """D11: an annotation is enough; that is what `kubectl rollout restart` does."""
    world = running(3)

    def restart(obj: Obj) -> None:
        obj["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}

    world.edit(DEPLOYMENTS, "web", restart)

    assert len(world.sets()) == 2


def test_deleting_a_pod_by_hand_brings_another_one() -> None:
    world = running(3)
    world.delete("pods", name_of(world.pods()[0]))

    assert len(world.live_pods()) == 3
    assert len(world.pods()) == 4


def test_hand_scaling_the_new_set_is_taken_back() -> None:
    world = running(3)
    world.edit(SETS, name_of(world.sets()[0]), lambda obj: obj["spec"].update(replicas=6))

    assert world.sizes() == [3]


def test_scaling_goes_on_although_the_set_has_the_size_already() -> None:
    """A stale desired-replicas annotation must not hold every later rollout up."""
    world = running(3)
    world.annotate(SETS, name_of(world.sets()[0]), "deployment.kubernetes.io/desired-replicas", "7")
    world.set_image("v2")
    world.kubelet()

    assert world.sizes() == [0, 3]


def test_scaling_to_nothing_and_back_keeps_the_revision() -> None:
    world = running(3)
    world.scale(0)
    world.kubelet()
    assert not world.pods()
    world.scale(2)
    world.kubelet()

    assert world.sizes() == [2]
    assert all(is_ready(pod) for pod in world.pods())
