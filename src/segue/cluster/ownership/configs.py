"""What an applied configuration must be before it is laid over an object: the right kind, fields that exist, types.

The words are those of kube-apiserver's typed converter, which answers with 500 and no reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from segue.cluster.fields import table, without_nulls
from segue.cluster.kinds import Kind
from segue.cluster.ownership.shapes import fields_of
from segue.cluster.refusals import bad_request
from segue.model.errors import StatusError
from segue.model.objects import Obj


def checked_config(kind: Kind, config: Obj) -> Obj:
    """The configuration without nulls; StatusError where no object of the kind could be made of it."""
    told = str(config.get("apiVersion") or ""), str(config.get("kind") or "")
    if told != (kind.api_version, kind.kind):
        version = told[0] if "/" in told[0] else f"/{told[0]}"
        raise bad_request(f"invalid object type: {version}, Kind={told[1]}")
    checked = without_nulls(config)
    metadata = checked.setdefault("metadata", {})
    if isinstance(metadata, dict) and "managedFields" in metadata:
        raise bad_request("metadata.managedFields must be nil")
    for misfit in _misfits(kind.model, config, ""):
        raise untyped(kind, config, misfit)
    return checked


def untyped(kind: Kind, config: Obj, why: str) -> StatusError:
    """500 of a configuration that is no object of its kind."""
    metadata = config.get("metadata") or {}
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    what = f"{name}; {kind.api_version}, Kind={kind.kind}"
    return StatusError(500, "", f"failed to create typed patch object ({what}): {why}")


def _misfits(model: str, value: Obj, path: str) -> Iterator[str]:
    for key, part in value.items():
        kind = table()[model].get(key)
        if kind is None:
            yield f"{path}.{key}: field not declared in schema"
        elif part is not None:
            keyed = bool(fields_of(model)[key].keys)
            yield from _misfits_of(kind, part, f"{path}.{key}", keyed=keyed)


def _misfits_of(kind: str, value: object, path: str, *, keyed: bool = False) -> Iterator[str]:
    match kind[:2]:
        case "[]":
            if not isinstance(value, list):
                yield f"{path}: expected list, got {_dumped(value)}"
                return
            for index, item in enumerate(value):
                if keyed and not isinstance(item, dict):
                    yield f"{path}: element {index}: associative list with keys may not have non-map elements"
                elif item is not None:
                    yield from _misfits_of(kind[2:], item, f"{path}[{index}]")
        case "{}":
            if not isinstance(value, dict):
                yield f"{path}: expected map, got {_dumped(value)}"
                return
            for key, item in value.items():
                if item is not None:
                    yield from _misfits_of(kind[2:], item, f"{path}.{key}")
        case _ if "." in kind:
            if isinstance(value, dict):
                yield from _misfits(kind, value, path)
            else:
                yield f"{path}: expected map, got {_dumped(value)}"
        case _:
            yield from _misfit_scalar(kind, value, path)


def _misfit_scalar(kind: str, value: object, path: str) -> Iterator[str]:
    match kind:
        case "string" if not isinstance(value, str):
            yield f"{path}: expected string, got &value.valueUnstructured{{Value:{_text(value)}}}"
        case "bool" if not isinstance(value, bool):
            yield f"{path}: expected boolean, got {_dumped(value)}"
        case "int" | "number" if isinstance(value, bool) or not isinstance(value, int | float):
            names = {str: "string", bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}
            yield f"{path}: expected numeric (int or float), got {names[type(value)]}"
        case _:
            return


def _dumped(value: object) -> str:
    return f"&{{{_text(value)}}}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
