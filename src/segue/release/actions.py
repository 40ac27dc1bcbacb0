"""Everything a release may do, as values: a closed union, each of them exactly one API request.

Rule 1: each action names the object it was decided on; the request fails where that object has changed since.
Rule 2: nothing else writes. What is not here, segue does not do to a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

from segue.model.http import JSON_PATCH, STRATEGIC_PATCH, ApiRequest
from segue.model.objects import Obj, annotations_of, labels_of, name_of, namespace_of, rfc3339_micro, version_of
from segue.model.services import Service
from segue.model.workloads import DESIRED_REPLICAS, MAX_REPLICAS, Deployment, Lease, Pod, ReplicaSet
from segue.release.memory import ANNOTATION, DETACHED, Memory
from segue.route.selector import point

BRAKE_S = 2_147_483_646  # the largest minReadySeconds below its progress deadline: a brake must not run out (A1)
NO_DEADLINE_S = 2_147_483_647  # "no deadline" to the Deployment controller
SURGE: Obj = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
SETTINGS = ("strategy", "minReadySeconds", "progressDeadlineSeconds")
OUT = "segue-detached"
PURPOSE = "segue.dev/purpose"
ORPHAN_OF = "segue.dev/orphan-of"
SAMPLER = "segue-sampler"
SAMPLER_LASTS_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLease:
    """Become, or stay, the one who drives."""

    namespace: str
    deployment: str
    me: str
    now_s: float
    lasts_s: int
    lease: Lease | None
    purpose: str = ""  # written when a release begins: what the memory says, for the moment after it is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class DropLease:
    """Let somebody else drive."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Pin or switch a Service to one version; "" unpins it."""

    service: Service
    pod_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Write the memory and nothing else."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Take the memory off: the last trace of a release."""

    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """Take the memory off a ReplicaSet, too: its controller copies the Deployment's annotations there, and
    `kubectl rollout undo` would copy them back."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """Template, surge and brake in one patch: all new pods come up, no old one goes (M5, B5)."""

    deployment: Deployment
    template: Obj
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """Surge and brake without a template: the way back begins (B2)."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The brake comes off: the Deployment's spec is the user's own again."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """Old template and old settings in one patch: the new pods, being unavailable, go first (B2)."""

    deployment: Deployment
    template: Obj
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """A label on the ReplicaSet object changes: the Deployment lets it go, its pods keep serving and healing (A1)."""

    replica_set: ReplicaSet
    deployment: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Its labels come back: the Deployment adopts it again; its counts are told, so this is no scaling event (B2)."""

    replica_set: ReplicaSet
    labels: dict[str, str]
    desired: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """A ReplicaSet's replicas."""

    replica_set: ReplicaSet
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTo:
    """A Deployment's replicas."""

    deployment: Deployment
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A pod leaves its ReplicaSet and its Services alive; it ends by itself after `deadline_s` of age (A3)."""

    pod: Pod
    deployment: str
    labels: tuple[str, ...]
    deadline_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPod:
    """Delete one pod, with its own grace unless a shorter one is said."""

    pod: Pod
    grace_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSet:
    """Delete a ReplicaSet without pods, which an aborted release had made: no version to go back to."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSampler:
    """An ephemeral container in a pod that will be ended anyway: it shares the pod's network, so what arrives there can
    be seen although the pod's own image has no shell. It cannot be taken out again; it ends by itself."""

    pod: Pod
    name: str
    image: str


Action: TypeAlias = (
    TakeLease
    | DropLease
    | Point
    | Remember
    | Forget
    | Clean
    | Surge
    | Brake
    | Release
    | PutBack
    | Detach
    | Attach
    | Resize
    | ScaleTo
    | Orphan
    | EndPod
    | EndSet
    | AddSampler
)


def detach_key(selector: Obj) -> str:
    """The label whose change takes an object out of a selector, "" where changing a label cannot do that."""
    named: dict[str, str] = selector.get("matchLabels") or {}
    if named:
        return min(named)
    return next((str(e["key"]) for e in selector.get("matchExpressions") or [] if e["operator"] == "In"), "")


def request_of(action: Action) -> ApiRequest:  # noqa: PLR0912 - one row per action
    """The one request that performs an action."""
    match action:
        case TakeLease():
            return _lease(action)
        case DropLease(lease=lease):
            return _delete(lease.obj, "coordination.k8s.io/v1", "leases")
        case Point(service=service, pod_hash=pod_hash):
            return point(service, pod_hash)
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
            return _relabel(action.replica_set.obj, labels=action.labels, annotations={DETACHED: None, **counts})
        case Resize(replica_set=replica_set, replicas=replicas):
            return _patch(replica_set.obj, "apps/v1", "replicasets", [_set("/spec/replicas", replicas)])
        case ScaleTo(deployment=deployment, replicas=replicas):
            return _patch_deployment(deployment, {"replicas": replicas}, deployment)
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


def describe(action: Action) -> str:  # noqa: PLR0912 - one row per action
    """One line for people."""
    match action:
        case TakeLease():
            return f"take the Lease segue-{action.deployment}"
        case DropLease(lease=lease):
            return f"drop the Lease {name_of(lease.obj)}"
        case Point(service=service, pod_hash=""):
            return f"unpin Service {service.name}"
        case Point(service=service, pod_hash=pod_hash):
            return f"{'switch' if service.pinned_to else 'pin'} Service {service.name} to {pod_hash}"
        case Remember(memory=memory) if memory.kind == "scale":
            return f"remember on the Deployment that {memory.target} pods are wanted"
        case Remember(memory=memory) if memory.kind == "retire":
            return f"remember on the Deployment that pod {memory.pod} is to go"
        case Remember(memory=memory):
            return f"remember on the Deployment that the {memory.serving} pods serve"
        case Forget():
            return "take the memory off the Deployment"
        case Clean(replica_set=replica_set):
            return f"take the memory off ReplicaSet {replica_set.name}"
        case Surge():
            return "change the template with surge 100 % and the brake, in one patch"
        case Brake():
            return "put surge 100 % and the brake on"
        case Release():
            return "take the brake off: the Deployment's spec is yours again"
        case PutBack():
            return "put the old template and settings back, in one patch"
        case Detach(replica_set=replica_set):
            return f"detach ReplicaSet {replica_set.name}"
        case Attach(replica_set=replica_set):
            return f"attach ReplicaSet {replica_set.name} again"
        case Resize(replica_set=replica_set, replicas=replicas):
            return f"scale ReplicaSet {replica_set.name} from {replica_set.replicas} to {replicas}"
        case ScaleTo(deployment=deployment, replicas=replicas):
            return f"scale Deployment {deployment.name} from {deployment.replicas} to {replicas}"
        case Orphan(pod=pod):
            return f"take pod {pod.name} out of traffic, alive"
        case EndPod(pod=pod, grace_s=None):
            return f"end pod {pod.name}"
        case EndPod(pod=pod, grace_s=grace_s):
            return f"end pod {pod.name}, which never served, within {grace_s} s"
        case EndSet(replica_set=replica_set):
            return f"delete ReplicaSet {replica_set.name}, which the aborted release had made"
        case AddSampler(pod=pod, image=image):
            return f"add {image} to pod {pod.name}"
        case _:
            assert_never(action)


_BRAKED: Obj = {"strategy": SURGE, "minReadySeconds": BRAKE_S, "progressDeadlineSeconds": NO_DEADLINE_S}


def _only(values: Obj, keys: tuple[str, ...]) -> Obj:
    return {key: value for key, value in values.items() if key in keys}


def _set(path: str, value: object) -> Obj:
    return {"op": "add", "path": path, "value": value}


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
    operations: list[Obj] = []
    for key, value in spec.items():
        if value is not None:
            operations.append(_set(f"/spec/{key}", value))
        elif key in deployment.spec:
            operations.append({"op": "remove", "path": f"/spec/{key}"})
    operations += _entries(deployment.obj, "labels", labels)
    operations += _entries(deployment.obj, "annotations", annotations)
    return _patch(deployment.obj, "apps/v1", "deployments", operations)


def _patch_deployment(
    deployment: Deployment, spec: Obj, memory: Memory | Deployment | None, metadata: Obj | None = None
) -> ApiRequest:
    """`memory`: the new one, None to forget, the Deployment itself to leave it as it is."""
    annotations: Obj = dict((metadata or {}).get("annotations") or {})
    if not isinstance(memory, Deployment):
        annotations[ANNOTATION] = None if memory is None else memory.text()
    labels: Obj = (metadata or {}).get("labels") or {}
    return patch_deployment(deployment, spec, labels=labels, annotations=annotations)


def _relabel(obj: Obj, *, labels: Obj, annotations: Obj) -> ApiRequest:
    operations = [*_entries(obj, "labels", labels), *_entries(obj, "annotations", annotations)]
    return _patch(obj, "apps/v1", "replicasets", operations)


def _delete(obj: Obj, api_version: str, plural: str, options: Obj | None = None) -> ApiRequest:
    guard: Obj = {"preconditions": {"uid": obj["metadata"].get("uid")}}
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
