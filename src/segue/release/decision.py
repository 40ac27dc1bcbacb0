"""What one decision says: actions, why, when to look again, and whether this is the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from segue.analysis.values import Analysis, Hook
from segue.release.actions import Action

LOOK_AGAIN_S = 0.15  # while something is under way that ends within seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The goal is reached, or (held) the place where the user wants to say how it goes on."""

    message: str
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """It goes no further by itself. What serves keeps serving; `error` names the kind of the end."""

    error: Literal["conflict", "refused", "unfinished"]
    message: str
    remedy: str


End: TypeAlias = Done | Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDrained:
    """One old pod whose drain is over; its reason is quiet | timer | capped | forced."""

    pod: str
    version: str
    reason: str
    because: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Actions to perform in this order, each only after the one before it was accepted."""

    because: str
    actions: tuple[Action, ...] = ()
    wake_in_s: float = LOOK_AGAIN_S
    barrier: str = ""  # what was verified before these actions
    drains: str = ""  # hash of the version whose pods' evidence is wanted, at full rate
    drained: tuple[PodDrained, ...] = ()
    check: Hook | None = None  # the user's check that is to say whether the new pods are good
    measures: Analysis | None = None  # what is to be measured while it waits
    holds: bool = False  # it waits for somebody's word, for as long as that takes
    end: End | None = None


def counted(count: int, what: str) -> str:
    """A number of things: 1 new pod, 2 new pods."""
    return f"{count} {what}{'s' if count != 1 else ''}"


def wait(because: str, *, wake_in_s: float = LOOK_AGAIN_S, drains: str = "") -> Decision:
    """Nothing to do but look again."""
    return Decision(because=because, wake_in_s=wake_in_s, drains=drains)


def act(*actions: Action, because: str, barrier: str = "") -> Decision:
    """Do this, then look again at once."""
    return Decision(actions=actions, because=because, barrier=barrier, wake_in_s=0.0)


def stop(error: Literal["conflict", "refused", "unfinished"], message: str, remedy: str) -> Decision:
    """Go no further."""
    return Decision(because=message, end=Stopped(error=error, message=message, remedy=remedy))
