"""One watch: which events of the store its watcher sees, and in which form. Never sends anything itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from segue.cluster.api.selectors import Predicate
from segue.cluster.kinds import Kind
from segue.cluster.store import StoreEvent
from segue.model.errors import StatusError
from segue.model.objects import Obj

Render: TypeAlias = Callable[[Obj, bool], Obj]  # (object, whether it is the watch's first) -> what travels
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchScope:
    """What is watched: a kind, where, which objects, and how long at most."""

    kind: Kind
    namespace: str = ""
    matches: Predicate | None = None
    render: Render
    bookmarks: bool = False
    timeout_s: float = 3000.0

    def sees(self, obj: Obj | None) -> bool:
        """Whether an object is within the scope's selectors."""
        return obj is not None and (self.matches is None or self.matches(obj))


class Watch:
    """Turns store events into watch events; `backlog` is what the watcher has to be told first."""

    def __init__(self, scope: WatchScope) -> None:
        self.scope = scope
        self.backlog: list[Obj] = []
        self._first = True

    def add_state(self, objects: list[Obj], *, version: int, marked: bool) -> None:
        """Begin with what is there, as ADDED; `marked` closes it with the bookmark of a streamed list."""
        self.backlog += [self._frame("ADDED", obj) for obj in objects if self.scope.sees(obj)]
        if marked:
            self.backlog.append(self.bookmark(version, initial_end=True))

    def add_events(self, events: list[StoreEvent]) -> None:
        """Begin with what happened since the watcher's version."""
        self.backlog += [frame for event in events if (frame := self.frame_of(event)) is not None]

    def add_refusal(self, refusal: StatusError) -> None:
        """Begin and end with an ERROR event (410 where history is gone)."""
        self.backlog.append({"type": "ERROR", "object": refusal.body()})

    def frame_of(self, event: StoreEvent) -> Obj | None:
        """What this watcher is told of one event; an object that leaves the selector is DELETED for it."""
        scope = self.scope
        if event.ref.resource != scope.kind.resource or (scope.namespace and event.ref.namespace != scope.namespace):
            return None
        now, before = scope.sees(event.obj), scope.sees(event.before)
        if event.kind == "DELETED":
            return self._frame("DELETED", event.obj) if before else None
        if now:
            return self._frame("MODIFIED" if before else "ADDED", event.obj)
        if before:
            assert event.before is not None
            version = event.obj["metadata"]["resourceVersion"]
            last = {**event.before, "metadata": {**event.before["metadata"], "resourceVersion": version}}
            return self._frame("DELETED", last)
        return None

    def bookmark(self, version: int, *, initial_end: bool = False) -> Obj:
        """A BOOKMARK event: nothing older than `version` will come."""
        metadata: Obj = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        kind = self.scope.kind
        return {"type": "BOOKMARK", "object": {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}}

    def _frame(self, change: str, obj: Obj) -> Obj:
        rendered = self.scope.render(obj, self._first)
        self._first = False
        return {"type": change, "object": rendered}
