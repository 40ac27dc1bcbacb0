"""When the watcher itself did not look: a silence of that time is no silence of the senders.

A counter says afterwards that nobody came meanwhile. But what stopped the watcher, a machine that stood still or a
network that was away, may have stopped who would have come: then they come when it is over.
Rule: what is too long is told by the watcher's own rhythm, so that one that looks seldom is believed as before.
Never asks the time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

STALL_MIN_S = 1.0  # a look that took half a second is no stall
STALL_FACTOR = 3.0  # of the median of the last gaps
GAPS = 5
STALLS_MAX = 64


@dataclass(slots=True, kw_only=True)
class Rhythm:
    """Fed the moment of each look."""

    last_s: float | None = None
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=GAPS))
    stalls: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=STALLS_MAX))

    def look(self, at_s: float) -> None:
        """One more look, or the same once more: of a source that is asked more often than it learns anything."""
        if self.last_s is not None and at_s > self.last_s:
            gap_s = at_s - self.last_s
            usual_s = sorted(self.gaps)[len(self.gaps) // 2] if len(self.gaps) == GAPS else gap_s
            if gap_s > max(STALL_MIN_S, STALL_FACTOR * usual_s):
                self.stalls.append((self.last_s, at_s))
            self.gaps.append(gap_s)
        self.last_s = at_s if self.last_s is None else max(at_s, self.last_s)

    def unwatched_s(self, from_s: float, to_s: float) -> float:
        """For how long of that time it stood still."""
        return sum(max(0.0, min(end_s, to_s) - max(begin_s, from_s)) for begin_s, end_s in self.stalls)
