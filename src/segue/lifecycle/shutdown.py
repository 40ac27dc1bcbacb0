"""How one container is ended: preStop, stop signal, SIGKILL, on one budget.

Rule 1: preStop and stop signal share the grace (T6). What preStop took is subtracted in whole seconds, truncated.
Rule 2: between stop signal and SIGKILL lie at least two seconds (T8): a floor, never an extension.
Rule 3: a hook that outlives the grace is left alone and the stop signal goes out all the same (T7).
Rule 4: what has begun keeps its grace: a later deletion with a shorter one, even a forced one, moves neither the stop
        signal nor SIGKILL (measured on 1.37.2, against T2's wording).
It must never send anything: it says at which stage a shutdown is and when the next one begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

STOP_FLOOR_S = 2


class Stage(StrEnum):
    """Where a shutdown is; RUN_HOOK, SIGNAL and KILL want an action, the others wait."""

    RUN_HOOK = "run_hook"
    IN_HOOK = "in_hook"
    SIGNAL = "signal"
    IN_STOP = "in_stop"
    KILL = "kill"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """One shutdown under way; times are None until that moment has come."""

    grace_s: int
    began_s: float
    has_hook: bool
    signal_delay_s: float = 0.0  # a drill's node that is slow to act; Kubernetes promises nothing here (T3)
    hook_began_s: float | None = None
    hook_ended_s: float | None = None
    signalled_s: float | None = None
    stop_timeout_s: int = 0
    killed: bool = False

    def __post_init__(self) -> None:
        assert self.grace_s >= 0


def grace_of(*, deletion_s: int | None, probe_s: int | None, pod_s: int) -> int:
    """Whose grace counts when a container is killed (T17): the deletion's, else the failed probe's, else the pod's."""
    if deletion_s is not None:
        return deletion_s
    return pod_s if probe_s is None else probe_s


def begin(*, grace_s: int, has_hook: bool, now_s: float, signal_delay_s: float = 0.0) -> Shutdown:
    """A shutdown that begins now; without grace the hook does not run (T9)."""
    return Shutdown(grace_s=grace_s, began_s=now_s, has_hook=has_hook and grace_s > 0, signal_delay_s=signal_delay_s)


def stage(shutdown: Shutdown, now_s: float) -> Stage:
    """Where the shutdown is at `now_s`."""
    if shutdown.killed:
        return Stage.KILLED
    if shutdown.signalled_s is not None:
        return Stage.KILL if now_s >= shutdown.signalled_s + shutdown.stop_timeout_s else Stage.IN_STOP
    if shutdown.has_hook:
        if shutdown.hook_began_s is None:
            return Stage.RUN_HOOK
        if shutdown.hook_ended_s is None and now_s < shutdown.hook_began_s + shutdown.grace_s:
            return Stage.IN_HOOK
    return Stage.SIGNAL if now_s >= shutdown.began_s + shutdown.signal_delay_s else Stage.IN_HOOK


def wake_s(shutdown: Shutdown) -> float:
    """When the next stage begins by itself."""
    if shutdown.killed:
        return math.inf
    if shutdown.signalled_s is not None:
        return shutdown.signalled_s + shutdown.stop_timeout_s
    signal_s = shutdown.began_s + shutdown.signal_delay_s
    if shutdown.has_hook and shutdown.hook_began_s is not None and shutdown.hook_ended_s is None:
        return max(signal_s, shutdown.hook_began_s + shutdown.grace_s)
    return signal_s


def hook_begun(shutdown: Shutdown, now_s: float) -> Shutdown:
    """The hook runs from now on."""
    return replace(shutdown, hook_began_s=now_s)


def hook_ended(shutdown: Shutdown, now_s: float) -> Shutdown:
    """The hook has ended, well or badly: both let the shutdown go on (T9)."""
    return shutdown if shutdown.hook_ended_s is not None else replace(shutdown, hook_ended_s=now_s)


def signalled(shutdown: Shutdown, now_s: float, *, waited_for_turn: bool = False) -> Shutdown:
    """The stop signal goes out now; its timeout is what the hook left of the grace, at least the floor.

    A sidecar that waited for its turn has spent that time of its own grace too (T22).
    """
    spent_s = 0.0
    if waited_for_turn:
        spent_s = now_s - shutdown.began_s
    elif shutdown.hook_began_s is not None:
        spent_s = (now_s if shutdown.hook_ended_s is None else shutdown.hook_ended_s) - shutdown.hook_began_s
    return replace(shutdown, signalled_s=now_s, stop_timeout_s=stop_timeout_s(shutdown.grace_s, spent_s))


def killed(shutdown: Shutdown) -> Shutdown:
    """SIGKILL goes out now."""
    return replace(shutdown, killed=True)


def stop_timeout_s(grace_s: int, hook_s: float) -> int:
    """Whole seconds between stop signal and SIGKILL."""
    return max(STOP_FLOOR_S, grace_s - int(hook_s))
