"""JSON patch (RFC 6902) and merge patch (RFC 7386): functions from a document and a patch to a new document.

Neither argument is changed. What cannot be applied raises `PatchError` with Kubernetes' words.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias, cast

from segue.cluster.refusals import shown
from segue.model.objects import Obj

Json: TypeAlias = Obj | list[object] | str | int | float | bool | None


class PatchError(Exception):
    """A patch that does not fit its document; the message says where."""


def merge_patch(document: Obj, patch: Obj) -> Obj:
    """The document with the patch merged in: null removes, objects merge, all else replaces."""
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge_patch(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def json_patch(document: Obj, operations: Sequence[Obj]) -> Obj:
    """The document after all operations, or PatchError of the first that fails."""
    holder: Json = {"": copy.deepcopy(document)}
    for operation in operations:
        _apply(holder, operation)
    assert isinstance(holder, dict)
    result = holder[""]
    if not isinstance(result, dict):
        raise PatchError("the patched document is not an object")
    return cast("Obj", result)


def _apply(holder: Json, operation: Obj) -> None:
    if not isinstance(operation.get("path"), str):
        raise PatchError("a JSON patch is a list of operations, each with op and path")
    path = _steps(operation["path"])
    match operation.get("op"):
        case "add":
            _add(holder, path, copy.deepcopy(operation.get("value")), operation["path"])
        case "remove":
            _remove(holder, path, operation["path"])
        case "replace":
            # A member that is not there is set: the server's library asks for the parent only. Items must be there.
            if isinstance(_parent(holder, path, operation["path"]), list):
                _remove(holder, path, operation["path"])
            _add(holder, path, copy.deepcopy(operation.get("value")), operation["path"])
        case "test":
            _test(holder, path, operation)
        case "move":
            source = _steps(operation.get("from", ""))
            _add(holder, path, _remove(holder, source, operation["from"]), operation["path"])
        case "copy":
            source = _steps(operation.get("from", ""))
            _add(holder, path, copy.deepcopy(_get(holder, source, operation["from"])), operation["path"])
        case other:
            raise PatchError(f"Unexpected kind: {other}")


def _steps(path: str) -> list[str]:
    """A pointer's steps, behind the holder's own "" step."""
    if path and not path.startswith("/"):
        raise PatchError(f"invalid path {path!r}: it must begin with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]


def _test(holder: Json, path: list[str], operation: Obj) -> None:
    try:
        found = _get(holder, path, operation["path"])
    except PatchError:
        if operation.get("value") is None:  # an absent field equals null
            return
        raise PatchError(f"testing path {operation['path']} failed: missing value") from None
    if not _equal(found, operation.get("value")):
        raise PatchError(f"testing value {operation['path']} failed")


def _equal(left: Json, right: Json) -> bool:
    return shown(left) == shown(right)  # unlike ==, JSON tells true from 1


def _get(holder: Json, path: list[str], text: str) -> Json:
    here = holder
    for step in path:
        match here:
            case dict() if step in here:
                here = here[step]
            case list():
                here = cast("Json", here[_index(here, step, text)])
            case _:
                raise PatchError(f"doc is missing path: {text}: missing value")
    return here


def _parent(holder: Json, path: list[str], text: str) -> Json:
    return _get(holder, path[:-1], text)


def _add(holder: Json, path: list[str], value: Json, text: str) -> None:
    parent, step = _parent(holder, path, text), path[-1]
    match parent:
        case dict():
            parent[step] = value
        case list():
            parent.insert(len(parent) if step == "-" else _index(parent, step, text, beyond=1), value)
        case _:
            raise PatchError(f"add operation does not apply: doc is missing path: {text!r}: missing value")


def _remove(holder: Json, path: list[str], text: str) -> Json:
    parent, step = _parent(holder, path, text), path[-1]
    match parent:
        case dict() if step in parent:
            return cast("Json", parent.pop(step))
        case list():
            return cast("Json", parent.pop(_index(parent, step, text)))
        case _:
            raise PatchError(f"remove operation does not apply: doc is missing path: {text!r}: missing value")


def _index(items: list[object], step: str, text: str, *, beyond: int = 0) -> int:
    if not step.isdecimal() or int(step) >= len(items) + beyond:
        raise PatchError(f"Unable to access invalid index: {step} of {text}")
    return int(step)
