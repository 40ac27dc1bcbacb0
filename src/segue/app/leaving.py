"""How a server that should be restarted leaves: readiness first, then quiet, then its exit. Values in, a phase out.

    serving --- sick, or asked ---> unready --- told, quiet and nothing owed ---> exiting
                                            --- the cap is over --------------->

Unready: readiness answers 503 and every answer says `Connection: close` (N9). A failing liveness alone leaves the
endpoint in traffic (L3), which is why the order is this one (L4).
Rule 1: silence counts only from the moment at which the kubelet has been told often enough to believe it (P5).
Rule 2: how long the silence must be is asked of each sender by itself, never of all together: a sender with r requests
per second is silent by chance for t seconds with probability exp(-r t). A long wait hurts nobody, for the pod goes on
answering: it lasts up to `longest_s`, and at least `timer_s` where a sender came too seldom to be judged.
Rule 3: nothing that is owed is given up before the cap: running requests, unread bytes, connections not yet accepted
(N1, N4). What a dead thread holds is not waited for: nobody will ever answer it.
Standard library only, never asks the time and never opens anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

ARRIVALS_FOR_A_RATE = 3  # fewer say nothing about a sender's rhythm
LOOK_BACK_S = 120.0  # who has not come for so long is not awaited
SENDERS_MAX = 4096  # of one process; the ones that were silent longest are forgotten first


class Phase(StrEnum):
    """Where it stands."""

    SERVING = "serving"
    UNREADY = "unready"
    EXITING = "exiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to leave and how patiently. A threshold of 0 is off.

    `told` is the readiness probe's failureThreshold: so many 503 the kubelet must have been given.
    """

    dead_threads: int = 2
    lost_workers: int = 0
    stuck_s: float = 60.0  # a request that runs for longer has lost its thread
    told: int = 3
    risk: float = 1e-6
    quiet_min_s: float = 2.0
    timer_s: float = 5.0
    longest_s: float = 60.0
    cap_s: float = 120.0

    def __post_init__(self) -> None:
        if not (0 < self.quiet_min_s <= self.timer_s <= min(self.cap_s, self.longest_s) and 0 < self.risk < 1):
            raise ValueError("0 < quiet_min_s <= timer_s <= cap_s, timer_s <= longest_s and 0 < risk < 1 must hold")
        if self.told < 0 or self.stuck_s <= 0 or min(self.dead_threads, self.lost_workers) < 0:
            raise ValueError("thresholds must not be negative, and stuck_s must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What all processes of the server have seen together."""

    dead: int = 0  # threads that are gone, or have been at one request for too long
    lost: int = 0  # workers that ended otherwise than by being told to
    asked: bool = False
    running: int = 0  # requests that somebody still works on
    unread: int = 0  # connections that are not accepted yet, or hold bytes that nobody has read
    last_s: float = 0.0  # when the last request began
    told: int = 0  # times that readiness was answered with 503
    window_s: float = 0.0  # how long the rarest sender must be silent; 0 where nobody can be judged
    rare: bool = False  # somebody came too seldom to be judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The phase, since when, and since when the kubelet has been told (0: not yet)."""

    phase: Phase = Phase.SERVING
    since_s: float = 0.0
    told_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where it stands now, and why."""

    stand: Stand
    because: str


def step(stand: Stand, seen: Seen, rules: Rules, now_s: float) -> Step:
    """Where it stands after what has been seen."""
    if stand.phase is Phase.SERVING:
        why = reason(seen, rules)
        if not why:
            return Step(stand=stand, because="all is well")
        return Step(stand=Stand(phase=Phase.UNREADY, since_s=now_s), because=why)
    if stand.phase is Phase.EXITING:
        return Step(stand=stand, because="it ends")
    if not stand.told_s and seen.told >= rules.told:
        stand = Stand(phase=stand.phase, since_s=stand.since_s, told_s=now_s)
    waits = _waits_for(stand, seen, rules, now_s)
    if waits and now_s - stand.since_s < rules.cap_s:
        return Step(stand=stand, because=f"waits for {waits}")
    silent = f"silent {now_s - max(stand.told_s, seen.last_s):.1f} s of {needed_s(seen, rules):.1f} s"
    why = f"the cap of {rules.cap_s:g} s is over, and {waits} was awaited" if waits else f"quiet: {silent}"
    return Step(stand=Stand(phase=Phase.EXITING, since_s=now_s, told_s=stand.told_s), because=why)


def reason(seen: Seen, rules: Rules) -> str:
    """Why it should be restarted; "" where it need not be."""
    if seen.asked:
        return "a restart was asked for"
    if rules.dead_threads and seen.dead >= rules.dead_threads:
        return f"{seen.dead} dead threads"
    if rules.lost_workers and seen.lost >= rules.lost_workers:
        return f"{seen.lost} lost workers"
    return ""


def needed_s(seen: Seen, rules: Rules) -> float:
    """How long nobody must have come: as long as the rarest sender needs, and the timer where one cannot be judged."""
    least_s = rules.timer_s if seen.rare or not seen.window_s else rules.quiet_min_s
    return max(least_s, min(seen.window_s, rules.longest_s))


def _waits_for(stand: Stand, seen: Seen, rules: Rules, now_s: float) -> str:
    if not stand.told_s:
        return f"the readiness probe ({seen.told} of {rules.told} answers)"
    if seen.running or seen.unread:
        return f"{seen.running} running requests and {seen.unread} connections that are not read"
    silent_s, long_s = now_s - max(stand.told_s, seen.last_s), needed_s(seen, rules)
    return "" if silent_s >= long_s else f"silence ({silent_s:.1f} of {long_s:.1f} s)"


class Senders:
    """Who has sent how often, seen by one process: how long the rarest of them is silent by chance."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float, float]] = {}  # count, first and last time

    def note(self, sender: str, now_s: float) -> None:
        """One more request of a sender."""
        count, first_s, _ = self._seen.pop(sender, (0, now_s, now_s))  # it becomes the youngest
        self._seen[sender] = (count + 1, first_s, now_s)
        if len(self._seen) > SENDERS_MAX:
            del self._seen[next(iter(self._seen))]

    def window_s(self, now_s: float, risk: float, back_s: float = LOOK_BACK_S) -> tuple[float, bool]:
        """The longest silence to be awaited for anybody seen lately, and whether somebody cannot be judged."""
        rows = [row for row in self._seen.values() if now_s - row[2] <= back_s]
        judged = [row for row in rows if row[0] >= ARRIVALS_FOR_A_RATE]
        windows = [-math.log(risk) * (last_s - first_s) / (count - 1) for count, first_s, last_s in judged]
        return max(windows, default=0.0), len(judged) < len(rows)
