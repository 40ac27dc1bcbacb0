"""Why old pods were gone before new ones served: what the findings of one set say together, the surest cause first.

Rule: nothing is judged here. A cause is a finding that is there, in the words of that one question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from segue.check.findings import Finding, Severity

# In the order in which one outdoes the next: what deletes everything needs no further cause
CAUSES: dict[str, str] = {
    "ZD307": "it is no longer the object that runs, and who makes it anew or prunes the old one ends all old pods",
    "ZD301": "Recreate ends every old pod before the first new one starts",
    "ZD302": "after rounding, the strategy lets the last old pod go first",
    "ZD201": "without a readiness probe a new pod counts as ready before it serves, and old ones go",
    "ZD502": "the Service sends to pods that are not ready",
    "ZD204": "liveness kills new pods that start slowly, and what maxUnavailable gave away stays away",
    "ZD308": "the new pod finds no place beside the old one, so somebody ends the old one to make room",
    "ZD210": "readiness asks another port than the one that serves, so it may say yes too early",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason, and the finding that it is made of."""

    finding: Finding
    says: str

    @property
    def is_certain(self) -> bool:
        """Whether this alone loses requests at a release."""
        return self.finding.severity is Severity.ERROR


def gone_first(findings: Iterable[Finding]) -> list[Cause]:
    """All causes that a set's findings give, the surest first."""
    order = list(CAUSES)
    found = [Cause(finding=one, says=CAUSES[one.rule.id]) for one in findings if one.rule.id in CAUSES]
    return sorted(found, key=lambda one: (not one.is_certain, order.index(one.finding.rule.id)))


def gone_first_lines(causes: Sequence[Cause]) -> Iterator[str]:
    """In words, for objects with a certain cause: what only may be is said by its finding."""
    titles = {one.finding.source.title for one in causes if one.is_certain}
    if not titles:
        return
    yield "at a release old pods are gone before new ones serve, because"
    for one in causes:
        title = one.finding.source.title
        if title in titles:
            yield f"  {one.finding.rule.id} {title}: {'' if one.is_certain else 'perhaps '}{one.says}"
