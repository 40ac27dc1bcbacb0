"""The one API request that performs an action.

Rule: it fails where the object has changed since the action was decided on, or where another object bears its name now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from segue.model.http import JSON_PATCH, STRATEGIC_PATCH, ApiRequest
from segue.model.objects import Obj, annotations_of, labels_of, name_of, namespace_of, rfc3339_micro, version_of
from segue.model.services import PREVIEW_OF
from segue.model.workloads import (
    DESIRED_REPLICAS,
    HASH_LABEL,
    HELD_BACK,
    MAX_REPLICAS,
    ORPHAN_OF,
    Deployment,
    gates_of,
)
from segue.release.actions import (
    BRAKE_S,
    NO_DEADLINE_S,
    OUT,
    PURPOSE,
    SAMPLER_LASTS_S,
    SETTINGS,
    SURGE,
    Action,
    AddDeployment,
    AddSampler,
    Attach,
    Brake,
    BrakeSet,
    Clean,
    Detach,
    DropLease,
    EndDeployment,
    EndPod,
    EndPreview,
    EndSet,
    Forget,
    HoldBack,
    MakePreview,
    Orphan,
    Point,
    PutBack,
    PutSharesBack,
    Ramp,
    Release,
    Remember,
    Replace,
    Resize,
    ScaleTo,
    Select,
    SetShares,
    Settle,
    Surge,
    TakeLease,
)
from segue.release.memory import ANNOTATION, DETACHED, Memory
from segue.route.gateway import GatewayRoute
from segue.route.selector import point


def request_of(action: Action) -> ApiRequest:  # noqa: PLR0912 - one row per action
    """The one request that performs an action."""
    match action:
        case TakeLease():
            return _lease(action)
        case DropLease(lease=lease):
            return _delete(lease.obj, "coordination.k8s.io/v1", "leases")
        case Point(service=service, pod_hash=pod_hash):
            return point(service, pod_hash)
        case SetShares() | PutSharesBack():
            return _shares(action)
        case MakePreview():
            return _preview(action)
        case EndPreview(service=service):
            return _delete(service.obj, "v1", "services")
        case Remember(deployment=deployment, memory=memory):
            return _patch_deployment(deployment, {}, memory)
        case Forget(deployment=deployment):
            return _patch_deployment(deployment, {}, None)
        case Clean(replica_set=replica_set):
            return _relabel(replica_set.obj, labels={}, annotations={ANNOTATION: None})
        case Surge(deployment=deployment, template=template, memory=memory):
            return _patch_deployment(deployment, {"template": template, **_BRAKED}, memory)
        case Brake(deployment=deployment, memory=memory):
            return _patch_deployment(deployment, _BRAKED, memory)
        case Ramp():
            return _ramp(action)
        case Replace(deployment=deployment, template=template, memory=memory):
            return _patch_deployment(deployment, {"template": template, "strategy": {"type": "Recreate"}}, memory)
        case BrakeSet(replica_set=replica_set):
            return _patch(replica_set.obj, "apps/v1", "replicasets", [_set("/spec/minReadySeconds", BRAKE_S)])
        case Settle(deployment=deployment, memory=memory):
            return _patch_deployment(deployment, _only(memory.before, SETTINGS), memory, memory.metadata_before)
        case Release(deployment=deployment, memory=memory):
            return _patch_deployment(deployment, memory.after, memory, memory.metadata)
        case PutBack(deployment=deployment, template=template, memory=memory):
            spec = {"template": template, **_only(memory.before, SETTINGS)}
            return _patch_deployment(deployment, spec, memory, memory.metadata_before)
        case Detach():
            marks = {DETACHED: action.deployment}
            return _relabel(action.replica_set.obj, labels=dict.fromkeys(action.labels, OUT), annotations=marks)
        case Attach():
            counts = {DESIRED_REPLICAS: str(action.desired), MAX_REPLICAS: str(action.most)}
            opened = _gate(action, held=False)
            own = {DETACHED: None, **counts}
            return _relabel(action.replica_set.obj, labels=action.labels, annotations=own, also=opened)
        case HoldBack(replica_set=replica_set, held=held):
            return _patch(replica_set.obj, "apps/v1", "replicasets", _gate(action, held=held))
        case Resize(replica_set=replica_set, replicas=replicas):
            return _patch(replica_set.obj, "apps/v1", "replicasets", [_set("/spec/replicas", replicas)])
        case ScaleTo(deployment=deployment, replicas=replicas, memory=memory):
            return _patch_deployment(deployment, {"replicas": replicas}, memory or deployment)
        case Select(service=service, selector=selector):
            return _patch(service.obj, "v1", "services", [_set("/spec/selector", selector)])
        case AddDeployment():
            return _deployment(action)
        case EndDeployment(deployment=deployment):
            return _delete(deployment.obj, "apps/v1", "deployments", {"propagationPolicy": "Background"}, exact=True)
        case Orphan():
            return _orphan(action)
        case EndPod(pod=pod, grace_s=grace_s):
            return _delete(pod.obj, "v1", "pods", {} if grace_s is None else {"gracePeriodSeconds": grace_s})
        case EndSet(replica_set=replica_set):
            return _delete(replica_set.obj, "apps/v1", "replicasets", {"propagationPolicy": "Background"})
        case AddSampler():
            return _sampler(action)
        case _:
            assert_never(action)


_BRAKED: Obj = {"strategy": SURGE, "minReadySeconds": BRAKE_S, "progressDeadlineSeconds": NO_DEADLINE_S}


def _preview(action: MakePreview) -> ApiRequest:
    kept = ("name", "port", "targetPort", "protocol", "appProtocol")
    ports = [{key: port[key] for key in kept if key in port} for port in action.like.ports]
    namespace = namespace_of(action.like.obj)
    body: Obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": action.name, "namespace": namespace, "labels": {PREVIEW_OF: action.deployment[:63]}},
        "spec": {"selector": {**action.like.plain_selector, HASH_LABEL: action.pod_hash}, "ports": ports},
    }
    path = f"/api/v1/namespaces/{namespace}/services"
    return ApiRequest(method="POST", path=path, query={"fieldManager": "segue"}, body=body)


def _ramp(action: Ramp) -> ApiRequest:
    # Both numbers at 0 are refused (D2); 1 unavailable pod is none here: those of the new version count as such.
    room: Obj = {"maxSurge": action.surge, "maxUnavailable": 0 if action.surge else 1}
    spec: Obj = {**_BRAKED, "strategy": {"type": "RollingUpdate", "rollingUpdate": room}}
    if action.template is not None:
        spec["template"] = action.template
    return _patch_deployment(action.deployment, spec, action.memory or action.deployment)


def _only(values: Obj, keys: tuple[str, ...]) -> Obj:
    return {key: value for key, value in values.items() if key in keys}


def _set(path: str, value: object) -> Obj:
    return {"op": "add", "path": path, "value": value}


def _shares(action: SetShares | PutSharesBack) -> ApiRequest:
    way = GatewayRoute(kind=action.kind)
    if isinstance(action, SetShares):
        return way.set_shares(action.route, action.split)
    request = way.put_back(action.route, action.app)
    assert request is not None, "it is decided only where there is something to put back"
    return request


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _entries(obj: Obj, field: str, changes: Obj) -> list[Obj]:
    """Operations that set (or with None remove) keys of metadata.labels or metadata.annotations."""
    present = labels_of(obj) if field == "labels" else annotations_of(obj)
    operations: list[Obj] = []
    if not present and any(value is not None for value in changes.values()):
        operations.append(_set(f"/metadata/{field}", {}))
    for key, value in changes.items():
        path = f"/metadata/{field}/{_escaped(key)}"
        if value is not None:
            operations.append(_set(path, value))
        elif key in present:
            operations.append({"op": "remove", "path": path})
    return operations


def _path(obj: Obj, api_version: str, plural: str) -> str:
    root = "/api" if api_version == "v1" else "/apis"
    return f"{root}/{api_version}/namespaces/{namespace_of(obj)}/{plural}/{name_of(obj)}"


def _patch(obj: Obj, api_version: str, plural: str, operations: list[Obj]) -> ApiRequest:
    guard: Obj = {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(obj)}
    return ApiRequest(
        method="PATCH",
        path=_path(obj, api_version, plural),
        query={"fieldManager": "segue"},
        body=[guard, *operations],
        content_type=JSON_PATCH,
    )


def patch_deployment(deployment: Deployment, spec: Obj, *, labels: Obj, annotations: Obj) -> ApiRequest:
    """One guarded patch of a Deployment: spec fields (None removes one), labels and annotations."""
    return patch_workload(deployment.obj, "deployments", spec, labels=labels, annotations=annotations)


def patch_workload(obj: Obj, plural: str, spec: Obj, *, labels: Obj, annotations: Obj) -> ApiRequest:
    """The same of any workload of the group apps."""
    operations: list[Obj] = []
    for key, value in spec.items():
        if value is not None:
            operations.append(_set(f"/spec/{key}", value))
        elif key in obj.get("spec", {}):
            operations.append({"op": "remove", "path": f"/spec/{key}"})
    operations += _entries(obj, "labels", labels)
    operations += _entries(obj, "annotations", annotations)
    return _patch(obj, "apps/v1", plural, operations)


def _patch_deployment(
    deployment: Deployment, spec: Obj, memory: Memory | Deployment | None, metadata: Obj | None = None
) -> ApiRequest:
    """`memory`: the new one, None to forget, the Deployment itself to leave it as it is."""
    annotations: Obj = dict((metadata or {}).get("annotations") or {})
    if not isinstance(memory, Deployment):
        annotations[ANNOTATION] = None if memory is None else memory.text()
    labels: Obj = (metadata or {}).get("labels") or {}
    return patch_deployment(deployment, spec, labels=labels, annotations=annotations)


def _relabel(obj: Obj, *, labels: Obj, annotations: Obj, also: Sequence[Obj] = ()) -> ApiRequest:
    operations = [*_entries(obj, "labels", labels), *_entries(obj, "annotations", annotations), *also]
    return _patch(obj, "apps/v1", "replicasets", operations)


def _gate(action: Attach | HoldBack, *, held: bool) -> list[Obj]:
    """Operations on a ReplicaSet's template; none where it is so already."""
    replica_set, path = action.replica_set, "/spec/template/spec/schedulingGates"
    if replica_set.held_back == held:
        return []
    others = gates_of(replica_set.template["spec"])
    if held:
        return [_set(path, [*others, {"name": HELD_BACK}])]
    return [_set(path, others) if others else {"op": "remove", "path": path}]


def _deployment(action: AddDeployment) -> ApiRequest:
    metadata: Obj = action.body["metadata"]
    annotations = {**annotations_of(action.body), ANNOTATION: action.memory.text()}
    body: Obj = {
        **action.body,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**action.body["spec"], "replicas": 0},
    }
    path = f"/apis/apps/v1/namespaces/{namespace_of(body)}/deployments"
    query = {"fieldManager": "segue", "fieldValidation": "Strict"}
    return ApiRequest(method="POST", path=path, query=query, body=body)


def _delete(obj: Obj, api_version: str, plural: str, options: Obj | None = None, *, exact: bool = False) -> ApiRequest:
    """`exact`: only as it was seen, not merely the same object."""
    seen: Obj = {"resourceVersion": version_of(obj)} if exact else {}
    guard: Obj = {"preconditions": {"uid": obj["metadata"].get("uid"), **seen}}
    body: Obj = {"kind": "DeleteOptions", "apiVersion": "v1", **guard, **(options or {})}
    return ApiRequest(method="DELETE", path=_path(obj, api_version, plural), body=body)


def _orphan(action: Orphan) -> ApiRequest:
    labels: Obj = dict.fromkeys(action.labels, OUT)
    labels[ORPHAN_OF] = action.deployment[:63].rstrip("-._")
    operations = _entries(action.pod.obj, "labels", labels)
    operations.append(_set("/spec/activeDeadlineSeconds", action.deadline_s))
    return _patch(action.pod.obj, "v1", "pods", operations)


def _sampler(action: AddSampler) -> ApiRequest:
    """Merged by name, so doing it twice is doing it once. As restricted as a container can be: policies let it be."""
    container: Obj = {
        "name": action.name,
        "image": action.image,
        "imagePullPolicy": "IfNotPresent",
        # A first process without a handler is deaf to SIGTERM, and the pod would sit out its whole grace (X6).
        "command": ["sh", "-c", f"trap 'exit 0' TERM; sleep {SAMPLER_LASTS_S} & wait"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return ApiRequest(
        method="PATCH",
        path=f"{_path(action.pod.obj, 'v1', 'pods')}/ephemeralcontainers",
        query={"fieldManager": "segue"},
        body={"spec": {"ephemeralContainers": [container]}},
        content_type=STRATEGIC_PATCH,
    )


def _lease(action: TakeLease) -> ApiRequest:
    at = rfc3339_micro(action.now_s)
    name = f"segue-{action.deployment}"
    marks: Obj = {"annotations": {PURPOSE: action.purpose}} if action.purpose else {}
    spec: Obj = {"holderIdentity": action.me, "leaseDurationSeconds": action.lasts_s, "renewTime": at}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{action.namespace}/leases"
    if action.lease is None:
        body: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": action.namespace, **marks},
            "spec": {**spec, "acquireTime": at},
        }
        return ApiRequest(method="POST", path=path, query={"fieldManager": "segue"}, body=body)
    taken = action.lease.holder != action.me
    old: Obj = action.lease.obj
    again: Obj = {
        **old,
        "metadata": {**old["metadata"], **marks},
        "spec": {**old["spec"], **spec, **({"acquireTime": at} if taken else {})},
    }
    return ApiRequest(method="PUT", path=f"{path}/{name}", query={"fieldManager": "segue"}, body=again)
