"""How small a share of lost requests a run with N requests proves: the one-sided upper confidence bound.

0 of N lost never proves 0. Exact (Clopper and Pearson), by bisection on the binomial distribution; no tables.
"""

from __future__ import annotations

import math

DOUBT = 0.05  # 95 % confidence


def lost_share_bound(lost: int, sent: int, doubt: float = DOUBT) -> float:
    """The share of lost requests that the true share stays below with confidence 1 - doubt; 1.0 where none were sent.

    For 0 lost this is the rule of three, 3/N at 95 %: 1 - doubt^(1/N) is below it for every N.
    """
    assert 0 <= lost <= sent, "what was lost had been sent"
    assert 0.0 < doubt < 1.0
    if lost == sent:
        return 1.0
    if lost == 0:
        return min(1.0, 3.0 / sent) if doubt == DOUBT else 1.0 - doubt ** (1.0 / sent)
    low, high = lost / sent, 1.0
    while high - low > 1e-12 and (high - low) > 1e-9 * high:
        middle = (low + high) / 2
        if _at_most(lost, sent, middle) > doubt:
            low = middle
        else:
            high = middle
    return high


def _at_most(lost: int, sent: int, share: float) -> float:
    """P(X <= lost) of a binomial distribution, summed down from its largest term."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 1.0 if lost >= sent else 0.0
    log_term = (
        math.lgamma(sent + 1)
        - math.lgamma(lost + 1)
        - math.lgamma(sent - lost + 1)
        + lost * math.log(share)
        + (sent - lost) * math.log1p(-share)
    )
    # Above lost/sent (the only place we are asked about) terms fall towards 0 losses.
    ratio_sum, ratio = 1.0, 1.0
    for count in range(lost, 0, -1):
        ratio *= count * (1.0 - share) / ((sent - count + 1) * share)
        ratio_sum += ratio
        if ratio < 1e-18 * ratio_sum:
            break
    return math.exp(log_term) * ratio_sum


def say_share(share: float) -> str:
    """A small share for people: `3.0e-05` reads as `1 in 33,333`."""
    return f"1 in {int(1 / share):,}" if 0 < share < 0.01 else f"{share:.1%}"
