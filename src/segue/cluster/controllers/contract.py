"""What the manager asks of a controller, and nothing more.

Rule 1: a controller writes nothing and reads no clock; it returns an `Outcome`.
Rule 2: a controller keeps no memory of its own: what it must remember is in the objects, so a restart loses nothing.
The one exception is the autoscaler's past recommendations: upstream keeps them nowhere else either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Outcome, Write
from segue.model.errors import StatusError
from segue.model.objects import Ref

NOTHING = Outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A write that the API refused for good: no conflict, no object that came or went."""

    write: Write
    error: StatusError
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """An object that needs no look at once, and none at all where the event is this controller's own write."""

    ref: Ref
    after_s: float


class Controller(Protocol):
    """One control loop."""

    name: str

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref | Later]:
        """The objects of this controller that an event may concern."""
        ...

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """What is to be written so that the world comes nearer to what the object says."""
        ...

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """What is to be written because the API refused one of the writes."""
        ...
