"""Verdicts and their words."""

from __future__ import annotations

import pytest

from segue.analysis.judge import judge
from segue.analysis.values import Analysis, CommandSource, Counts, Kind, Metric, Sample

ONE = CommandSource(command="true")
ERRORS = Metric(name="errors", source=ONE, bad_at_most=0.01)
WORSE = Metric(name="worse", source=ONE, worse_at_most=0.01)
GOOD = Sample(new=Counts(good=2000), old=Counts(good=2000))


def test_a_verdict_says_its_numbers() -> None:
    found = judge(Analysis(metrics=(ERRORS, WORSE)), {"errors": GOOD, "worse": GOOD}, passed_s=1.0)

    assert found.kind is Kind.PASS
    assert found.because == (
        "errors: 0 of 2000 bad (0 % to 0.243 %), at most 1 % wanted; "
        "worse: new 0 of 2000 bad (0 % to 0.277 %), old 0 of 2000 bad (0 % to 0.277 %), at most 1 % more wanted"
    )


@pytest.mark.parametrize("metric", [ERRORS, WORSE])
@pytest.mark.parametrize("share", [0.5, 0.01, 0.9999])
def test_no_request_never_passes(metric: Metric, share: float) -> None:
    limit = {"bad_at_most": share} if metric is ERRORS else {"worse_at_most": share}
    wanted = Metric(name="it", source=ONE, minimum=1, **limit)
    for sample in (Sample(), Sample(new=Counts(good=0.0), old=Counts(good=9e9))):
        assert judge(Analysis(metrics=(wanted,), risk=0.99), {"it": sample}, passed_s=1e9).kind is Kind.OPEN
    assert judge(Analysis(metrics=(wanted,)), {}, passed_s=1e9).because == "it: it has not answered yet"


def test_what_is_compared_with_nobody_is_open() -> None:
    sample = Sample(new=Counts(good=1e6))

    assert judge(Analysis(metrics=(WORSE,)), {"worse": sample}, passed_s=1.0).kind is Kind.OPEN


def test_a_source_in_trouble_is_open_however_good_it_was_but_what_has_failed_has_failed() -> None:
    silent = Sample(new=GOOD.new, trouble="no answer")
    bad = Sample(new=Counts(good=100, bad=100), trouble="no answer")
    found = judge(Analysis(metrics=(ERRORS,)), {"errors": silent}, passed_s=1.0)

    assert (found.kind, found.because) == (Kind.OPEN, "errors: no answer")
    assert judge(Analysis(metrics=(ERRORS,)), {"errors": bad}, passed_s=1.0).kind is Kind.FAIL


def test_fewer_than_the_minimum_never_pass() -> None:
    wanted = Metric(name="errors", source=ONE, bad_at_most=0.5, minimum=100)
    few = judge(Analysis(metrics=(wanted,)), {"errors": Sample(new=Counts(good=99))}, passed_s=1.0)

    assert few.kind is Kind.OPEN
    assert few.because.endswith("at most 50 % wanted, at least 100 needed")
    assert judge(Analysis(metrics=(wanted,)), {"errors": Sample(new=Counts(good=100))}, passed_s=1.0).kind is Kind.PASS


def test_one_that_fails_outweighs_all_and_one_that_is_open_holds_the_rest() -> None:
    both = Analysis(metrics=(ERRORS, WORSE))
    bad = Sample(new=Counts(good=100, bad=100), old=Counts(good=1000))
    failed = judge(both, {"errors": bad, "worse": Sample()}, passed_s=1.0)
    opened = judge(both, {"errors": GOOD}, passed_s=1.0)

    assert (failed.kind, failed.because.partition(":")[0]) == (Kind.FAIL, "errors")
    assert (opened.kind, opened.because) == (Kind.OPEN, "worse: it has not answered yet")


def test_it_lasts_at_least_as_long_as_was_said() -> None:
    wanted = Analysis(metrics=(ERRORS,), least_s=30.0)

    early = judge(wanted, {"errors": GOOD}, passed_s=29.0)
    assert early.kind is Kind.OPEN
    assert early.because.startswith("29 of at least 30 s are over; errors: 0 of 2000")
    assert judge(wanted, {"errors": GOOD}, passed_s=30.0).kind is Kind.PASS
