"""Manifests of the command line, with `--image` applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segue.host.manifests import read_manifests
from segue.model.images import containers_of, put_image, split, unknown
from segue.model.manifest import Document
from segue.model.objects import Obj, copy_of


def read_documents(names: Sequence[str], images: Sequence[str]) -> tuple[Document, ...]:
    """Read the files; each `NAME=TAG` (or `NAME=IMAGE`) changes the image of a container, or of an image, so named."""
    documents = read_manifests(names)
    for assignment in images:
        name, wanted = split(assignment)
        copies = tuple(replace(document, obj=copy_of(document.obj)) for document in documents)
        if not sum(put_image(_template_of(document.obj), name, wanted) for document in copies):
            found = [row for document in documents for row in containers_of(_template_of(document.obj))]
            raise unknown(assignment, "the manifest", [str(row.get("name")) for row in found])
        documents = copies
    return documents


def _template_of(obj: Obj) -> Obj:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {} if isinstance(spec, dict) else {}
    return template if isinstance(template, dict) else {}
