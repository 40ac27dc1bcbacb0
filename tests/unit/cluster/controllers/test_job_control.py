"""Jobs in virtual time: how many pods, which ends count, when it is over."""

from __future__ import annotations

import pytest

from segue.model.errors import StatusError
from segue.model.objects import Obj, is_terminating, labels_of, name_of, rfc3339, uid_of
from tests.unit.cluster.controllers.small_world import World, deployment, owner_is

JOBS = "jobs.batch"
HOLD = "batch.kubernetes.io/job-tracking"


def job(*, restart: str = "Never", **spec: object) -> Obj:
    template = deployment(name="work")["spec"]["template"]
    template["spec"]["restartPolicy"] = restart
    return {"metadata": {"name": "work", "namespace": "default"}, "spec": {"template": template, **spec}}


def world_with(*, restart: str = "Never", **spec: object) -> World:
    world = World()
    world.registry.create(JOBS, job(restart=restart, **spec))
    world.settle()
    return world


def end(world: World, pod: Obj, phase: str = "Succeeded") -> None:
    """Let a pod's container end now."""
    before = world.get("pods", name_of(pod))
    finished = {"terminated": {"exitCode": int(phase == "Failed"), "finishedAt": rfc3339(world.clock.now_s())}}
    status = {**before["status"], "containerStatuses": [{"name": "main", "state": finished}]}
    before = {**before, "status": status}
    world.registry.update("pods", before, subresource="status")
    world.report(before, phase=phase, ready=False)


def end_all(world: World, phase: str = "Succeeded") -> int:
    """Let all pods end that have not; how many did."""
    pods = world.live_pods()
    for pod in pods:
        end(world, pod, phase)
    return len(pods)


def status(world: World) -> Obj:
    found: Obj = world.get(JOBS, "work")["status"]
    return found


def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status(world).get("conditions") or []}


def counts(world: World) -> tuple[int, int, int]:
    found = status(world)
    return found.get("active", 0), found.get("succeeded", 0), found.get("failed", 0)


def test_one_pod_that_succeeds_completes_a_job() -> None:
    world = world_with()
    (pod,) = world.pods()
    running = counts(world)
    end(world, pod)

    assert (running, counts(world)) == ((1, 0, 0), (0, 1, 0))
    assert conditions(world) == {
        "SuccessCriteriaMet": ("True", "CompletionsReached"),
        "Complete": ("True", "CompletionsReached"),
    }
    found = status(world)
    assert found["completionTime"] == found["conditions"][1]["lastTransitionTime"]
    assert (found["ready"], found["terminating"], found["uncountedTerminatedPods"]) == (0, 0, {})
    assert world.told("Completed") == ["Job completed"]


def test_a_pod_bears_its_job_and_a_finalizer_until_its_end_is_counted() -> None:
    world = world_with()
    (pod,) = world.pods()
    uid = uid_of(world.get(JOBS, "work"))
    ours = {"controller-uid": uid, "job-name": "work"}

    assert pod["metadata"]["finalizers"] == [HOLD]
    assert labels_of(pod) == {
        "app": "work",
        **ours,
        **{f"batch.kubernetes.io/{key}": value for key, value in ours.items()},
    }
    assert owner_is(pod, world.get(JOBS, "work"))
    assert world.get(JOBS, "work")["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    end(world, pod)
    assert "finalizers" not in world.pods()[0]["metadata"]


def test_parallelism_bounds_the_pods_and_completions_end_them() -> None:
    world = world_with(completions=5, parallelism=2)
    seen = []
    while ended := end_all(world):
        seen.append(ended)

    assert seen == [2, 2, 1]
    assert counts(world) == (0, 5, 0)
    assert "Complete" in conditions(world)


def test_without_completions_one_success_ends_the_making_of_pods() -> None:
    world = world_with(parallelism=3)
    first, *others = world.live_pods()
    end(world, first)
    between = (counts(world), conditions(world))
    for pod in others:
        end(world, pod)

    assert between == ((2, 1, 0), {})
    assert (counts(world), "Complete" in conditions(world)) == ((0, 3, 0), True)


def test_a_smaller_parallelism_takes_pods_away_that_count_for_nothing() -> None:
    world = world_with(completions=5, parallelism=3)
    world.edit(JOBS, "work", lambda obj: obj["spec"].update(parallelism=1))
    world.end()

    assert (counts(world), len(world.pods())) == ((1, 0, 0), 1)


def test_after_a_failure_the_next_pod_waits_ten_seconds_then_twice_that() -> None:
    world = world_with()
    waits = []
    for expected_s in (10, 20):
        end_all(world, "Failed")
        world.pass_time(expected_s - 1)
        early = len(world.live_pods())
        world.pass_time(2)
        waits.append((early, len(world.live_pods())))

    assert waits == [(0, 1), (0, 1)]
    assert counts(world) == (1, 0, 2)


def test_more_failures_than_the_limit_end_the_job_and_its_other_pods() -> None:
    world = world_with(completions=3, parallelism=3, backoffLimit=1)
    first, second, third = world.live_pods()
    world.start()
    end(world, first, "Failed")
    end(world, second, "Failed")

    assert is_terminating(world.get("pods", name_of(third)))
    assert conditions(world) == {"FailureTarget": ("True", "BackoffLimitExceeded")}
    world.end()
    assert conditions(world)["Failed"] == ("True", "BackoffLimitExceeded")
    assert counts(world) == (0, 0, 3)
    assert world.told("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


def test_restarts_of_containers_count_as_failures_where_they_are_restarted_in_place() -> None:
    world = world_with(restart="OnFailure", backoffLimit=2)
    (pod,) = world.pods()
    before = {**pod, "status": {**pod["status"], "containerStatuses": [{"name": "main", "restartCount": 2}]}}
    world.registry.update("pods", before, subresource="status")
    world.report(world.get("pods", name_of(pod)))
    world.kubelet()

    assert conditions(world)["Failed"] == ("True", "BackoffLimitExceeded")


def test_a_deadline_ends_the_job_wherever_it_is() -> None:
    world = world_with(activeDeadlineSeconds=30)
    world.start()
    world.pass_time(29)
    before = conditions(world)
    world.pass_time(2)
    world.end()

    assert before == {}
    assert conditions(world)["Failed"] == ("True", "DeadlineExceeded")
    assert counts(world) == (0, 0, 1)


def test_a_finished_job_goes_when_its_time_to_live_is_over() -> None:
    world = world_with(ttlSecondsAfterFinished=60)
    end_all(world)
    world.pass_time(59)
    before = world.names(JOBS)
    world.pass_time(2)
    world.kubelet()

    assert (before, world.names(JOBS), world.pods()) == (["work"], [], [])


def test_a_suspended_job_has_no_pods_and_its_time_begins_when_it_is_resumed() -> None:
    world = world_with(suspend=True)
    asleep = (world.pods(), conditions(world), "startTime" in status(world))
    world.edit(JOBS, "work", lambda obj: obj["spec"].update(suspend=False))

    assert asleep == ([], {"Suspended": ("True", "JobSuspended")}, False)
    assert conditions(world) == {"Suspended": ("False", "JobResumed")}
    assert (counts(world), "startTime" in status(world)) == ((1, 0, 0), True)


def test_suspending_takes_pods_away_that_count_for_nothing() -> None:
    world = world_with()
    world.start()
    world.edit(JOBS, "work", lambda obj: obj["spec"].update(suspend=True))
    leaving = (counts(world), status(world)["terminating"])
    world.end()

    assert leaving == ((0, 0, 0), 1)
    assert (world.pods(), counts(world)) == ([], (0, 0, 0))


@pytest.mark.parametrize(("policy", "pods"), [("TerminatingOrFailed", 2), ("Failed", 1)])
def test_a_deleted_pod_is_replaced_at_once_or_when_it_has_ended(policy: str, pods: int) -> None:
    world = world_with(podReplacementPolicy=policy, backoffLimit=5)
    world.start()
    world.delete("pods", name_of(world.pods()[0]))
    world.pass_time(11)

    assert len(world.pods()) == pods


def test_a_deleted_job_lets_its_pods_go() -> None:
    world = world_with(completions=2, parallelism=2)
    world.start()
    world.delete(JOBS, "work")
    world.kubelet()

    assert (world.names(JOBS), world.pods()) == ([], [])


def test_a_job_deleted_as_an_orphan_leaves_pods_that_nothing_holds() -> None:
    world = world_with()
    world.delete(JOBS, "work", propagation="Orphan")

    (pod,) = world.pods()
    assert "finalizers" not in pod["metadata"]
    assert "ownerReferences" not in pod["metadata"]


def test_a_pod_that_is_refused_is_told_and_no_pod_is_counted() -> None:
    world = World()
    made = job()
    made["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"
    world.registry.create(JOBS, made)
    world.settle()

    assert world.told("FailedCreate")[0].startswith("Error creating: pods ")
    assert counts(world) == (0, 0, 0)
    assert "startTime" in status(world)


def test_an_end_is_counted_once_wherever_the_controller_stops() -> None:
    """Steps of one reconcile at a time: the uid is listed, the finalizer goes, the count rises."""
    world = world_with(completions=2, parallelism=1)
    seen = []
    (pod,) = world.pods()
    before = world.get("pods", name_of(pod))
    world.registry.update(
        "pods", {**before, "status": {**before["status"], "phase": "Succeeded"}}, subresource="status"
    )
    object.__setattr__(world.manager.settings, "reconciles_per_step", 1)
    while world.manager.step(world.clock.now_s()) == 0.0:
        found = status(world)
        seen.append(found.get("succeeded", 0) + len(found["uncountedTerminatedPods"].get("succeeded") or []))

    assert seen[-1] == 1
    assert max(seen) == 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"completions": -1}, "spec.completions"),
        ({"completionMode": "Indexed", "completions": 1}, "spec.completionMode"),
        ({"podFailurePolicy": {"rules": []}}, "spec.podFailurePolicy"),
        ({"podReplacementPolicy": "x"}, "spec.podReplacementPolicy"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "spec.selector"),
        ({"manualSelector": True}, "spec.selector"),
        ({"backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_its_field(spec: Obj, field: str) -> None:
    with pytest.raises(StatusError) as refused:
        World().registry.create(JOBS, job(**spec))

    assert refused.value.details["causes"][0]["field"] == field


def test_pods_that_are_always_restarted_never_end_and_are_refused() -> None:
    with pytest.raises(StatusError, match='valid values: "OnFailure", "Never"'):
        World().registry.create(JOBS, job(restart="Always"))


def test_a_selector_is_made_once() -> None:
    world = world_with()

    with pytest.raises(StatusError, match=r"spec\.selector: Required value"):
        world.edit(JOBS, "work", lambda obj: obj["spec"].pop("selector"))


def test_the_template_stands_but_for_where_pods_of_a_suspended_job_may_be() -> None:
    world = world_with(suspend=True)
    world.edit(JOBS, "work", lambda obj: obj["spec"]["template"]["spec"].update(nodeSelector={"name": "node-0"}))

    with pytest.raises(StatusError, match="field is immutable"):
        world.edit(JOBS, "work", lambda obj: obj["spec"]["template"]["spec"].update(hostNetwork=True))
