"""What a Deployment says of itself: counts, Available, Progressing and its deadline (D9, D13, D14)."""

from __future__ import annotations

from segue.model.objects import Obj, name_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, World, rolling


def progress(world: World) -> tuple[str, str]:
    found = world.condition("Progressing")
    return found["status"], found["reason"]


def test_the_way_of_a_rollout_is_told_by_its_reasons() -> None:
    world = World()
    world.deploy(replicas=2)
    seen = [progress(world)]
    world.start(1)
    seen.append(progress(world))
    world.start(1)
    seen.append(progress(world))

    assert seen == [("True", "ReplicaSetUpdated"), ("True", "ReplicaSetUpdated"), ("True", "NewReplicaSetAvailable")]
    assert "has successfully progressed" in world.condition("Progressing")["message"]


def test_a_new_set_is_told_as_created_before_any_pod_is_counted() -> None:
    world = World()
    reasons: list[str] = []

    def listen(event: object) -> None:
        obj: Obj = event.obj  # type: ignore[attr-defined]  # a StoreEvent
        for item in obj.get("status", {}).get("conditions") or []:
            if obj["kind"] == "Deployment" and item["type"] == "Progressing" and item["reason"] not in reasons:
                reasons.append(item["reason"])

    world.store.subscribe(listen)
    world.deploy(replicas=2)
    world.kubelet()

    assert reasons == ["NewReplicaSetCreated", "ReplicaSetUpdated", "NewReplicaSetAvailable"]


def test_available_follows_the_pods() -> None:
    world = World()
    world.deploy(replicas=4, strategy=rolling(1, 1))
    assert world.condition("Available")["reason"] == "MinimumReplicasUnavailable"
    world.start(3)
    assert world.condition("Available")["status"] == "True"
    world.report(world.ready_pods()[0], ready=False)

    assert world.condition("Available")["status"] == "False"


def test_a_deadline_that_passes_is_told_and_stops_nothing() -> None:
    """D13."""
    world = World()
    world.deploy(replicas=2, progressDeadlineSeconds=30)
    world.kubelet()
    world.set_image("broken")
    world.pass_time(29)
    assert progress(world)[1] == "ReplicaSetUpdated"
    world.pass_time(4)

    assert progress(world) == ("False", "ProgressDeadlineExceeded")
    assert world.sizes() == [2, 1]
    world.kubelet()
    assert progress(world) == ("True", "NewReplicaSetAvailable")


def test_progress_starts_the_deadline_anew() -> None:
    """D13."""
    world = World()
    world.deploy(replicas=4, progressDeadlineSeconds=30)
    for _ in range(3):
        world.pass_time(20)
        world.start(1)

    assert progress(world) == ("True", "ReplicaSetUpdated")


def test_a_complete_deployment_does_not_time_out() -> None:
    """D13."""
    world = World()
    world.deploy(replicas=2, progressDeadlineSeconds=30)
    world.kubelet()
    world.report(world.pods()[0], ready=False)
    world.pass_time(3600)

    assert progress(world) == ("True", "NewReplicaSetAvailable")


def test_a_paused_deployment_does_not_time_out_and_says_so() -> None:
    """D13."""
    world = World()
    world.deploy(replicas=2, progressDeadlineSeconds=30)
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(paused=True))
    world.pass_time(3600)
    assert progress(world) == ("Unknown", "DeploymentPaused")
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(paused=False))

    assert progress(world) == ("Unknown", "DeploymentResumed")


def test_without_a_deadline_there_is_no_progressing_condition() -> None:
    """The brake's int32 deadline takes the condition away."""
    world = World()
    world.deploy(replicas=2, progressDeadlineSeconds=2**31 - 1)
    world.kubelet()

    assert world.condition("Progressing") == {}
    assert world.condition("Available")["status"] == "True"


def test_the_counts_are_those_of_the_sets_and_zeros_are_left_out() -> None:
    world = World()
    world.deploy(replicas=3, strategy=rolling(1, 0))
    world.start(2)
    status = {key: value for key, value in world.get(DEPLOYMENTS, "web")["status"].items() if key != "conditions"}

    assert status == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "unavailableReplicas": 1,
        "terminatingReplicas": 0,
    }


def test_every_change_of_the_spec_is_observed() -> None:
    world = World()
    world.deploy(replicas=1)
    world.scale(2)
    made = world.get(DEPLOYMENTS, "web")

    assert made["status"]["observedGeneration"] == made["metadata"]["generation"] == 2


def test_a_failure_to_create_pods_shows_on_the_deployment() -> None:
    world = World()

    def unknown_account(obj: Obj) -> None:
        obj["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"

    world.deploy(replicas=1)
    world.kubelet()
    world.edit(DEPLOYMENTS, "web", unknown_account)
    failure = world.condition("ReplicaFailure")

    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    assert "nobody" in failure["message"]
    assert any("nobody" in text for text in world.told("FailedCreate"))
    assert len(world.ready_pods()) == 1
    world.registry.create("serviceaccounts", {"metadata": {"name": "nobody", "namespace": "default"}})
    world.pass_time(20)
    world.kubelet()
    assert world.condition("ReplicaFailure") == {}
    assert name_of(world.ready_pods()[0]).startswith(name_of(world.sets()[1]))
