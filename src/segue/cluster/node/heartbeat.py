"""A node's signs of life: its Lease, and its conditions where somebody else declared it lost. Pure.

Rule: a beat writes nothing about pods; they are told as they are.
"""

from __future__ import annotations

from segue.cluster.controllers.nodelife import LEASE_NAMESPACE, LEASES
from segue.cluster.writes import Create, Update, Write
from segue.model.objects import Obj, annotations_of, is_ready, name_of, rfc3339_micro, uid_of

BEAT_S = 10.0  # a quarter of the lease
_LEASE_S = 40
STOPPED = "segue.dev/kubelet"  # annotation of a Node: with the value "stopped" its agent does nothing any more


def is_stopped(node: Obj) -> bool:
    """Whether somebody wants to see what a silent node does."""
    return annotations_of(node).get(STOPPED) == "stopped"


def beat(node: Obj, lease: Obj | None, conditions: list[Obj], now_s: float) -> tuple[Write, ...]:
    """What a node writes at each beat; `conditions` are those it would tell of itself."""
    spec = {
        "holderIdentity": name_of(node),
        "leaseDurationSeconds": _LEASE_S,
        "renewTime": rfc3339_micro(now_s),
    }
    write: Write
    if lease is None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "uid": uid_of(node)}
        metadata = {"name": name_of(node), "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}
        write = Create(resource=LEASES, obj={"metadata": metadata, "spec": spec})
    else:
        write = Update(resource=LEASES, obj={**lease, "spec": spec})
    if is_ready(node):
        return (write,)
    told = {**node, "status": {**node["status"], "conditions": conditions}}
    return (write, Update(resource="nodes", obj=told, status=True))
