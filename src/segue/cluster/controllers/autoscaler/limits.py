"""How fast and how far the number of pods may change: stabilization, policies of `behavior`, least and most.

Past recommendations and changes are the one thing a controller remembers beside the objects: they are nobody's business
but its own, a restart may forget them, and upstream's forgets them, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.model.objects import Obj

DOWN_WINDOW_S = 300.0  # kube-controller-manager --horizontal-pod-autoscaler-downscale-stabilization
LONGEST_WINDOW_S = 3600.0  # of `stabilizationWindowSeconds`
LONGEST_PERIOD_S = 1800.0  # of `periodSeconds`
_WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_FAST_UP = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_TOO_FAST_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_READY = ("ReadyForNewScale", "recommended size matches current size")
_HELD_DOWN = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_HELD_UP = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)


@dataclass(slots=True, kw_only=True)
class Past:
    """What an autoscaler has recommended and changed, each with its time; a change downwards is below zero."""

    recommendations: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def forget(self, now_s: float) -> None:
        """Drop what no window reaches any more."""
        self.recommendations = [one for one in self.recommendations if one[0] >= now_s - LONGEST_WINDOW_S]
        self.changes = [one for one in self.changes if one[0] > now_s - LONGEST_PERIOD_S]

    def changed_within(self, period_s: float, now_s: float) -> int:
        """By how much the number of pods has changed."""
        return sum(change for at_s, change in self.changes if at_s > now_s - period_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What metrics ask for, and between which numbers it must lie."""

    current: int
    desired: int
    least: int
    most: int
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What comes of a wish, with reason and message of the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: bool
    limit: tuple[str, str]


def allowed(wish: Wish, behavior: Obj | None, past: Past) -> Allowed:
    """What a wish comes to; it is remembered as a recommendation."""
    past.forget(wish.now_s)
    if behavior is None:
        steady, held = _stabilized_by_default(wish, past)
        replicas, limit = _within_defaults(wish, steady)
    else:
        steady, held = _stabilized(wish, behavior, past)
        replicas, limit = _within_policies(wish, steady, behavior, past)
    past.recommendations.append((wish.now_s, wish.desired))
    return Allowed(
        replicas=replicas, able=_READY if steady == wish.desired else held, limited=replicas != steady, limit=limit
    )


def _stabilized_by_default(wish: Wish, past: Past) -> tuple[int, tuple[str, str]]:
    recent = [number for at_s, number in past.recommendations if at_s >= wish.now_s - DOWN_WINDOW_S]
    return max([wish.desired, *recent]), _HELD_UP


def _within_defaults(wish: Wish, steady: int) -> tuple[int, tuple[str, str]]:
    fastest = max(2 * wish.current, 4)
    most, limit = (fastest, _TOO_FAST_UP) if wish.most > fastest else (wish.most, _TOO_MANY)
    if steady < wish.least:
        return wish.least, _TOO_FEW
    return (most, limit) if steady > most else (steady, _WITHIN)


def _stabilized(wish: Wish, behavior: Obj, past: Past) -> tuple[int, tuple[str, str]]:
    up_s = float(behavior["scaleUp"].get("stabilizationWindowSeconds") or 0)
    given = behavior["scaleDown"].get("stabilizationWindowSeconds")
    down_s = DOWN_WINDOW_S if given is None else float(given)
    lowest = min([wish.desired, *_since(past.recommendations, wish.now_s - up_s)])
    highest = max([wish.desired, *_since(past.recommendations, wish.now_s - down_s)])
    return min(max(wish.current, lowest), highest), _HELD_DOWN if wish.desired >= wish.current else _HELD_UP


def _since(told: Sequence[tuple[float, int]], at_s: float) -> list[int]:
    return [number for said_s, number in told if said_s > at_s]


def _within_policies(wish: Wish, steady: int, behavior: Obj, past: Past) -> tuple[int, tuple[str, str]]:
    if steady > wish.current:
        fastest = max(wish.current, _furthest(wish, behavior["scaleUp"], past, upwards=True))
        most, limit = (fastest, _TOO_FAST_UP) if wish.most > fastest else (wish.most, _TOO_MANY)
        if steady > most:
            return most, limit
    elif steady < wish.current:
        fastest = min(wish.current, _furthest(wish, behavior["scaleDown"], past, upwards=False))
        least, limit = (fastest, _TOO_FAST_DOWN) if wish.least < fastest else (wish.least, _TOO_FEW)
        if steady < least:
            return least, limit
    return steady, _WITHIN


def _furthest(wish: Wish, rules: Obj, past: Past, *, upwards: bool) -> int:
    """How far the policies of a direction let the number go."""
    choice = rules.get("selectPolicy") or "Max"
    if choice == "Disabled":
        return wish.current
    reached = [
        _reached(policy, wish.current - past.changed_within(policy["periodSeconds"], wish.now_s), upwards=upwards)
        for policy in rules.get("policies") or []
    ]
    return max(reached) if (choice == "Max") == upwards else min(reached)


def _reached(policy: Obj, begun: int, *, upwards: bool) -> int:
    """Where one policy ends that begins its period with so many pods: upwards it must move, so it rounds up."""
    value: int = policy["value"]
    if policy["type"] == "Pods":
        return begun + value if upwards else begun - value
    share = value / 100
    return math.ceil(begun * (1 + share)) if upwards else int(begun * (1 - share))
