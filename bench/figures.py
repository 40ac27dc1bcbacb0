"""One figure of a benchmark and how it is printed: `name value unit goal met`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A median over runs, its spread, and the goal it is held against (`at_most`: smaller is better).

    A goal of None: the figure is there to be compared with.
    """

    name: str
    values: Sequence[float]
    unit: str
    goal: float | None
    at_most: bool = True

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.values)

    def line(self) -> str:
        """What `make bench` prints."""
        spread = f"[{min(self.values):.3g}..{max(self.values):.3g}, n={len(self.values)}]"
        if self.goal is None:
            return f"{self.name:<34} {self.median:>9.3g} {self.unit:<6} {'-':<12} {spread}"
        met = self.median <= self.goal if self.at_most else self.median >= self.goal
        sign = "<=" if self.at_most else ">="
        verdict = "met" if met else "short"
        return f"{self.name:<34} {self.median:>9.3g} {self.unit:<6} {sign} {self.goal:g} {verdict:<6} {spread}"
