"""The cluster's memory: every object at its newest version, and the events that led there.

Rule 1: all state of the cluster lives here; whoever holds a copy holds a cache.
Rule 2: one counter numbers every write (resourceVersion); it never goes back, also not over a restart.
Rule 3: the journal has the write before anybody sees it.
Objects handed out are the stored ones: never change them in place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, name_of, namespace_of, version_of
from segue.ports import Journal

EVENTS_KEPT = 20_000  # a watch older than this is answered 410, as etcd's compaction does it


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvent:
    """One write: `obj` is the new state (the last one for DELETED), `before` what it replaced."""

    version: int
    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    ref: Ref
    obj: Obj
    before: Obj | None


class Store:
    """Objects by resource ("pods", "deployments.apps"), namespace ("" for cluster scope) and name."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._objects: dict[str, dict[tuple[str, str], Obj]] = {}
        self._order: dict[str, list[tuple[str, str]]] = {}  # sorted keys, forgotten when one comes or goes
        self._events: deque[StoreEvent] = deque(maxlen=EVENTS_KEPT)
        self._version = 1
        self._oldest = 1  # a watch from before this version has missed something
        self._listeners: list[Callable[[StoreEvent], None]] = []

    @property
    def version(self) -> int:
        """The version of the newest write."""
        return self._version

    def load(self, rows: Iterable[tuple[str, Obj]], *, version: int) -> None:
        """Fill an empty store from (resource, object) rows of a journal whose newest write was `version`."""
        assert not self._objects
        for resource, obj in rows:
            self._objects.setdefault(resource, {})[namespace_of(obj), name_of(obj)] = obj
        self._order.clear()
        self._version = max(self._version, version)
        self._oldest = self._version

    def get(self, ref: Ref) -> Obj | None:
        """The object, or None."""
        return self._objects.get(ref.resource, {}).get((ref.namespace, ref.name))

    def all_of(self, resource: str, namespace: str = "") -> list[Obj]:
        """All objects of a resource in a namespace ("" means everywhere), ordered by namespace and name."""
        rows = self._objects.get(resource, {})
        keys = self._order.get(resource)
        if keys is None:
            keys = self._order[resource] = sorted(rows)
        return [rows[key] for key in keys if not namespace or key[0] == namespace]

    def resources(self) -> list[str]:
        """Every resource that has ever held an object."""
        return sorted(self._objects)

    def put(self, resource: str, obj: Obj, *, expected: str | None = None) -> Obj:
        """Create or replace, and return the stored object with its new resourceVersion.

        `expected` guards: "" means that nothing may be there yet, a version means that this one is there.
        Raises StatusError 409 (AlreadyExists, Conflict) or 404 where the guard does not hold.
        """
        ref = Ref(resource=resource, namespace=namespace_of(obj), name=name_of(obj))
        before = self.get(ref)
        _check_guard(ref, before, expected)
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version + 1)}}
        self._write(ref, stored, before, "MODIFIED" if before else "ADDED")
        return stored

    def remove(self, ref: Ref, *, expected: str | None = None) -> Obj:
        """Remove and return the last state (with the version of the removal); StatusError 404 or 409 as for `put`."""
        before = self.get(ref)
        if before is None:
            raise not_found(ref)
        _check_guard(ref, before, expected)
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self._version + 1)}}
        self._write(ref, last, before, "DELETED")
        return last

    def events_after(self, version: int) -> Iterator[StoreEvent]:
        """Writes newer than `version`; StatusError 410 where some of them are no longer kept."""
        oldest = self._events[0].version - 1 if len(self._events) == self._events.maxlen else self._oldest
        if version < oldest:
            raise StatusError(410, "Expired", f"too old resource version: {version} ({oldest})")
        newer = min(len(self._events), self._version - version)  # every write is one version and one event
        return reversed(list(islice(reversed(self._events), newer)))

    def subscribe(self, listener: Callable[[StoreEvent], None]) -> Callable[[], None]:
        """Call `listener` after each write; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _write(self, ref: Ref, obj: Obj, before: Obj | None, kind: Literal["ADDED", "MODIFIED", "DELETED"]) -> None:
        version = self._version + 1
        gone = kind == "DELETED"
        if self._journal is not None:
            self._journal.put(
                resource=ref.resource,
                namespace=ref.namespace,
                name=ref.name,
                version=version,
                obj=None if gone else obj,
            )
        self._version = version
        rows = self._objects.setdefault(ref.resource, {})
        if gone:
            del rows[ref.namespace, ref.name]
        else:
            rows[ref.namespace, ref.name] = obj
        if kind != "MODIFIED":
            self._order.pop(ref.resource, None)
        event = StoreEvent(version=version, kind=kind, ref=ref, obj=obj, before=before)
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)


def not_found(ref: Ref) -> StatusError:
    """The 404 of an object."""
    details: Obj = {"name": ref.name, "kind": ref.resource.partition(".")[0]}
    return StatusError(404, "NotFound", f'{ref.resource} "{ref.name}" not found', details)


def _check_guard(ref: Ref, before: Obj | None, expected: str | None) -> None:
    if expected is None:
        return
    if expected == "":
        if before is not None:
            raise StatusError(409, "AlreadyExists", f'{ref.resource} "{ref.name}" already exists', {"name": ref.name})
        return
    if before is None:
        raise not_found(ref)
    if version_of(before) != expected:
        raise StatusError(
            409,
            "Conflict",
            f'Operation cannot be fulfilled on {ref.resource} "{ref.name}": the object has been modified; '
            "please apply your changes to the latest version and try again",
            {"name": ref.name},
        )
