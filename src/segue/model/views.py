"""What every view of an object can say: who it is, and who owns it. The common ground of this room's typed views.

Rule: a view holds what it was made from (`obj`) and never changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from segue.model.objects import (
    Obj,
    annotations_of,
    controller_of,
    labels_of,
    name_of,
    namespace_of,
    seconds_of,
    uid_of,
    version_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """An object as the API server stores it (defaults filled in)."""

    obj: Obj

    @property
    def name(self) -> str:
        """metadata.name."""
        return name_of(self.obj)

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return namespace_of(self.obj)

    @property
    def uid(self) -> str:
        """metadata.uid."""
        return uid_of(self.obj)

    @property
    def version(self) -> str:
        """metadata.resourceVersion."""
        return version_of(self.obj)

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels."""
        return labels_of(self.obj)

    @property
    def annotations(self) -> dict[str, str]:
        """metadata.annotations."""
        return annotations_of(self.obj)

    @property
    def created_s(self) -> float:
        """When it was created, in whole seconds."""
        text = self.obj["metadata"].get("creationTimestamp")
        return seconds_of(text) if text else 0.0

    @property
    def owner_uid(self) -> str:
        """The uid of the controller that owns it, "" for an orphan."""
        owner = controller_of(self.obj)
        return str(owner["uid"]) if owner else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView(ObjectView):
    """What has a controller of its own that makes pods from a template."""

    @property
    def spec(self) -> Obj:
        """spec."""
        return cast("Obj", self.obj["spec"])

    @property
    def status(self) -> Obj:
        """status."""
        return cast("Obj", self.obj.get("status") or {})

    @property
    def min_ready_s(self) -> int:
        """spec.minReadySeconds."""
        return int(self.spec.get("minReadySeconds") or 0)

    @property
    def observed(self) -> bool:
        """Whether the controller has seen the newest spec."""
        generation = self.obj["metadata"].get("generation") or 0
        return bool((self.status.get("observedGeneration") or 0) >= generation)
