"""Pods that run to their end: W30 to W38."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj, seconds_of
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.world import Place, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "W30": "A Job is Complete when so many pods have succeeded and none is left; parallelism bounds how many run.",
    "W31": "Without completions, the first success ends the making of pods, and the Job is Complete with the last pod.",
    "W32": "After a failed pod the next one waits 10 s.",
    "W33": "More failures than backoffLimit end a Job: its other pods are deleted and count as failed, and it is Failed"
    " when the last one has ended. Where containers are restarted in place, restarts count.",
    "W34": "activeDeadlineSeconds end a Job, however it goes.",
    "W35": "A finished Job is deleted ttlSecondsAfterFinished later, its pods with it.",
    "W36": "A suspended Job has no pods; they are deleted and do not count. Its time runs from when it is resumed.",
    "W37": "A Job's pods have its name and uid as labels, and a finalizer until their end is counted.",
    "W39": "A pod that the API refuses is told as an event of its owner, whose status is written all the same.",
    "W38": "Selector, completions and template of a Job stand; its pods may not be restarted for ever.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "W32": "embedded reads the waiting time from the pods that are there: a pod that was deleted is waited for no"
    " longer than its object is there, where real waits 10 s from its end.",
    "W38": "embedded has no Indexed Jobs and no podFailurePolicy, and refuses both.",
}
HOLD = "batch.kubernetes.io/job-tracking"


def job(**more: object) -> Obj:
    """A Job `work` whose pods stay Ready on a machine that is too busy to answer each probe in time."""
    probe = manifests.http("ready", failures=5, timeoutSeconds=5)
    return manifests.job("work", readinessProbe=probe, **more)  # type: ignore[arg-type]  # what a Job of puppets takes


def running(place: Place, count: int) -> list[Obj]:
    """Wait until so many pods are Ready; the pods."""
    return sorted(place.wait_ready_pods(count), key=lambda pod: str(pod["metadata"]["name"]))


def end(place: Place, pod: Obj, code: int = 0) -> None:
    """Let a pod's container end."""
    address = pod["status"]["podIP"]
    with pytest.raises(OSError):  # it ends before it answers, one way or another
        place.ask(address, manifests.PORT, f"/exit?code={code}")


def status(place: Place) -> Obj:
    """The Job's."""
    found: Obj = place.get("jobs", "work").get("status") or {}
    return found


def conditions(place: Place) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {each["type"]: (each["status"], each["reason"]) for each in status(place).get("conditions") or []}


def counts(place: Place) -> tuple[int, int, int]:
    """Active, succeeded, failed."""
    found = status(place)
    return found.get("active", 0), found.get("succeeded", 0), found.get("failed", 0)


def finished(place: Place, kind: str, reason: str) -> None:
    """Wait until the Job has ended like this."""
    wait_until(lambda: conditions(place).get(kind) == ("True", reason), what=f"{kind}: {reason}")


@pytest.mark.states("W30", "W37")
def test_a_pod_that_succeeds_completes_a_job(place: Place) -> None:
    place.create(job())
    (pod,) = running(place, 1)
    made = place.get("jobs", "work")
    ours = {"controller-uid": made["metadata"]["uid"], "job-name": "work"}
    labels = {"app": "work", **ours, **{f"batch.kubernetes.io/{key}": value for key, value in ours.items()}}
    assert pod["metadata"]["finalizers"] == [HOLD]
    assert pod["metadata"]["labels"] == made["metadata"]["labels"] == labels
    selector = {"batch.kubernetes.io/controller-uid": made["metadata"]["uid"]}
    assert made["spec"]["selector"] == {"matchLabels": selector}
    wait_until(lambda: status(place).get("ready") == 1, what="the pod to be counted as Ready")
    assert counts(place) == (1, 0, 0)

    end(place, pod)
    finished(place, "Complete", "CompletionsReached")

    found = status(place)
    assert [each["type"] for each in found["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert found["completionTime"] == found["conditions"][1]["lastTransitionTime"]
    assert (counts(place), found["ready"], found["terminating"]) == ((0, 1, 0), 0, 0)
    assert found["uncountedTerminatedPods"] == {}
    assert "finalizers" not in place.get("pods", pod["metadata"]["name"])["metadata"]
    assert place.kubectl("get", "job", "work", "--no-headers").split()[:3] == ["work", "Complete", "1/1"]
    assert "Job completed" in place.kubectl("get", "events", "--field-selector", "involvedObject.kind=Job")
    place.kubectl("wait", "--for=condition=complete", "job/work", "--timeout=5s")


@pytest.mark.states("W30")
def test_parallelism_bounds_how_many_run(place: Place) -> None:
    place.create(job(spec={"completions": 3, "parallelism": 2}))
    first, second = running(place, 2)
    end(place, first)
    wait_until(lambda: counts(place) == (2, 1, 0), what="one success and a next pod")
    end(place, second)
    wait_until(lambda: counts(place) == (1, 2, 0), what="two successes")

    (last,) = running(place, 1)
    end(place, last)
    finished(place, "Complete", "CompletionsReached")
    assert len(place.all("pods")) == 3


@pytest.mark.states("W30")
def test_a_smaller_parallelism_takes_pods_away_that_count_for_nothing(place: Place) -> None:
    place.create(job(spec={"completions": 3, "parallelism": 2}))
    running(place, 2)
    place.patch("jobs", "work", {"spec": {"parallelism": 1}})

    wait_until(lambda: len(place.all("pods")) == 1, what="one pod to be left")
    wait_until(lambda: counts(place) == (1, 0, 0), what="the count")


@pytest.mark.states("W31")
def test_without_completions_the_first_success_ends_the_making_of_pods(place: Place) -> None:
    place.create(job(spec={"parallelism": 2}))
    first, second = running(place, 2)
    end(place, first)
    wait_until(lambda: counts(place) == (1, 1, 0), what="one success")
    end(place, second)
    finished(place, "Complete", "CompletionsReached")

    assert len(place.all("pods")) == 2


@pytest.mark.states("W32")
def test_after_a_failure_the_next_pod_waits(place: Place, measured: Callable[[str, float, str], None]) -> None:
    place.create(job())
    (pod,) = running(place, 1)
    with place.watch("pods") as told:
        end(place, pod, 1)
        failed = told.wait(lambda each: each.object["status"].get("phase") == "Failed")
        again = told.wait(lambda each: each.name != pod["metadata"]["name"])

    (state,) = failed.object["status"]["containerStatuses"]
    waited_s = again.at_s - seconds_of(state["state"]["terminated"]["finishedAt"])
    assert waited_s > 9.9
    measured("a failed pod until the next one", waited_s, "s")
    assert counts(place)[2] == 1


@pytest.mark.states("W33")
def test_too_many_failures_end_a_job_with_its_last_pod(place: Place) -> None:
    place.create(job(strings="term=1", spec={"completions": 2, "parallelism": 2, "backoffLimit": 0}))
    pod, other = running(place, 2)
    with place.watch("jobs") as told:
        end(place, pod, 1)
        finished(place, "Failed", "BackoffLimitExceeded")
        rollouts.caught_up(place, told, "jobs")

    assert counts(place) == (0, 0, 2)
    seen = [tuple(one["type"] for one in each.object["status"].get("conditions") or []) for each in told.happenings]
    assert list(dict.fromkeys(seen)) == [(), ("FailureTarget",), ("FailureTarget", "Failed")]
    place.wait_gone("pods", other["metadata"]["name"])
    assert place.kubectl("get", "job", "work", "--no-headers").split()[:3] == ["work", "Failed", "0/2"]


@pytest.mark.states("W33")
def test_restarts_in_place_count_as_failures(place: Place) -> None:
    place.create(job(restart="OnFailure", spec={"backoffLimit": 1}))
    (pod,) = running(place, 1)
    end(place, pod, 1)

    finished(place, "Failed", "BackoffLimitExceeded")
    place.wait_gone("pods", pod["metadata"]["name"])


@pytest.mark.states("W30")
def test_a_container_that_is_restarted_in_place_may_still_succeed(place: Place) -> None:
    place.create(job(restart="OnFailure"))
    (pod,) = running(place, 1)
    end(place, pod, 1)
    name = pod["metadata"]["name"]
    wait_until(lambda: _restarted(place.get("pods", name)), what="a restart")
    end(place, place.wait_ready(name))

    finished(place, "Complete", "CompletionsReached")
    assert counts(place) == (0, 1, 0)


@pytest.mark.states("W34")
def test_a_deadline_ends_a_job(place: Place) -> None:
    place.create(job(spec={"activeDeadlineSeconds": 4}))
    running(place, 1)

    finished(place, "Failed", "DeadlineExceeded")
    assert counts(place) == (0, 0, 1)


@pytest.mark.states("W35")
def test_a_finished_job_goes_after_its_time_to_live(place: Place) -> None:
    place.create(job(spec={"ttlSecondsAfterFinished": 2}))
    (pod,) = running(place, 1)
    with place.watch("jobs") as told:
        end(place, pod)
        complete = told.wait(lambda each: "completionTime" in (each.object.get("status") or {}))
        gone = told.wait(lambda each: each.type == "DELETED")

    assert gone.at_s - complete.at_s > 0.9  # Complete's time has whole seconds
    assert place.all("pods") == []


@pytest.mark.states("W36")
def test_a_suspended_job_has_no_pods_until_it_is_resumed(place: Place) -> None:
    place.create(job(strings="term=1", spec={"suspend": True}))
    wait_until(lambda: conditions(place) == {"Suspended": ("True", "JobSuspended")}, what="the condition")
    assert place.all("pods") == []
    assert "startTime" not in status(place)

    place.patch("jobs", "work", {"spec": {"suspend": False}})
    running(place, 1)
    assert conditions(place) == {"Suspended": ("False", "JobResumed")}
    assert "startTime" in status(place)

    place.patch("jobs", "work", {"spec": {"suspend": True}})
    wait_until(lambda: not place.all("pods"), what="the pod to be gone")
    wait_until(lambda: (counts(place), status(place)["terminating"]) == ((0, 0, 0), 0), what="the counts")
    assert place.kubectl("get", "job", "work", "--no-headers").split()[:3] == ["work", "Suspended", "0/1"]


@pytest.mark.states("W39")
def test_a_pod_that_is_refused_is_told_and_no_pod_is_counted(place: Place) -> None:
    made = job()
    made["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"
    place.create(made)
    for other in (manifests.stateful_set("web", 1), manifests.daemon_set("agent")):
        other["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"
        place.create(other)

    def told() -> dict[str, str]:
        found = [each for each in place.all("events") if each["reason"] == "FailedCreate"]
        return {each["involvedObject"]["kind"]: each["message"] for each in found}

    messages = wait_until(lambda: len(told()) == 3 and told(), what="three events")
    assert messages
    assert messages["StatefulSet"].startswith('Create Pod web-0 in StatefulSet web failed error: pods "web-0"')
    why = 'is forbidden: error looking up service account {}/nobody: serviceaccount "nobody" not found'
    for kind in ("Job", "DaemonSet", "StatefulSet"):
        assert messages[kind].endswith(why.format(place.namespace))
    wait_until(lambda: "startTime" in status(place), what="the Job's status")
    assert counts(place) == (0, 0, 0)
    wait_until(lambda: place.get("daemonsets", "agent")["status"].get("numberUnavailable") == 1, what="a node's count")
    wait_until(lambda: place.get("statefulsets", "web")["status"].get("observedGeneration") == 1, what="a look")


@pytest.mark.states("W37")
def test_a_deleted_job_takes_its_pods_along(place: Place) -> None:
    place.create(job())
    running(place, 1)
    place.delete("jobs", "work")

    wait_until(lambda: not place.all("pods"), what="the pod to be gone")


@pytest.mark.states("W37")
def test_nothing_holds_the_pods_of_a_job_that_was_deleted_as_an_orphan(place: Place) -> None:
    place.create(job())
    (pod,) = running(place, 1)
    place.kubectl("delete", "job", "work", "--cascade=orphan")

    name = pod["metadata"]["name"]
    wait_until(lambda: "finalizers" not in place.get("pods", name)["metadata"], what="the finalizer to be off")
    assert is_ready(place.get("pods", name))
    place.delete("pods", name)
    place.wait_gone("pods", name)


@pytest.mark.states("W38")
@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"completions": -1}, "spec.completions"),
        ({"podReplacementPolicy": "Any"}, "spec.podReplacementPolicy"),
        ({"selector": {"matchLabels": {"app": "work"}}}, "spec.selector"),
        ({"backoffLimitPerIndex": 1}, "spec.backoffLimitPerIndex"),
    ],
    ids=["completions", "replacement", "selector", "index"],
)
def test_what_cannot_be_is_refused(place: Place, spec: Obj, field: str) -> None:
    code, told = place.world.call("POST", place.path("jobs"), job(spec=spec))

    assert (code, told["reason"]) == (422, "Invalid")
    assert field in [each["field"] for each in told["details"]["causes"]]


@pytest.mark.states("W38")
def test_pods_that_are_always_restarted_are_refused(place: Place) -> None:
    code, told = place.world.call("POST", place.path("jobs"), job(restart="Always"))

    assert code == 422
    (cause,) = told["details"]["causes"]
    assert cause["field"] == "spec.template.spec.restartPolicy"
    assert cause["message"] == 'Required value: valid values: "OnFailure", "Never"'


@pytest.mark.states("W38")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"completions": 3}, "spec.completions"),
        ({"template": {"spec": {"terminationGracePeriodSeconds": 9}}}, "spec.template"),
    ],
    ids=["completions", "template"],
)
def test_what_stands_is_not_changed(place: Place, change: Obj, field: str) -> None:
    place.create(job())

    path = place.path("jobs", "work")
    code, told = place.world.call("PATCH", path, {"spec": change}, "application/merge-patch+json")

    assert (code, told["reason"]) == (422, "Invalid")
    messages = {cause["field"]: cause["message"] for cause in told["details"]["causes"]}
    assert messages[field].endswith("field is immutable")


def _restarted(pod: Obj) -> bool:
    states = pod["status"].get("containerStatuses") or [{}]
    return bool(states[0].get("restartCount")) and is_ready(pod)
