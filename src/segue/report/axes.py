"""Where things lie in a picture: a time axis shared by all pictures of a report, and round numbers for its marks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from segue.report.markup import Element, el

WIDTH = 1120.0
LEFT = 132.0
RIGHT = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """Seconds from `begin_s` to `end_s`, relative to the start of the load, over the width of a picture."""

    begin_s: float
    end_s: float

    def __post_init__(self) -> None:
        assert self.begin_s < self.end_s, "a picture shows some time"

    def x(self, at_s: float) -> float:
        """Where a moment lies; the edges hold what lies beyond them."""
        share = (at_s - self.begin_s) / (self.end_s - self.begin_s)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def at_s(self, x: float) -> float:
        """Which moment lies there."""
        return self.begin_s + (x - LEFT) / (WIDTH - LEFT - RIGHT) * (self.end_s - self.begin_s)

    def marks(self) -> list[float]:
        """Round moments, about ten of them."""
        step = round_step((self.end_s - self.begin_s) / 10)
        first = math.ceil(self.begin_s / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.end_s / step + 1e-9) + 1)]

    def grid(self, top: float, bottom: float) -> list[Element]:
        """Vertical lines with their times below."""
        found: list[Element] = []
        for at_s in self.marks():
            found.append(el("line", x1=self.x(at_s), y1=top, x2=self.x(at_s), y2=bottom, class_="grid"))
            label = f"{at_s:g} s"
            found.append(el("text", label, x=self.x(at_s), y=bottom + 14, class_="mark", text_anchor="middle"))
        return found


def round_step(wanted: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... at or above."""
    assert wanted > 0
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= wanted * (1 - 1e-9))
