"""The sum of a load: counts by outcome and version, latencies from the planned moment, the longest silence.

Memory is bounded: latencies go into logarithmic buckets of 1 % width, seconds into one row each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from segue.load.outcome import Outcome
from segue.load.record import Record
from segue.model.objects import Obj

BUCKET = math.log(1.01)  # a reported latency is at most 1 % off
SMALLEST_S = 1e-6
LATE_S = 0.05  # a request that leaves later than this after its moment: the load itself is overloaded


@dataclass(slots=True)
class Latencies:
    """A histogram that keeps its relative error."""

    _buckets: dict[int, int] = field(default_factory=dict)
    count: int = 0
    longest_s: float = 0.0

    def add(self, latency_s: float) -> None:
        """Count one."""
        bucket = int(math.log(max(latency_s, SMALLEST_S) / SMALLEST_S) / BUCKET)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.longest_s = max(self.longest_s, latency_s)

    def quantile_s(self, share: float) -> float:
        """The latency that `share` of all stay below; 0.0 where there are none."""
        assert 0.0 <= share <= 1.0
        wanted = math.ceil(share * self.count)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self.longest_s, SMALLEST_S * math.exp((bucket + 0.5) * BUCKET))
        return 0.0

    def as_json(self) -> Obj:
        """Milliseconds by quantile."""
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
        found = {name: round(self.quantile_s(share) * 1000, 3) for name, share in shares.items()}
        return {**found, "max": round(self.longest_s * 1000, 3)}


@dataclass(slots=True)
class Tally:
    """Records added one by one, in order of their end; `as_json` at any time.

    `window` is when requests were due: silence before and after it is no gap.
    """

    start_s: float
    window: tuple[float, float]
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    errnos: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, dict[str, int]] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    sessions: dict[str, int] = field(default_factory=dict)
    late: int = 0
    lateness_max_s: float = 0.0
    longest_gap_s: float = 0.0
    _last_ok_s: float = 0.0
    _end_s: float = 0.0

    def add(self, record: Record) -> None:
        """Count one request."""
        outcome = record.outcome
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self._end_s = max(self._end_s, record.done_s)
        if not record.nth and record.session:
            self.sessions.setdefault("held", 0)
            self.sessions.setdefault("cut", 0)
            self.sessions["cut" if outcome.lost else "held"] += outcome is not Outcome.OWN_FAULT
        if record.sent_s:
            lateness_s = max(0.0, (record.sent_s if record.reused else record.opened_s) - record.planned_s)
            self.late += lateness_s > LATE_S
            self.lateness_max_s = max(self.lateness_max_s, lateness_s)
        row = self.seconds.setdefault(int(record.planned_s - self.start_s), {})
        key = record.version or "?" if outcome is Outcome.OK else f"!{outcome.value}"
        row[key] = row.get(key, 0) + 1
        if outcome is Outcome.OK:
            version = record.version or "?"
            self.versions[version] = self.versions.get(version, 0) + 1
            if record.nth:
                self.latencies.add(record.latency_s)
            self.longest_gap_s = max(self.longest_gap_s, self._gap_until(record.done_s))
            self._last_ok_s = max(self._last_ok_s, record.done_s)
        elif record.errno:
            self.errnos[record.errno] = self.errnos.get(record.errno, 0) + 1

    def _gap_until(self, at_s: float) -> float:
        return min(at_s, self.window[1]) - (self._last_ok_s or self.window[0])

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.outcomes.values())

    @property
    def lost(self) -> int:
        """Requests that a user would have seen fail."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.lost)

    @property
    def own_faults(self) -> int:
        """Requests that the load itself failed to make."""
        return self.outcomes.get(Outcome.OWN_FAULT, 0)

    def as_json(self) -> Obj:
        """The summary for people and machines."""
        took_s = max(self._end_s - self.start_s, 0.0)
        ok = self.outcomes.get(Outcome.OK, 0)
        gap_s = max(self.longest_gap_s, self._gap_until(self._end_s))
        return {
            "requests": self.total,
            "ok": ok,
            "lost": self.lost,
            "ownFaults": self.own_faults,
            "late": self.late,
            "latenessMaxMs": round(self.lateness_max_s * 1000, 3),
            "tookS": round(took_s, 3),
            "okPerSecond": round(ok / took_s, 1) if took_s else 0.0,
            "outcomes": {outcome.value: count for outcome, count in sorted(self.outcomes.items())},
            "errnos": dict(sorted(self.errnos.items())),
            "versions": dict(sorted(self.versions.items())),
            "sessions": self.sessions,
            "latencyMs": self.latencies.as_json(),
            "longestGapMs": round(gap_s * 1000, 3),
            "seconds": [{"second": second, **self.seconds[second]} for second in sorted(self.seconds)],
        }
