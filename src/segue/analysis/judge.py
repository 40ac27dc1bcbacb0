"""The verdict on what has been measured at a stop: pass, fail, or not enough evidence.

A metric passes when the interval of its bad share lies below what is wanted, fails when it lies above, and is open
while it holds both. All must pass for the release to go on; one that fails takes it back.

Rule 1: a version worse than wanted passes a stop with a probability of at most `risk`, however often one looks: to
pass, its own interval must miss the truth. A good version is taken back with at most `risk` in the whole release: that
one is shared out among all limits and stops, any of which may fail.
Rule 2: a source that is silent, failing or has seen too few is never a pass. What has failed before it fell silent has
failed.
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.analysis.sequential import interval
from segue.analysis.values import Analysis, Counts, Kind, Metric, Sample, Verdict

UNHEARD = Sample(trouble="it has not answered yet")


def judge(analysis: Analysis, samples: Mapping[str, Sample], *, passed_s: float, stops: int = 1) -> Verdict:
    """The verdict on samples that are `passed_s` old, at one of `stops` stops."""
    assert analysis.metrics, "nothing is measured"
    assert stops >= 1
    shares = sum(metric.limits for metric in analysis.metrics) * stops
    found = [_judge_one(metric, samples.get(metric.name, UNHEARD), analysis, shares) for metric in analysis.metrics]
    said = "; ".join(verdict.because for verdict in found)
    failed = [verdict.because for verdict in found if verdict.kind is Kind.FAIL]
    if failed:
        return Verdict(kind=Kind.FAIL, because="; ".join(failed))
    opened = [verdict.because for verdict in found if verdict.kind is Kind.OPEN]
    if opened:
        return Verdict(kind=Kind.OPEN, because="; ".join(opened))
    if passed_s < analysis.least_s:
        because = f"{passed_s:.0f} of at least {analysis.least_s:g} s are over; {said}"
        return Verdict(kind=Kind.OPEN, because=because)
    return Verdict(kind=Kind.PASS, because=said)


def _judge_one(metric: Metric, sample: Sample, analysis: Analysis, shares: int) -> Verdict:
    found: list[Verdict] = []
    if metric.bad_at_most is not None:
        found.append(_absolute(metric, sample, metric.bad_at_most, (analysis.risk, analysis.risk / shares)))
    if metric.worse_at_most is not None:
        found.append(_compared(metric, sample, metric.worse_at_most, (analysis.risk, analysis.risk / shares)))
    failed = next((verdict for verdict in found if verdict.kind is Kind.FAIL), None)
    if failed is not None:
        return failed
    if sample.trouble:
        return Verdict(kind=Kind.OPEN, because=f"{metric.name}: {sample.trouble}")
    kind = Kind.OPEN if any(verdict.kind is Kind.OPEN for verdict in found) else Kind.PASS
    return Verdict(kind=kind, because=", ".join(verdict.because for verdict in found))


def _absolute(metric: Metric, sample: Sample, wanted: float, risks: tuple[float, float]) -> Verdict:
    to_pass, to_fail = (interval(sample.new, risk=risk, typical=wanted) for risk in risks)
    said = f"{metric.name}: {_seen(sample.new, to_pass)}, at most {_percent(wanted)} wanted"
    if to_fail[0] > wanted:
        return Verdict(kind=Kind.FAIL, because=said)
    return _passed(said, to_pass[1] <= wanted, metric, (sample.new,))


def _compared(metric: Metric, sample: Sample, margin: float, risks: tuple[float, float]) -> Verdict:
    """Both intervals at half the risk each: then both hold at once with the whole of it."""
    new_pass, new_fail = (interval(sample.new, risk=risk / 2, typical=margin) for risk in risks)
    old_pass, old_fail = (interval(sample.old, risk=risk / 2, typical=margin) for risk in risks)
    said = (
        f"{metric.name}: new {_seen(sample.new, new_pass)}, old {_seen(sample.old, old_pass)}, "
        f"at most {_percent(margin)} more wanted"
    )
    if new_fail[0] > old_fail[1] + margin:
        return Verdict(kind=Kind.FAIL, because=said)
    return _passed(said, new_pass[1] <= old_pass[0] + margin, metric, (sample.new, sample.old))


def _passed(said: str, shown: bool, metric: Metric, needed: tuple[Counts, ...]) -> Verdict:
    enough = all(counts.total >= metric.minimum for counts in needed)
    if not enough:
        said += f", at least {metric.minimum} needed"
    return Verdict(kind=Kind.PASS if shown and enough else Kind.OPEN, because=said)


def _seen(counts: Counts, found: tuple[float, float]) -> str:
    if not counts.total:
        return "none seen"
    return f"{counts.bad:.10g} of {counts.total:.10g} bad ({_percent(found[0])} to {_percent(found[1])})"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
