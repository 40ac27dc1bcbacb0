"""The table of what a release did: a row per action, one for neighbours that differ in a single word.

Rule: every action keeps its number and a place that the pictures can point to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.model.objects import Obj
from segue.model.sayings import differing_word
from segue.report.markup import Element, Node, el

CELL_MAX = 220  # characters of evidence before it folds up
NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Neighbouring actions of one reason; `word` is the place of the one word in which they differ."""

    first: int
    rows: tuple[Obj, ...]
    word: int = -1


def batches(actions: Sequence[Obj]) -> list[Batch]:
    """Actions that only name another object each, put together."""
    found: list[Batch] = []
    for number, row in enumerate(actions, 1):
        last = found[-1] if found else None
        word = _differing(last.rows[0], row) if last else -1
        if last and word >= 0 and last.word in {-1, word}:
            found[-1] = Batch(first=last.first, rows=(*last.rows, row), word=word)
        else:
            found.append(Batch(first=number, rows=(row,)))
    return found


def _differing(one: Obj, other: Obj) -> int:
    """The place of the only word in which two actions differ; -1 where they are not of one kind."""
    if any(one[key] != other[key] for key in ("because", "barrier", "evidence")):
        return -1
    return differing_word(one["action"], other["action"])


def table(actions: Sequence[Obj]) -> Element:
    """What was done, as a table."""
    head = el("tr", *[el("th", name) for name in ("", "at", "action", "because", "barrier and evidence")])
    rows = [_row(batch) for batch in batches(actions)]
    return el("div", el("table", el("thead", head), el("tbody", *rows)), class_="wide")


def _row(batch: Batch) -> Element:
    row, last = batch.rows[0], batch.first + len(batch.rows) - 1
    marks = [el("span", id=f"step-{number}") for number in range(batch.first + 1, last + 1)]
    numbers = f"{batch.first}" if not marks else f"{batch.first}-{last}"
    shown = "; ".join(part for part in (row["barrier"], row["evidence"]) if part)
    return el(
        "tr",
        el("td", numbers, *marks, class_="number"),
        el("td", f"{row['atS']:.3f} s", class_="number"),
        el("td", *_action(batch)),
        el("td", row["because"]),
        el("td", *shortened(shown)),
        id=f"step-{batch.first}",
    )


def _action(batch: Batch) -> list[Node]:
    words = batch.rows[0]["action"].split()
    if len(batch.rows) == 1:
        return [batch.rows[0]["action"]]
    names = [row["action"].split()[batch.word].rstrip(",:") for row in batch.rows]
    said = " ".join((f"{len(names)} \u00d7", *words[: batch.word], "...", *words[batch.word + 1 :]))
    text = ", ".join(names)
    if len(names) <= NAMES_SHOWN:
        return [f"{said}: {text}"]
    return [said, el("details", el("summary", f"{names[0]}, {names[1]} ..."), text, class_="cell")]


def shortened(text: str) -> list[Node]:
    """Long evidence (one clause per pod) folds up."""
    if len(text) <= CELL_MAX:
        return [text]
    cut = text.find("; ", CELL_MAX // 2)
    cut = cut if 0 < cut <= CELL_MAX else CELL_MAX
    return [el("details", el("summary", text[:cut] + " ..."), text, class_="cell")]
