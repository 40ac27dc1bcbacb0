"""All rules, and the one way a set of objects is judged by them.

Rule 1: findings come in the order of the input, then by line and rule, so that two runs read the same.
Rule 2: an ignore needs a reason; without one the finding stays, and the ignore is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from segue.check.case import Case, cases
from segue.check.findings import IGNORE, Finding, Rule, Severity, Source
from segue.check.joined import Joined
from segue.check.rules import changes, disruption, manifests, probes, processes, rollout, shutdown, traffic
from segue.check.settings import Settings

_BY_WORKLOAD = (
    *shutdown.RULES,
    *processes.RULES,
    *probes.RULES,
    *rollout.RULES,
    *disruption.RULES,
    *traffic.RULES,
)
_BY_SERVICE = traffic.SERVICE_RULES
_BY_ROUTE = traffic.ROUTE_RULES
_JUDGED = chain.from_iterable(rules for rules, _ in (*_BY_WORKLOAD, *_BY_SERVICE, *_BY_ROUTE))
RULES: dict[str, Rule] = {
    rule.id: rule for rule in sorted((*_JUDGED, *manifests.RULES, *changes.RULES), key=lambda rule: rule.id)
}
IDS = frozenset(RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A finding that somebody has answered, with the answer."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a set."""

    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...]
    unserved: tuple[Source, ...]  # workloads that no Service of the set selects: many rules had nothing to say
    objects: int


def judge(sources: Iterable[Source], settings: Settings, before: Iterable[Source] = ()) -> Verdict:
    """All findings of a set of objects; with what ran before, also those of the difference."""
    joined = Joined.of(sources)
    earlier = Joined.of(before)
    workloads = list(cases(joined, settings))
    raw = chain(_of_sources(joined, settings), _of_workloads(workloads), changes.changed(joined, earlier))
    found: list[Finding] = []
    ignored: list[Ignored] = []
    for finding in raw:
        reason = _reason(finding, settings)
        if reason:
            ignored.append(Ignored(finding=finding, reason=reason))
        else:
            said = settings.severities.get(finding.rule.id)
            found.append(replace(finding, severity=Severity(said)) if said else finding)
    order = {id(source): at for at, source in enumerate(joined.sources)}
    found.sort(key=lambda one: (order[id(one.source)], one.line, one.rule.id, str(one.path)))
    return Verdict(
        findings=tuple(found),
        ignored=tuple(ignored),
        unserved=tuple(
            one.source for one in workloads if not one.all_services and not one.is_served and _has_ports(one)
        ),
        objects=len(joined.sources),
    )


def _has_ports(case: Case) -> bool:
    return any(container.raw.get("ports") or container.raw.get("readinessProbe") for container in case.containers)


def _of_workloads(workloads: list[Case]) -> Iterator[Finding]:
    for case in workloads:
        for _, check in _BY_WORKLOAD:
            yield from check(case)


def _of_sources(joined: Joined, settings: Settings) -> Iterator[Finding]:
    for source in joined.sources:
        yield from manifests.removed_api(source, settings.minor)
        yield from manifests.misplaced(source)
        yield from manifests.bad_ignores(source, IDS)
    for service in joined.by_kind.get("Service", ()):
        case = traffic.ServiceCase(source=service, joined=joined, settings=settings)
        for _, check in _BY_SERVICE:
            yield from check(case)
    for kind in ("HTTPRoute", "GRPCRoute"):
        for route in joined.by_kind.get(kind, ()):
            for _, check in _BY_ROUTE:
                yield from check(traffic.ServiceCase(source=route, joined=joined, settings=settings))


def _reason(finding: Finding, settings: Settings) -> str:
    if finding.rule.id == manifests.ZD603.id:
        return ""
    return finding.source.annotation(IGNORE + finding.rule.id).strip() or settings.disabled.get(finding.rule.id, "")
