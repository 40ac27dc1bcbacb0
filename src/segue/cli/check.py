"""`segue check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter

from segue import __version__
from segue.check.diagnosis import gone_first, gone_first_lines
from segue.check.findings import RANK, Finding, Rule, Severity, Source
from segue.check.formats import as_github, as_gitlab, as_json, as_sarif, rule_as_obj
from segue.check.gathering import Gathered, sets_of, space_of
from segue.check.rulebook import RULES, Ignored, judge
from segue.check.settings import Settings
from segue.check.story import finding_lines, rule_lines, summary, unserved_note
from segue.cli.connection import Context, Kubeconfig, Lines, Namespace
from segue.cli.output import Output, coloured, emit, note, say, table, width
from segue.host.checking import read_settings, read_texts
from segue.model.errors import ManifestError, UsageError
from segue.model.objects import Obj

EXIT_CODES = {Severity.ERROR: 11, Severity.WARNING: 12, Severity.INFO: 13}


class CheckOutput(StrEnum):
    """The value of `-o`."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"


class FailOn(StrEnum):
    """The value of `--fail-on`."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NEVER = "never"


Manifests = Annotated[list[str] | None, Parameter(help="files, directories with all below them, - for standard input")]
Config = Annotated[str, Parameter(metavar="FILE", help="settings; else .segue.yaml of this directory")]
MeasuredOption = Annotated[
    str, Parameter(name="--measured", metavar="FILE", help="what segue measure -o json said: P and Q of the cluster")
]
Live = Annotated[bool, Parameter(negative="", help="check what runs in the cluster instead of files")]
Before = Annotated[
    list[str] | None,
    Parameter(metavar="FILE", help="what ran before, as files or - : shows what only the change breaks"),
]
Compare = Annotated[bool, Parameter(negative="", help="the same, against what runs in the cluster")]
FailOnOption = Annotated[
    FailOn | None,
    Parameter(metavar="SEVERITY", help="least severity that fails: error (default), warning, info, never"),
]
Outputs = Annotated[CheckOutput, Parameter(name=["--output", "-o"], help="text, json, sarif, github or gitlab")]


@dataclass(slots=True)
class Checked:
    """What a run over all sets came to."""

    findings: list[Finding]
    ignored: list[Ignored]
    unserved: list[Source]
    objects: int = 0
    apart: str = ""


def check(  # noqa: PLR0913 - one parameter per option
    manifests: Manifests = None,
    /,
    *,
    live: Live = False,
    compare: Compare = False,
    before: Before = None,
    fail_on: FailOnOption = None,
    config: Config = "",
    measured: MeasuredOption = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    list_rules: Annotated[bool, Parameter(negative="", help="list all rules")] = False,
    explain: Annotated[str, Parameter(metavar="RULE", help="tell all about one rule, by id or name")] = "",
    output: Outputs = CheckOutput.TEXT,
) -> int:
    """Find what would lose requests when these manifests are released, scaled, drained or restarted. Changes nothing.

    Give all files that belong together: a workload is judged with its Service, autoscaler, budget and routes, by the
    values that count after defaulting and rounding. Exit code 11 for errors, 12 for warnings, 13 for infos, as
    --fail-on says; 3 where a file could not be read.

    A finding that is right as it is: annotation segue.dev/ignore-ZD401: the reason.

    Examples
    --------
    segue check deploy/
    helm template web ./chart | segue check -
    segue check --live -n shop
    segue check deploy/ --compare -n shop        # also what only the change breaks
    segue check deploy/ --measured measured.json # P and Q as segue measure found them
    segue check deploy/ -o sarif > segue.sarif
    segue check --explain ZD101
    """
    if list_rules or explain:
        return _tell(explain, output)
    names = list(manifests or [])
    if bool(names) == live:
        raise UsageError(
            "what shall be checked?" if not names else "--live checks what runs, and files are named, too",
            remedy="name files, directories or -, or say --live",
        )
    settings, said = read_settings(config, namespace, measured)
    gathered = Gathered()
    if live:
        gathered.sources = _running(namespace, kubeconfig, context)
    for file, text in read_texts(names, gathered):
        gathered.add(text, file=file, namespace=namespace)
    earlier = Gathered()
    for file, text in read_texts(before or [], earlier):
        earlier.add(text, file=file, namespace=namespace)
    if compare:
        earlier.sources += _running(namespace, kubeconfig, context)
    gathered.errors += earlier.errors
    checked = judged(gathered.sources, settings, earlier.sources)
    _show(checked, gathered, output, settings.pages)
    wanted = fail_on or FailOn(str(said.get("failOn", "error")))
    return exit_code(checked.findings, gathered.errors, wanted)


def judged(sources: Sequence[Source], settings: Settings, before: Sequence[Source]) -> Checked:
    """All sets judged."""
    sets, apart = sets_of(sources)
    checked = Checked([], [], [], apart=apart)
    for one in sets:
        verdict = judge(one, settings, before)
        checked.findings += verdict.findings
        checked.ignored += verdict.ignored
        checked.unserved += verdict.unserved
        checked.objects += verdict.objects
    return checked


def exit_code(findings: Sequence[Finding], errors: Sequence[ManifestError], wanted: FailOn) -> int:
    """3 where something could not be read; else by the worst finding that counts."""
    if errors:
        return ManifestError.exit_code
    if wanted is FailOn.NEVER:
        return 0
    worst = max((one.severity for one in findings), key=RANK.__getitem__, default=None)
    if worst is None or RANK[worst] < RANK[Severity(str(wanted))]:
        return 0
    return EXIT_CODES[worst]


def _running(namespace: str, kubeconfig: str, context: str) -> list[Source]:
    from segue.drive.set_reading import read_set  # noqa: PLC0415 - files need neither a client nor its imports
    from segue.host.performing import perform  # noqa: PLC0415

    where = ""

    def make(client: object) -> object:
        nonlocal where
        where = namespace or str(getattr(client, "namespace", ""))
        return read_set(where)

    objects: list[Obj] = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())  # type: ignore[arg-type]
    return [Source(obj=obj, file=f"cluster/{where}", namespace=space_of(obj, where)) for obj in objects]


def _show(checked: Checked, gathered: Gathered, output: CheckOutput, pages: str) -> None:
    findings, ignored, errors = checked.findings, checked.ignored, gathered.errors
    match output:
        case CheckOutput.JSON:
            emit(as_json(findings, ignored, errors, checked.objects), Output.JSON)
        case CheckOutput.SARIF:
            emit(as_sarif(findings, ignored, errors, __version__, pages), Output.JSON)
        case CheckOutput.GITLAB:
            emit(as_gitlab(findings, errors), Output.JSON)
        case CheckOutput.GITHUB:
            for line in as_github(findings, errors):
                say(line)
        case CheckOutput.TEXT:
            _show_text(checked, gathered)
    if output is not CheckOutput.TEXT:
        return
    for error in errors:
        place = f"{error.place}: " if error.place else ""
        note(f"error: {place}{error.message}" + (f"\n  {error.remedy}" if error.remedy else ""))


def _show_text(checked: Checked, gathered: Gathered) -> None:
    paint, wide = coloured(sys.stdout), width()
    for finding in checked.findings:
        for line in finding_lines(finding, coloured=paint, width=wide):
            say(line)
        say()
    causes = list(gone_first_lines(gone_first(checked.findings)))
    for line in [*causes, ""] if causes else []:
        say(line)
    for one in checked.ignored:
        say(f"ignored: {one.finding.where} {one.finding.rule.id} {one.finding.source.title}: {one.reason}")
    if checked.unserved:
        note(unserved_note(one.title for one in checked.unserved))
    if checked.apart:
        note(f"note: {checked.apart}: these are no one set, so they were judged apart")
    say(summary(checked.findings, objects=checked.objects, ignored=len(checked.ignored), skipped=gathered.skipped))


def _tell(explain: str, output: CheckOutput) -> int:
    chosen: list[Rule] = list(RULES.values())
    if explain:
        chosen = [one for one in chosen if explain.lower() in {one.id.lower(), one.name}]
        if not chosen:
            raise UsageError(f"there is no rule {explain}", remedy="segue check --list-rules shows all")
    if output is CheckOutput.JSON:
        emit([{**rule_as_obj(one), "why": one.why, "instead": one.instead} for one in chosen], Output.JSON)
    elif explain:
        for line in rule_lines(chosen[0], coloured=coloured(sys.stdout), width=width()):
            say(line)
    else:
        rows = [[one.id, one.name, str(one.severity), "yes" if one.is_safe else "asks", one.says] for one in chosen]
        table(["RULE", "NAME", "SEVERITY", "FIX", "SAYS"], rows)
    return 0
