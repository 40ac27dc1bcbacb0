"""The Job controller: pods until so many have succeeded, or too many have failed (W30-W39).

Rule 1: an end is counted once (see `counting`); a Job is finished only when nothing is left to count or to end.
Rule 2: every object is written at most once per look, the status before finalizers, these before deletions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from segue.cluster.controllers import owners
from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.controllers.job import counting
from segue.cluster.controllers.job.counting import Tally, condition, end_of, is_true, status_with, tally_of
from segue.cluster.controllers.job.pods import (
    back_off_s,
    has_failed,
    is_held,
    is_leaving,
    let_go,
    phase_of,
    pod_for,
    replaces_failed_only,
    restarts,
)
from segue.cluster.controllers.naming import free_names
from segue.cluster.controllers.pods import is_active
from segue.cluster.controllers.ranking import first_to_go
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Outcome, Say, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    condition_of,
    controller_of,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    rfc3339,
    seconds_of,
    uid_of,
)
from segue.ports import Chance

RESOURCE = "jobs.batch"
COMPONENT = "job-controller"
JOB_NAME = "batch.kubernetes.io/job-name"  # label of its pods
OURS = "kubernetes.io/job-controller"  # spec.managedBy of a Job that this controller keeps
BURST = 500  # creates or deletes of one look


@dataclass(slots=True, kw_only=True)
class _Look:
    """A Job, its pods, and what one look has decided so far."""

    job: Obj
    pods: Sequence[Obj]
    tally: Tally
    now_s: float
    conditions: list[Obj] = field(default_factory=list)
    started_at: str | None = None
    made: int = 0
    deleted: list[Obj] = field(default_factory=list)
    uncounted: bool = False  # what is deleted is no failure: its finalizer goes with it
    target: Obj | None = None  # SuccessCriteriaMet or FailureTarget
    told: list[Write] = field(default_factory=list)
    wake_in_s: float | None = None

    @property
    def active(self) -> list[Obj]:
        """Pods that count for parallelism."""
        return [pod for pod in self.pods if is_active(pod)]

    @property
    def suspended(self) -> bool:
        """spec.suspend."""
        return bool(self.job["spec"].get("suspend"))

    def wake(self, after_s: float) -> None:
        """Look again no later than this."""
        self.wake_in_s = after_s if self.wake_in_s is None else min(self.wake_in_s, after_s)


class JobController:
    """Runs pods to their end."""

    name = "job"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The Job itself, and the Job that a pod has, had, or bears the finalizer of."""
        if event.ref.resource == RESOURCE:
            return [event.ref]
        if event.ref.resource != "pods":
            return []
        found = owners.controlling(event, RESOURCE, "Job")
        if is_held(event.obj) and JOB_NAME in labels_of(event.obj):
            found.add(Ref(resource=RESOURCE, namespace=event.ref.namespace, name=labels_of(event.obj)[JOB_NAME]))
        return sorted(found)

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Count ends, make or delete pods, and say how far it is."""
        job = view.get(ref)
        strays = [Update(resource="pods", obj=let_go(pod)) for pod in _strays(view, ref)]
        if strays:
            return Outcome(writes=tuple(strays), because="nobody counts pods of a Job that is gone")
        if job is None or job["spec"].get("managedBy") not in (None, OURS):
            return NOTHING
        finished_s = counting.finished_s(job)
        if finished_s is not None:
            return _expired(ref, job, finished_s, now_s)
        claim = owners.claim(job, "pods", owners.claimable(view, job, "pods"))
        if claim.writes:
            return Outcome(writes=claim.writes, because="pods to adopt or release")
        look = _look_at(job, claim.owned, now_s)
        _decide(look)
        return self._outcome(view, look)

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """A pod that may not be created or deleted is said, and those that are there are counted."""
        job, message = view.get(ref), refusal.error.message
        match refusal.write:
            case Create(resource="pods") if job is not None:
                told = _say(job, "Warning", "FailedCreate", f"Error creating: {message}")
                pods = view.owned_by(uid_of(job), "pods", ref.namespace)
                status = _status(_look_at(job, pods, refusal.now_s), None)
                if status == job.get("status"):
                    return (told,)
                return (told, Update(resource=RESOURCE, obj={**job, "status": status}, status=True))
            case Delete(ref=Ref(resource="pods")) if job is not None:
                return (_say(job, "Warning", "FailedDelete", f"Error deleting: {message}"),)
            case _:
                return ()

    def _outcome(self, view: View, look: _Look) -> Outcome:
        job = look.job
        released = _count(look)
        finished = _finish(look, released)
        writes: list[Write] = []
        names = free_names(view, self._chance, namespace_of(job), f"{name_of(job)}-", look.made)
        for name in names:
            writes.append(Create(resource="pods", obj=pod_for(job, name)))
            writes.append(_say(job, "Normal", "SuccessfulCreate", f"Created pod: {name}"))
        status = _status(look, finished)
        if status != (job.get("status") or {}):
            writes.append(Update(resource=RESOURCE, obj={**job, "status": status}, status=True))
        writes += [Update(resource="pods", obj=let_go(pod)) for pod in released]
        for pod in look.deleted:
            ref = Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod))
            writes.append(Delete(ref=ref, uid=uid_of(pod)))
            writes.append(_say(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
        return Outcome(writes=(*writes, *look.told), wake_in_s=look.wake_in_s)


def _look_at(job: Obj, pods: Sequence[Obj], now_s: float) -> _Look:
    """A look that has decided nothing yet."""
    status = job.get("status") or {}
    suspended = bool(job["spec"].get("suspend"))
    return _Look(
        job=job,
        pods=pods,
        tally=tally_of(job, pods),
        now_s=now_s,
        conditions=list(status.get("conditions") or []),
        started_at=status.get("startTime") or (None if suspended else rfc3339(now_s)),
    )


def _decide(look: _Look) -> None:
    """Whether it has come to an end; if not, how many pods there are to be."""
    look.target = _known_target(look) or _failure(look)
    if look.target is not None:
        look.deleted = look.active
        return
    if is_terminating(look.job):
        return
    _manage(look)
    active = len(look.active) - len(look.deleted) + look.made
    completions = look.job["spec"].get("completions")
    wanted = 1 if completions is None else completions
    if active == 0 and look.tally.all_succeeded >= wanted:
        text = "Reached expected number of succeeded pods"
        look.target = condition(counting.SUCCEEDING, "CompletionsReached", text, look.now_s)
    else:
        _tell_suspended(look)


def _known_target(look: _Look) -> Obj | None:
    return next(
        (condition_of(look.job, kind) for kind in (counting.SUCCEEDING, counting.FAILING) if is_true(look.job, kind)),
        None,
    )


def _failure(look: _Look) -> Obj | None:
    """Too many failures, too many restarts, or too much time."""
    spec = look.job["spec"]
    limit = spec.get("backoffLimit", 6)
    again = restarts(look.pods) if spec["template"]["spec"].get("restartPolicy") == "OnFailure" else 0
    if look.tally.all_failed > limit or again >= max(1, limit):
        text = "Job has reached the specified backoff limit"
        return condition(counting.FAILING, "BackoffLimitExceeded", text, look.now_s)
    deadline_s = spec.get("activeDeadlineSeconds")
    if deadline_s is None or look.started_at is None or look.suspended:
        return None
    left_s = seconds_of(look.started_at) + deadline_s - look.now_s
    if left_s <= 0:
        text = "Job was active longer than specified deadline"
        return condition(counting.FAILING, "DeadlineExceeded", text, look.now_s)
    look.wake(left_s)
    return None


def _manage(look: _Look) -> None:
    """As many active pods as parallelism and what is left to succeed allow."""
    spec, active = look.job["spec"], look.active
    if look.suspended:
        look.deleted, look.uncounted = active, True
        return
    completions, succeeded = spec.get("completions"), look.tally.all_succeeded
    wanted = spec.get("parallelism", 1)
    if completions is not None:
        wanted = max(0, min(wanted, completions - succeeded))
    elif succeeded:
        wanted = len(active)  # the work is done: who still runs may end, nobody is added
    surplus = len(active) - wanted
    if surplus > 0:
        look.deleted, look.uncounted = first_to_go(active, [], look.now_s)[: min(surplus, BURST)], True
        return
    leaving = sum(1 for pod in look.pods if is_leaving(pod)) if replaces_failed_only(look.job) else 0
    missing = wanted - leaving - len(active)
    if missing <= 0:
        return
    wait_s = back_off_s(look.job, look.pods, look.now_s)
    if wait_s > 0:
        look.wake(wait_s)
    else:
        look.made = min(missing, BURST)


def _tell_suspended(look: _Look) -> None:
    """The condition Suspended follows spec.suspend; time runs from the last resumption."""
    known = condition_of(look.job, counting.SUSPENDED)
    if look.suspended == ((known or {}).get("status") == "True"):
        return
    others = [item for item in look.conditions if item["type"] != counting.SUSPENDED]
    if look.suspended:
        fresh = condition(counting.SUSPENDED, "JobSuspended", "Job suspended", look.now_s)
        look.started_at = None
        look.told.append(_say(look.job, "Normal", "Suspended", "Job suspended"))
    else:
        fresh = condition(counting.SUSPENDED, "JobResumed", "Job resumed", look.now_s, status="False")
        look.started_at = rfc3339(look.now_s)
        look.told.append(_say(look.job, "Normal", "Resumed", "Job resumed"))
    look.conditions = [*others, fresh]


def _count(look: _Look) -> list[Obj]:
    """List new ends as uncounted; the pods whose finalizer may go now."""
    tally = look.tally
    tally.uncounted_succeeded += [uid_of(pod) for pod in tally.fresh_succeeded]
    tally.list_failed(tally.fresh_failed)
    held = [pod for pod in look.pods if is_held(pod)]
    over = is_terminating(look.job) or look.target is not None
    released = [pod for pod in held if over or phase_of(pod) == "Succeeded" or has_failed(look.job, pod)]
    if look.target is not None and look.target["type"] == counting.FAILING:
        tally.list_failed(released)  # what a failing Job ends has failed
    if look.uncounted:
        released += [pod for pod in look.deleted if is_held(pod) and pod not in released]
    return released


def _finish(look: _Look, released: Sequence[Obj]) -> Obj | None:
    """The condition that ends the Job, once nothing is left to count and no pod to end; its target comes first."""
    if look.target is None:
        return None
    if condition_of(look.job, look.target["type"]) is None:
        look.conditions = [*look.conditions, look.target]
    leaving = [pod for pod in look.pods if is_leaving(pod)]
    if released or look.deleted or leaving or not look.tally.settled:
        return None
    finished = end_of(look.target, look.now_s)
    look.conditions = [*look.conditions, finished]
    if finished["type"] == "Complete":
        completions = look.job["spec"].get("completions")
        if completions is not None and look.tally.succeeded > completions:
            text = "Too many succeeded pods running after completion count reached"
            look.told.append(_say(look.job, "Warning", "TooManySucceededPods", text))
        look.told.append(_say(look.job, "Normal", "Completed", "Job completed"))
    else:
        look.told.append(_say(look.job, "Warning", finished["reason"], finished["message"]))
    ttl_s = look.job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is not None:
        look.wake(float(ttl_s))
    return finished


def _status(look: _Look, finished: Obj | None) -> Obj:
    """The status after this look's creates and deletions."""
    gone = {uid_of(pod) for pod in look.deleted}
    stay = [pod for pod in look.pods if uid_of(pod) not in gone]
    status = status_with(look.job, look.tally, stay, look.conditions)
    status["terminating"] += len(look.deleted)
    if look.made:
        status["active"] = status.get("active", 0) + look.made
    if look.started_at is not None:
        status["startTime"] = look.started_at
    if finished is not None and finished["type"] == "Complete":
        status["completionTime"] = finished["lastTransitionTime"]
    return status


def _expired(ref: Ref, job: Obj, finished_s: float, now_s: float) -> Outcome:
    """A finished Job goes, pods first, when its time to live is over."""
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None or is_terminating(job):
        return NOTHING
    left_s = finished_s + ttl_s - now_s
    if left_s > 0:
        return Outcome(because="it is finished and may stay", wake_in_s=left_s)
    gone = Delete(ref=ref, uid=uid_of(job), propagation="Foreground")
    return Outcome(writes=(gone,), because="ttlSecondsAfterFinished is over")


def _strays(view: View, ref: Ref) -> list[Obj]:
    """Pods with the finalizer that no Job of this name counts any more."""
    return [
        pod
        for pod in view.all_of("pods", ref.namespace)
        if is_held(pod) and _named_after(pod) == ref.name and not _has_job(view, pod)
    ]


def _named_after(pod: Obj) -> str:
    owner = controller_of(pod)
    return str(owner["name"]) if owner is not None else labels_of(pod).get(JOB_NAME, "")


def _has_job(view: View, pod: Obj) -> bool:
    owner = controller_of(pod)
    if owner is None:  # a Job of this name may be about to adopt it
        ref = Ref(resource=RESOURCE, namespace=namespace_of(pod), name=_named_after(pod))
        return view.get(ref) is not None
    return view.find(owner.get("uid") or "") is not None


def _say(job: Obj, kind: str, reason: str, message: str) -> Say:
    return Say(about=job, about_resource=RESOURCE, kind=kind, reason=reason, message=message, component=COMPONENT)
