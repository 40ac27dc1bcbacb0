"""When a node's data plane is brought up to date: kube-proxy's rhythm as a machine without a clock.

An event triggers a sync; successive syncs are a minimum interval apart, measured from the completion of the last one;
a failed one is tried again after the retry interval (K5). A drill may delay what the node sees.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """The timing rules; `delay_s` is not Kubernetes' but a drill's: every change becomes effective that much later."""

    min_interval_s: float = 1.0
    retry_s: float = 30.0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncNow:
    """Apply what was known at `as_of_s`, all of it afresh where `full`."""

    as_of_s: float
    full: bool


class Syncer:
    """One node's rhythm: tell it of changes and completions, ask it what to do."""

    def __init__(self, rhythm: Rhythm) -> None:
        self.rhythm = rhythm
        self._changes: deque[float] = deque()  # not yet part of a started sync
        self._running = False
        self._not_before_s = 0.0
        self._retry_at_s: float | None = None
        self._full = True  # the first sync makes everything

    def on_change(self, now_s: float) -> None:
        """Something the rules depend on has changed."""
        self._changes.append(now_s)

    def step(self, now_s: float) -> SyncNow | None:
        """What is to be done now; whoever gets a SyncNow must answer with `done`."""
        wake_s = self.wake_s()
        if wake_s is None or wake_s > now_s:
            return None
        as_of_s = now_s - self.rhythm.delay_s
        while self._changes and self._changes[0] <= as_of_s:
            self._changes.popleft()
        self._running, self._retry_at_s = True, None
        return SyncNow(as_of_s=as_of_s, full=self._full)

    def done(self, now_s: float, *, ok: bool) -> None:
        """The sync has completed; a failed one is repeated in full (K6)."""
        assert self._running
        self._running = False
        self._full = not ok
        self._not_before_s = now_s + self.rhythm.min_interval_s
        self._retry_at_s = None if ok else now_s + self.rhythm.retry_s

    def wake_s(self) -> float | None:
        """When `step` will have something to do; None where only a change or a completion brings it."""
        if self._running:
            return None
        if not self._changes:
            return self._retry_at_s
        due_s = max(self._changes[0] + self.rhythm.delay_s, self._not_before_s)
        return due_s if self._retry_at_s is None else min(due_s, self._retry_at_s)
