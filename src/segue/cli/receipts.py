"""`segue receipt show | list | verify | html`: what was done, read again and computed again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.keeping import Keeping
from segue.cli.output import Output, coloured, emit, note, say, table
from segue.host.receipts import Kept, kept_receipts, read_receipts, receipts_dir, record_of
from segue.model.errors import Disproved, Lost, SegueError, Unfinished, UsageError
from segue.model.objects import Obj
from segue.proof.raw import Raw
from segue.proof.verify import differences
from segue.report.terminal import Screen, screen_of

DIFFERENCES_SHOWN_MAX = 20

File = Annotated[str, Parameter(metavar="FILE", help="a receipt: a file, or a name that segue receipt list shows")]
OutputOption = Annotated[Output, Parameter(name=["--output", "-o"], help="table, json or yaml")]


# What is read of a receipt when it is shown: a file that lacks it was not written by us, or not whole.
_SHAPE: dict[str, type | tuple[type, ...]] = {
    "title": str,
    "verdict": str,
    "asked": dict,
    "zeroAt": str,
    "exposure": dict,
    "sent": int,
    "lost": int,
    "lostOutsideExposure": int,
    "causes": list,
    "seconds": list,
    "versions": dict,
    "latencyMs": dict,
    "longestGapMs": (int, float),
    "actions": list,
    "pods": list,
}


def readable(path: Path) -> list[Kept]:
    """Receipts that can be shown; SegueError where a field is missing or of another kind."""
    found = read_receipts(path)
    for one in found:
        for field, kind in _SHAPE.items():
            if not isinstance(one.document.get(field), kind):
                raise SegueError(f"{path}: no receipt: its field {field} is missing or of another kind")
    return found


def show(file: File = "", /, *, output: OutputOption = Output.TABLE) -> int:
    """Show a receipt on one screen; the newest where none is named.

    Exit code by verdict: 0 for a good end, 9 where requests were lost, 6, 7 or 8 where a release stopped.

    Examples
    --------
    segue receipt show
    segue receipt show reports/delete.json
    """
    found = readable(chosen(file))
    if output is not Output.TABLE:
        documents = [one.document for one in found]
        emit(documents[0] if len(documents) == 1 else documents, output)
    else:
        screen = Screen(width=shutil.get_terminal_size().columns, colours=coloured(sys.stdout))
        for number, one in enumerate(found):
            for line in [""] * bool(number) + screen_of(one.document, screen):
                say(line)
        say(f"\n{found[0].path}")
    return max(exit_code_of(one.document) for one in found)


def list_(*, output: OutputOption = Output.TABLE) -> int:
    """List the receipts that were kept, the newest first.

    Examples
    --------
    segue receipt list
    segue receipt list -o json
    """
    rows: list[Obj] = []
    for path in kept_receipts():
        try:
            rows += [_row(one) for one in readable(path)]
        except SegueError as error:
            note(f"warning: {error.message}")
    if output is not Output.TABLE:
        emit(rows, output)
    elif rows:
        headings = ["NAME", "WHEN", "END", "OLD PODS", "LOST", "SAID"]
        table(headings, [[str(row[key]) for key in ("name", "when", "end", "pods", "lost", "said")] for row in rows])
    else:
        note(f"no receipt is kept in {receipts_dir()}")
    return 0


def _row(one: Kept) -> Obj:
    document = one.document
    sent = document["sent"]
    return {
        "name": one.path.stem,
        "when": str(document["zeroAt"])[:19] + "Z",
        "end": document.get("end") or "-",
        "pods": len(document["pods"]),
        "lost": f"{document['lost']} of {sent}" if sent else "no load",
        "said": document.get("endMessage") or document["title"],
        "file": str(one.path),
    }


def verify(file: File = "", /, *, output: OutputOption = Output.TABLE) -> int:
    """Compute every claim of a receipt again from the raw record beside it, and compare.

    Counts, bound, causes, versions per second, longest gap, latencies, actions and the ends of pods are made anew.
    Exit code 0 where all agree, 14 where they do not. It shows that a receipt follows from its record; that the
    record itself is what was measured, it cannot show.

    Examples
    --------
    segue receipt verify
    segue receipt verify reports/delete.json
    segue receipt verify release.json -o json
    """
    path = chosen(file)
    found = read_receipts(path)
    told: list[Obj] = []
    for one in found:
        raw, wrong = record_of(one)
        wrong = [*wrong, *differences(one.document, raw)]
        told.append(
            {
                "title": one.document.get("title"),
                "record": one.document["record"]["file"],
                "requests": len(raw.records),
                "happenings": len(raw.happenings),
                "actions": len(raw.case.actions),
                "pods": len(raw.case.pods),
                "differences": wrong,
            }
        )
    differing = [text for row in told for text in row["differences"]]
    if output is not Output.TABLE:
        emit(told[0] if len(told) == 1 else told, output)
    else:
        for row in told:
            if not row["differences"]:
                say(
                    f"{row['title']}: every claim follows from {row['record']} ({row['requests']:,} requests, "
                    f"{row['happenings']:,} happenings, {row['actions']:,} actions, {row['pods']:,} ends of pods)"
                )
    if differing:
        shown = differing[:DIFFERENCES_SHOWN_MAX]
        left = len(differing) - len(shown)
        lines = [*shown, *([f"and {left:,} more, all of them with -o json"] if left else [])]
        raise Disproved(f"{path}: {len(differing):,} claims do not follow from its record", remedy="\n".join(lines))
    return 0


def html(
    file: File = "",
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"], metavar="FILE", help="else beside the receipt")] = "",
    pictures: Annotated[str, Parameter(metavar="DIR", help="write the pictures as SVG files, too")] = "",
    junit: Annotated[str, Parameter(metavar="FILE", help="write the verdict as JUnit XML, too")] = "",
) -> int:
    """Make the HTML report of a receipt and its record: one file that needs no network.

    Pods as bars with their phases, requests per version, latency, each error as a mark that leads to its cause, and
    every action with its barrier and evidence.

    Examples
    --------
    segue receipt html
    segue receipt html reports/delete.json -o delete.html
    segue receipt html release.json --pictures pictures/ --junit release.xml
    """
    path = chosen(file)
    found = readable(path)
    raws: list[Raw] = []
    for one in found:
        raw, wrong = record_of(one)
        if wrong:
            raise Disproved(f"{path}: its record is not the one it was written with", remedy="\n".join(wrong))
        raws.append(raw)
    target = out or str(path.with_suffix(".html"))
    keeping = Keeping(report=target, pictures=pictures, junit=junit)
    keeping.check()
    for line in keeping.write(raws, [one.document for one in found]):
        say(line)
    return 0


def chosen(file: str) -> Path:
    """The file that is meant: a path, the name of a kept receipt, or the newest of these."""
    if file:
        path = Path(file)
        kept = receipts_dir() / f"{file}.json"
        return kept if not path.exists() and "/" not in file and kept.is_file() else path
    paths = kept_receipts()
    if not paths:
        raise UsageError("no receipt is kept here yet", remedy="name a file; a release keeps one by itself")
    return paths[0]


def exit_code_of(document: Obj) -> int:
    """The exit code that the command had, by its receipt."""
    if document["lost"] or document["lostOutsideExposure"]:
        return Lost.exit_code
    return {"conflict": 6, "refused": 7, "unfinished": Unfinished.exit_code}.get(str(document.get("end")), 0)
