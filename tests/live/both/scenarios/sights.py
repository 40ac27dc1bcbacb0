"""What a recorder saw, as values: events of watches, the acts of a script between them, and what commands answered.

Rule: no times. The order is that of the objects' resource versions, which one cluster counts through for all kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segue.model.objects import Obj, name_of

RESOURCES = ("deployments", "replicasets", "services", "pods", "endpointslices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One event of a watch."""

    resource: str  # plural
    type: str  # ADDED | MODIFIED | DELETED
    object: Obj

    @property
    def version(self) -> int:
        """The place of this event in the history of the whole cluster."""
        return int(self.object["metadata"]["resourceVersion"])

    @property
    def name(self) -> str:
        """Of the object."""
        return name_of(self.object)

    @property
    def uid(self) -> str:
        """Of the object: a name can come back, this cannot."""
        return str(self.object["metadata"]["uid"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command of a script answered."""

    argv: str
    exit_code: int
    lines: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Act:
    """One step of a script: what was done, what was answered, what was seen until everything had settled."""

    title: str
    crowds: bool = True  # whether the most pods at once are counted: not where two controllers race for it
    said: list[Said] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)


@dataclass(slots=True)
class View:
    """What is there now: the newest sight of each object."""

    objects: dict[tuple[str, str], Obj] = field(default_factory=dict)

    def see(self, sight: Sight) -> None:
        """Take one event in."""
        key = (sight.resource, sight.name)
        if sight.type == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = sight.object

    def all(self, resource: str) -> list[Obj]:
        """The objects of a kind, by name."""
        return [found for (kind, _), found in sorted(self.objects.items()) if kind == resource]

    def one(self, resource: str, name: str) -> Obj:
        """One object; empty where it is not there."""
        return self.objects.get((resource, name), {})


def in_order(sights: Iterable[Sight]) -> list[Sight]:
    """As the cluster wrote them, whichever watch told first."""
    return sorted(sights, key=lambda sight: sight.version)
