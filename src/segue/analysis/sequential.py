"""An interval that holds the true share of bad ones at every look, however often one looks.

Theory: trials are good or bad; p is the share of bad ones. Weigh every share q by a Beta(a, b) density chosen before
the first trial, and let M(p) be the likelihood of what was seen, averaged over q, divided by its likelihood under p:

    M(p) = B(a + bad, b + good) / B(a, b) / (p^bad * (1 - p)^good)

Under the true p, M(p) is a non-negative martingale that begins at 1. By Ville's inequality it ever reaches 1/risk with
a probability of at most `risk`. All p for which it is below that are therefore an interval that misses the true p at
*any* look with a probability of at most `risk`: a verdict that waits for the interval may be asked after each request
and stop whenever it likes. log M(p) is convex in p with its least value, never above 0, at bad/total, so that the set
is one interval around that, and both its ends are found by halving.

The density only decides how soon the interval is small; its mean is the share that matters. What the interval takes for
granted: trials are independent given the version, and their share does not move while it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from segue.analysis.values import Counts

HALVINGS = 40  # to 1e-12


def interval(counts: Counts, *, risk: float, typical: float) -> tuple[float, float]:
    """The least and the largest share of bad ones that what was seen allows; `typical` is where it is to be sharp."""
    assert 0 < risk < 1
    assert 0 < typical < 1
    good, bad = counts.good, counts.bad
    if good + bad == 0:
        return 0.0, 1.0
    a = 0.5
    b = a / typical - a
    weight = _log_beta(a + bad, b + good) - _log_beta(a, b)
    bound = math.log(1 / risk)

    def inside(p: float) -> bool:
        likelihood = (bad * math.log(p) if bad else 0.0) + (good * math.log1p(-p) if good else 0.0)
        return weight - likelihood < bound

    seen = bad / (good + bad)
    low = _edge(0.0, seen, inside) if bad else 0.0
    high = _edge(1.0, seen, inside) if good else 1.0
    return low, high


def _edge(outer: float, inner: float, inside: Callable[[float], bool]) -> float:
    """Where `inside` ends between a point outside and one within; what is returned is never too far in."""
    for _ in range(HALVINGS):
        middle = (outer + inner) / 2
        if middle in {outer, inner}:
            break
        if inside(middle):
            inner = middle
        else:
            outer = middle
    return outer


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
