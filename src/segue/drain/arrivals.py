"""New connections over time: which of them the kubelet's probes explain, and how often each sender comes.

Rule: probes are taken out by their rhythm (P2: fixed period and phase), never by their number alone, and never where
the source is seen and is not the node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

SAMPLES_FOR_A_RATE = 3  # fewer arrivals than this say nothing about a sender's rhythm


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """New connections between two samples."""

    at_s: float
    count: int
    seen: Mapping[str, int] = field(default_factory=dict)  # new connections by source, the node's left out

    @property
    def foreign(self) -> int:
        """How many are surely no probes."""
        return min(self.count, sum(self.seen.values()))


@dataclass(slots=True, kw_only=True)
class _Rhythm:
    """One probe of the kubelet: `at_s` is the arrival last explained by it, walking back in time."""

    period_s: float
    at_s: float | None = None

    def explains(self, at_s: float) -> bool:
        if self.at_s is None:
            return True
        back_s = self.at_s - at_s
        turns = round(back_s / self.period_s)
        slack_s = min(1.0, 0.3 * self.period_s)
        return turns >= 1 and abs(back_s - turns * self.period_s) <= slack_s


def still_sending(arrived: Sequence[Arrived], since_s: float) -> dict[str, float]:
    """Rates of the senders seen after the switch often enough: each by its own arrivals, scaled to those nobody saw."""
    late = [one for one in arrived if one.at_s > since_s]
    seen: dict[str, int] = {}
    last_s: dict[str, float] = {}
    for one in late:
        for remote, count in one.seen.items():
            seen[remote] = seen.get(remote, 0) + count
            last_s[remote] = one.at_s
    scale = max(1.0, sum(one.count for one in late) / sum(seen.values())) if seen else 1.0
    return {
        remote: count * scale / max(0.1, last_s[remote] - since_s)
        for remote, count in seen.items()
        if count >= SAMPLES_FOR_A_RATE
    }


def without_probes(arrivals: Sequence[Arrived], periods_s: Sequence[float]) -> list[Arrived]:
    """Arrivals that no probe explains, oldest first.

    Walks back from now, because the phase of a probe can only be learnt where the traffic has gone. Before the first
    arrival that no rhythm explains the probes drown in the traffic and no longer matter.
    """
    rhythms = [_Rhythm(period_s=period_s) for period_s in periods_s]
    rows = list(arrivals)
    while rows:
        row = rows[-1]
        left = row.count
        for rhythm in sorted(rhythms, key=lambda r: r.at_s is None):
            if left > row.foreign and rhythm.explains(row.at_s):
                rhythm.at_s = row.at_s
                left -= 1
        if left:
            rows[-1] = replace(row, count=left)
            return rows
        rows.pop()
    return rows


def proving_s(rate: float, watched_s: float, risk: float) -> float:
    """How long a sender must be silent so that chance is ruled out. A rate is only known by the arrivals that it was
    counted from: of few a longer silence is asked than -ln(risk)/rate, which is that of very many."""
    count = rate * watched_s
    return watched_s * (risk ** (-1 / count) - 1) if count >= 1 else math.inf
