"""What a release is going to do, said before it does it; or why it must not (`Refused`, with a remedy).

Rule 1: a plan is made from the manifest and the live objects and changes nothing.
Rule 2: what would lose requests is refused; what might surprise is a warning in the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.drain.judge import Policy
from segue.model.errors import Refused
from segue.model.objects import Obj, annotations_of, labels_of
from segue.model.services import Service
from segue.model.workloads import Deployment, Pod, ReplicaSet
from segue.release.actions import SETTINGS, detach_key
from segue.release.memory import Memory
from segue.release.snapshot import Snapshot

SETTLE_S = 2.0  # a Deployment younger than this may not have reached the data plane yet (M7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is wanted, with the server's defaults filled in; `after` and `metadata` come back at the end."""

    kind: str  # "release" | "undo" | "restart"
    template: Obj
    after: Obj  # spec fields other than template and selector
    metadata: Obj  # {"labels": ..., "annotations": ...} to merge in

    @property
    def digest(self) -> str:
        """What tells this target from another: the same command again has the same one."""
        return digest_of(self.template)

    @property
    def id(self) -> str:
        """Kind and digest in one word."""
        return f"{self.kind}-{self.digest[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a Deployment gets to its target."""

    target: Target
    namespace: str
    deployment: str
    services: tuple[str, ...]
    replicas: int  # live now
    wanted: int  # replicas at the end
    old_set: str
    old_hash: str
    policy: Policy = field(default_factory=Policy)
    timeout_s: float = 600.0
    deadline_s: float = 0.0  # moment at which waiting for Ready ends
    warnings: tuple[str, ...] = ()
    strategy: str = "all-first"

    @property
    def peak(self) -> int:
        """Most pods alive at once."""
        return self.replicas + max(self.replicas, self.wanted)

    @property
    def floor(self) -> int:
        """Fewest pods that serve at any moment."""
        return min(self.replicas, self.wanted)

    def steps(self) -> tuple[str, ...]:
        """What will happen, for people."""
        names = ", ".join(self.services)
        return (
            f"wait until the {self.replicas} pods of version {self.old_hash} are what Service {names} reaches",
            f"pin Service {names} to version {self.old_hash}: nothing moves",
            f"change the template with surge 100 % and the brake: {self.wanted} new pods come up beside the old ones",
            f"detach ReplicaSet {self.old_set}, take the brake off: the Deployment's spec is yours again",
            f"wait until all {self.wanted} new pods are Ready (at most {self.timeout_s:g} s)",
            f"switch Service {names} to the new version",
            f"wait until each old pod is proved quiet (at least {self.policy.quiet_min_s:g} s, at most "
            f"{self.policy.cap_s:g} s; without traffic to judge by {self.policy.timer_s:g} s), then end the old pods",
            "attach the old ReplicaSet again, unpin the Service: history and undo stay native",
        )


def digest_of(value: Obj) -> str:
    """A short digest of JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(target: Target, snapshot: Snapshot, *, policy: Policy, timeout_s: float | None) -> Plan:
    """The plan for a Deployment with no release under way. Raises Refused."""
    deployment = snapshot.deployment
    old = _serving_set(snapshot)
    _check_deployment(deployment, target)
    _check_services(snapshot.services, deployment, snapshot.pods)
    deadline_s = timeout_s or float(target.after.get("progressDeadlineSeconds") or 600)
    return Plan(
        target=target,
        namespace=deployment.namespace,
        deployment=deployment.name,
        services=tuple(service.name for service in snapshot.services),
        replicas=deployment.replicas,
        wanted=int(target.after.get("replicas", deployment.replicas)),
        old_set=old.name,
        old_hash=old.pod_hash,
        policy=policy,
        timeout_s=deadline_s,
        deadline_s=snapshot.now_s + deadline_s,
        warnings=tuple(_warnings(deployment, target, snapshot)),
    )


def resume_plan(target: Target, snapshot: Snapshot, memory: Memory, *, policy: Policy, timeout_s: float | None) -> Plan:
    """The plan of a release that somebody's run has begun, from what that run remembered."""
    deployment = snapshot.deployment
    old = snapshot.set_named(memory.old_set)
    deadline_s = timeout_s or float(memory.after.get("progressDeadlineSeconds") or 600)
    replicas = (old.replicas if old else 0) or int(memory.before.get("replicas") or deployment.replicas)
    return Plan(
        target=target,
        namespace=deployment.namespace,
        deployment=deployment.name,
        services=memory.services,
        replicas=replicas,
        wanted=int(memory.after.get("replicas") or deployment.replicas),
        old_set=memory.old_set,
        old_hash=memory.old_hash,
        policy=policy,
        timeout_s=deadline_s,
        deadline_s=snapshot.now_s + deadline_s,
    )


def _serving_set(snapshot: Snapshot) -> ReplicaSet:
    active = [one for one in snapshot.owned if one.replicas > 0]
    if len(active) > 1:
        raise Refused(
            f"Deployment {snapshot.deployment.name} is in the middle of a native rollout: "
            + ", ".join(f"{one.name} has {one.replicas}" for one in active),
            remedy=f"wait for it: kubectl rollout status deployment/{snapshot.deployment.name}",
        )
    if not active:
        raise Refused(
            f"Deployment {snapshot.deployment.name} has no ReplicaSet with pods",
            remedy="nothing serves, so nothing can be lost: kubectl apply does",
        )
    return active[0]


def _check_deployment(deployment: Deployment, target: Target) -> None:
    if deployment.paused or target.after.get("paused"):
        raise Refused(
            f"Deployment {deployment.name} is paused: its controller would not start the new version",
            remedy=f"kubectl rollout resume deployment/{deployment.name}, and no paused: true in the manifest",
        )
    if not detach_key(deployment.selector):
        raise Refused(
            "the Deployment's selector cannot be left by changing a label",
            remedy="give it a matchLabels entry (the selector is immutable: a new Deployment is needed)",
        )
    for name, port in _host_ports(target.template):
        raise Refused(
            f"container {name} asks for hostPort {port}: a new pod cannot start on a node where an old one runs",
            remedy="remove hostPort and let a Service reach the pods",
        )
    if int(target.after.get("replicas", deployment.replicas)) == 0:
        raise Refused(
            "the manifest asks for 0 replicas: the Service would have no pod",
            remedy="say how many replicas should serve, or scale down with segue scale",
        )
    if target.template.get("spec", {}).get("hostNetwork"):
        raise Refused(
            "the pods use hostNetwork: old and new ones cannot listen on one node at the same time",
            remedy="use the pod network",
        )


def _host_ports(template: Obj) -> list[tuple[str, int]]:
    return [
        (str(container.get("name")), int(port["hostPort"]))
        for container in template.get("spec", {}).get("containers") or []
        for port in container.get("ports") or []
        if port.get("hostPort")
    ]


def _check_services(services: Sequence[Service], deployment: Deployment, pods: Sequence[Pod]) -> None:
    if not services:
        raise Refused(
            f"no Service selects the pods of Deployment {deployment.name} (labels "
            + ", ".join(f"{key}={value}" for key, value in sorted(deployment.pod_labels.items()))
            + ")",
            remedy="make the Service's selector match these labels; without a Service, kubectl apply loses nothing",
        )
    for service in services:
        strangers = [
            pod.name
            for pod in pods
            if pod.alive and not _belongs(pod, deployment) and service.selects_version(pod.labels)
        ]
        if strangers:
            raise Refused(
                f"Service {service.name} also selects pods that are not of Deployment {deployment.name}: "
                + ", ".join(sorted(strangers)[:5]),
                remedy="pinning the Service to a version would cut them off (B7): give each workload its own Service",
            )


def _belongs(pod: Pod, deployment: Deployment) -> bool:
    wanted = deployment.selector.get("matchLabels") or {}
    return bool(pod.pod_hash) and all(pod.labels.get(key) == value for key, value in wanted.items())


def _warnings(deployment: Deployment, target: Target, snapshot: Snapshot) -> list[str]:
    spec: Obj = target.template.get("spec") or {}
    found = [
        f"container {container.get('name')} has no readinessProbe: it counts as Ready the moment it starts, "
        "whether it answers or not"
        for container in spec.get("containers") or []
        if not container.get("readinessProbe")
    ]
    strategy = target.after.get("strategy") or deployment.strategy
    if strategy.get("type") == "Recreate":
        found.append(
            "the Deployment's strategy is Recreate: it does not hold while segue releases, it comes back after"
        )
    if target.after.get("revisionHistoryLimit") == 0:
        found.append("revisionHistoryLimit is 0: the old ReplicaSet is deleted at the end and there is no undo")
    if any((service.obj["spec"].get("externalTrafficPolicy") == "Local") for service in snapshot.services):
        found.append("externalTrafficPolicy Local: a node without a new pod drops connections after the switch (A4)")
    if spec.get("terminationGracePeriodSeconds") == 0:
        found.append("terminationGracePeriodSeconds is 0: pods are killed without a warning")
    if target.after.get("replicas", deployment.replicas) != deployment.replicas:
        found.append(f"replicas change from {deployment.replicas} to {target.after['replicas']} with this release")
    return found


def replaced_metadata(obj: Obj, brought: Obj) -> Obj:
    """The labels and annotations that `brought` replaces, as they are now; None where there are none."""
    now = {"labels": labels_of(obj), "annotations": annotations_of(obj)}
    return {kind: {key: now[kind].get(key) for key in brought.get(kind) or {}} for kind in now}


def settings_of(spec: Obj) -> Obj:
    """The spec fields a release changes, None where they are not set."""
    return {key: spec.get(key) for key in (*SETTINGS, "replicas")}
