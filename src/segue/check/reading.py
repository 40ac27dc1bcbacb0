"""Careful reading of raw JSON whose shape nobody has checked yet: a wrong type reads as if nothing was there.

Rule: what is malformed is the API server's to refuse. A linter must neither crash on it nor guess what was meant.
"""

from __future__ import annotations

import re
from typing import cast

from segue.model.objects import Obj

LENGTH_MAX = 4096  # nothing that rules look into is longer; patterns are never run over megabytes
_NUMBER = re.compile(r"\d+(\.\d+)?")
_PERCENT = re.compile(r"(\d+)%")


def part(obj: object, *keys: str) -> Obj:
    """The mapping behind these keys, {} where there is none."""
    for key in keys:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return cast("Obj", obj) if isinstance(obj, dict) else {}


def rows(obj: object, *keys: str) -> list[Obj]:
    """The list of mappings behind these keys; what is no mapping counts as an empty one, so that indexes stay true."""
    for key in keys:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return [row if isinstance(row, dict) else {} for row in obj] if isinstance(obj, list) else []


def text(obj: object, key: str) -> str:
    """A text, "" where there is none; its beginning where it is longer than anything that is judged."""
    value = obj.get(key) if isinstance(obj, dict) else None
    return value[:LENGTH_MAX] if isinstance(value, str) else ""


def texts(obj: object, key: str) -> tuple[str, ...]:
    """A list of texts."""
    value = obj.get(key) if isinstance(obj, dict) else None
    return tuple(item[:LENGTH_MAX] for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def whole(obj: object, key: str, default: int) -> int:
    """A whole number, the default where there is none."""
    value = obj.get(key) if isinstance(obj, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def labels(obj: object, *keys: str) -> dict[str, str]:
    """A map of texts."""
    return {key: value for key, value in part(obj, *keys).items() if isinstance(value, str)}


def seconds(said: str) -> float | None:
    """A number of seconds as annotations give it: "20", "1.5"; None where it is none."""
    said = said.strip().removesuffix("s")
    return float(said) if _NUMBER.fullmatch(said) else None


def share(value: object, total: int, *, up: bool) -> int | None:
    """An IntOrString of `total`, percentages rounded up or down; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    exact = total * int(found[1])
    return -(-exact // 100) if up else exact // 100
