"""Changes put into YAML or JSON text at the parser's marks, so that every byte that is not changed stays.

Rule 1: what comes out is read again and must be exactly the old value with the changes; else nothing is changed.
Rule 2: what two places share by an alias is not touched: a change here would be one there.
"""

from __future__ import annotations

import copy
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import yaml

from segue.check.findings import Path
from segue.check.gathering import Gathered
from segue.model.marked import Node
from segue.model.objects import Obj

_ROUNDS_MAX = 50
# What a new key stands before, where one of these is there: as people order manifests
_BEFORE = {
    "terminationGracePeriodSeconds": ("initContainers", "containers"),
    "topologySpreadConstraints": ("initContainers", "containers"),
    "lifecycle": ("startupProbe", "readinessProbe", "livenessProbe", "resources", "volumeMounts"),
    "startupProbe": ("readinessProbe", "livenessProbe", "resources", "volumeMounts"),
    "strategy": ("selector", "template"),
    "updateStrategy": ("selector", "template"),
    "selector": ("template",),
    "maxUnavailable": ("selector",),
}


class Unspliceable(Exception):
    """This text cannot be changed there without touching more than was asked for; the reason is the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A value at a path of the object with this ordinal in its file; `remove` takes it away."""

    ordinal: int
    path: Path
    value: object = None
    remove: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    start: int
    end: int
    text: str


def objects_of(text: str) -> list[Node]:
    """The objects of a text, in order."""
    gathered = Gathered()
    gathered.add(text, file="")
    return [cast("Node", one.node) for one in gathered.sources]


def spliced(text: str, puts: Sequence[Put], read: Callable[[str], list[Node]] = objects_of) -> str:
    """The text with all changes; Unspliceable where one of them cannot be made. `read` may know a text already."""
    before = read(text)
    wanted = [one.value for one in before]
    merged = _merged(before, puts)
    for put in merged:
        wanted[put.ordinal] = with_put(cast("Obj", wanted[put.ordinal]), put)
    left, now = merged, text
    for _ in range(_ROUNDS_MAX):
        if not left:
            break
        now, left = _round(now, left, before if now is text else read(now))
    after = [one.value for one in read(now)]
    if left or after != wanted:
        raise Unspliceable("its layout is one that cannot be changed in place")
    return now


def with_put(obj: Obj, put: Put) -> Obj:
    """The value with one change, parents made where they are missing."""
    found = copy.deepcopy(obj)
    spot: object = found
    for step in put.path[:-1]:
        if isinstance(spot, dict):
            if spot.get(cast("str", step)) is None:
                if put.remove:
                    return found
                spot[cast("str", step)] = {}
            spot = spot[cast("str", step)]
        elif isinstance(spot, list) and isinstance(step, int) and step < len(spot):
            spot = spot[step]
        else:
            raise Unspliceable(f"there is something else at {step}")
    last = put.path[-1]
    if isinstance(spot, dict):
        if put.remove:
            spot.pop(cast("str", last), None)
        else:
            spot[cast("str", last)] = put.value
    elif isinstance(spot, list) and isinstance(last, int) and last < len(spot) and not put.remove:
        spot[last] = put.value
    else:
        raise Unspliceable(f"there is something else at {last}")
    return found


def _merged(objects: Sequence[Node], puts: Iterable[Put]) -> list[Put]:
    """Puts whose missing parents are the same one become one put of that parent. Removals come last."""
    found: dict[tuple[int, Path], Put] = {}
    for put in sorted(puts, key=lambda one: one.remove):
        if put.remove:
            found[put.ordinal, put.path] = put
            continue
        depth = _depth(objects[put.ordinal], put.path)
        value = put.value
        for step in reversed(put.path[depth + 1 :]):
            value = {step: value}
        path = put.path[: depth + 1]
        known = found.get((put.ordinal, path))
        if known is not None and isinstance(known.value, dict) and isinstance(value, dict):
            value = _deep(known.value, value)
        found[put.ordinal, path] = Put(ordinal=put.ordinal, path=path, value=value)
    return list(found.values())


def _depth(node: Node, path: Path) -> int:
    """How many steps of a path lead to values that are there and can hold the next one."""
    for at, step in enumerate(path[:-1]):
        child = node.children.get(step)
        if child is None or child.value is None:
            return at
        node = child
    return len(path) - 1


def _deep(left: Obj, right: Obj) -> Obj:
    both = dict(left)
    for key, value in right.items():
        known = both.get(key)
        both[key] = _deep(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return both


def _round(text: str, puts: list[Put], objects: list[Node]) -> tuple[str, list[Put]]:
    """As many changes as do not meet; the others are left."""
    edits: list[_Edit] = []  # in the order of the text
    left: list[Put] = []
    for put in puts:
        edit = _edit(text, objects[put.ordinal], put)
        if edit is None:
            continue
        at = bisect_left(edits, edit.start, key=lambda one: one.start)
        if any(one.start <= edit.end and edit.start <= one.end for one in edits[max(0, at - 1) : at + 1]):
            left.append(put)
        else:
            edits.insert(at, edit)
    parts, start = [], 0
    for edit in edits:
        parts += [text[start : edit.start], edit.text]
        start = edit.end
    return "".join([*parts, text[start:]]), left


def _edit(text: str, root: Node, put: Put) -> _Edit | None:
    parent = root
    for step in put.path[:-1]:
        child = parent.children.get(step)
        if child is None and put.remove:
            return None
        if child is None:
            raise Unspliceable("something else stands in the way")
        parent = child
        if parent.shared:
            raise Unspliceable("it is written once and used in several places (an alias)")
    last = put.path[-1]
    known = parent.children.get(last)
    if known is not None and known.shared:
        raise Unspliceable("it is written once and used in several places (an alias)")
    if put.remove:
        return None if known is None else _removed(text, parent, cast("str", last))
    if known is not None:
        return _replaced(text, parent, known, put.value)
    if not isinstance(last, str) or not isinstance(parent.value, dict):
        raise Unspliceable("something else stands in the way")
    return _inserted(text, parent, last, put.value)


# -- one change --------------------------------------------------------------------------------------------------------


def _replaced(text: str, parent: Node, node: Node, value: object) -> _Edit:
    style = node.key_style if not isinstance(node.value, dict | list) else ""
    if style in {"|", ">"}:
        raise Unspliceable("it is a text of several lines")
    if isinstance(node.value, dict | list) and not node.flow and isinstance(value, dict) and node.children:
        column = _column(text, node.start)
        return _Edit(start=node.start, end=node.end, text=_block(text, value, column).lstrip(" "))
    said = _flow(value, is_json=style == '"' or _is_json(parent))
    if style == "'" and isinstance(value, str):
        said = "'" + value.replace("'", "''") + "'"
    blank = " " if node.start == node.end and text[node.start - 1 : node.start] in {":", "-"} else ""
    return _Edit(start=node.start, end=node.end, text=blank + said)


def _inserted(text: str, parent: Node, key: str, value: object) -> _Edit:
    own = [name for name in parent.keys if not parent.children[name].shared or _is_within(parent, name)]
    if parent.flow:
        pair = f"{json.dumps(key) if _is_json(parent) else key}: {_flow(value, is_json=_is_json(parent))}"
        if not parent.children:
            return _Edit(start=parent.start + 1, end=parent.start + 1, text=pair)
        end = parent.children[own[-1]].end if own else -1
        if end < 0:
            raise Unspliceable("it is written once and used in several places (a merge)")
        return _Edit(start=end, end=end, text=f", {pair}")
    if not own:
        raise Unspliceable("it is written once and used in several places (a merge)")
    after = _predecessor(own, key)
    column = parent.keys[after][1]
    node = parent.children[after]
    end = _line_end(text, parent.keys[after][0] + len(after) if node.shared else node.end)
    newline = "\r\n" if "\r\n" in text[:5000] else "\n"
    body = _block(text, {key: value}, column)
    if end and text[end - 1] == "\n":  # behind a text of several lines
        return _Edit(start=end, end=end, text=body + newline)
    return _Edit(start=end, end=end, text=newline + body)


def _is_within(parent: Node, name: str) -> bool:
    """Whether a shared child is an alias written here (its key is ours), not one that a merge brought."""
    start = parent.keys[name][0]
    return parent.start <= start and (parent.end == 0 or start <= parent.end)


def _predecessor(own: list[str], key: str) -> str:
    for name in own[1:]:
        if name in _BEFORE.get(key, ()):
            return own[own.index(name) - 1]
    return own[-1]


def _removed(text: str, parent: Node, key: str) -> _Edit:
    own = list(parent.keys)
    at, start = own.index(key), parent.keys[key][0]
    end = parent.children[key].end
    following = parent.keys[own[at + 1]][0] if at + 1 < len(own) else -1
    if parent.flow:
        if at > 0:
            return _Edit(start=parent.children[own[at - 1]].end, end=end, text="")
        return _Edit(start=start, end=following if following > 0 else end, text="")
    if len(own) == 1:
        return _Edit(start=start, end=end, text="{}")
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].strip():  # it shares its line with the dash of a list
        if following < 0 or text[_line_end(text, end) : following].strip():
            raise Unspliceable("it is the first key of a list's item")
        return _Edit(start=start, end=following, text="")
    until = _line_end(text, end)
    until += 2 if text[until : until + 2] == "\r\n" else 1 if until < len(text) and text[until] == "\n" else 0
    return _Edit(start=line, end=until, text="")


# -- words -------------------------------------------------------------------------------------------------------------


def _line_end(text: str, index: int) -> int:
    """Where the line of this index ends, before its line break; itself where it is the beginning of a line."""
    if index and text[index - 1] == "\n":
        return index
    end = text.find("\n", index)
    if end < 0:
        return len(text)
    return end - 1 if end and text[end - 1] == "\r" else end


def _column(text: str, index: int) -> int:
    return index - (text.rfind("\n", 0, index) + 1)


def _is_json(parent: Node) -> bool:
    return parent.flow and (parent.key_style == '"' or not isinstance(parent.value, dict))


def _flow(value: object, *, is_json: bool) -> str:
    if is_json:
        return json.dumps(value, ensure_ascii=False)
    said = yaml.safe_dump([value], default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True).strip()
    return said[1:-1]


def _block(text: str, value: object, column: int) -> str:
    """Lines of a mapping, indented, without the last line break; lists as the text indents its own."""
    newline = "\r\n" if "\r\n" in text[:5000] else "\n"
    said = yaml.dump(
        value, Dumper=_Indented if _indents_lists(text) else yaml.SafeDumper, sort_keys=False, allow_unicode=True
    ).rstrip()
    return newline.join(" " * column + line for line in said.splitlines())


_LISTS = re.compile(r"(?m)^( *)[\w-]+:[ \t]*\r?\n\1 +- ")


@lru_cache(maxsize=1)
def _indents_lists(text: str) -> bool:
    """Whether this text indents lists below their key."""
    return bool(_LISTS.search(text))


class _Indented(yaml.SafeDumper):
    """Writes lists two blanks to the right of their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Never without indentation."""
        super().increase_indent(flow, False)
