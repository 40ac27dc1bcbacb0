"""Who owns the copies of pinned configuration: the ReplicaSets that read them, so that they go with the history.

Rule: a copy whose version was given up goes; nothing is touched that does not say of itself that it is a copy.
"""

from __future__ import annotations

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.http import MERGE_PATCH, ApiRequest
from segue.model.objects import Obj, annotations_of, uid_of
from segue.model.workloads import ReplicaSet
from segue.release.config_pins import KINDS, PINNED_FROM, Named, copies_read


def own_copies(namespace: str, reader: ReplicaSet) -> Flow[None]:
    """Make a ReplicaSet an owner of the copies that its pods read. Costs nothing where there are none."""
    for named in sorted(copies_read(reader.template)):
        copy = yield from _copy(namespace, named)
        if copy is None or any(owner.get("uid") == reader.uid for owner in _owners(copy)):
            continue
        metadata = {
            "ownerReferences": [*_owners(copy), _owner(reader)],
            "resourceVersion": copy["metadata"]["resourceVersion"],
        }
        request = ApiRequest(
            method="PATCH",
            path=_path(namespace, named),
            query={"fieldManager": "segue"},
            body={"metadata": metadata},
            content_type=MERGE_PATCH,
        )
        _, (answer,) = yield from ask(request)
        if answer.code not in {404, 409}:  # who changed it meanwhile is another release of the same content
            body_of(answer, named[1])


def drop_copies(namespace: str, given_up: Obj, kept: Obj) -> Flow[None]:
    """Delete the copies that only a given-up template has read."""
    for named in sorted(copies_read(given_up) - copies_read(kept)):
        copy = yield from _copy(namespace, named)
        if copy is None or _owners(copy):
            continue
        body: Obj = {"preconditions": {"uid": uid_of(copy)}}
        yield from ask(ApiRequest(method="DELETE", path=_path(namespace, named), body=body))


def _copy(namespace: str, named: Named) -> Flow[Obj | None]:
    _, (answer,) = yield from ask(get(_path(namespace, named)))
    found = answer.body if answer.code == 200 else None
    return found if found is not None and PINNED_FROM in annotations_of(found) else None


def _path(namespace: str, named: Named) -> str:
    return f"/api/v1/namespaces/{namespace}/{KINDS[named[0]]}/{named[1]}"


def _owners(copy: Obj) -> list[Obj]:
    return list(copy["metadata"].get("ownerReferences") or [])


def _owner(reader: ReplicaSet) -> Obj:
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": reader.name, "uid": reader.uid}
