"""Reads the set of objects that `segue check` judges from a cluster: workloads and what stands around them.

Rule: what this cluster does not have (404) is not there; what we may not read is an error, never an empty list.
"""

from __future__ import annotations

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.http import ApiResponse
from segue.model.objects import Obj, annotations_of, copy_of

_KINDS = (
    ("/apis/apps/v1", "deployments", "Deployment"),
    ("/apis/apps/v1", "statefulsets", "StatefulSet"),
    ("/apis/apps/v1", "daemonsets", "DaemonSet"),
    ("/api/v1", "services", "Service"),
    ("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("/apis/autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("/apis/policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("/apis/networking.k8s.io/v1", "ingresses", "Ingress"),
    ("/apis/gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute"),
)
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def read_set(namespace: str) -> Flow[list[Obj]]:
    """All of them, of one namespace or ("") of all, in the order of kinds."""
    where = f"/namespaces/{namespace}" if namespace else ""
    _, answers = yield from ask(*(get(f"{root}{where}/{plural}") for root, plural, _ in _KINDS))
    found: list[Obj] = []
    for (root, _, kind), answer in zip(_KINDS, answers, strict=True):
        version = root.removeprefix("/apis/").removeprefix("/api/")
        found.extend(_as_written({**item, "apiVersion": version, "kind": kind}) for item in _items(answer))
    _, (space,) = yield from ask(get(f"/api/v1/namespaces/{namespace}" if namespace else "/api/v1/namespaces"))
    spaces = [space.body] if namespace and space.code < 400 else _items(space) if not namespace else []
    return found + [{**one, "apiVersion": "v1", "kind": "Namespace"} for one in spaces]


def _items(answer: ApiResponse) -> list[Obj]:
    if answer.code == 404:
        return []
    items: list[Obj] = body_of(answer).get("items") or []
    return items


def _as_written(obj: Obj) -> Obj:
    """Without replicas that nobody wrote: where an autoscaler sets them, the API server shows them all the same."""
    if obj["kind"] not in {"Deployment", "StatefulSet"} or _is_said(obj):
        return obj
    plain = copy_of(obj)
    plain["spec"].pop("replicas", None)
    return plain


def _is_said(obj: Obj) -> bool:
    owners = obj.get("metadata", {}).get("managedFields") or []
    if not owners:
        return True
    if '"replicas":' in annotations_of(obj).get(_APPLIED, ""):
        return True
    return any(
        not entry.get("subresource") and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in owners
    )
