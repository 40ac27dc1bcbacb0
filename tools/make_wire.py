"""Generate tables of facts from Kubernetes' Go types: protobuf field numbers, merge keys, fields that lose zeros.

    wire.json        model -> {field number: "jsonName type"}; how kubectl's typed commands send objects
    merge_keys.json  "model.field" -> merge key of a list that strategic patches merge ("" for plain values)
    zeros.json       model -> its fields that Go leaves out where they are empty: no pointers, marked omitempty

A type is written as in fields.json, with `*` before it where Go has a pointer (its zero counts as a value). An empty
JSON name means that the struct's fields stand in its parent. Only names, types, numbers and tags are taken over.

Usage: go mod download k8s.io/api@v0.37.2 k8s.io/apimachinery@v0.37.2, then
       python tools/make_wire.py $(go env GOMODCACHE)/k8s.io
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

RELEASE = "v0.37.2"
TARGET = Path(__file__).parent.parent / "src" / "segue" / "cluster"
PACKAGES = {
    "meta_v1": "apimachinery@{}/pkg/apis/meta/v1",
    **{
        f"{group}_{version}": f"api@{{}}/{group}/{version}"
        for group, version in (
            ("core", "v1"),
            ("apps", "v1"),
            ("batch", "v1"),
            ("autoscaling", "v1"),
            ("autoscaling", "v2"),
            ("policy", "v1"),
            ("networking", "v1"),
            ("rbac", "v1"),
            ("coordination", "v1"),
            ("discovery", "v1"),
            ("scheduling", "v1"),
            ("scheduling", "v1alpha3"),
            ("storage", "v1"),
            ("admissionregistration", "v1"),
            ("authorization", "v1"),
            ("authentication", "v1"),
        )
    },
}
ROOTS = (
    "meta_v1.DeleteOptions",
    "policy_v1.Eviction",
    "autoscaling_v1.Scale",
    "authorization_v1.LocalSubjectAccessReview",
    "authorization_v1.SelfSubjectAccessReview",
    "authorization_v1.SelfSubjectRulesReview",
    "authorization_v1.SubjectAccessReview",
    "authentication_v1.SelfSubjectReview",
    "authentication_v1.TokenRequest",
    "authentication_v1.TokenReview",
)
SCALARS = {
    "string": "string",
    "bool": "bool",
    "int32": "int",
    "int64": "int",
    "int": "int",
    "float64": "number",
    "[]byte": "bytes",
    "intstr.IntOrString": "intstr",
    "resource.Quantity": "quantity",
    "runtime.RawExtension": "raw",
    "types.UID": "string",
    "types.NodeName": "string",
    "meta_v1.Time": "time",
    "meta_v1.MicroTime": "microtime",
    "meta_v1.Duration": "duration",
    "meta_v1.FieldsV1": "raw",
}
EMPTIED = {"string", "bool", "int", "number", "bytes"}
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
ALIAS = re.compile(r"^type (\w+) ([\w.\[\]*]+)$", re.MULTILINE)
FIELD = re.compile(r"^\s+(?:(\w+)\s+)?([\w.\[\]*]+)\s+`([^`]*)`", re.MULTILINE)
IMPORT = re.compile(r'^\s+(?:(\w+) )?"([^"]+)"$', re.MULTILINE)
TAG = re.compile(r'(\w+):"([^"]*)"')


@dataclass
class Source:
    """All structs and aliases of the packages, with types made absolute."""

    structs: dict[str, list[tuple[str, dict[str, str]]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def read(self, package: str, folder: Path) -> None:
        """Take in one package."""
        for path in sorted(folder.glob("*.go")):
            if path.name.startswith(("zz_", "generated")) or path.name.endswith("_test.go"):
                continue
            text = re.sub(r"(?m)^\s*//.*$", "", path.read_text())
            imports = {alias or where.rsplit("/", 1)[-1]: where for alias, where in IMPORT.findall(text)}
            for name, alias in ALIAS.findall(text):
                self.aliases[f"{package}.{name}"] = absolute(alias, package, imports)
            for name, body in STRUCT.findall(text):
                rows = [
                    (absolute(kind, package, imports), dict(TAG.findall(tags))) for _, kind, tags in FIELD.findall(body)
                ]
                self.structs[f"{package}.{name}"] = rows

    def resolved(self, kind: str) -> str:
        """A Go type as the table writes it."""
        if kind in SCALARS:
            return SCALARS[kind]
        if kind.startswith("*"):
            return "*" + self.resolved(kind[1:])
        if kind.startswith("[]"):
            return "[]" + self.resolved(kind[2:])
        if match := re.match(r"map\[[\w.]+\](.*)", kind):
            return "{}" + self.resolved(match[1])
        if kind in self.aliases:
            return self.resolved(self.aliases[kind])
        assert kind in self.structs, kind
        return kind


def absolute(kind: str, package: str, imports: dict[str, str]) -> str:
    """A Go type with its package's table name: `[]v1.Container` in apps is `[]core_v1.Container`."""
    match = re.match(r"((?:\[\]|\*|map\[[\w.]+\])*)(.*)", kind)
    assert match is not None
    prefix, name = match[1], match[2]
    if prefix + name == "[]byte" or (prefix.endswith("[]") and name == "byte"):
        return kind
    if name in SCALARS:
        return kind
    if "." not in name:
        return f"{prefix}{package}.{name}"
    alias, _, bare = name.partition(".")
    where = imports.get(alias, alias)
    for table_name, folder in PACKAGES.items():
        if where.endswith(folder.split("/", 1)[1]) and ("apimachinery" in where) == (table_name == "meta_v1"):
            return f"{prefix}{table_name}.{bare}"
    return kind


def main(root: Path) -> None:
    """Write both tables."""
    source = Source()
    for package, folder in PACKAGES.items():
        source.read(package, root / folder.format(RELEASE))
    from segue.cluster.kinds import KINDS  # noqa: PLC0415 - the kinds decide what is needed

    waiting = [kind.model for kind in KINDS if kind.model in source.structs] + list(ROOTS)
    wire: dict[str, dict[str, str]] = {}
    merge_keys: dict[str, str] = {}
    zeros: dict[str, list[str]] = {}
    while waiting:
        model = waiting.pop()
        if model in wire:
            continue
        wire[model] = {}
        for kind, tags in source.structs[model]:
            if "protobuf" not in tags or "json" not in tags:
                continue
            name = tags["json"].split(",")[0]
            if name == "-":
                continue
            text = source.resolved(kind)
            # Go never leaves out a struct, and leaves out a pointer only where there is none
            if "omitempty" in tags["json"] and (text in EMPTIED or text.startswith(("[]", "{}"))):
                zeros.setdefault(model, []).append(name)
            wire[model][tags["protobuf"].split(",")[1]] = f"{name} {text}"
            if "merge" in tags.get("patchStrategy", "").split(",") and text.lstrip("*").startswith("[]"):
                merge_keys[f"{model}.{name}"] = tags.get("patchMergeKey", "")
            bare = re.sub(r"^(\*|\[\]|\{\})+", "", text)
            if "." in bare:
                waiting.append(bare)
    for parent, fields in wire.items():
        inlined = {entry[1:].lstrip("*") for entry in fields.values() if entry.startswith(" ")}
        for key in [key for key in merge_keys if key.rpartition(".")[0] in inlined]:
            merge_keys[f"{parent}.{key.rpartition('.')[2]}"] = merge_keys[key]
        for each in inlined & zeros.keys():
            zeros[parent] = sorted({*zeros.get(parent, []), *zeros[each]})
    for name, table in (("wire.json", wire), ("merge_keys.json", merge_keys), ("zeros.json", zeros)):
        (TARGET / name).write_bytes(msgspec.json.encode(dict(sorted(table.items()))) + b"\n")
        print(f"{name}: {len(table)} entries, {(TARGET / name).stat().st_size} bytes")  # noqa: T201 - a tool's report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
