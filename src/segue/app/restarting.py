"""From "this pod should be restarted" to its restart: readiness goes first, then quiet, then the restart. Values only.

    well --- sick ---> asking --- the budget allows it ---> leaving --- told, and quiet ---> ending
      ^                  |                                     ^                               |
      +--- well again ---+                                     +------ somebody comes ---------+
                                              back <--- it has been ended, and is well again --+

well, asking: in traffic. leaving, ending: readiness answers 503. ending: the supervisor ends its command or, beside an
application, answers its liveness probe with 503 as often as the kubelet needs it (P5), and no more: the next container
would be ended, too.
Rule 1: a pod that waits for its turn stays in traffic; others that restart need it there.
Rule 2: what ends quiet is evidence (`quiet`), never the clock alone; the cap and the timer are the evidence's own.
Rule 3: what was sick and is well again before it began to leave is left alone.
Rule 4: between quiet and its end pass seconds, for the kubelet must be told several times; who comes meanwhile (a
client, or its whole machine, that had stood still) is waited for as any other.
Standard library only; never asks the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Phase(StrEnum):
    """Where it stands."""

    WELL = "well"
    ASKING = "asking"
    LEAVING = "leaving"
    ENDING = "ending"
    BACK = "back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How often a check must fail, and how often the kubelet must be told: the failureThreshold of both probes."""

    failures: int = 3
    told: int = 3
    spread_s: float = 60.0  # without a budget pods begin within this time, each at a moment of its own
    back_max_s: float = 120.0  # one that is not back by then is judged anew

    def __post_init__(self) -> None:
        if self.failures < 1 or self.told < 1 or self.spread_s < 0 or self.back_max_s <= 0:
            raise ValueError("failures and told must be at least 1, and times must not be negative")


class Turn(StrEnum):
    """What the budget says."""

    UNASKED = "unasked"
    OURS = "ours"
    TAKEN = "taken"
    UNKNOWN = "unknown"  # no rights, or no API server


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen last. `failed` checks in a row; `quiet` is why the drain may end, "" where it may not."""

    failed: int = 0
    why: str = ""
    turn: Turn = Turn.UNASKED
    ready_told: int = 0  # 503 given to readiness since it leaves
    live_told: int = 0  # 503 given to liveness since it ends
    quiet: str = ""
    gone: bool = False  # the command that we started has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The phase, since when, and since when the kubelet has been told (0: not yet)."""

    phase: Phase = Phase.WELL
    since_s: float = 0.0
    told_s: float = 0.0
    because: str = ""


def step(stand: Stand, seen: Seen, rules: Rules, now_s: float, stagger: float = 0.0) -> Stand:
    """Where it stands now. `stagger` is this pod's own share of `spread_s`, from 0 to 1."""
    sick = seen.failed >= rules.failures
    match stand.phase:
        case Phase.WELL if sick:
            return Stand(phase=Phase.ASKING, since_s=now_s, because=seen.why)
        case Phase.ASKING if not seen.failed:
            return Stand(phase=Phase.WELL, since_s=now_s, because="it is well again")
        case Phase.ASKING if sick and (because := _allowed(stand, seen, rules, now_s, stagger)):
            return Stand(phase=Phase.LEAVING, since_s=now_s, because=f"{seen.why}; {because}")
        case Phase.LEAVING if not stand.told_s and seen.ready_told >= rules.told:
            return replace(stand, told_s=now_s)
        case Phase.LEAVING if seen.quiet:
            return Stand(phase=Phase.ENDING, since_s=now_s, told_s=stand.told_s, because=seen.quiet)
        case Phase.ENDING if seen.gone or seen.live_told >= rules.told:
            return Stand(phase=Phase.BACK, since_s=now_s, because="it was ended")
        case Phase.ENDING if not seen.quiet:
            return Stand(phase=Phase.LEAVING, since_s=now_s, told_s=stand.told_s, because="somebody has come again")
        case Phase.BACK if not seen.failed:
            return Stand(phase=Phase.WELL, since_s=now_s, because="it is back")
        case Phase.BACK if now_s - stand.since_s > rules.back_max_s:
            return Stand(phase=Phase.WELL, since_s=now_s, because=f"not back after {rules.back_max_s:g} s")
        case _:
            return stand


def _allowed(stand: Stand, seen: Seen, rules: Rules, now_s: float, stagger: float) -> str:
    """Why it may leave; "" where it may not."""
    if seen.turn is Turn.OURS:
        return "its turn"
    waits_s = rules.spread_s * stagger
    if seen.turn is Turn.UNKNOWN and now_s - stand.since_s >= waits_s:
        return f"nobody to agree with, after its own {waits_s:.0f} s"
    return ""


def answers_ready(stand: Stand) -> bool:
    """Whether readiness is as the application's own."""
    return stand.phase in {Phase.WELL, Phase.ASKING}


def answers_live(stand: Stand) -> bool:
    """Whether liveness answers 200."""
    return stand.phase is not Phase.ENDING
