"""What a release remembers between two runs of segue: one annotation on the Deployment, small and readable.

Rule 1: it holds only what the objects themselves cannot tell: who began, what was there before, which side serves.
Rule 2: it changes in the same write as what it speaks of, wherever that is one object; else before it.
Where a release stands is read from the objects, never from here.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

from segue.model.errors import Conflict
from segue.model.objects import Obj

ANNOTATION = "segue.dev/release"
DETACHED = "segue.dev/detached-from"  # on the old ReplicaSet while the Deployment does not own it (D2)
FORMAT = 1
RAMPED = frozenset({"ramped", "canary"})  # strategies that mix versions and never touch a Service
WEIGHTED = "weighted"  # a canary by a route's weights, which does all that all-first does

Side = Literal["old", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One release under way."""

    id: str
    kind: str  # "release" | "undo" | "restart" | "scale" | "retire"
    digest: str  # of the wanted template: the same command again has the same one
    begun_s: float
    old_set: str = ""
    old_hash: str = ""
    new_set: str = ""
    new_hash: str = ""
    services: tuple[str, ...] = ()
    serving: Side = "old"
    patched: bool = False  # written by the very patch that changes the template
    switched: bool = False  # the new pods have had traffic
    aborting: bool = False
    strategy: str = "all-first"
    step: int = 1  # most pods that are replaced at once, of a ramped one
    stops: tuple[int, ...] = ()  # numbers of new pods at which it holds until it is promoted
    passed: int = 0  # stops that were promoted
    paused: bool = False  # by segue pause: no further step is begun
    preview: str = ""  # the Service that reaches the new pods before the others do
    keeps_idle: bool = False  # an open connection on which nothing moves is a live one
    outgoing: bool = False  # a pod is quiet when its own connections to others are, too
    keeps_labels: bool = False  # of its old pods: a NetworkPolicy selects by them
    cap_s: float = 0.0  # after which a busy old pod is ended; 0: whatever is usual
    keep_s: float = 0.0  # how long the old pods stand by after the switch
    switched_s: float = 0.0  # when the Services were to be switched
    failed: str = ""  # why it takes itself back
    group: tuple[str, ...] = ()  # Deployments that are released together with it
    target: int = 0  # replicas, of a scale; of a retirement those there were before
    pod: str = ""  # that is to be retired
    before: Obj = field(default_factory=dict)  # spec fields as they were: what an abort gives back
    after: Obj = field(default_factory=dict)  # spec fields as the user wants them: what the end gives back
    metadata: Obj = field(default_factory=dict)  # labels and annotations the manifest brings
    metadata_before: Obj = field(default_factory=dict)  # what these were (None: not there): what an abort gives back
    labels: dict[str, str] = field(default_factory=dict)  # labels of the old ReplicaSet to restore
    route: Obj = field(default_factory=dict)  # what sends the new version its share: see release/weighing.py
    proved: int = 0  # steps of the route that have been proved
    beside: Obj = field(default_factory=dict)  # a Deployment beside the old one: see release/beside.py

    @property
    def keeps_version(self) -> bool:
        """Whether it changes pods, but no version: there is nothing to switch, and nothing to go back to."""
        return self.kind in {"scale", "retire"}

    @property
    def next_stop(self) -> int | None:
        """The number of new pods at which it holds next, None where nothing is left to promote."""
        return self.stops[self.passed] if self.passed < len(self.stops) else None

    def text(self) -> str:
        """As the annotation holds it."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, separators=(",", ":"), sort_keys=True)

    def but(self, **changes: object) -> Memory:
        """A copy with changes."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # names are checked at run time


def memory_of(annotations: dict[str, str]) -> Memory | None:
    """The memory on a Deployment, or None. Conflict where it is not one this segue can read."""
    text = annotations.get(ANNOTATION)
    if text is None:
        return None
    try:
        raw = json.loads(text)
        assert raw.pop("format") == FORMAT, "another format"
        raw |= {key: tuple(raw.get(key) or ()) for key in ("services", "stops", "group")}
        return Memory(**raw)
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise Conflict(
            f"the annotation {ANNOTATION} of the Deployment cannot be read ({error})",
            remedy="another version of segue or a hand wrote it: finish with that version, or restore it",
        ) from error
