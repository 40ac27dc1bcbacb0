"""Generate src/segue/cluster/shapes.json: how lists and maps merge, and which fields a typed server always writes.

    lists     "model.field" -> keys of a list that merges item by item; none for a set of plain values
    atomic    models and "model.field" that are replaced as a whole
    defaults  "model.field" -> value of a key that an item leaves out
    structs   "model.field" that Go writes as {} where it is empty: no pointer
    nulls     "model.field" lists and maps that Go writes as null where they are empty: never left out

A list that stands nowhere here is replaced as a whole, a map that stands nowhere merges key by key. The source is
Kubernetes' OpenAPI documents, for the last two wire.json and zeros.json (tools/make_wire.py). Only names, keys and
defaults are taken over.

Usage: go mod download k8s.io/kubernetes@v1.37.2, then
       python tools/make_shapes.py $(go env GOMODCACHE)/k8s.io/kubernetes@v1.37.2/api/openapi-spec/v3
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from segue.cluster.fields import table
from segue.model.objects import Obj

CLUSTER = Path(__file__).parent.parent / "src" / "segue" / "cluster"
TARGET = CLUSTER / "shapes.json"
NAME = re.compile(r"io\.k8s\.(?:api|apimachinery\.pkg\.apis|apiextensions-apiserver\.pkg\.apis|[\w-]+\.pkg\.apis)\.")


def model_name(definition: str) -> str:
    """ "io.k8s.api.core.v1.Pod" as the field table writes it: "core_v1.Pod"."""
    group, version, name = NAME.sub("", definition).rsplit(".", 2)
    return f"{group.rpartition('.')[2]}_{version}.{name}"


def merging(definitions: Obj) -> Obj:
    """How the fields of known models merge."""
    lists: dict[str, list[str]] = {}
    atomic: set[str] = set()
    defaults: Obj = {}
    for full_name, definition in definitions.items():
        if not NAME.match(full_name) or model_name(full_name) not in table():
            continue
        model = model_name(full_name)
        if definition.get("x-kubernetes-map-type") == "atomic":
            atomic.add(model)
        for name, told in definition.get("properties", {}).items():
            field = f"{model}.{name}"
            if told.get("x-kubernetes-map-type") == "atomic":
                atomic.add(field)
            merges = told.get("x-kubernetes-list-type")
            if merges in {"map", "set"}:
                lists[field] = told.get("x-kubernetes-list-map-keys", [])
            if told.get("default") not in (None, {}):
                defaults[field] = told["default"]
    keys = {
        f"{table()[field.rpartition('.')[0]][field.rpartition('.')[2]].removeprefix('[]')}.{key}"
        for field, named in lists.items()
        for key in named
    }
    return {
        "lists": dict(sorted(lists.items())),
        "atomic": sorted(atomic),
        "defaults": {field: value for field, value in sorted(defaults.items()) if field in keys},
    }


def written() -> Obj:
    """Which fields Go writes although they are empty."""
    wire = msgspec.json.decode((CLUSTER / "wire.json").read_bytes(), type=dict[str, dict[str, str]])
    zeros = msgspec.json.decode((CLUSTER / "zeros.json").read_bytes(), type=dict[str, list[str]])
    structs: list[str] = []
    nulls: list[str] = []
    for model, fields in wire.items():
        for name, kind in _flat(wire, fields):
            if "." in kind and not kind.startswith(("*", "[]", "{}")):
                structs.append(f"{model}.{name}")
            elif kind.startswith(("[]", "{}")) and name not in zeros.get(model, []):
                nulls.append(f"{model}.{name}")
    return {"structs": sorted(structs), "nulls": sorted(nulls)}


def _flat(wire: dict[str, dict[str, str]], fields: dict[str, str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in fields.values():
        name, _, kind = entry.partition(" ")
        found += [(name, kind)] if name else _flat(wire, wire[kind.lstrip("*")])
    return found


def main(folder: Path) -> None:
    """Write the table."""
    definitions: Obj = {}
    for file in sorted(folder.glob("*_openapi.json")):
        definitions |= msgspec.json.decode(file.read_bytes(), type=Obj).get("components", {}).get("schemas", {})
    made = {**merging(definitions), **written()}
    TARGET.write_bytes(msgspec.json.encode(made) + b"\n")
    sizes = ", ".join(f"{len(part)} {name}" for name, part in made.items())
    print(f"{sizes}, {TARGET.stat().st_size} bytes")  # noqa: T201 - a tool's report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
