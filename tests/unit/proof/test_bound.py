"""The bound on the share of lost requests."""

from __future__ import annotations

import math

import pytest

from segue.proof.bound import lost_share_bound, say_share


def test_nothing_lost_of_n_gives_three_over_n() -> None:
    assert lost_share_bound(0, 30_000) == pytest.approx(1e-4)


@pytest.mark.parametrize("sent", [1, 2, 3, 10, 1000, 10**6])
def test_the_rule_of_three_is_never_below_the_exact_bound(sent: int) -> None:
    exact = 1 - 0.05 ** (1 / sent)

    assert lost_share_bound(0, sent) >= min(1.0, exact)


@pytest.mark.parametrize(
    ("lost", "sent", "expected"),
    [(1, 100, 0.046560), (5, 100, 0.102253), (10, 1000, 0.016902), (1, 10, 0.394163), (99, 100, 0.999487)],
)
def test_the_exact_bound_agrees_with_published_clopper_pearson_values(lost: int, sent: int, expected: float) -> None:
    assert lost_share_bound(lost, sent) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("lost", "sent"), [(3, 50), (17, 400), (250, 100_000)])
def test_at_the_bound_as_few_losses_would_be_seen_with_five_percent_chance(lost: int, sent: int) -> None:
    share = lost_share_bound(lost, sent)
    logs = [
        math.lgamma(sent + 1)
        - math.lgamma(count + 1)
        - math.lgamma(sent - count + 1)
        + count * math.log(share)
        + (sent - count) * math.log1p(-share)
        for count in range(lost + 1)
    ]

    assert math.fsum(math.exp(value) for value in logs) == pytest.approx(0.05, rel=1e-4)


def test_all_lost_or_nothing_sent_proves_nothing() -> None:
    assert lost_share_bound(7, 7) == 1.0
    assert lost_share_bound(0, 0) == 1.0


def test_more_lost_than_sent_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        lost_share_bound(2, 1)


def test_small_shares_read_as_one_in_so_many() -> None:
    assert (say_share(1e-4), say_share(0.05)) == ("1 in 10,000", "5.0%")
