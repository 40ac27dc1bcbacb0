"""`segue fix`."""

from __future__ import annotations

import difflib
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.check.findings import Finding
from segue.check.formats import error_as_obj, finding_as_obj
from segue.check.gathering import Gathered
from segue.check.repair import Repaired, patches, repaired
from segue.cli.check import Config, FailOn, FailOnOption, MeasuredOption, exit_code
from segue.cli.connection import Namespace
from segue.cli.output import Output, coloured, emit, note, say
from segue.host.checking import STDIN, read_settings, read_texts, write_text
from segue.model.errors import ManifestError, UsageError

_COLOURS = {"+": "32", "-": "31", "@": "36"}


class FixOutput(StrEnum):
    """The value of `-o`."""

    DIFF = "diff"
    JSON = "json"


def fix(  # noqa: PLR0913 - one parameter per option
    manifests: Annotated[list[str], Parameter(help="files, directories with all below them, - for standard input")],
    /,
    *,
    write: Annotated[bool, Parameter(negative="", help="change the files; with - print what comes out")] = False,
    fail_on: FailOnOption = None,
    config: Config = "",
    measured: MeasuredOption = "",
    namespace: Namespace = "",
    output: Annotated[FixOutput, Parameter(name=["--output", "-o"], help="diff, or json: a JSON Patch per object")] = (
        FixOutput.DIFF
    ),
) -> int:
    """Repair what `segue check` finds and what needs no answer of yours. Shows a diff; changes files with --write only.

    Every byte that is not changed stays: comments, order, quotes. What only you know, a path or a number of replicas,
    is asked on stderr and left as it is. After --write, nothing is left that fix could repair.

    Examples
    --------
    segue fix deploy/
    segue fix deploy/ --write
    segue fix deploy.yaml -o json
    helm template web ./chart | segue fix --write - | kubectl apply -f -
    """
    if not manifests:
        raise UsageError("what shall be repaired?", remedy="name files, directories or -")
    settings, _ = read_settings(config, namespace, measured)
    gathered = Gathered()
    before = dict(read_texts(manifests, gathered))
    result = repaired(before, settings)
    gathered.errors += result.errors
    if write:
        _write(before, result)
    if output is FixOutput.JSON:
        _emit(before, result, gathered.errors)
    elif not write:
        _show_diff(before, result)
    if output is not FixOutput.JSON:
        _tell(result, wrote=write)
        for error in gathered.errors:
            note(f"error: {error.place}: {error.message}" + (f"\n  {error.remedy}" if error.remedy else ""))
    return exit_code(result.left, gathered.errors, fail_on or FailOn.NEVER)


def _write(before: dict[str, str], result: Repaired) -> None:
    for file, text in result.texts.items():
        if file == STDIN:
            sys.stdout.write(text)
        elif text != before[file]:
            write_text(Path(file), text)


def _emit(before: dict[str, str], result: Repaired, errors: list[ManifestError]) -> None:
    emit(
        {
            "patches": patches(before, result.texts),
            "repaired": [finding_as_obj(one) for one in result.fixed],
            "questions": [{**finding_as_obj(one), "question": _question(one, result)} for one in result.left],
            "errors": [error_as_obj(one) for one in errors],
        },
        Output.JSON,
    )


def _show_diff(before: dict[str, str], result: Repaired) -> None:
    paint = coloured(sys.stdout)
    for file, text in before.items():
        lines = difflib.unified_diff(
            text.splitlines(), result.texts[file].splitlines(), f"a/{file}", f"b/{file}", lineterm=""
        )
        for line in lines:
            code = _COLOURS.get(line[:1])
            say(f"\033[{code}m{line}\033[0m" if paint and code else line)


def _tell(result: Repaired, *, wrote: bool) -> None:
    fixed = len(result.fixed)
    verb = "repaired" if wrote else "would be repaired (--write does it)"
    note(
        f"{fixed} finding{'s' if fixed != 1 else ''} {verb}" if fixed else "nothing that can be repaired without asking"
    )
    for one in result.left:
        question = _question(one, result)
        if question:
            note(f"{one.where}: {one.severity} {one.rule.id} {one.rule.name}: {question}")


def _question(finding: Finding, result: Repaired) -> str:
    for key, why in result.hindered.items():
        if key.startswith(f"{finding.rule.id} {finding.source.file} {finding.source.title} {finding.shown_path}"):
            return f"cannot be written by itself: {why}. By hand: {finding.remedy}"
    return finding.fix.question
