"""How long a data plane takes: from what callers on each node heard, when its rules knew that a pod is gone, or there.

A caller calls the Service again and again, a new connection each time, and two pods or more stand behind it. Its node
knows that one is gone with the last call that this one answered; that it is there, with the first.
Rule 1: gone is believed when the others answered so many calls in a row that chance is ruled out.
Rule 2: what is told is never too short: from before the change was asked for, to the call after the last one that went
wrong, and as much more as the clocks of pod and segue may differ.
Never asks the time and never opens anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segue.model.objects import Obj

IN_A_ROW = 20  # of two pods, one is missed so often by chance once in a million (the same risk as Policy.risk)
FAILED = "!"  # how a call that nobody answered begins
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How a pod's clock differs from ours: add `ahead_s` to ours for its; `error_s` is how wrong that may be."""

    ahead_s: float
    error_s: float


def clock_of(asked_s: float, told_s: float, heard_s: float) -> Clock:
    """From one question: what the pod's clock said between two moments of ours."""
    return Clock(ahead_s=told_s - (asked_s + heard_s) / 2, error_s=(heard_s - asked_s) / 2)


@dataclass(slots=True, kw_only=True)
class Heard:
    """What one caller has heard: calls in our time, oldest first, and the best clock so far."""

    node: str
    clock: Clock | None = None
    calls: list[tuple[float, str]] = field(default_factory=list)  # by the pod's own clock
    next: int = 0
    failed: int = 0

    def take(self, told: Obj, asked_s: float, heard_s: float) -> None:
        """One answer of the caller."""
        clock = clock_of(asked_s, float(told["now"]), heard_s)
        if self.clock is None or clock.error_s < self.clock.error_s:
            self.clock = clock
        rows = [(float(at_s), str(who)) for at_s, who in told["rows"]]
        self.calls += rows
        self.failed += sum(who.startswith(FAILED) for _, who in rows)
        self.next = int(told["next"])

    def since(self, at_s: float) -> list[tuple[float, str]]:
        """Calls since a moment, in our time."""
        ahead_s = self.clock.ahead_s if self.clock else 0.0
        return [(own_s - ahead_s, who) for own_s, who in self.calls if own_s - ahead_s >= at_s]

    def forget(self, before_s: float) -> None:
        """Drop what is older."""
        ahead_s = self.clock.ahead_s if self.clock else 0.0
        self.calls = [row for row in self.calls if row[0] - ahead_s >= before_s]

    @property
    def error_s(self) -> float:
        """How wrong its times may be."""
        return self.clock.error_s if self.clock else math.inf


def gone_s(heard: Heard, pod: str, since_s: float) -> float | None:
    """How long after `since_s` the pod was still called; None while that may still happen."""
    calls = heard.since(since_s)
    last = max((index for index, (_, who) in enumerate(calls) if who == pod or who.startswith(FAILED)), default=-1)
    if len(calls) - 1 - last < IN_A_ROW:
        return None
    return max(0.0, calls[last + 1][0] - since_s) + heard.error_s if last >= 0 else heard.error_s


def there_s(heard: Heard, pod: str, since_s: float) -> float | None:
    """How long after `since_s` the pod was first called; None while it has not been."""
    first = next((at_s for at_s, who in heard.since(since_s) if who == pod), None)
    return None if first is None else max(0.0, first - since_s) + heard.error_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One change as one node heard of it."""

    way: str  # labels | readiness | delete
    node: str
    gone_s: float
    there_s: float

    def as_obj(self) -> Obj:
        """For machines."""
        gone, there = round(self.gone_s, 3), round(self.there_s, 3)
        return {"way": self.way, "node": self.node, "goneSeconds": gone, "thereSeconds": there}


def spread(seconds: Sequence[float]) -> Obj:
    """Count, quantiles (nearest rank) and the largest of some times."""
    ordered = sorted(seconds)
    ranks = {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in QUANTILES.items()}
    return {"count": len(ordered), **{name: round(value, 3) for name, value in ranks.items()}, "max": _up(ordered[-1])}


def propagation_s(found: Iterable[Found]) -> float:
    """P: the longest time after which any node still sent to a pod that was gone, rounded up."""
    return _up(max(one.gone_s for one in found))


def summary(found: Sequence[Found]) -> Obj:
    """P, and how it is spread over nodes and ways."""
    return {
        "propagationSeconds": propagation_s(found),
        "nodes": [{"node": node, **_both(some)} for node, some in _by(found, "node").items()],
        "ways": [{"way": way, **_both(some)} for way, some in _by(found, "way").items()],
        "changes": [one.as_obj() for one in found],
    }


def _both(found: Sequence[Found]) -> Obj:
    return {"gone": spread([one.gone_s for one in found]), "there": spread([one.there_s for one in found])}


def _by(found: Sequence[Found], key: str) -> Mapping[str, list[Found]]:
    made: dict[str, list[Found]] = {}
    for one in found:
        made.setdefault(getattr(one, key), []).append(one)
    return made


def _up(seconds: float) -> float:
    """To the next tenth: a P that is too short loses requests, one that is too long costs a tenth."""
    return math.ceil(round(seconds * 10, 6)) / 10
