"""What a release is going to do, said before it does it; or why it must not (`Refused`, with a remedy).

Rule 1: a plan is made from the manifest and the live objects and changes nothing.
Rule 2: what would lose requests is refused; what might surprise is a warning in the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from segue.analysis.values import Analysis, Hook, Metric
from segue.drain.judge import Policy
from segue.model.errors import Refused
from segue.model.objects import Obj, annotations_of, labels_of
from segue.model.services import Service
from segue.model.workloads import Deployment, Pod, ReplicaSet
from segue.release.actions import SETTINGS, detach_key
from segue.release.beside import Beside, Naming
from segue.release.memory import RAMPED, Memory
from segue.release.promised import promised
from segue.release.snapshot import Snapshot
from segue.release.weights import Weights, is_canary_service, planned

KEEPS_IDLE = "handover"  # the strategy to which an open connection on which nothing moves is a live one
USUAL_CAP_S = {"handover": 3600.0}  # else the policy's own


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
class Approach:
    """How the user wants it done. `stops` are numbers of new pods or percentages of all; None: what is usual."""

    policy: Policy = field(default_factory=Policy)
    cap_said: bool = False  # whether the policy's cap is the user's own: else that of the release under way holds
    timeout_s: float | None = None  # for new pods to become Ready; None: the Deployment's progressDeadlineSeconds
    strategy: str = ""  # "": all-first, or that of the release under way
    step: int | None = None  # None: as many as the Deployment's own maxSurge
    stops: tuple[str, ...] = ()
    waits: bool = True
    preview: str = ""  # name of a Service, which is made where it is not there
    checks: tuple[Hook, ...] = ()  # must succeed before the new version gets all traffic
    analysis: Analysis = field(default_factory=Analysis)  # has the metrics that must, too
    keep_s: float = 0.0  # how long the old pods stand by after the switch
    pins_config: bool = False  # each version reads its own copies of its ConfigMaps and Secrets
    together: bool = False  # several Deployments behind one barrier
    group: tuple[str, ...] = ()  # their names, of one of them
    forces: bool = False  # also where somebody else applies what is changed
    route: Weights | None = None  # the new version's share of the requests grows by a route's weights
    naming: Naming | None = None  # a Deployment of its own for each version, side by side


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
    step: int = 1  # most pods replaced at once, of a ramped one
    stops: tuple[int, ...] = ()  # numbers of new pods at which it holds until it is promoted
    waits: bool = True  # at a stop; else the run ends there
    preview: str = ""
    hooks: tuple[Hook, ...] = ()  # checks, in the order in which they are run
    analysis: Analysis = field(default_factory=Analysis)
    keep_s: float = 0.0
    group: tuple[str, ...] = ()  # Deployments that switch together with this one
    forces: bool = False
    hands_over: bool = False  # what still drains goes to a newer release, which waits already
    keeps_labels: str = ""  # what selects the old pods by the label that would take them out of traffic
    route: Obj = field(default_factory=dict)  # a route's weights, as the memory holds them
    beside: Beside | None = None  # the new version is a Deployment of its own; `deployment` is then the app's name
    body: Obj = field(default_factory=dict)  # of that Deployment, as it is to be made

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured at each stop."""
        return self.analysis.metrics

    @property
    def peak(self) -> int:
        """Most pods alive at once."""
        if self.strategy in RAMPED:
            return self.replicas + self.step
        if self.strategy == "recreate":
            return max(self.replicas, self.wanted)
        return self.replicas + max(self.replicas, self.wanted)

    @property
    def floor(self) -> int:
        """Fewest pods that serve at any moment."""
        if self.strategy == "recreate":
            return 0
        return self.replicas if self.strategy in RAMPED else min(self.replicas, self.wanted)

    @property
    def after(self) -> Obj:
        """Spec fields to give back at the end. A smaller size comes later, one drained pod after the other; one that
        stays as it is stays with whoever scales meanwhile."""
        grows = self.wanted > self.replicas or self.strategy not in RAMPED
        return {key: value for key, value in self.target.after.items() if key != "replicas" or grows}


def digest_of(value: Obj) -> str:
    """A short digest of JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(target: Target, snapshot: Snapshot, approach: Approach) -> Plan:
    """The plan for a Deployment with no release under way. Raises Refused."""
    deployment = snapshot.deployment
    old = _serving_set(snapshot)
    _check_deployment(deployment, target)
    services = tuple(
        one for one in snapshot.services if one.name != approach.preview and not is_canary_service(approach.route, one)
    )
    _check_services(services, deployment, snapshot.pods, snapshot.owned)
    weights = planned(approach.route, snapshot, services, forces=approach.forces) if approach.route else None
    deadline_s = approach.timeout_s or float(target.after.get("progressDeadlineSeconds") or 600)
    return Plan(
        target=target,
        namespace=deployment.namespace,
        deployment=deployment.name,
        route=weights.as_obj() if weights else {},
        services=tuple(service.name for service in services),
        replicas=deployment.replicas,
        wanted=int(target.after.get("replicas", deployment.replicas)),
        old_set=old.name,
        old_hash=old.pod_hash,
        policy=_policy_of(target, deployment, approach),
        timeout_s=deadline_s,
        deadline_s=snapshot.now_s + deadline_s,
        warnings=tuple(_warnings(deployment, target, snapshot)),
        strategy=approach.strategy or "all-first",
        step=_step(approach, deployment, target),
        stops=stops_of(approach, 100 if weights else deployment.replicas),
        waits=approach.waits,
        preview=weights.canary if weights else approach.preview,
        hooks=(*approach.checks, *approach.analysis.hooks),
        analysis=approach.analysis,
        keep_s=approach.keep_s,
        group=approach.group,
        forces=approach.forces,
    )


def _policy_of(target: Target, deployment: Deployment, approach: Approach) -> Policy:
    """Of a new release: what its user asks for, and what the old version or the new one says of itself."""
    keeps_idle = approach.policy.keeps_idle or approach.strategy == KEEPS_IDLE
    comes = (target.metadata.get("annotations") or {}, annotations_of(target.template))
    policy = replace(approach.policy, keeps_idle=keeps_idle)
    return promised(policy, None, deployment, cap_said=approach.cap_said, comes=comes)


def _step(approach: Approach, deployment: Deployment, target: Target) -> int:
    said = Deployment(obj={"spec": {**deployment.spec, "strategy": target.after.get("strategy") or {}}}).surge
    return min(max(1, approach.step if approach.step is not None else said), max(1, deployment.replicas))


def stops_of(approach: Approach, replicas: int) -> tuple[int, ...]:
    """The stops as numbers of new pods, percentages rounded up; without any, a canary stops at its first pod."""
    before_switch = approach.analysis.metrics or not (approach.checks or approach.analysis.hooks)
    usual: dict[str, tuple[str, ...]] = {"canary": ("1",), "blue-green": ("100%",) if before_switch else ()}
    if approach.route is not None and (approach.analysis.metrics or approach.checks or approach.analysis.hooks):
        usual[approach.strategy] = tuple(f"{share // 100}%" for share in approach.route.steps if share % 100 == 0)
    if approach.analysis.metrics:
        usual |= dict.fromkeys(("", "all-first", "handover"), ("100%",))
    said = approach.stops or usual.get(approach.strategy, ())
    counts = {-(-replicas * int(one.removesuffix("%")) // 100) if one.endswith("%") else int(one) for one in said}
    return tuple(sorted(count for count in counts if 0 < count <= replicas))


def resume_plan(target: Target, snapshot: Snapshot, memory: Memory, approach: Approach) -> Plan:
    """The plan of a release that somebody's run has begun, from what that run remembered."""
    deployment = snapshot.deployment
    old = snapshot.set_named(memory.old_set)
    deadline_s = approach.timeout_s or float(memory.after.get("progressDeadlineSeconds") or 600)
    replicas = (old.replicas if old else 0) or int(memory.before.get("replicas") or deployment.replicas)
    beside = Beside.of(memory.beside) if memory.beside else None
    return Plan(
        target=target,
        namespace=deployment.namespace,
        deployment=beside.app if beside else deployment.name,
        services=memory.services,
        replicas=replicas,
        wanted=int(memory.after.get("replicas") or deployment.replicas),
        old_set=memory.old_set,
        old_hash=memory.old_hash,
        policy=promised(approach.policy, memory, deployment, cap_said=approach.cap_said),
        timeout_s=deadline_s,
        deadline_s=snapshot.now_s + deadline_s,
        strategy=memory.strategy,
        step=memory.step,
        stops=memory.stops,
        waits=approach.waits,
        preview=memory.preview,
        route=memory.route,
        hooks=(*approach.checks, *approach.analysis.hooks),
        analysis=approach.analysis,
        keep_s=memory.keep_s,
        beside=beside,
        group=memory.group,
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


def _check_services(
    services: Sequence[Service], deployment: Deployment, pods: Sequence[Pod], sets: Sequence[ReplicaSet]
) -> None:
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
        left = sorted({pod.owner for pod in pods if pod.alive and _is_left_behind(pod, sets, service)})
        if left:
            raise Refused(
                f"Service {service.name} also selects pods of {', '.join(left)}, which Deployment {deployment.name} "
                "does not own: a Deployment of that name was deleted in the middle of a release",
                remedy=f"kubectl delete {left[0].replace('ReplicaSet', 'replicaset')}",
            )


def _is_left_behind(pod: Pod, sets: Sequence[ReplicaSet], service: Service) -> bool:
    """Whether a Service reaches a pod that looks like the Deployment's own and belongs to nobody of its."""
    return pod.owner_uid not in {"", *(one.uid for one in sets)} and service.selects_version(pod.labels)


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
