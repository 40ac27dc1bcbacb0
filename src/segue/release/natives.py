"""The plan of a release of a StatefulSet or a DaemonSet, and what a decision about them says.

Rule: their own controllers make and end pods; a release only decides when the next one goes, and where it stops.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from segue.model.natives import STATEFUL_SET, Native
from segue.model.objects import Obj
from segue.release.decision import LOOK_AGAIN_S, End, Stopped
from segue.release.native_actions import NativeAction
from segue.release.native_snapshot import SURGE
from segue.release.plan import Target

NATIVE_SETTINGS = ("updateStrategy", "minReadySeconds")
_ORDINAL = re.compile(r"-(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativePlan:
    """How a StatefulSet or a DaemonSet gets to its target."""

    target: Target
    namespace: str
    kind: str
    name: str
    way: str
    services: tuple[str, ...]
    desired: int  # pods now
    wanted: int  # pods at the end
    old_revision: str
    partition: int = 0  # the user's own: so many of the lowest ordinals stay as they are
    step: int = 1  # most pods that are away, or beside another one, at once
    stops: tuple[int, ...] = ()  # numbers of new pods at which it holds until it is promoted
    waits: bool = True
    timeout_s: float = 600.0
    deadline_s: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"

    @property
    def peak(self) -> int:
        """Most pods alive at once, those on their way out aside."""
        return max(self.desired, self.wanted) + (self.step if self.way == SURGE else 0)

    @property
    def floor(self) -> int:
        """Fewest pods that serve at any moment."""
        return self.desired if self.way == SURGE else max(0, min(self.desired, self.wanted) - self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeDecision:
    """Actions to perform in this order, why, and when to look again."""

    because: str
    actions: tuple[NativeAction, ...] = ()
    barrier: str = ""
    wake_in_s: float = LOOK_AGAIN_S
    holds: bool = False
    end: End | None = None


def pause(because: str) -> NativeDecision:
    """Nothing to do but look again."""
    return NativeDecision(because=because)


def do(*actions: NativeAction, because: str, barrier: str = "") -> NativeDecision:
    """Do this, then look again at once."""
    return NativeDecision(actions=actions, because=because, barrier=barrier, wake_in_s=0.0)


def halt(error: Literal["conflict", "refused", "unfinished"], message: str, remedy: str) -> NativeDecision:
    """Go no further."""
    return NativeDecision(because=message, end=Stopped(error=error, message=message, remedy=remedy))


def is_stateful(native: Native) -> bool:
    """Whether its pods have ordinals."""
    return native.kind == STATEFUL_SET


def settings_of_native(spec: Obj) -> Obj:
    """The spec fields a release changes, None where they are not set."""
    return {key: spec.get(key) for key in NATIVE_SETTINGS}
