"""Walks over objects along their shapes: what changed, which fields there are, merging, taking fields out.

Rule: no walk changes what it is given, and parts that are equal are not entered: most writes change little.
`None` stands for a field that is absent, and for a set that is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias, cast

import msgspec

from segue.cluster.ownership.sets import MEMBER, is_member, with_membership
from segue.cluster.ownership.shapes import FREE, LEAF, Shape, fields_of
from segue.cluster.refusals import shown
from segue.model.objects import Obj

_encode = msgspec.json.Encoder().encode
_Change: TypeAlias = tuple[Obj | None, Obj | None]
_NOTHING: _Change = (None, None)
_ITEMS = ("list", "set")


class DuplicateItem(Exception):
    """A list of an applied configuration names an item twice; the message says where."""


class _Repeated(list[object]):
    """Items of one list with the same keys: they are owned as one."""


def changes(shape: Shape, before: Obj, after: Obj) -> tuple[Obj, Obj]:
    """Which fields were set (they came, or have another value) and which were taken away."""
    touched, removed = _changes(shape, before, after)
    return touched or {}, removed or {}


def fields_of_new(shape: Shape, obj: Obj) -> Obj:
    """Which fields an object sets that was not there before."""
    found: Obj = {}
    for key, value in obj.items():
        child = _child(shape, key)
        # Pods of one template have the same fields; a hundred of them are not walked a hundred times
        alike = key == "spec" and child.kind == "struct"
        came = _fields_of_spec(child, _encode(value)) if alike else _changes(child, None, value)[0]
        if came is not None:
            found[child.step] = came
    return found


@lru_cache(maxsize=128)
def _fields_of_spec(shape: Shape, text: bytes) -> Obj | None:
    return _changes(shape, None, msgspec.json.decode(text))[0]


def field_set(shape: Shape, value: object) -> Obj:
    """The fields that an applied configuration names."""
    found: Obj = {}
    for step, child, part in _parts(shape, value):
        below = {} if _is_leaf(child, part) else field_set(child, part)
        member = shape.kind != "struct" or _is_leaf(child, part) or part == {}
        kept = with_membership(member, below)
        if kept is not None:
            found[step] = kept
    return found


def named(shape: Shape, fields: Obj) -> Obj:
    """The set with every field of a struct in it on the way to another: those stand in no set by themselves."""
    if shape.kind == "leaf":
        return fields
    known = {child.step: child for child in fields_of(shape.model).values()} if shape.kind == "struct" else {}
    made: Obj = {}
    for step, below in fields.items():
        if step == ".":
            continue
        child = known.get(step) or shape.item or LEAF
        inside = {key: value for key, value in named(child, below).items() if key != "."}
        made[step] = with_membership(step in known or is_member(below), inside) or MEMBER
    return made


def merged(shape: Shape, live: object, applied: object, path: str = "") -> object:
    """The live value with the applied one laid over it."""
    if applied is None:
        return live
    if live is None or _is_leaf(shape, applied) or not isinstance(live, type(applied)):
        return _laid_down(shape, applied, path)
    if shape.kind in _ITEMS:
        return _merged_items(shape, cast("list[object]", live), cast("list[object]", applied), path)
    result = dict(cast("Obj", live))
    for key, value in cast("Obj", applied).items():
        result[key] = merged(_child(shape, key), result.get(key), value, f"{path}.{key}")
    return result


def reduced(shape: Shape, value: object, fields: Obj) -> object:
    """The value without these fields; None where nothing is left of it."""
    if _is_leaf(shape, value):
        return value
    kept: list[tuple[str, object]] = []
    for step, child, part in _parts(shape, value):
        below = fields.get(step)
        if below is None:
            kept.append((step, part))
        elif not is_member(below):
            rest = reduced(child, part, below)
            if rest is not None:
                kept.append((step, rest))
    if not kept:
        return None
    if shape.kind in _ITEMS:
        return [one for _, part in kept for one in (part if isinstance(part, _Repeated) else [part])]
    return {step[2:]: part for step, part in kept}


def _changes(shape: Shape, before: object, after: object) -> _Change:
    """What was set and what was taken away at this field and below it."""
    if shape.there:
        empty: object = [] if shape.kind in _ITEMS else {}
        before, after = empty if before is None else before, empty if after is None else after
    if before is after or before == after:
        return _NOTHING
    if before is None:
        return _whole(shape, after), None
    if after is None:
        return None, _whole(shape, before)
    if not (before or after) or _is_leaf(shape, after) or not isinstance(before, type(after)):
        return MEMBER, None
    touched: Obj = {}
    removed: Obj = {}
    if shape.kind in _ITEMS:
        olds, news = _indexed(shape, cast("list[object]", before)), _indexed(shape, cast("list[object]", after))
    else:
        olds, news = cast("Obj", before), cast("Obj", after)
    for key in news if olds.keys() <= news.keys() else {**news, **olds}:
        old, new = olds.get(key), news.get(key)
        if old is new or old == new:
            continue
        child = _child(shape, key)
        came, went = _changes(child, old, new)
        step = child.step or (key if shape.kind in _ITEMS else f"f:{key}")
        if came is not None:
            touched[step] = came
        if went is not None:
            removed[step] = went
    return touched or None, removed or None


def _whole(shape: Shape, value: object) -> Obj:
    """All fields of a value that comes or goes together with what it stands in, itself among them."""
    if not value or _is_leaf(shape, value):
        return MEMBER
    found: Obj = {".": MEMBER}
    for step, child, part in _parts(shape, value):
        found[step] = MEMBER if child.kind == "leaf" else _whole(child, part)
    return found


def _parts(shape: Shape, value: object) -> list[tuple[str, Shape, object]]:
    """The parts of a value: the step that leads to each, its shape, and itself."""
    if shape.kind in _ITEMS:
        item = shape.item or LEAF
        return [
            (step, LEAF if isinstance(part, _Repeated) else item, part)
            for step, part in _indexed(shape, cast("list[object]", value)).items()
        ]
    content = cast("Obj", value)
    if shape.kind == "struct":
        known = fields_of(shape.model)
        return [(known[key].step, known[key], part) for key, part in content.items() if key in known]
    return [(f"f:{key}", _child(shape, key), part) for key, part in content.items()]


def _child(shape: Shape, key: str) -> Shape:
    if shape.kind == "struct":
        return fields_of(shape.model).get(key, LEAF)
    return FREE if shape.kind == "free" else shape.item or LEAF


def _is_leaf(shape: Shape, value: object) -> bool:
    """Whether a value is owned as a whole; one of another type than its field's is."""
    if shape.kind == "leaf" or isinstance(value, _Repeated):
        return True
    return not isinstance(value, list if shape.kind in _ITEMS else dict)


def _indexed(shape: Shape, items: list[object]) -> dict[str, object]:
    """The items of a list by their steps."""
    found: dict[str, object] = {}
    for item in items:
        step = _step_of(shape, item)
        if step in found:
            first = found[step]
            found[step] = _Repeated([*first, item]) if isinstance(first, _Repeated) else _Repeated([first, item])
        else:
            found[step] = item
    return found


def _step_of(shape: Shape, item: object) -> str:
    if shape.kind == "set" or not isinstance(item, Mapping):
        return f"v:{_encode(item).decode()}"
    keys = [
        f'"{key}":{_encode(value).decode()}'
        for key, default in zip(shape.keys, shape.defaults, strict=True)
        if (value := item.get(key, default)) is not None
    ]
    return f"k:{{{','.join(keys)}}}"


def _laid_down(shape: Shape, applied: object, path: str) -> object:
    """An applied value where nothing was; its lists are checked all the same."""
    if _is_leaf(shape, applied):
        return applied
    if shape.kind in _ITEMS:
        return _merged_items(shape, [], cast("list[object]", applied), path)
    return {key: _laid_down(_child(shape, key), value, f"{path}.{key}") for key, value in cast("Obj", applied).items()}


def _merged_items(shape: Shape, live: list[object], applied: list[object], path: str) -> list[object]:
    """Items merged by their keys: in the applied order, those that only the live list has where they stood in it."""
    here, wanted = _indexed(shape, live), _indexed(shape, applied)
    for step, item in wanted.items():
        if isinstance(item, _Repeated):
            raise DuplicateItem(f"{path}: duplicate entries for key {_shown_key(step)}")
    item_shape = shape.item or LEAF
    result: list[object] = []
    for step in _order(list(here), list(wanted)):
        mine = here.get(step)
        if step in wanted:
            base = None if isinstance(mine, _Repeated) else mine
            result.append(merged(item_shape, base, wanted[step], f"{path}{_shown_key(step)}"))
        else:
            result += mine if isinstance(mine, _Repeated) else [mine]
    return result


def _order(live: list[str], applied: list[str]) -> list[str]:
    """One order of both: the applied one; what only the live one has comes as late as it did there."""
    shared = [step for step in applied if step in live]
    rank = {step: index for index, step in enumerate(applied)}
    # A live item that both have stands for an order only where it comes in the applied one's turn
    anchors: list[str] = []
    for step in live:
        if step in rank and len(anchors) < len(shared) and step == shared[len(anchors)]:
            anchors.append(step)
    result: list[str] = []
    rest = list(applied)
    for step in live:
        if step not in rank:
            result.append(step)
        elif step in anchors:
            upto = rest.index(step) + 1
            result += rest[:upto]
            rest = rest[upto:]
    return result + rest


def _shown_key(step: str) -> str:
    if step.startswith("v:"):
        return f"[={step[2:]}]"
    keys = msgspec.json.decode(step[2:], type=Obj)
    return "[" + ",".join(f"{key}={shown(value)}" for key, value in keys.items()) + "]"
