"""Whether a new version gets the share of the requests that was asked for: an equivalence test on what was counted.

Two one-sided tests, each at 95 %: the share is proved when both "it is below the asked one by the margin or more" and
"it is above it by the margin or more" are refused. That is the same as an interval that misses the true share on either
side with a probability of 5 % and lies within the margin. The interval is that of `sequential`, which holds at every
look, so the test may be asked after each request and stop at the first yes.

Rule: without requests nothing is proved, however long one waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from segue.analysis.sequential import interval
from segue.analysis.values import Counts

RISK = 0.10  # 5 % on either side
LEAST_MARGIN, MOST_MARGIN = 0.001, 0.05
MOST_REQUESTS = 100_000_000
_EDGE = 0.01  # where the interval is to be sharp for shares of nothing and of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the requests say of a share. `kind`: proved; off: the share is another one; open: too few requests."""

    kind: Literal["proved", "off", "open"]
    low: float
    high: float
    requests: int
    canary: int

    @property
    def said(self) -> str:
        """For people."""
        if not self.requests:
            return "no request has been counted"
        seen = f"{self.canary} of {self.requests} requests"
        return f"{seen} reached the new version: {self.low:.2%} to {self.high:.2%}"


def usual_margin(share: float) -> float:
    """Half of a small share or of what is missing to all, at most 5 points."""
    nearest = min(share, 1 - share) or 1.0
    return max(LEAST_MARGIN, min(MOST_MARGIN, nearest / 2))


def prove(*, stable: int, canary: int, share: float, margin: float) -> Proof:
    """The test: `stable` and `canary` are requests that each version was sent since the share was asked for."""
    assert 0 <= share <= 1
    assert 0 < margin < 1
    typical = min(1 - _EDGE, max(_EDGE, share))
    low, high = interval(Counts(good=stable, bad=canary), risk=RISK, typical=typical)
    proof = Proof(kind="open", low=low, high=high, requests=stable + canary, canary=canary)
    if not proof.requests:
        return proof
    below, above = share - margin, share + margin
    if (low > below or below <= 0) and (high < above or above >= 1) and (canary or share == 0):
        return Proof(kind="proved", low=low, high=high, requests=proof.requests, canary=canary)
    if low >= above or high <= below:
        return Proof(kind="off", low=low, high=high, requests=proof.requests, canary=canary)
    return proof


def needed(share: float, margin: float) -> int:
    """About how many requests prove a share that is exactly as asked for; for a plan, which knows nothing better."""
    few, many = 0, 1
    while not _proves(many, share, margin) and many < MOST_REQUESTS:
        few, many = many, many * 2
    while many - few > max(1, many // 100):
        middle = (few + many) // 2
        few, many = (few, middle) if _proves(middle, share, margin) else (middle, many)
    return many


def _proves(requests: int, share: float, margin: float) -> bool:
    canary = round(requests * share)
    return prove(stable=requests - canary, canary=canary, share=share, margin=margin).kind == "proved"
