"""Findings as a person reads them, in lines; colours are the caller's word."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from segue.check.findings import Finding, Rule, Severity

_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}


def finding_lines(finding: Finding, *, coloured: bool, width: int) -> Iterator[str]:
    """Where, what is lost and why, what to write instead, where more is said."""
    rule = finding.rule
    severity = _painted(str(finding.severity), _COLOURS[finding.severity], coloured)
    name = _painted(f"{rule.id} {rule.name}", "1", coloured)
    yield f"{finding.where}: {severity} {name}  {finding.source.title}"
    yield from _wrapped(finding.message + ".", width)
    repaired = "  (segue fix does that)" if finding.is_repaired else ""
    yield from _wrapped(f"instead: {finding.remedy}{repaired}", width)
    facts = f"  {', '.join(rule.facts)}" if rule.facts else ""
    yield _painted(f"    {finding.shown_path}{facts}  {rule.page}", "2", coloured)


def rule_lines(rule: Rule, *, coloured: bool, width: int) -> Iterator[str]:
    """What --explain prints."""
    yield _painted(f"{rule.id} {rule.name}", "1", coloured) + f"  ({rule.severity}, {rule.family})"
    yield from _wrapped(rule.says[:1].upper() + rule.says[1:] + ".", width)
    yield ""
    yield from _wrapped(rule.why, width)
    yield ""
    yield from _wrapped(f"Instead: {rule.instead}", width)
    yield ""
    yield f"    segue fix {'repairs it' if rule.is_safe else 'asks, because only you know the answer'}"
    if rule.facts:
        yield f"    facts: {', '.join(rule.facts)} (docs/reference/statements.md)"
    yield f"    page: {rule.page}"


def summary(findings: Sequence[Finding], *, objects: int, ignored: int, skipped: int) -> str:
    """The last line."""
    counts = [(sum(1 for one in findings if one.severity is severity), severity) for severity in reversed(Severity)]
    said = ", ".join(f"{count} {severity}{'s' if count != 1 else ''}" for count, severity in reversed(counts) if count)
    repaired = sum(1 for one in findings if one.is_repaired)
    parts = [f"{objects} object{'s' if objects != 1 else ''}: {said or 'nothing that would lose requests'}"]
    if repaired:
        parts.append(f"segue fix repairs {repaired} of them")
    if ignored:
        parts.append(f"{ignored} ignored with a reason")
    if skipped:
        parts.append(f"{skipped} document{'s' if skipped != 1 else ''} left out, no Kubernetes objects")
    return "; ".join(parts)


def unserved_note(titles: Iterable[str]) -> str:
    """Why little was said about workloads without a Service."""
    named = list(dict.fromkeys(titles))
    shown = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
    return (
        f"note: no Service of this set selects {shown}, so rules about lost requests did not apply. Give the Service's "
        'file, too, or say segue.dev/served: "true" where requests come another way'
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _painted(text: str, code: str, coloured: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if coloured else text
