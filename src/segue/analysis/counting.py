"""Counters that go up, read again and again, as the good and bad ones since the first reading.

Rule: what a series lost by beginning anew (its pod was restarted) is not taken back, and one that went away and came
again is not counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from segue.analysis.values import Counts

Series = Mapping[str, float]  # by its labels, in one line


@dataclass(slots=True)
class Counter:
    """The growth of one query's series since it was first heard."""

    grown: float = 0.0
    _last: dict[str, float] | None = field(default=None)

    def note(self, series: Series) -> None:
        """Take a reading. Before the first one is history; a series that appears later began at 0."""
        if self._last is None:
            self._last = dict(series)
            return
        for labels, value in series.items():
            before = self._last.get(labels, 0.0)
            self.grown += value - before if value >= before else value
            self._last[labels] = value


@dataclass(slots=True)
class Tally:
    """Good and bad ones of one version, from trials and from counters of which two are known."""

    trials: Counts = field(default_factory=Counts)
    counters: dict[str, Counter] = field(default_factory=dict)

    def note(self, readings: Mapping[str, Series]) -> None:
        """Take readings of good, bad and total, as many of them as there are."""
        for name, series in readings.items():
            self.counters.setdefault(name, Counter()).note(series)

    def trial(self, good: bool) -> None:
        """Count one."""
        self.trials = Counts(good=self.trials.good + good, bad=self.trials.bad + (not good))

    @property
    def counts(self) -> Counts:
        """The sum. Of two queries, asked one after the other, the part is never more than the whole."""
        good, bad = self._grown("good"), self._grown("bad")
        if "total" in self.counters:
            total = self._grown("total")
            if "bad" in self.counters:
                bad = min(bad, total)
                good = total - bad
            else:
                good = min(good, total)
                bad = total - good
        return Counts(good=self.trials.good + good, bad=self.trials.bad + bad)

    def _grown(self, name: Literal["good", "bad", "total"]) -> float:
        return self.counters[name].grown if name in self.counters else 0.0
