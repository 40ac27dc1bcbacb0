"""The garbage collector: what its owners have left behind goes, in the background, in the foreground, or stays alone.

Rule 1: an object goes when none of its owners exists any more; a uid that nobody bears does not exist.
Rule 2: an owner with the finalizer `foregroundDeletion` stays until no dependent blocks it any more.
Rule 3: an owner with the finalizer `orphan` leaves its dependents behind without the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Delete, Outcome, Update, Write
from segue.model.objects import Obj, Ref, is_terminating, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class GarbageCollector:
    """Collects dependents."""

    name = "garbage"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """Dependents of what is gone; what names owners; owners that wait to be gone."""
        found: set[Ref] = set()
        if event.kind == "DELETED":
            found |= {ref for ref, _ in view.dependents_of(uid_of(event.obj))}
        elif _owners(event.obj) and (event.before is None or _owners(event.before) != _owners(event.obj)):
            found.add(event.ref)
        if event.kind != "DELETED" and is_terminating(event.obj) and _finalizers(event.obj):
            found.add(event.ref)
            found |= {ref for ref, _ in view.dependents_of(uid_of(event.obj))}
        for owner in {item.get("uid") or "" for state in (event.obj, event.before) if state for item in _owners(state)}:
            ref = view.find(owner)
            above = view.get(ref) if ref is not None else None
            if ref is not None and above is not None and is_terminating(above) and _finalizers(above):
                found.add(ref)
        return sorted(found)

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Settle the object as an owner that waits, then as a dependent."""
        obj = view.get(ref)
        if obj is None:
            return NOTHING
        if is_terminating(obj):
            if ORPHAN in _finalizers(obj):
                return _orphan(view, ref, obj)
            if FOREGROUND in _finalizers(obj):
                return _foreground(view, ref, obj)
            return NOTHING
        owners = _owners(obj)
        if not owners:
            return NOTHING
        present = [item for item in owners if view.find(item.get("uid") or "") is not None]
        waiting = [item for item in present if _waits(view, item)]
        solid = [item for item in present if item not in waiting]
        if len(solid) == len(owners):
            return NOTHING
        if solid:
            kept = _with_owners(obj, solid)
            return Outcome(writes=(Update(resource=ref.resource, obj=kept),), because="some of its owners are gone")
        # Who is waited for waits for its own in turn, so that the first owner goes last (D16).
        in_turn = bool(waiting and view.dependents_of(uid_of(obj)))
        gone = Delete(ref=ref, uid=uid_of(obj), propagation="Foreground" if in_turn else "Background")
        return Outcome(writes=(gone,), because="its owners are gone or wait for it to go")

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()


def _orphan(view: View, ref: Ref, owner: Obj) -> Outcome:
    uid = uid_of(owner)
    writes: list[Write] = [
        Update(resource=found.resource, obj=_with_owners(obj, [item for item in _owners(obj) if item["uid"] != uid]))
        for found, obj in view.dependents_of(uid)
    ]
    writes.append(_without_finalizer(ref, owner, ORPHAN))
    return Outcome(writes=tuple(writes), because="its dependents stay behind")


def _foreground(view: View, ref: Ref, owner: Obj) -> Outcome:
    uid = uid_of(owner)
    blocking = [
        found
        for found, obj in view.dependents_of(uid)
        if any(item.get("uid") == uid and item.get("blockOwnerDeletion") for item in _owners(obj))
    ]
    if blocking:
        return Outcome(because=f"{len(blocking)} dependents are still there")
    return Outcome(writes=(_without_finalizer(ref, owner, FOREGROUND),), because="no dependent blocks it")


def _waits(view: View, owner: Obj) -> bool:
    ref = view.find(owner.get("uid") or "")
    obj = view.get(ref) if ref is not None else None
    return obj is not None and is_terminating(obj) and FOREGROUND in _finalizers(obj)


def _owners(obj: Obj) -> list[Obj]:
    return cast("list[Obj]", obj.get("metadata", {}).get("ownerReferences") or [])


def _finalizers(obj: Obj) -> list[str]:
    return cast("list[str]", obj.get("metadata", {}).get("finalizers") or [])


def _with_owners(obj: Obj, owners: list[Obj]) -> Obj:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": {**metadata, "ownerReferences": owners} if owners else metadata}


def _without_finalizer(ref: Ref, obj: Obj, finalizer: str) -> Update:
    rest = [item for item in _finalizers(obj) if item != finalizer]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    after = {**obj, "metadata": {**metadata, "finalizers": rest} if rest else metadata}
    return Update(resource=ref.resource, obj=after)
