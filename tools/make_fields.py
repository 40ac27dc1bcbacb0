"""Generate src/segue/cluster/fields.json: names and types of every field of the kinds in `kinds`, nothing else.

The source is the development package lightkube-models (generated from Kubernetes' OpenAPI document). Names and types
are facts; descriptions are not copied. Usage: python tools/make_fields.py
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import msgspec

from segue.cluster.kinds import GATEWAY_GROUP, KINDS

TARGET = Path(__file__).parent.parent / "src" / "segue" / "cluster" / "fields.json"
SCALARS = {
    "str": "string",
    "int": "int",
    "float": "number",
    "bool": "bool",
    "dict": "any",
    "Any": "any",
    "meta_v1.Time": "string",
    "meta_v1.MicroTime": "string",
    "Time": "string",
    "MicroTime": "string",
    "datetime": "string",
    "util_intstr.IntOrString": "intstr",
    "IntOrString": "intstr",
    "resource.Quantity": "quantity",
    "Quantity": "quantity",
    "runtime.RawExtension": "any",
    "RawExtension": "any",
    "meta_v1.FieldsV1": "any",
    "FieldsV1": "any",
    "JSON": "any",
    "JSONSchemaPropsOrArray": "any",
    "JSONSchemaPropsOrBool": "any",
    "JSONSchemaPropsOrStringArray": "any",
    "datetime.datetime": "string",
    "JSONSchemaProps": "any",
}
# The package writes every map as a plain dict; these are the ones whose values have one type.
STRING_MAPS = {"labels", "annotations", "matchLabels", "selector", "nodeSelector", "data", "stringData", "parameters"}
STRING_MAPS |= {"options", "volumeAttributes"}
QUANTITY_MAPS = {"limits", "requests", "capacity", "allocatable", "hard", "used", "overhead", "allocatedResources"}
QUANTITY_MAPS |= {"min", "max", "default", "defaultRequest"}


def type_name(annotation: str, module: str) -> str:
    """The table's name of a Python annotation: string, int, []x, {}x, or module.Type."""
    annotation = annotation.strip().strip("'\"")
    if inner := re.fullmatch(r"Optional\[(.*)\]", annotation):
        return type_name(inner[1], module)
    if inner := re.fullmatch(r"List\[(.*)\]", annotation):
        return "[]" + type_name(inner[1], module)
    if inner := re.fullmatch(r"Dict\[str, (.*)\]", annotation):
        return "{}" + type_name(inner[1], module)
    if annotation in SCALARS:
        return SCALARS[annotation]
    name = annotation if "." in annotation else f"{module}.{annotation}"
    return name if isinstance(model_of(name), type) else "any"


def model_of(name: str) -> object:
    """The class behind "core_v1.Pod"; the package keeps plain aliases for free-form JSON."""
    module_name, _, class_name = name.partition(".")
    module: ModuleType = importlib.import_module(f"lightkube.models.{module_name}")
    return getattr(module, class_name)


def fields_of(name: str) -> dict[str, str]:
    """Field name to type name of one model."""
    module_name = name.partition(".")[0]
    model = model_of(name)
    assert isinstance(model, type)
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        for key, annotation in vars(cls).get("__annotations__", {}).items():
            if not key.startswith("_"):
                # The model package renames what Python forbids: `from_` for `from`, `dollar_ref` for `$ref`.
                json_name = "$" + key.removeprefix("dollar_") if key.startswith("dollar_") else key.rstrip("_")
                found[json_name] = _map_type(name, json_name) or type_name(str(annotation), module_name)
    return found


def _map_type(model: str, field: str) -> str:
    if model == "apps_v1.ControllerRevision" or not _is_dict(model, field):
        return ""
    if field in STRING_MAPS:
        return "{}string"
    return "{}quantity" if field in QUANTITY_MAPS else ""


def _is_dict(model: str, field: str) -> bool:
    annotation = str(vars(model_of(model)).get("__annotations__", {}).get(field, ""))
    return annotation.strip("'\"") in {"dict", "Optional[dict]"}


def main() -> None:
    """Write the table of every model reachable from the kinds."""
    table: dict[str, dict[str, str]] = {}
    waiting = sorted(
        {kind.model for kind in KINDS if kind.group != GATEWAY_GROUP}
        | {"autoscaling_v1.Scale", "policy_v1.Eviction", "meta_v1.DeleteOptions"}
    )
    while waiting:
        name = waiting.pop()
        if name in table:
            continue
        table[name] = fields_of(name)
        for text in table[name].values():
            bare = re.sub(r"^(\[\]|\{\})+", "", text)
            if "." in bare:
                waiting.append(bare)
    TARGET.write_bytes(msgspec.json.encode(dict(sorted(table.items()))) + b"\n")
    print(f"{len(table)} types, {TARGET.stat().st_size} bytes")  # noqa: T201 - a tool's own report


if __name__ == "__main__":
    main()
