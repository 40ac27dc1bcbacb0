"""From texts to objects and sets: lists unfolded, what is no Kubernetes object left out, what is no one set kept apart.

Rule: two objects of one identity in two files are two answers to one question; such files are never judged together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from segue.check.findings import Source
from segue.model.errors import ManifestError, Place
from segue.model.marked import Node, pieces
from segue.model.objects import Obj

CLUSTER_WIDE = frozenset({"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "StorageClass", "PriorityClass"})


@dataclass(slots=True)
class Gathered:
    """What was read of all texts."""

    sources: list[Source] = field(default_factory=list)
    errors: list[ManifestError] = field(default_factory=list)
    skipped: int = 0  # documents that are no Kubernetes objects: values of charts, compose files

    def add(self, text: str, *, file: str, namespace: str = "") -> None:
        """Read one text."""
        for piece in pieces(text, file=file):
            if isinstance(piece, ManifestError):
                self.errors.append(piece)
                continue
            for node in _unfolded(piece.node):
                self._add_object(node, file, namespace)

    def _add_object(self, node: Node, file: str, namespace: str) -> None:
        obj = node.value
        if not isinstance(obj, dict) or not _is_object(obj):
            self.skipped += 1
            return
        lacking = next((key for key in ("apiVersion", "kind") if not isinstance(obj.get(key), str) or not obj[key]), "")
        if lacking:
            self.errors.append(
                ManifestError(
                    f"{lacking} is missing, or no text",
                    place=Place(file=file, line=node.line, path=f"$.{lacking}"),
                    remedy=f"say what this object is: {'apps/v1' if lacking == 'apiVersion' else 'Deployment'}",
                )
            )
            return
        self.sources.append(Source(obj=obj, file=file, line=node.line, node=node, namespace=space_of(obj, namespace)))


def space_of(obj: Obj, namespace: str) -> str:
    """The namespace of an object, "" for those of the whole cluster."""
    if obj.get("kind") in CLUSTER_WIDE:
        return ""
    metadata = obj.get("metadata")
    said = metadata.get("namespace") if isinstance(metadata, dict) else None
    return said if isinstance(said, str) and said else namespace or "default"


def _is_object(obj: Obj) -> bool:
    """Whether it means to be a Kubernetes object, even a broken one."""
    if "apiVersion" in obj and "kind" in obj:
        return True
    return ("kind" in obj or "apiVersion" in obj) and ("metadata" in obj or "spec" in obj)


def _unfolded(node: Node) -> Iterator[Node]:
    obj = node.value
    items = obj.get("items") if isinstance(obj, dict) and str(obj.get("kind") or "").endswith("List") else None
    if isinstance(items, list):
        yield from node.children["items"].children.values()
    elif isinstance(obj, dict) and obj.get("kind") == "Template" and isinstance(obj.get("objects"), list):
        yield from node.children["objects"].children.values()  # OpenShift
    else:
        yield node


def sets_of(sources: Iterable[Source]) -> tuple[list[list[Source]], str]:
    """The sets to judge, and why there is more than one: all together, else per directory, else per file."""
    everything = list(sources)
    twice = _twice(everything)
    if not twice:
        return [everything], ""
    sets: list[list[Source]] = []
    for group in _grouped(everything, lambda one: one.file.rpartition("/")[0]):
        sets.extend([group] if not _twice(group) else _grouped(group, lambda one: one.file))
    return sets, twice if len(sets) > 1 else ""


def _twice(sources: list[Source]) -> str:
    seen: dict[tuple[str, str, str, str], Source] = {}
    for one in sources:
        if not one.name:
            continue
        first = seen.setdefault((one.group, one.kind, one.namespace, one.name), one)
        if first.file != one.file:
            return f"{one.title} stands in {first.file} and {one.file}"
    return ""


def _grouped(sources: list[Source], key: Callable[[Source], str]) -> list[list[Source]]:
    groups: dict[str, list[Source]] = defaultdict(list)
    for one in sources:
        groups[key(one)].append(one)
    return list(groups.values())
