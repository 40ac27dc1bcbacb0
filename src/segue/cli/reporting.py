"""Runs a flow for a command and reports: progress while it runs, the end, the receipt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segue.cli.connection import Lines
from segue.cli.keeping import USUAL, Keeping
from segue.cli.output import Output, emit, note, say
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.host.client import KubeClient
from segue.host.performing import perform
from segue.host.receipts import keep
from segue.host.releasing import check_end, keep_receipt, raw_of
from segue.model.errors import SegueError
from segue.model.objects import Obj
from segue.proof.raw import Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where and how."""

    kubeconfig: str = ""
    context: str = ""
    keeping: Keeping = USUAL
    output: Output = Output.TABLE


def run_and_report(
    make: Callable[[KubeClient], Flow[tuple[Outcome, ...]]], asked: Obj, *, again: str, options: Options
) -> int:
    """Run it; the exit code. `again` is the command that goes on after Ctrl-C."""
    options.keeping.check()
    lines = Lines()
    try:
        outcomes = perform(make, kubeconfig=options.kubeconfig, context=options.context, show=lines)
    except KeyboardInterrupt:
        lines.done()
        note(f"stopped; what runs keeps serving. Go on with: {again}")
        return 130
    lines.done()
    raws = [raw_of(asked, outcome, title=str(asked["command"])) for outcome in outcomes]
    files, documents, trouble = _written(raws, str(asked["command"]), options)
    if outcomes and options.output is not Output.TABLE:
        emit(documents[0] if len(documents) == 1 else documents, options.output)
    try:
        messages = [check_end(outcome) for outcome in outcomes]
    except SegueError:
        for line in [*files, *([f"warning: {trouble.message}"] if trouble else [])]:
            note(line)
        raise
    if options.output is Output.TABLE:
        _say_end(messages, outcomes)
        for line in files:
            say(line)
    if trouble:
        raise trouble
    return 0


def _say_end(messages: list[str], outcomes: tuple[Outcome, ...]) -> None:
    for message, outcome in zip(messages, outcomes, strict=True):
        took_s = outcome.ended_s - outcome.began_s
        say(f"{message} ({took_s:.1f} s)" if outcome.journal.actions else message)
        reasons = [end.reason for end in outcome.journal.ends]
        if reasons:
            kinds = ", ".join(f"{reasons.count(kind)} {kind}" for kind in sorted(set(reasons)))
            sources = ", ".join(sorted({end.evidence_source for end in outcome.journal.ends}))
            say(f"old pods ended: {kinds} (evidence: {sources})")


def _written(raws: list[Raw], name: str, options: Options) -> tuple[list[str], list[Obj], SegueError | None]:
    """A line for each file, the receipts, and what kept us from writing all: a full disk hides no result."""
    try:
        kept, documents = _kept(raws, name, options)
    except SegueError as error:
        return [], [raw.receipt() for raw in raws], error
    files = [f"receipt: {path}" for path in kept]
    try:
        return [*files, *options.keeping.write(raws, documents)], documents, None
    except SegueError as error:
        return files, documents, error


def _kept(raws: list[Raw], name: str, options: Options) -> tuple[list[Path], list[Obj]]:
    """Keep the receipts of what was done; where only our own place for them is not to be had, that is no failure."""
    if options.keeping.receipt and raws:
        return [], keep(raws, Path(options.keeping.receipt))
    documents, paths = [raw.receipt() for raw in raws], []
    try:
        for number, raw in enumerate(raws):
            if raw.case.actions:
                path, documents[number] = keep_receipt(raw, name)
                paths.append(path)
    except SegueError as error:
        note(f"warning: {error.message}")
    return paths, documents
