"""Findings as other tools read them: JSON, SARIF 2.1.0, GitHub's workflow commands, GitLab's code quality report.

Rule: every format carries rule, place, message and remedy, and what could not be read, too; only the dress differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from segue.check.diagnosis import Cause, gone_first
from segue.check.findings import Finding, Rule, Severity
from segue.check.rulebook import RULES, Ignored
from segue.model.errors import ManifestError
from segue.model.objects import Obj

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_GITLAB = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def finding_as_obj(finding: Finding) -> Obj:
    """One finding with stable field names."""
    rule = finding.rule
    return {
        "rule": rule.id,
        "name": rule.name,
        "severity": str(finding.severity),
        "file": finding.source.file,
        "line": finding.line,
        "kind": finding.source.kind,
        "object": finding.source.name,
        "namespace": finding.source.namespace,
        "path": finding.shown_path,
        "message": finding.message,
        "remedy": finding.remedy,
        "numbers": dict(finding.numbers),
        "facts": list(rule.facts),
        "page": rule.page,
        "repaired": finding.is_repaired,
        "question": finding.fix.question,
    }


def as_json(
    findings: Sequence[Finding], ignored: Sequence[Ignored], errors: Sequence[ManifestError], objects: int
) -> Obj:
    """Everything a run found."""
    return {
        "objects": objects,
        "counts": {str(one): sum(1 for finding in findings if finding.severity is one) for one in Severity},
        "findings": [finding_as_obj(one) for one in findings],
        "gone_first": [_cause(one) for one in gone_first(findings)],
        "ignored": [{**finding_as_obj(one.finding), "reason": one.reason} for one in ignored],
        "errors": [error_as_obj(one) for one in errors],
    }


def _cause(cause: Cause) -> Obj:
    source = cause.finding.source
    named: Obj = {"kind": source.kind, "object": source.name, "namespace": source.namespace}
    return {"rule": cause.finding.rule.id, **named, "says": cause.says, "certain": cause.is_certain}


def error_as_obj(error: ManifestError) -> Obj:
    """What could not be read."""
    place = error.place
    return {
        "file": place.file if place else "",
        "line": place.line if place else 0,
        "message": error.message,
        "remedy": error.remedy,
    }


def rule_as_obj(rule: Rule) -> Obj:
    """One rule, for lists."""
    return {
        "rule": rule.id,
        "name": rule.name,
        "family": rule.family,
        "severity": str(rule.severity),
        "says": rule.says,
        "repaired": rule.is_safe,
        "facts": list(rule.facts),
        "page": rule.page,
    }


def as_sarif(
    findings: Sequence[Finding],
    ignored: Sequence[Ignored],
    errors: Sequence[ManifestError],
    version: str,
    pages: str = "",
) -> Obj:
    """SARIF 2.1.0. What is ignored is there as suppressed, with its reason; `pages` is where those of the rules are."""
    ids = list(RULES)
    results = [_result(one, ids) for one in findings]
    for one in ignored:
        suppression: Obj = {"kind": "inSource", "justification": one.reason}
        results.append({**_result(one.finding, ids), "suppressions": [suppression]})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "segue",
                        "version": version,
                        "rules": [_sarif_rule(one, pages) for one in RULES.values()],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
                "invocations": [
                    {
                        "executionSuccessful": not errors,
                        "toolExecutionNotifications": [_notification(one) for one in errors],
                    }
                ],
            }
        ],
    }


def _sarif_rule(rule: Rule, pages: str) -> Obj:
    address: Obj = {"helpUri": f"{pages.rstrip('/')}/{rule.id}.md"} if pages else {}
    return address | {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.says},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n\nInstead: {rule.instead}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": [rule.family, *rule.facts], "page": rule.page},
    }


def _result(finding: Finding, ids: list[str]) -> Obj:
    place: Obj = {"artifactLocation": {"uri": finding.source.file}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": ids.index(finding.rule.id),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}. Instead: {finding.remedy}"},
        "locations": [
            {
                "physicalLocation": place,
                "logicalLocations": [{"fullyQualifiedName": f"{finding.source.title} {finding.shown_path}"}],
            }
        ],
        "partialFingerprints": {"segue/v1": fingerprint(finding)},
        "properties": {"numbers": dict(finding.numbers)},
    }


def _notification(error: ManifestError) -> Obj:
    place: Obj = {"artifactLocation": {"uri": error.place.file if error.place else ""}}
    if error.place and error.place.line:
        place["region"] = {"startLine": error.place.line}
    said = f"{error.message}. {error.remedy}".rstrip(". ")
    return {"level": "error", "message": {"text": said}, "locations": [{"physicalLocation": place}]}


def fingerprint(finding: Finding) -> str:
    """What stays the same when lines move: rule, object and path."""
    source = finding.source
    said = "\0".join((finding.rule.id, source.file, source.kind, source.namespace, source.name, finding.shown_path))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def as_github(findings: Iterable[Finding], errors: Iterable[ManifestError]) -> list[str]:
    """Workflow commands: one annotation each, in the lines of a pull request."""
    lines = []
    for one in findings:
        where = f"file={_property(one.source.file)}" + (f",line={one.line}" if one.line else "")
        title = _property(f"{one.rule.id} {one.rule.name}")
        lines.append(f"::{_GITHUB[one.severity]} {where},title={title}::{_data(_plain(one))}")
    for error in errors:
        place = error.place
        where = f"file={_property(place.file)}" + (f",line={place.line}" if place.line else "") if place else ""
        lines.append(f"::error {where},title=cannot be read::{_data(error.message)}")
    return lines


def _plain(finding: Finding) -> str:
    return f"{finding.source.title}: {finding.message}\nInstead: {finding.remedy}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_gitlab(findings: Iterable[Finding], errors: Iterable[ManifestError]) -> list[Obj]:
    """GitLab's code quality report."""
    found: list[Obj] = []
    seen: dict[str, int] = {}
    for one in findings:
        mark = fingerprint(one)
        seen[mark] = seen.get(mark, 0) + 1
        found.append(
            {
                "description": f"{one.source.title}: {one.message}. Instead: {one.remedy}",
                "check_name": f"{one.rule.id} {one.rule.name}",
                "fingerprint": mark if seen[mark] == 1 else f"{mark}-{seen[mark]}",
                "severity": _GITLAB[one.severity],
                "location": {"path": one.source.file, "lines": {"begin": one.line or 1}},
            }
        )
    for error in errors:
        file, line = (error.place.file, error.place.line) if error.place else ("", 0)
        found.append(
            {
                "description": f"cannot be read: {error.message}",
                "check_name": "unreadable",
                "fingerprint": hashlib.sha256(f"{file}:{error.message}".encode()).hexdigest()[:32],
                "severity": "blocker",
                "location": {"path": file, "lines": {"begin": line or 1}},
            }
        )
    return found
