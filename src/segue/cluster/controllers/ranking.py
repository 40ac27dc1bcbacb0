"""Which pod a ReplicaSet gives up first (R1, R2).

The order is not a key but a comparison: times that lie in the same power of two are told apart by uid only where they
differ at all, so that pods of one batch are not always deleted in the order in which they came.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cmp_to_key

from segue.cluster.controllers.pods import is_active, ready_since_s
from segue.model.objects import Obj, annotations_of, is_ready, seconds_of, uid_of

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}
_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1


def first_to_go(pods: Iterable[Obj], related: Iterable[Obj], now_s: float) -> list[Obj]:
    """The pods, first to be deleted first; `related` are the pods of all ReplicaSets of the same owner."""
    crowd = Counter(pod["spec"].get("nodeName", "") for pod in related if is_active(pod))

    def compare(left: Obj, right: Obj) -> int:
        return _compare(left, right, crowd, now_s)

    return sorted(pods, key=cmp_to_key(compare))


def deletion_cost(pod: Obj) -> int:
    """The pod-deletion-cost annotation as an int32 in its canonical form, 0 where it is absent or off."""
    text = annotations_of(pod).get(DELETION_COST, "0")
    try:
        cost = int(text)
    except ValueError:
        return 0
    # A leading plus or zero is refused by the API, so it has no meaning here either.
    return cost if str(cost) == text and _INT32_MIN <= cost <= _INT32_MAX else 0


def restarts(pod: Obj) -> tuple[int, int]:
    """The most restarts of any container, and of any sidecar as the tie-break."""
    status = pod.get("status", {})
    sidecars = {
        container["name"]
        for container in pod["spec"].get("initContainers") or []
        if container.get("restartPolicy") == "Always"
    }
    main = [state.get("restartCount", 0) for state in status.get("containerStatuses") or []]
    side = [
        state.get("restartCount", 0)
        for state in status.get("initContainerStatuses") or []
        if state.get("name") in sidecars
    ]
    return max(main, default=0), max(side, default=0)


def _compare(left: Obj, right: Obj, crowd: Counter[str], now_s: float) -> int:
    for question in (_unscheduled, _phase, _readiness, deletion_cost):
        difference = _sign(question(left) - question(right))
        if difference:
            return difference
    difference = _sign(crowd[right["spec"].get("nodeName", "")] - crowd[left["spec"].get("nodeName", "")])
    if difference:
        return difference
    if is_ready(left):
        difference = _younger_first(left, right, ready_since_s, now_s)
        if difference:
            return difference
    mine, theirs = restarts(left), restarts(right)
    if mine != theirs:
        return -1 if mine > theirs else 1
    return _younger_first(left, right, _created_s, now_s)


def _unscheduled(pod: Obj) -> int:
    return 1 if pod["spec"].get("nodeName") else 0


def _phase(pod: Obj) -> int:
    return _PHASE_RANK.get(pod.get("status", {}).get("phase", "Pending"), 0)


def _readiness(pod: Obj) -> int:
    return 1 if is_ready(pod) else 0


def _created_s(pod: Obj) -> float | None:
    text = pod["metadata"].get("creationTimestamp")
    return seconds_of(text) if text else None


def _younger_first(left: Obj, right: Obj, since: Callable[[Obj], float | None], now_s: float) -> int:
    mine_s, theirs_s = since(left), since(right)
    if mine_s == theirs_s:
        return 0
    if mine_s is None or theirs_s is None:
        return -1 if mine_s is None else 1
    difference = _age_bucket(mine_s, now_s) - _age_bucket(theirs_s, now_s)
    if difference == 0:
        return -1 if uid_of(left) < uid_of(right) else 1
    return _sign(difference)


def _age_bucket(since_s: float, now_s: float) -> int:
    """The power of two of an age in nanoseconds; -1 for what lies in the future."""
    age_ns = int((now_s - since_s) * 1e9)
    return int(math.log2(age_ns)) if age_ns > 0 else -1


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
