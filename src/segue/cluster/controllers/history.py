"""ControllerRevisions: the templates that a StatefulSet or a DaemonSet has had, kept as strategic patches of it.

Rule 1: a revision's data never changes; going back to a template gives its revision a new number.
Rule 2: equal templates make equal names, here and on a real cluster, because the same bytes are hashed the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segue.cluster.controllers import owners
from segue.cluster.controllers.hashing import fnv1, safe
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Update, Write
from segue.model.objects import Obj, Ref, annotations_of, labels_of, name_of, namespace_of, uid_of

REVISIONS = "controllerrevisions.apps"
LONGEST_PREFIX = 223  # what of the owner's name fits before the hash
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})  # as Go writes JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The revision that an owner's present template asks for: named if it is found, else to be made."""

    revision: Obj
    writes: tuple[Write, ...] = ()
    collisions: int = 0


def data_of(template: Obj) -> Obj:
    """A revision's data: the strategic patch that brings this template back."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_of(revision: Obj) -> Obj:
    """The template that a revision keeps."""
    template: Obj = revision["data"]["spec"]["template"]
    return {key: value for key, value in template.items() if key != "$patch"}


def revision_hash(data: Obj, collisions: int) -> str:
    """The hash in a revision's name: FNV-1 over the JSON of its data and the collision count, safely encoded."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPED)
    return safe(fnv1(f"{text}{collisions}".encode()))


def in_order(revisions: Iterable[Obj]) -> list[Obj]:
    """Lowest revision first; equal ones by age, then by name."""
    return sorted(
        revisions,
        key=lambda item: (number_of(item), item["metadata"].get("creationTimestamp", ""), name_of(item)),
    )


def number_of(revision: Obj) -> int:
    """Its number; 0 is no number."""
    return int(revision.get("revision") or 0)


def claim(view: View, owner: Obj) -> owners.Claim:
    """The owner's revisions, and the writes that adopt what has none or let go of what no longer matches."""
    return owners.claim(owner, REVISIONS, owners.claimable(view, owner, REVISIONS))


def made_for(owner: Obj, hash_label: str, *, number: int, collisions: int) -> Obj:
    """A fresh revision of the owner's present template; `hash_label` is the label that bears its hash."""
    template = owner["spec"]["template"]
    data = data_of(template)
    digest = revision_hash(data, collisions)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), hash_label: digest}
    metadata: Obj = {
        "name": f"{name_of(owner)[:LONGEST_PREFIX]}-{digest}",
        "namespace": namespace_of(owner),
        "labels": labels,
        "ownerReferences": [owners.owner_reference(owner)],
    }
    if annotations_of(owner):
        metadata["annotations"] = annotations_of(owner)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": data,
        "revision": number,
    }


def propose(view: View, owner: Obj, known: Sequence[Obj], hash_label: str) -> Proposal:
    """The revision of the owner's present template: the newest as it is, an older one raised, or a new one."""
    ordered = in_order(known)
    number = number_of(ordered[-1]) + 1 if ordered else 1
    collisions = int((owner.get("status") or {}).get("collisionCount") or 0)
    wanted = data_of(owner["spec"]["template"])
    equal = [item for item in ordered if item.get("data") == wanted]
    if equal and equal[-1] is ordered[-1]:
        return Proposal(revision=equal[-1], collisions=collisions)
    if equal:
        raised = {**equal[-1], "revision": number}
        return Proposal(revision=raised, writes=(Update(resource=REVISIONS, obj=raised),), collisions=collisions)
    while True:
        fresh = made_for(owner, hash_label, number=number, collisions=collisions)
        there = view.get(Ref(resource=REVISIONS, namespace=namespace_of(owner), name=name_of(fresh)))
        if there is None:
            write = Create(resource=REVISIONS, obj=fresh)
            return Proposal(revision=fresh, writes=(write,), collisions=collisions)
        collisions += 1  # somebody else's object has this name


def beyond_the_limit(known: Sequence[Obj], live: Iterable[str], limit: int) -> list[Write]:
    """Deletions of the oldest revisions that nothing alive uses, so that `limit` of these stay."""
    used = set(live)
    idle = [item for item in in_order(known) if name_of(item) not in used]
    return [deletion(item) for item in idle[: max(0, len(idle) - limit)]]


def deletion(revision: Obj) -> Delete:
    """The write that lets a revision go."""
    ref = Ref(resource=REVISIONS, namespace=namespace_of(revision), name=name_of(revision))
    return Delete(ref=ref, uid=uid_of(revision))


def hash_in(revision: Obj, hash_label: str) -> str:
    """The hash that a revision bears in its label."""
    return labels_of(revision).get(hash_label, "")
