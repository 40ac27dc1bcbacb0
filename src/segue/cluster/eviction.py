"""Whether a pod may be evicted: budgets are asked here and nowhere else (B1). Pure; the API performs what it says.

Rule: a pod that serves nobody (pending, ended, on its way out) is no disruption, whatever a budget says (B2).
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.model.errors import StatusError
from segue.model.objects import Obj, is_ready, is_terminating, name_of, rfc3339

_NOBODY_USES = ("Succeeded", "Failed", "Pending")
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_LOOK_AGAIN_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """A granted eviction; `budget` is the budget with this pod counted off, None where none is touched."""

    budget: Obj | None = None


def evict(pod: Obj, budgets: list[Obj], now_s: float) -> Eviction:
    """Grant an eviction of a pod that `budgets` protect, or raise StatusError: 429 for a spent budget, 500 for two."""
    if is_terminating(pod) or (pod.get("status") or {}).get("phase") in _NOBODY_USES or not budgets:
        return Eviction()
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, "", message)
    budget = budgets[0]
    status = budget.get("status") or {}
    if not is_ready(pod) and _lets_unready_go(budget):
        return Eviction()
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        raise _refused(
            f"The disruption budget {name_of(budget)} is still being processed by the server.", _LOOK_AGAIN_S
        )
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0:
        wanted, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _refused(
            f"The disruption budget {name_of(budget)} needs {wanted} healthy pods and has {healthy} currently"
        )
    evicted = {**(status.get("disruptedPods") or {}), name_of(pod): rfc3339(now_s)}
    counted = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": evicted}
    return Eviction(budget={**budget, "status": counted})


def _lets_unready_go(budget: Obj) -> bool:
    """Pods that are not Ready may go always, or (B5, the default) where the others are enough."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    wanted = status.get("desiredHealthy", 0)
    return bool(status.get("currentHealthy", 0) >= wanted > 0)


def _refused(why: str, look_again_s: int = 0) -> StatusError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if look_again_s:
        details["retryAfterSeconds"] = look_again_s
    return StatusError(429, "TooManyRequests", _REFUSED, details)
