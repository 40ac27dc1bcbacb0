"""Changes of a Kubernetes object that can be made in its text, too: every byte that is not theirs stays.

A change that was made in the text stands between two comments and keeps the lines it took the place of, so that
`without_edits` gives back the very bytes that were there.
Rule: text is only edited where a reader of YAML sees the wanted object afterwards; whoever edits checks that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import yaml

from segue.model.objects import Obj, copy_of

BEGIN, END, INSTEAD = "# segue inject: begin", "# segue inject: end", "# segue inject: instead of|"
_LINE = re.compile(r"[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029]|$)")  # what YAML takes for line ends
_END = re.compile(r"(\r\n|[\r\n\x85\u2028\u2029])$")

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A key of the mapping at `path`: a new one, or another value for one that is there."""

    path: Path
    key: str
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepend:
    """A new first item of the list at `path`, which has some."""

    path: Path
    item: Obj


Change: TypeAlias = Put | Prepend


class CannotEdit(Exception):
    """The text is written in a way (flow style, several keys in a line) in which it cannot be edited line by line."""


def changed(obj: Obj, changes: Sequence[Change]) -> Obj:
    """The object with the changes made."""
    made = copy_of(obj)
    for change in changes:
        target = made
        for step in change.path:
            target = target[step]  # type: ignore[index]  # the changes were made for this object
        if isinstance(change, Put):
            target[change.key] = change.value
        else:
            target.insert(0, change.item)  # type: ignore[attr-defined]  # a list: see above
    return made


@dataclass(slots=True)
class _Edit:
    """Lines before line `at`, in the place of `instead` lines."""

    at: int
    instead: int
    indent: int
    text: str


def edited(text: str, root: yaml.Node, changes: Sequence[Change]) -> str:
    """The text with changes made to one of its documents, which is given by its node; CannotEdit."""
    lines = _LINE.findall(text)
    edits = [_edit(lines, root, change) for change in changes]
    for edit in sorted(edits, key=lambda edit: (edit.at, edit.instead), reverse=True):
        indent = " " * edit.indent
        taken = lines[edit.at : edit.at + edit.instead]
        found = _END.search(lines[edit.at])
        end = found[0] if found else "\n"
        made = [indent + BEGIN + end]
        made += [indent + INSTEAD + (line if _END.search(line) else line + end) for line in taken]
        made += [indent + line + end for line in edit.text.splitlines()]
        made.append(indent + END + (_line_end(taken[-1]) if taken else end))
        lines[edit.at : edit.at + edit.instead] = made
    return "".join(lines)


def without_edits(text: str) -> str:
    """The text as it was before it was edited."""
    kept: list[str] = []
    taken: list[str] | None = None
    for line in _LINE.findall(text):
        bare = line.strip()
        if bare == BEGIN and taken is None:
            taken = []
        elif bare == END and taken is not None:
            if taken:
                taken[-1] = _END.sub("", taken[-1]) + _line_end(line)
            kept += taken
            taken = None
        elif taken is None:
            kept.append(line)
        elif bare.startswith(INSTEAD):
            taken.append(line.partition(INSTEAD)[2])
    if taken is not None:
        raise CannotEdit(f"{BEGIN!r} without {END!r}")
    return "".join(kept)


def _line_end(line: str) -> str:
    found = _END.search(line)
    return found[0] if found else ""


def _edit(lines: Sequence[str], root: yaml.Node, change: Change) -> _Edit:
    node = root
    for step in change.path:
        node = _inner(node, step)
    if isinstance(change, Prepend):
        _check(isinstance(node, yaml.SequenceNode) and not node.flow_style and bool(node.value))
        line, column = node.start_mark.line, node.start_mark.column
        _check(lines[line][:column].strip() == "")
        return _Edit(at=line, instead=0, indent=column, text=_dumped([change.item]))
    _check(isinstance(node, yaml.MappingNode) and not node.flow_style and bool(node.value))
    text = _dumped({change.key: change.value})
    known = next(((key, value) for key, value in node.value if key.value == change.key), None)
    if known is not None:
        key, value = known
        _check(value.start_mark.line == value.end_mark.line == key.start_mark.line)
        _check(lines[key.start_mark.line][: key.start_mark.column].strip() == "")
        return _Edit(at=key.start_mark.line, instead=1, indent=key.start_mark.column, text=text)
    for key, _ in node.value:  # the first key of a list's item stands behind its hyphen
        line, column = key.start_mark.line, key.start_mark.column
        if lines[line][:column].strip() == "":
            return _Edit(at=line, instead=0, indent=column, text=text)
    raise CannotEdit("no line of its own")


def _inner(node: yaml.Node, step: str | int) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        return cast("yaml.Node", next(value for key, value in node.value if key.value == step))
    assert isinstance(node, yaml.SequenceNode), "paths are made from what was read"
    return cast("yaml.Node", node.value[step])


def _check(fine: bool) -> None:
    if not fine:
        raise CannotEdit("not in block style")


def _dumped(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, width=1000, allow_unicode=True)
