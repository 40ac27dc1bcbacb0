"""Warns at once of images that no pod of this cluster can start; Kubernetes itself would tell by pods that never start.

Only words: the object is taken all the same, as Kubernetes takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from segue.model.objects import Obj

Complaint: TypeAlias = Callable[[str], str]  # what is wrong with an image, "" where nothing is


def image_warnings(obj: Obj, complaint: Complaint) -> Iterator[str]:
    """One `PATH: COMPLAINT` per container whose image is unknown."""
    pod, path = obj.get("spec") or {}, "spec"
    if isinstance(pod.get("template"), dict):
        pod, path = pod["template"].get("spec") or {}, "spec.template.spec"
    for field in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(field) or []):
            said = complaint(str(container.get("image") or ""))
            if said:
                yield f"{path}.{field}[{index}].image: {said}"
