"""Configuration pinned per version: each version reads its own copy of its ConfigMaps and Secrets.

A ConfigMap that is changed in place reaches the pods of all versions, whatever they expect, and no undo brings the old
content back. A copy is named for what is in it, and the new template refers to the copy; the old version's pods
keep reading theirs, and an undo finds it where its template says.

Rule 1: only what the manifest itself brings is copied; what it merely refers to is somebody else's.
Rule 2: a copy belongs to the ReplicaSets whose pods read it, and goes when the last of them leaves the history.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from segue.model.manifest import Document
from segue.model.objects import Obj, copy_of, name_of

PINNED_FROM = "segue.dev/pinned-from"  # on a copy: the name of what it is a copy of
KINDS = {"ConfigMap": "configmaps", "Secret": "secrets"}
DIGITS = 10
_CONTENT = ("data", "binaryData", "stringData", "type")
_PINNED_NAME = re.compile(rf".+-[0-9a-f]{{{DIGITS}}}")
Named: TypeAlias = tuple[str, str]  # kind and name


def pinned(documents: Sequence[Document]) -> tuple[Document, ...]:
    """The documents with each ConfigMap and Secret that a Deployment of theirs reads replaced by a copy, and the
    references with it."""
    read = {one for document in documents if document.kind == "Deployment" for one in references(_template(document))}
    names = {
        (document.kind, document.name): copy_name(document.obj)
        for document in documents
        if document.kind in KINDS and (document.kind, document.name) in read
    }
    return tuple(_with_names(document, names) for document in documents)


def copy_name(obj: Obj) -> str:
    """The name of a copy: the same for the same content, another for any other."""
    text = json.dumps({key: obj.get(key) or {} for key in _CONTENT}, sort_keys=True, separators=(",", ":"))
    return f"{name_of(obj)}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}"


def references(template: Obj) -> set[Named]:
    """The ConfigMaps and Secrets that the pods of a template read."""
    found: set[Named] = set()

    def note(kind: str, name: str) -> str:
        found.add((kind, name))
        return name

    _walk(template, note)
    return found


def copies_read(template: Obj) -> set[Named]:
    """Those of them that are named like copies; only the annotation of the object itself says whether it is one."""
    return {(kind, name) for kind, name in references(template) if _PINNED_NAME.fullmatch(name)}


def _template(document: Document) -> Obj:
    spec = document.obj.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    return template if isinstance(template, dict) else {}


def _with_names(document: Document, names: Mapping[Named, str]) -> Document:
    copy_as = names.get((document.kind, document.name))
    if copy_as is not None:
        obj = copy_of(document.obj)
        annotations = {**(obj["metadata"].get("annotations") or {}), PINNED_FROM: document.name}
        obj["metadata"] |= {"name": copy_as, "annotations": annotations}
        obj["immutable"] = True
        return replace(document, obj=obj)
    if document.kind != "Deployment":
        return document
    obj = copy_of(document.obj)
    _walk(_template(replace(document, obj=obj)), lambda kind, name: names.get((kind, name), name))
    return replace(document, obj=obj)


def _walk(template: Obj, visit: Callable[[str, str], str]) -> None:
    """Visit every reference to a ConfigMap or a Secret; what `visit` returns is written there."""
    spec: Obj = template.get("spec") or {}
    for volume in spec.get("volumes") or []:
        sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        for source in sources:
            _put(source.get("configMap"), "name", "ConfigMap", visit)
            _put(source.get("secret"), "secretName" if source is volume else "name", "Secret", visit)
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for entry in container.get("envFrom") or []:
            _put(entry.get("configMapRef"), "name", "ConfigMap", visit)
            _put(entry.get("secretRef"), "name", "Secret", visit)
        for entry in container.get("env") or []:
            source = entry.get("valueFrom") or {}
            _put(source.get("configMapKeyRef"), "name", "ConfigMap", visit)
            _put(source.get("secretKeyRef"), "name", "Secret", visit)


def _put(reference: Obj | None, key: str, kind: str, visit: Callable[[str, str], str]) -> None:
    if reference and reference.get(key):
        reference[key] = visit(kind, str(reference[key]))
