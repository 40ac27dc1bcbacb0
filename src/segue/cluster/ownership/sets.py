"""Sets of field paths in the form in which objects carry them (fieldsV1), and what can be done with sets.

A set is a tree of steps: `f:NAME` a field or a map's key, `k:{...}` an item by its keys, `v:...` a value of a set of
values. A step leads to the steps below it; "." among them says that the path to here is itself in the set. A step with
nothing below is in the set, too: `{}` stands for `{".": {}}`. No function changes what it is given; results share it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from segue.cluster.refusals import shown
from segue.model.objects import Obj

MEMBER: Obj = {}  # a path that is in a set, with none below it
_HERE = "."


def is_member(below: Obj) -> bool:
    """Whether the path that leads to these steps is in the set."""
    return not below or _HERE in below


def with_membership(member: bool, below: Obj) -> Obj | None:
    """What stands at a step: `below` without its own ".", None where nothing of it is in the set."""
    if not below:
        return MEMBER if member else None
    return {_HERE: MEMBER, **below} if member else below


def union(left: Obj, right: Obj) -> Obj:
    """Paths of either."""
    if not left or not right:
        return left or right
    joined = dict(left)
    for step, below in right.items():
        mine = joined.get(step)
        if mine is None:
            joined[step] = below
        elif mine is not below and step != _HERE:
            member = is_member(mine) or is_member(below)
            joined[step] = with_membership(member, _without_here(union(mine, below))) or MEMBER
    return joined


def difference(left: Obj, right: Obj) -> Obj:
    """Paths of `left` that are not in `right`; `left` itself where that is all of them."""
    if left.keys().isdisjoint(right):
        return left
    rest: Obj = {}
    same = True
    for step, below in left.items():
        other = right.get(step)
        if step == _HERE or other is None:
            rest[step] = below
            continue
        member = is_member(below) and not is_member(other)
        kept = with_membership(member, _without_here(difference(below, other)))
        same = same and kept == below
        if kept is not None:
            rest[step] = kept
    return left if same else rest


def intersection(left: Obj, right: Obj) -> Obj:
    """Paths of both."""
    common: Obj = {}
    for step, below in left.items():
        other = right.get(step)
        if step == _HERE or other is None:
            continue
        kept = with_membership(is_member(below) and is_member(other), _without_here(intersection(below, other)))
        if kept is not None:
            common[step] = kept
    return common


def without(fields: Obj, *path: str) -> Obj:
    """The set without a path and all below it."""
    step, *rest = path
    if step not in fields:
        return fields
    left = {key: value for key, value in fields.items() if key != step}
    if rest:
        below = without(fields[step], *rest)
        kept = with_membership(is_member(fields[step]), _without_here(below))
        if kept is not None:
            left[step] = kept
    return left


def contains(fields: Obj, path: tuple[str, ...]) -> bool:
    """Whether a path, as its steps, is in the set."""
    here = fields
    for step in path:
        if step not in here:
            return False
        here = here[step]
    return is_member(here)


def paths(fields: Obj) -> Iterator[tuple[str, ...]]:
    """Every path as its steps: those that end at a level before those that go on below it, each in order."""
    yield from _paths(fields, ())


def shown_path(path: tuple[str, ...]) -> str:
    """A path as Kubernetes prints it: `.spec.containers[name="web"].image`."""
    return "".join(_shown_step(step) for step in path)


def _paths(fields: Obj, to_here: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    steps = sorted(step for step in fields if step != _HERE)
    for step in steps:
        if is_member(fields[step]):
            yield (*to_here, step)
    for step in steps:
        yield from _paths(fields[step], (*to_here, step))


def _shown_step(step: str) -> str:
    kind, _, text = step.partition(":")
    match kind:
        case "k":
            keys = msgspec.json.decode(text, type=Obj)
            return "[" + ",".join(f"{key}={shown(value)}" for key, value in sorted(keys.items())) + "]"
        case "v":
            return f"[={text}]"
        case _:
            return f".{text}"


def _without_here(below: Obj) -> Obj:
    return {step: value for step, value in below.items() if step != _HERE} if _HERE in below else below
