"""The interval and the verdict hold what they promise: seeded simulations look every ten requests."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.analysis.judge import judge
from segue.analysis.sequential import interval
from segue.analysis.values import Analysis, CommandSource, Counts, Kind, Metric, Sample

RISK = 0.05
RUNS = 200
ONE = CommandSource(command="true")


def noise(runs: int) -> float:
    """What a share of `runs` trials of probability RISK may be above it: three standard deviations."""
    return RISK + 3 * math.sqrt(RISK * (1 - RISK) / runs)


def analysis(*metrics: Metric, risk: float = RISK) -> Analysis:
    return Analysis(metrics=metrics, risk=risk)


def verdict_after(wanted: Analysis, new: float, old: float, looks: int, seed: int, stops: int = 1) -> tuple[Kind, int]:
    """The first verdict over flows with these shares of bad ones, asked again and again."""
    chance = random.Random(seed)
    bad_new = bad_old = 0
    for count in range(1, looks + 1):
        bad_new += chance.random() < new
        bad_old += chance.random() < old
        if count % 10:  # each look takes some arithmetic; every tenth one is still a hundred looks
            continue
        sample = Sample(new=Counts(good=count - bad_new, bad=bad_new), old=Counts(good=count - bad_old, bad=bad_old))
        found = judge(wanted, {metric.name: sample for metric in wanted.metrics}, passed_s=1e9, stops=stops)
        if found.kind is not Kind.OPEN:
            return found.kind, count
    return Kind.OPEN, looks


def shares(wanted: Analysis, new: float, old: float, looks: int, stops: int = 1) -> dict[Kind, float]:
    found = [verdict_after(wanted, new, old, looks, seed, stops)[0] for seed in range(RUNS)]
    return {kind: found.count(kind) / RUNS for kind in Kind}


ABSOLUTE = Metric(name="errors", source=ONE, bad_at_most=0.05)
COMPARED = Metric(name="errors", source=ONE, worse_at_most=0.05)


@pytest.mark.parametrize(
    ("metric", "new", "old"),
    [(ABSOLUTE, 0.05001, 0.0), (ABSOLUTE, 0.08, 0.0), (COMPARED, 0.0701, 0.02), (COMPARED, 0.1, 0.02)],
    ids=["just too bad", "too bad", "just worse", "worse"],
)
@pytest.mark.long
def test_a_bad_version_seldom_passes_however_often_one_looks(metric: Metric, new: float, old: float) -> None:
    found = shares(analysis(metric), new, old, looks=1000)

    assert found[Kind.PASS] <= noise(RUNS)


@pytest.mark.parametrize(
    ("metric", "new", "old"),
    [(ABSOLUTE, 0.05, 0.0), (ABSOLUTE, 0.03, 0.0), (COMPARED, 0.07, 0.02), (COMPARED, 0.02, 0.02)],
    ids=["just good enough", "good", "just not worse", "equal"],
)
@pytest.mark.long
def test_a_good_version_is_seldom_taken_back(metric: Metric, new: float, old: float) -> None:
    found = shares(analysis(metric), new, old, looks=1000)

    assert found[Kind.FAIL] <= noise(RUNS)


@pytest.mark.parametrize(
    ("metric", "new", "old", "wanted", "most"),
    [
        (ABSOLUTE, 0.0, 0.0, Kind.PASS, 120),
        (ABSOLUTE, 0.01, 0.0, Kind.PASS, 1500),
        (ABSOLUTE, 0.2, 0.0, Kind.FAIL, 400),
        (COMPARED, 0.01, 0.01, Kind.PASS, 1500),
        (COMPARED, 0.3, 0.01, Kind.FAIL, 400),
    ],
    ids=["no bad one", "good", "bad", "as good as the old", "much worse"],
)
def test_what_is_clear_is_found_out_soon(metric: Metric, new: float, old: float, wanted: Kind, most: int) -> None:
    found = shares(analysis(metric), new, old, looks=most)

    assert found[wanted] >= 0.95


def test_the_risk_of_taking_a_good_version_back_is_shared_by_all_limits_and_stops() -> None:
    wanted = analysis(*(Metric(name=f"m{number}", source=ONE, bad_at_most=0.05) for number in range(3)))
    sample = Sample(new=Counts(good=20, bad=7))
    samples = {metric.name: sample for metric in wanted.metrics}
    alone = judge(analysis(ABSOLUTE), {"errors": sample}, passed_s=1.0)

    assert alone.kind is Kind.FAIL
    assert judge(wanted, samples, passed_s=1.0, stops=50).kind is Kind.OPEN


counts = st.integers(0, 100_000)


@settings(max_examples=200, deadline=None)
@given(good=counts, bad=counts, risk=st.floats(0.0001, 0.5), typical=st.floats(0.0001, 0.9))
def test_the_interval_holds_what_was_seen_and_shrinks_with_the_risk_taken(
    good: int, bad: int, risk: float, typical: float
) -> None:
    low, high = interval(Counts(good=good, bad=bad), risk=risk, typical=typical)
    wider = interval(Counts(good=good, bad=bad), risk=risk / 10, typical=typical)

    assert 0.0 <= low <= high <= 1.0
    if good + bad:
        assert low <= bad / (good + bad) <= high
    assert wider[0] <= low
    assert high <= wider[1]


def test_the_interval_is_what_the_formula_says() -> None:
    """Recomputed by adding up the likelihood over a fine grid of shares instead of by the Beta function."""
    good, bad, risk, typical = 96, 4, 0.05, 0.25
    a, b = 0.5, 0.5 / typical - 0.5
    # q = sin^2(t) takes the pole of q^(a-1) at 0 away
    steps = 20_000
    total = whole = 0.0
    for step in range(steps):
        t = (step + 0.5) / steps * math.pi / 2
        q = math.sin(t) ** 2
        weight = q ** (a - 1) * (1 - q) ** (b - 1) * 2 * math.sin(t) * math.cos(t)
        whole += weight
        total += weight * q**bad * (1 - q) ** good
    low, high = interval(Counts(good=good, bad=bad), risk=risk, typical=typical)

    for edge in (low, high):
        assert total / whole / (edge**bad * (1 - edge) ** good) == pytest.approx(1 / risk, rel=1e-3)


def test_the_page_says_how_many_good_ones_pass() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "analysis.md").read_text()
    rows = re.findall(r"(?m)^\| ([\d.]+)% \| ([\d,]+) \|$", page)

    assert len(rows) == 4
    for share, count in rows:
        wanted, needed = float(share) / 100, int(count.replace(",", ""))
        assert interval(Counts(good=needed), risk=RISK, typical=wanted)[1] <= wanted
        assert interval(Counts(good=needed - 1), risk=RISK, typical=wanted)[1] > wanted
