"""Manifests of the command line as what is served now, with `--image` applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segue.host.manifests import read_manifests
from segue.model.bygone import renewed
from segue.model.images import containers_of, put_image, split, unknown
from segue.model.manifest import Document
from segue.model.objects import Obj, copy_of


def read_documents(names: Sequence[str], images: Sequence[str]) -> tuple[Document, ...]:
    """Read the files; each `NAME=TAG` (or `NAME=IMAGE`) changes the image of a container, or of an image, so named."""
    documents = tuple(of_today(document) for document in read_manifests(names))
    for assignment in images:
        name, wanted = split(assignment)
        copies = tuple(replace(document, obj=copy_of(document.obj)) for document in documents)
        if not sum(put_image(_template_of(document.obj), name, wanted) for document in copies):
            found = [row for document in documents for row in containers_of(_template_of(document.obj))]
            raise unknown(assignment, "the manifest", [str(row.get("name")) for row in found])
        documents = copies
    return documents


def of_today(document: Document) -> Document:
    """A DeploymentConfig as a Deployment, an old group as the one that is served, with what is to be said of it."""
    made = renewed(document.obj)
    if made is None:
        return document
    notes: list[str] = []
    for one in made.notes:
        place = document.place(one.path)
        where = f"{place.file}:{place.line}" if place.line else place.file
        notes.append(f"{where}: {document.kind} {document.name}: {one.path}: {one.says}")
    return replace(document, obj=made.obj, became=tuple(notes))


def _template_of(obj: Obj) -> Obj:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {} if isinstance(spec, dict) else {}
    return template if isinstance(template, dict) else {}
