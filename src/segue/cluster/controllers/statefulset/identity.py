"""Who a StatefulSet's pods are: ordinals, names and labels that stay, and the pod of an ordinal at a revision.

Rule: an identity follows from the set's name and the ordinal alone; a pod that comes after another has the same one.
"""

from __future__ import annotations

import re

from segue.cluster.controllers import owners
from segue.cluster.controllers.history import template_of
from segue.model.objects import Obj, labels_of, name_of, namespace_of

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
REVISION = "controller-revision-hash"  # of a pod: the whole name of its ControllerRevision
_MEMBER = re.compile("(.*)-([0-9]+)")
_ORDINAL_MAX = 2**31 - 1


def ordinal_of(pod: Obj) -> int:
    """The number at the end of a pod's name; -1 where there is none."""
    found = _MEMBER.fullmatch(name_of(pod))
    number = int(found[2]) if found else -1
    return number if number <= _ORDINAL_MAX else -1


def is_member(stateful_set: Obj, pod: Obj) -> bool:
    """Whether a pod's name is one that this set gives."""
    found = _MEMBER.fullmatch(name_of(pod))
    return found is not None and found[1] == name_of(stateful_set)


def first_ordinal(stateful_set: Obj) -> int:
    """spec.ordinals.start."""
    return int((stateful_set["spec"].get("ordinals") or {}).get("start") or 0)


def revision_of(pod: Obj) -> str:
    """The name of the ControllerRevision that a pod was made from."""
    return labels_of(pod).get(REVISION, "")


def pod_at(stateful_set: Obj, revision: Obj, ordinal: int) -> Obj:
    """The pod of an ordinal, made from a revision's template."""
    template = template_of(revision)
    name = f"{name_of(stateful_set)}-{ordinal}"
    metadata: Obj = {
        "name": name,
        "generateName": f"{name_of(stateful_set)}-",
        "namespace": namespace_of(stateful_set),
        "ownerReferences": [owners.owner_reference(stateful_set)],
    }
    given = template.get("metadata") or {}
    for field in ("annotations", "finalizers"):
        if given.get(field):
            metadata[field] = given[field]
    metadata["labels"] = {**(given.get("labels") or {}), **_identity(name, ordinal), REVISION: name_of(revision)}
    spec = {**template["spec"], "hostname": name}
    spec.pop("subdomain", None)
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def with_identity(pod: Obj) -> Obj:
    """The pod with its name among its labels; itself where it is there."""
    if labels_of(pod).get(POD_NAME) == name_of(pod):
        return pod
    labels = {**labels_of(pod), **_identity(name_of(pod), ordinal_of(pod))}
    return {**pod, "metadata": {**pod["metadata"], "labels": labels}}


def _identity(name: str, ordinal: int) -> dict[str, str]:
    return {POD_NAME: name, POD_INDEX: str(ordinal)}
