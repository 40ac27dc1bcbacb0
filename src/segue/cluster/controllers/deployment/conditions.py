"""A Deployment's status: counts, Available, Progressing with its deadline (D9, D13, D14).

Conditions keep their times as long as status and reason stay; `lastUpdateTime` is what the deadline counts from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from segue.cluster.controllers.deployment.wishes import Wishes
from segue.model.objects import Obj, condition_of, name_of, rfc3339, seconds_of

NEW_CREATED = "NewReplicaSetCreated"
NEW_FOUND = "FoundNewReplicaSet"
NEW_AVAILABLE = "NewReplicaSetAvailable"
UPDATED = "ReplicaSetUpdated"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"
CREATE_FAILED = "ReplicaSetCreateError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A Deployment and its ReplicaSets as they will be after this look's writes."""

    deployment: Obj
    wishes: Wishes
    new: Obj | None
    olds: Sequence[Obj]
    now_s: float

    @property
    def sets(self) -> list[Obj]:
        """All ReplicaSets, the new one last."""
        return [*self.olds, *([self.new] if self.new is not None else [])]


def condition(kind: str, status: str, reason: str, message: str, now_s: float) -> Obj:
    """A fresh condition."""
    at = rfc3339(now_s)
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": at,
        "lastTransitionTime": at,
        "reason": reason,
        "message": message,
    }


def with_condition(conditions: Iterable[Obj], fresh: Obj) -> list[Obj]:
    """The conditions with `fresh` among them; an equal status and reason keeps the one that is there."""
    known = list(conditions)
    before = next((item for item in known if item["type"] == fresh["type"]), None)
    if before is not None and before["status"] == fresh["status"]:
        if before.get("reason") == fresh["reason"]:
            return known
        fresh = {**fresh, "lastTransitionTime": before["lastTransitionTime"]}
    return [*without(known, fresh["type"]), fresh]


def without(conditions: Iterable[Obj], kind: str) -> list[Obj]:
    """The conditions but this one."""
    return [item for item in conditions if item["type"] != kind]


def pause_condition(rollout: Rollout) -> list[Obj]:
    """The conditions with pausing or resuming told; a deadline that has passed is not covered up by it."""
    conditions = _conditions(rollout.deployment)
    progressing = condition_of(rollout.deployment, "Progressing")
    reason = (progressing or {}).get("reason")
    if rollout.wishes.deadline_s is None or reason == TIMED_OUT:
        return conditions
    if rollout.wishes.paused and reason != PAUSED:
        fresh = condition("Progressing", "Unknown", PAUSED, "Deployment is paused", rollout.now_s)
        return with_condition(conditions, fresh)
    if not rollout.wishes.paused and reason == PAUSED:
        fresh = condition("Progressing", "Unknown", RESUMED, "Deployment is resumed", rollout.now_s)
        return with_condition(conditions, fresh)
    return conditions


def counted(rollout: Rollout) -> Obj:
    """The status with its counts and the Available condition; Progressing is left as it is."""
    deployment, wishes = rollout.deployment, rollout.wishes
    wanted = sum(_wanted(item) for item in rollout.sets)
    available = _sum(rollout.sets, "availableReplicas")
    counts: Obj = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": _sum(rollout.sets, "replicas"),
        "updatedReplicas": _sum([rollout.new] if rollout.new is not None else [], "replicas"),
        "readyReplicas": _sum(rollout.sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
    }
    # Kubernetes leaves zeros out of a Deployment's status, but for the terminating ones.
    status: Obj = {key: value for key, value in counts.items() if value}
    status["terminatingReplicas"] = _sum(rollout.sets, "terminatingReplicas")
    collisions = (deployment.get("status") or {}).get("collisionCount")
    if collisions is not None:
        status["collisionCount"] = collisions
    if available >= wishes.available_min:
        text = "Deployment has minimum availability."
        fresh = condition("Available", "True", "MinimumReplicasAvailable", text, rollout.now_s)
    else:
        text = "Deployment does not have minimum availability."
        fresh = condition("Available", "False", "MinimumReplicasUnavailable", text, rollout.now_s)
    status["conditions"] = with_condition(_conditions(deployment), fresh)
    return status


def progressed(rollout: Rollout) -> Obj:
    """The status of a rollout: `counted`, and how it goes on (D13)."""
    status = counted(rollout)
    conditions: list[Obj] = status["conditions"]
    current = condition_of(rollout.deployment, "Progressing")
    if rollout.wishes.deadline_s is None:
        conditions = without(conditions, "Progressing")
    elif not _is_settled(status, current):
        conditions = _with_progress(rollout, status, current)
    failure = _failure(rollout)
    status["conditions"] = (
        with_condition(conditions, failure) if failure is not None else without(conditions, "ReplicaFailure")
    )
    return status


def is_complete(wishes: Wishes, deployment: Obj, status: Obj) -> bool:
    """Whether updated = total = available = wanted, as seen at this generation (D14)."""
    counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    generation = deployment["metadata"].get("generation", 0)
    return counts == [wishes.replicas] * 3 and status.get("observedGeneration", 0) >= generation


def deadline_in_s(rollout: Rollout, status: Obj) -> float | None:
    """When to look again for the deadline, None where none can pass."""
    progressing = next((item for item in status["conditions"] if item["type"] == "Progressing"), None)
    deadline_s = rollout.wishes.deadline_s
    if deadline_s is None or progressing is None or progressing["reason"] == TIMED_OUT or rollout.wishes.paused:
        return None
    if is_complete(rollout.wishes, rollout.deployment, status):
        return None
    # A second more than the rest: the condition's time has whole seconds.
    return max(0.0, seconds_of(progressing["lastUpdateTime"]) + deadline_s - rollout.now_s) + 1.0


def _is_settled(status: Obj, current: Obj | None) -> bool:
    only_new = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    return only_new and current is not None and current["reason"] == NEW_AVAILABLE


def _with_progress(rollout: Rollout, status: Obj, current: Obj | None) -> list[Obj]:
    conditions: list[Obj] = status["conditions"]
    whose = f'ReplicaSet "{name_of(rollout.new)}"' if rollout.new else f'Deployment "{name_of(rollout.deployment)}"'
    if is_complete(rollout.wishes, rollout.deployment, status):
        text = f"{whose} has successfully progressed."
        return with_condition(conditions, condition("Progressing", "True", NEW_AVAILABLE, text, rollout.now_s))
    if _has_moved(rollout.deployment.get("status") or {}, status):
        fresh = condition("Progressing", "True", UPDATED, f"{whose} is progressing.", rollout.now_s)
        if current is not None and current["status"] == "True":
            fresh = {**fresh, "lastTransitionTime": current["lastTransitionTime"]}
        return [*without(conditions, "Progressing"), fresh]
    if _is_overdue(rollout, current):
        text = f"{whose} has timed out progressing."
        return with_condition(conditions, condition("Progressing", "False", TIMED_OUT, text, rollout.now_s))
    return conditions


def _has_moved(before: Obj, after: Obj) -> bool:
    """More updated, ready or available pods than before, or fewer old ones."""

    def old(status: Obj) -> int:
        return cast("int", status.get("replicas", 0) - status.get("updatedReplicas", 0))

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(after) < old(before) or any(after.get(key, 0) > before.get(key, 0) for key in more)


def _is_overdue(rollout: Rollout, current: Obj | None) -> bool:
    deadline_s = rollout.wishes.deadline_s
    if deadline_s is None or current is None or current["reason"] == NEW_AVAILABLE:
        return False
    return current["reason"] == TIMED_OUT or seconds_of(current["lastUpdateTime"]) + deadline_s < rollout.now_s


def _failure(rollout: Rollout) -> Obj | None:
    """The new ReplicaSet's failure, else an old one's."""
    newest_first = reversed(rollout.sets)
    failure = next((found for item in newest_first for found in [condition_of(item, "ReplicaFailure")] if found), None)
    if failure is None:
        return None
    return condition("ReplicaFailure", failure["status"], failure["reason"], failure["message"], rollout.now_s)


def _conditions(deployment: Obj) -> list[Obj]:
    return list((deployment.get("status") or {}).get("conditions") or [])


def _wanted(replica_set: Obj) -> int:
    return cast("int", replica_set["spec"].get("replicas", 1))


def _sum(replica_sets: Iterable[Obj], key: str) -> int:
    return sum((item.get("status") or {}).get(key) or 0 for item in replica_sets)
