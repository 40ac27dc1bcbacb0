"""What a Job has counted, and how it ends: pods that succeeded and failed, each once (W30, W33).

A pod's end goes three steps, each one write: its uid is listed as uncounted, its finalizer is taken off, its uid turns
into one more in `succeeded` or `failed`. Whoever stops between two steps goes on with the next and counts none twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.cluster.controllers.job.pods import has_failed, is_held, is_leaving, phase_of
from segue.cluster.controllers.pods import is_active
from segue.model.objects import Obj, condition_of, rfc3339, seconds_of, uid_of

SUCCEEDING, FAILING, SUSPENDED = "SuccessCriteriaMet", "FailureTarget", "Suspended"
_ENDS = {SUCCEEDING: "Complete", FAILING: "Failed"}


@dataclass(slots=True, kw_only=True)
class Tally:
    """The counts of one look; `succeeded` and `failed` are those that the status has."""

    succeeded: int
    failed: int
    uncounted_succeeded: list[str]
    uncounted_failed: list[str]
    fresh_succeeded: list[Obj] = field(default_factory=list)  # ended, and nothing of it is written yet
    fresh_failed: list[Obj] = field(default_factory=list)

    @property
    def all_succeeded(self) -> int:
        """Counted or not."""
        return self.succeeded + len(self.uncounted_succeeded) + len(self.fresh_succeeded)

    @property
    def all_failed(self) -> int:
        """Counted or not."""
        return self.failed + len(self.uncounted_failed) + len(self.fresh_failed)

    @property
    def settled(self) -> bool:
        """Whether no uid is listed as uncounted."""
        return not self.uncounted_succeeded and not self.uncounted_failed

    def list_failed(self, pods: Sequence[Obj]) -> None:
        """Take these ends in as failures."""
        known = {*self.uncounted_failed, *self.uncounted_succeeded}
        self.uncounted_failed += [uid_of(pod) for pod in pods if uid_of(pod) not in known]


def tally_of(job: Obj, pods: Sequence[Obj]) -> Tally:
    """The status's counts, with those whose finalizer is off turned into numbers, and the ends that are new."""
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    held = {uid_of(pod) for pod in pods if is_held(pod)}
    succeeded, failed = list(uncounted.get("succeeded") or []), list(uncounted.get("failed") or [])
    tally = Tally(
        succeeded=int(status.get("succeeded") or 0) + sum(1 for uid in succeeded if uid not in held),
        failed=int(status.get("failed") or 0) + sum(1 for uid in failed if uid not in held),
        uncounted_succeeded=[uid for uid in succeeded if uid in held],
        uncounted_failed=[uid for uid in failed if uid in held],
    )
    listed = {*succeeded, *failed}
    fresh = [pod for pod in pods if is_held(pod) and uid_of(pod) not in listed]
    tally.fresh_succeeded = [pod for pod in fresh if phase_of(pod) == "Succeeded"]
    tally.fresh_failed = [pod for pod in fresh if phase_of(pod) != "Succeeded" and has_failed(job, pod)]
    return tally


def condition(kind: str, reason: str, message: str, now_s: float, *, status: str = "True") -> Obj:
    """A fresh condition of a Job."""
    at = rfc3339(now_s)
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": at,
        "lastTransitionTime": at,
        "reason": reason,
        "message": message,
    }


def is_true(job: Obj, kind: str) -> bool:
    """Whether a condition of the Job is True."""
    return (condition_of(job, kind) or {}).get("status") == "True"


def finished_s(job: Obj) -> float | None:
    """When the Job became Complete or Failed; None where it has not."""
    for kind in _ENDS.values():
        found = condition_of(job, kind)
        if found is not None and found.get("status") == "True":
            return seconds_of(found["lastTransitionTime"])
    return None


def end_of(target: Obj, now_s: float) -> Obj:
    """The condition that ends the Job after its target (SuccessCriteriaMet, FailureTarget) was decided."""
    return condition(_ENDS[target["type"]], target["reason"], target["message"], now_s)


def status_with(job: Obj, tally: Tally, pods: Sequence[Obj], conditions: Sequence[Obj]) -> Obj:
    """The Job's status: pods as they will be after this look, counts, conditions; startTime is the caller's."""
    active = [pod for pod in pods if is_active(pod)]
    ready = sum(1 for pod in active if (condition_of(pod, "Ready") or {}).get("status") == "True")
    uncounted = {"succeeded": tally.uncounted_succeeded, "failed": tally.uncounted_failed}
    counts = {"active": len(active), "succeeded": tally.succeeded, "failed": tally.failed}
    status: Obj = {
        **{key: count for key, count in counts.items() if count},
        "ready": ready,
        "terminating": sum(1 for pod in pods if is_leaving(pod)),
        "uncountedTerminatedPods": {key: uids for key, uids in uncounted.items() if uids},
    }
    if conditions:
        status["conditions"] = list(conditions)
    return status
