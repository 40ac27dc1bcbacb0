"""The questions that several controllers ask of a pod, in Kubernetes' own terms."""

from __future__ import annotations

from typing import cast

from segue.cluster.view import TERMINAL_PHASES
from segue.model.objects import Obj, condition_of, is_ready, is_terminating, seconds_of


def is_active(pod: Obj) -> bool:
    """Whether a pod counts as a replica: neither ended nor on its way out (D9)."""
    return not is_terminating(pod) and pod.get("status", {}).get("phase") not in TERMINAL_PHASES


def ready_since_s(pod: Obj) -> float | None:
    """When the pod became Ready, None where it is not (or does not say since when)."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True" or not condition.get("lastTransitionTime"):
        return None
    return seconds_of(cast("str", condition["lastTransitionTime"]))


def is_available(pod: Obj, min_ready_s: int, now_s: float) -> bool:
    """Whether the pod has been Ready for `min_ready_s` (D5)."""
    if min_ready_s == 0:
        return is_ready(pod)
    since_s = ready_since_s(pod)
    return since_s is not None and since_s + min_ready_s <= now_s


def available_in_s(pod: Obj, min_ready_s: int, now_s: float) -> float | None:
    """Seconds until a Ready pod becomes available, None where waiting alone does not make it so."""
    since_s = ready_since_s(pod)
    if since_s is None or since_s + min_ready_s <= now_s:
        return None
    return since_s + min_ready_s - now_s
