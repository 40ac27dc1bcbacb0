"""Manifests of the command line, with `--image` applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segue.host.manifests import read_manifests
from segue.model.errors import UsageError
from segue.model.manifest import Document
from segue.model.objects import Obj, copy_of


def read_documents(names: Sequence[str], images: Sequence[str]) -> tuple[Document, ...]:
    """Read the files; each `NAME=TAG` (or `NAME=IMAGE`) changes the image of a container, or of an image, so named."""
    documents = read_manifests(names)
    for assignment in images:
        name, equals, wanted = assignment.partition("=")
        if not equals or not name or not wanted:
            raise UsageError(
                f"--image {assignment}: must be NAME=TAG or NAME=IMAGE", remedy="for example --image web=v2"
            )
        changed = [_with_image(document, name, wanted) for document in documents]
        if not any(count for _, count in changed):
            known = sorted(
                {str(container.get("name")) for document in documents for container in _containers(document.obj)}
            )
            raise UsageError(
                f"--image {assignment}: no container or image of the manifest is called {name}",
                remedy=f"its containers are {', '.join(known) or 'none'}",
            )
        documents = tuple(document for document, _ in changed)
    return documents


def _containers(obj: Obj) -> list[Obj]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {} if isinstance(spec, dict) else {}
    pod = template.get("spec") or {} if isinstance(template, dict) else {}
    rows = [*(pod.get("initContainers") or []), *(pod.get("containers") or [])] if isinstance(pod, dict) else []
    return [row for row in rows if isinstance(row, dict)]


def _with_image(document: Document, name: str, wanted: str) -> tuple[Document, int]:
    obj = copy_of(document.obj)
    count = 0
    for container in _containers(obj):
        image = str(container.get("image") or "")
        base = _base(image)
        if name in {container.get("name"), base, base.rpartition("/")[2]}:
            container["image"] = wanted if "/" in wanted or ":" in wanted else f"{base}:{wanted}"
            count += 1
    return replace(document, obj=obj), count


def _base(image: str) -> str:
    """An image without its tag or digest."""
    image = image.partition("@")[0]
    head, slash, last = image.rpartition("/")
    return head + slash + last.partition(":")[0]
