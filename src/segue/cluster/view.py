"""What a controller may see: the store read only, with the indices that make 500 pods cheap.

Rule 1: a view never writes; whoever wants something written returns it.
Rule 2: a view follows the store event by event, so it is never older than the store and never needs a resync.
Make it after `Store.load`, and make one per store: the indices are shared by all controllers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from segue.cluster.store import Store, StoreEvent
from segue.model.objects import Obj, Ref, controller_of, name_of, namespace_of, selects, uid_of

TERMINAL_PHASES = ("Succeeded", "Failed")

KeyT = TypeVar("KeyT")
NameT = TypeVar("NameT")


class View:
    """The store, read only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spaces: dict[tuple[str, str], dict[str, Obj]] = {}
        self._controlled: dict[tuple[str, str, str], dict[str, Obj]] = {}
        self._dependents: dict[str, dict[Ref, Obj]] = {}
        self._by_uid: dict[str, Ref] = {}
        self._on_node: dict[str, set[str]] = {}
        for resource in store.resources():
            for obj in store.all_of(resource):
                self._enter(Ref(resource=resource, namespace=namespace_of(obj), name=name_of(obj)), obj)
        store.subscribe(self._follow)

    def get(self, ref: Ref) -> Obj | None:
        """The object, or None."""
        return self._store.get(ref)

    def all_of(self, resource: str, namespace: str = "") -> list[Obj]:
        """All objects of a resource in a namespace ("" means everywhere), ordered by name."""
        if not namespace:
            return self._store.all_of(resource)
        rows = self._spaces.get((resource, namespace), {})
        return [rows[name] for name in sorted(rows)]

    def resources_in(self, namespace: str) -> list[str]:
        """The resources that have an object in the namespace now."""
        return sorted(resource for (resource, space), rows in self._spaces.items() if space == namespace and rows)

    def owned_by(self, uid: str, resource: str, namespace: str) -> list[Obj]:
        """Objects whose controller has this uid, ordered by name; uid "" means those without a controller."""
        rows = self._controlled.get((uid, resource, namespace), {})
        return [rows[name] for name in sorted(rows)]

    def selected(self, namespace: str, selector: Mapping[str, str]) -> list[Obj]:
        """Pods of the namespace that a plain label map selects (E5), ordered by name; an empty map selects none."""
        rows = self._spaces.get(("pods", namespace), {})
        return [
            rows[name] for name in sorted(rows) if selects(selector, rows[name].get("metadata", {}).get("labels") or {})
        ]

    def dependents_of(self, uid: str) -> list[tuple[Ref, Obj]]:
        """Every object that names this uid among its owners, whatever it is, ordered."""
        rows = self._dependents.get(uid, {})
        return [(ref, rows[ref]) for ref in sorted(rows)]

    def find(self, uid: str) -> Ref | None:
        """Where the object with this uid is, or None when it is gone."""
        return self._by_uid.get(uid)

    def pods_on(self, node: str) -> int:
        """How many pods that have not ended are bound to the node."""
        return len(self._on_node.get(node, ()))

    def _follow(self, event: StoreEvent) -> None:
        if event.before is not None:
            self._leave(event.ref, event.before)
        if event.kind != "DELETED":
            self._enter(event.ref, event.obj)

    def _enter(self, ref: Ref, obj: Obj) -> None:
        self._spaces.setdefault((ref.resource, ref.namespace), {})[ref.name] = obj
        self._controlled.setdefault((_controller_uid(obj), ref.resource, ref.namespace), {})[ref.name] = obj
        for uid in _owner_uids(obj):
            self._dependents.setdefault(uid, {})[ref] = obj
        self._by_uid[uid_of(obj)] = ref
        node = _place_of(ref, obj)
        if node:
            self._on_node.setdefault(node, set()).add(uid_of(obj))

    def _leave(self, ref: Ref, obj: Obj) -> None:
        self._spaces[ref.resource, ref.namespace].pop(ref.name, None)
        key = (_controller_uid(obj), ref.resource, ref.namespace)
        _drop(self._controlled, key, ref.name)
        for uid in _owner_uids(obj):
            _drop(self._dependents, uid, ref)
        if self._by_uid.get(uid_of(obj)) == ref:
            del self._by_uid[uid_of(obj)]
        node = _place_of(ref, obj)
        if node:
            self._on_node[node].discard(uid_of(obj))


def _drop(index: dict[KeyT, dict[NameT, Obj]], key: KeyT, name: NameT) -> None:
    rows = index.get(key, {})
    rows.pop(name, None)
    if not rows:
        index.pop(key, None)


def _controller_uid(obj: Obj) -> str:
    owner = controller_of(obj)
    return cast("str", owner.get("uid") or "") if owner is not None else ""


def _owner_uids(obj: Obj) -> list[str]:
    return [owner.get("uid") or "" for owner in obj.get("metadata", {}).get("ownerReferences") or []]


def _place_of(ref: Ref, obj: Obj) -> str:
    if ref.resource != "pods" or obj.get("status", {}).get("phase") in TERMINAL_PHASES:
        return ""
    return cast("str", obj.get("spec", {}).get("nodeName") or "")
