"""Owner references: how a controller claims what its selector matches and lets go of what it no longer does.

A claim is an owner reference with `controller: true`. Adoption and release are ordinary guarded updates of the
dependent; the dependent itself is never deleted for it (relabelling a ReplicaSet or a pod lets it live on alone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Update
from segue.model.objects import (
    Obj,
    Ref,
    controller_of,
    is_terminating,
    label_selector_matches,
    labels_of,
    name_of,
    uid_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a controller owns after looking, and the writes that make it so (`adopted` are among `owned` next time)."""

    owned: tuple[Obj, ...]
    writes: tuple[Update, ...]


def owner_reference(owner: Obj) -> Obj:
    """The reference that makes `owner` the controller of an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claim(owner: Obj, resource: str, candidates: Iterable[Obj]) -> Claim:
    """Keep what matches, release what no longer does, adopt what matches and has no controller."""
    selector: Obj = owner["spec"].get("selector") or {}
    owned: list[Obj] = []
    writes: list[Update] = []
    for obj in candidates:
        matches = label_selector_matches(selector, labels_of(obj))
        if controller_of(obj) is None:
            # What is on its way out is not taken in, and who is on its way out takes nothing in.
            if matches and not is_terminating(obj) and not is_terminating(owner):
                writes.append(Update(resource=resource, obj=_adopted(obj, owner)))
        elif matches:
            owned.append(obj)
        elif not is_terminating(owner):
            writes.append(Update(resource=resource, obj=_released(obj, owner)))
    return Claim(owned=tuple(owned), writes=tuple(writes))


def controlling(event: StoreEvent, owners: str, kind: str) -> set[Ref]:
    """The owner of this kind that an event's object has or had; `owners` is the resource of the kind."""
    return {
        Ref(resource=owners, namespace=event.ref.namespace, name=owner["name"])
        for state in (event.obj, event.before)
        if state is not None and (owner := controller_of(state)) is not None and owner.get("kind") == kind
    }


def concerned(
    view: View, event: StoreEvent, owners: str, kind: str, suits: Callable[[Obj], bool] = lambda _: True
) -> set[Ref]:
    """Whose business an event of a dependent is: of the owner that it has or had, and, while it has none, of all in its
    namespace whose selector matches it and that it `suits`."""
    found = controlling(event, owners, kind)
    if event.kind == "DELETED" or controller_of(event.obj) is not None:
        return found
    labels = labels_of(event.obj)
    return found | {
        Ref(resource=owners, namespace=event.ref.namespace, name=name_of(candidate))
        for candidate in view.all_of(owners, event.ref.namespace)
        if suits(candidate) and label_selector_matches(candidate["spec"]["selector"], labels)
    }


def claimable(view: View, owner: Obj, resource: str) -> list[Obj]:
    """What an owner may have to keep, release or adopt: its own, and those without a controller."""
    namespace = owner["metadata"]["namespace"]
    return view.owned_by(uid_of(owner), resource, namespace) + view.owned_by("", resource, namespace)


def _adopted(obj: Obj, owner: Obj) -> Obj:
    owners = [*(obj["metadata"].get("ownerReferences") or []), owner_reference(owner)]
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": owners}}


def _released(obj: Obj, owner: Obj) -> Obj:
    owners = [other for other in obj["metadata"]["ownerReferences"] if other.get("uid") != uid_of(owner)]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": {**metadata, "ownerReferences": owners} if owners else metadata}
