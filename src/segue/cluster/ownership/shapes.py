"""What a field is to server-side apply: a leaf that is owned as a whole, or something owned part by part.

The facts lie in shapes.json (tools/make_shapes.py) and in the field table; this module only joins them.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import msgspec

from segue.cluster.fields import custom, table
from segue.model.objects import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One field's shape. `there` fields are written by a typed server although they are empty: as {} or null."""

    kind: Literal["leaf", "struct", "map", "list", "set", "free"]
    model: str = ""  # of a struct
    item: Shape | None = None  # of a map, list or set
    keys: tuple[str, ...] = ()  # of a list, in the order in which they are written
    defaults: tuple[object, ...] = ()  # one per key: what an item that leaves it out means
    there: bool = False
    step: str = ""  # of a struct's field: how sets name it


class _Facts(msgspec.Struct, frozen=True):
    lists: dict[str, list[str]]
    atomic: frozenset[str]
    defaults: Obj
    structs: frozenset[str]
    nulls: frozenset[str]


LEAF = Shape(kind="leaf")
FREE = Shape(kind="free", item=LEAF)  # free-form JSON: objects part by part, lists as a whole


def shape_of(model: str) -> Shape:
    """The shape of a whole object."""
    return Shape(kind="struct", model=model, there=True)


@cache
def fields_of(model: str) -> dict[str, Shape]:
    """The shapes of a struct's fields."""
    return {name: replace(_shape(f"{model}.{name}", kind), step=f"f:{name}") for name, kind in table()[model].items()}


@cache
def _facts() -> _Facts:
    data = pkgutil.get_data("segue.cluster", "shapes.json")
    assert data is not None, "the table is part of the package"
    return msgspec.json.decode(data, type=_Facts)


def _shape(field: str, kind: str) -> Shape:
    """The shape of "model.field", whose type the field table writes as `kind`."""
    facts = _facts()
    there = field in facts.structs or field in facts.nulls
    if field in facts.atomic or kind in facts.atomic:
        return Shape(kind="leaf", there=there)
    if kind.startswith("[]"):
        keys = facts.lists.get(field, custom().lists.get(field))
        if keys is None:
            return LEAF
        item = _shape("", kind[2:])
        if not keys:
            return Shape(kind="set", item=item, there=there)
        defaults = tuple(facts.defaults.get(f"{kind[2:]}.{key}") for key in sorted(keys))
        return Shape(kind="list", item=item, keys=tuple(sorted(keys)), defaults=defaults, there=there)
    if kind.startswith("{}"):
        return Shape(kind="map", item=_shape("", kind[2:]), there=there)
    if kind == "any":
        return FREE
    return Shape(kind="struct", model=kind, there=there) if "." in kind else LEAF
