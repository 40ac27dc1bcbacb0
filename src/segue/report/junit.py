"""A verdict as JUnit XML, for CI systems: one test case per claim, failed where the claim did not hold.

JUnit has no standard; what is written here is the part that all of its readers share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.model.objects import Obj
from segue.report.markup import Element, el, render

FAILURES_TOLD_MAX = 20  # errors named in the text of one failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One thing that should hold; `failed` says in words why it does not, "" where it does."""

    name: str
    failed: str = ""
    details: str = ""
    took_s: float = 0.0
    skipped: str = ""  # why nothing can be said


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The claims of one receipt or load."""

    name: str
    at: str  # RFC 3339
    claims: tuple[Claim, ...]
    said: str = ""


def suite_of(receipt: Obj, *, expected: Claim | None = None) -> Suite:
    """What a receipt claims. `expected` is a drill's oracle: losses that it expects are no failure."""
    window = receipt["exposure"]
    took_s = max(0.0, window["toS"] - window["fromS"])
    claims: list[Claim] = []
    if receipt.get("end"):
        good = receipt["end"] in {"done", "held"}
        said = str(receipt.get("endMessage", ""))
        claims.append(Claim(name="the release ended well", failed="" if good else said, took_s=took_s))
    if expected is not None:
        claims.append(expected)
    else:
        claims.append(_none_lost(receipt))
    ends = [f"pod {pod['pod']} ended {pod['reason']} {pod.get('because', '')}".rstrip() for pod in receipt["pods"]]
    said = "\n".join([str(receipt["verdict"]), *ends])
    return Suite(name=f"segue {receipt['title']}", at=str(receipt["zeroAt"]), claims=tuple(claims), said=said)


def _none_lost(receipt: Obj) -> Claim:
    name = "no request was lost"
    if not receipt["sent"]:
        return Claim(name=name, skipped=str(receipt["verdict"]))
    if not receipt["lost"] and not receipt["lostOutsideExposure"]:
        return Claim(name=name)
    causes = [f"{row['count']} {row['cause']}: {row['example']}" for row in receipt["causes"]]
    return Claim(name=name, failed=str(receipt["verdict"]), details="\n".join(causes[:FAILURES_TOLD_MAX]))


def suite_of_load(summary: Obj, url: str, at: str) -> Suite:
    """What a load by itself claims: that nothing was lost, and that it kept its rate."""
    lost = int(summary["lost"])
    outcomes = [f"{count} {outcome}" for outcome, count in summary["outcomes"].items() if outcome != "ok"]
    failed = f"{lost:,} of {summary['requests']:,} requests were lost" if lost else ""
    claim = Claim(
        name="no request was lost", failed=failed, details="\n".join(outcomes), took_s=float(summary["tookS"])
    )
    return Suite(name=f"segue load {url}", at=at, claims=(claim,), said=failed or f"{summary['ok']:,} answered well")


def junit(suites: Sequence[Suite]) -> str:
    """The whole file."""
    root = el("testsuites", *[_suite(suite) for suite in suites])
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + render(root) + "\n"


def _suite(suite: Suite) -> Element:
    return el(
        "testsuite",
        *[_case(suite, claim) for claim in suite.claims],
        el("system-out", suite.said),
        name=suite.name,
        timestamp=suite.at[:19],
        tests=str(len(suite.claims)),
        failures=str(sum(bool(claim.failed) for claim in suite.claims)),
        skipped=str(sum(bool(claim.skipped) for claim in suite.claims)),
        errors="0",
        time=f"{sum(claim.took_s for claim in suite.claims):.3f}",
    )


def _case(suite: Suite, claim: Claim) -> Element:
    children = []
    if claim.failed:
        children.append(el("failure", claim.details or claim.failed, message=claim.failed, type="lost"))
    elif claim.skipped:
        children.append(el("skipped", message=claim.skipped))
    return el("testcase", *children, name=claim.name, classname=suite.name, time=f"{claim.took_s:.3f}")
