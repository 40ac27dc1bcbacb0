"""An action in one line for people."""

from __future__ import annotations

from typing import assert_never

from segue.model.objects import name_of
from segue.release.actions import (
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
from segue.release.decision import counted
from segue.release.memory import Memory
from segue.route.shares import percent


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
        case MakePreview(name=name, pod_hash=pod_hash):
            return f"make Service {name}, which reaches version {pod_hash} only"
        case EndPreview(service=service):
            return f"delete Service {service.name}, which was made for this release"
        case SetShares(kind=kind, route=route, split=split):
            return f"let {kind} {name_of(route)} send {percent(split.share)} of its requests to Service {split.canary}"
        case PutSharesBack(kind=kind, route=route):
            return f"give {kind} {name_of(route)} back the rules it had"
        case Remember(memory=memory):
            return f"remember on the Deployment that {_remembered(memory)}"
        case Forget():
            return "take the memory off the Deployment"
        case Surge():
            return "change the template with surge 100 % and the brake, in one patch"
        case Brake():
            return "put surge 100 % and the brake on"
        case Ramp(surge=0):
            return "give the Deployment no room for more pods"
        case Ramp(surge=surge, template=template):
            room = f"room for {counted(surge, 'more pod')}"
            if template is None:
                return f"give the Deployment {room}"
            return f"change the template with {room} and the brake, in one patch"
        case Replace():
            return "change the template with strategy Recreate, in one patch"
        case Settle():
            return "take the brake off: the Deployment's spec is what it was"
        case Release():
            return "take the brake off: the Deployment's spec is yours again"
        case PutBack():
            return "put the old template and settings back, in one patch"
        case ScaleTo(deployment=deployment, replicas=replicas):
            return f"scale Deployment {deployment.name} from {deployment.replicas} to {replicas}"
        case Select(service=service, says=says):
            return f"let Service {service.name} select {says}"
        case AddDeployment(body=body):
            return f"make Deployment {name_of(body)}, without pods"
        case EndDeployment(deployment=deployment):
            return f"delete Deployment {deployment.name}, which has no pods"
        case Orphan(pod=pod):
            return f"take pod {pod.name} out of traffic, alive"
        case EndPod(pod=pod, grace_s=None):
            return f"end pod {pod.name}"
        case EndPod(pod=pod, grace_s=grace_s):
            return f"end pod {pod.name}, which never served, within {grace_s} s"
        case AddSampler(pod=pod, image=image):
            return f"add {image} to pod {pod.name}"
        case BrakeSet() | Detach() | Attach() | HoldBack() | Resize() | Clean() | EndSet():
            return _to_a_set(action)
        case _:
            assert_never(action)


def _to_a_set(action: BrakeSet | Detach | Attach | HoldBack | Resize | Clean | EndSet) -> str:
    match action:
        case Clean(replica_set=replica_set):
            return f"take the memory off ReplicaSet {replica_set.name}"
        case BrakeSet(replica_set=replica_set):
            return f"put the brake on ReplicaSet {replica_set.name}"
        case Detach(replica_set=replica_set):
            return f"detach ReplicaSet {replica_set.name}"
        case Attach(replica_set=replica_set):
            return f"attach ReplicaSet {replica_set.name} again"
        case HoldBack(replica_set=replica_set, held=True):
            return f"let ReplicaSet {replica_set.name} start no more pods"
        case HoldBack(replica_set=replica_set):
            return f"let ReplicaSet {replica_set.name} start pods again"
        case Resize(replica_set=replica_set, replicas=replicas):
            return f"scale ReplicaSet {replica_set.name} from {replica_set.replicas} to {replicas}"
        case EndSet(replica_set=replica_set):
            return f"delete ReplicaSet {replica_set.name}, which the aborted release had made"
        case _:
            assert_never(action)


def _remembered(memory: Memory) -> str:
    if memory.stops and memory.passed and memory.serving == "old":
        return f"stop {memory.passed} of {len(memory.stops)} is passed"
    if memory.failed:
        return "this release takes itself back"
    if memory.route and memory.serving == "old" and not memory.aborting and memory.switched:
        steps = memory.route["steps"]
        done = memory.proved
        return f"{percent(steps[done - 1])} is proved" if done else "the new pods get traffic"
    match memory.kind:
        case "scale":
            return f"{memory.target} pods are wanted"
        case "retire":
            return f"pod {memory.pod} is to go"
        case _:
            return f"the {memory.serving} pods serve"
