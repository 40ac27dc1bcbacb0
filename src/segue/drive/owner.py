"""Whose pod it is: the Deployment behind a pod's name, also where the pod has left it, or is gone already."""

from __future__ import annotations

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.errors import Refused
from segue.model.objects import Obj, annotations_of, controller_of, labels_of, name_of
from segue.model.workloads import ORPHAN_OF
from segue.release.actions import PURPOSE
from segue.release.memory import memory_of
from segue.release.retiring import purpose_of


def owner_of_pod(namespace: str, pod: str) -> Flow[str]:
    """The Deployment's name; StatusError where there is no such pod, Refused where no Deployment owns it."""
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    _, (found, deployments, leases) = yield from ask(
        get(f"/api/v1/namespaces/{namespace}/pods/{pod}"),
        get(f"{apps}/deployments"),
        get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
    )
    for deployment in body_of(deployments, "listing Deployments").get("items") or []:
        memory = memory_of(annotations_of(deployment))
        if memory is not None and memory.pod == pod:
            return name_of(deployment)
    for lease in leases.body.get("items") or []:  # who may not list them has no Lease of that kind to find, either
        if annotations_of(lease).get(PURPOSE) == purpose_of(pod):
            return name_of(lease).removeprefix("segue-")
    obj = body_of(found, f"pod {pod}")
    if ORPHAN_OF in labels_of(obj):
        return labels_of(obj)[ORPHAN_OF]
    owner = _controller(obj, "ReplicaSet")
    if owner:
        _, (replica_set,) = yield from ask(get(f"{apps}/replicasets/{owner}"))
        owner = _controller(body_of(replica_set, f"ReplicaSet {owner}"), "Deployment")
    if not owner:
        raise Refused(
            f"pod {pod} belongs to no Deployment: nobody would replace it",
            remedy=f"kubectl delete pod {pod} ends it with its own grace",
        )
    return owner


def _controller(obj: Obj, kind: str) -> str:
    owner = controller_of(obj)
    return str(owner["name"]) if owner is not None and owner.get("kind") == kind else ""
