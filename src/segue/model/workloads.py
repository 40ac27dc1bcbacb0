"""Typed, read-only views of the objects a release reads: Deployment, ReplicaSet, Pod, Lease.

Rule 1: a view holds what it was made from (`obj`) and never changes it.
Rule 2: only what a release, a drain or a receipt asks for is here; everything else stays raw JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from segue.model.objects import (
    Obj,
    annotations_of,
    condition_of,
    controller_of,
    copy_of,
    is_ready,
    is_terminating,
    labels_of,
    seconds_of,
)
from segue.model.views import ObjectView, WorkloadView

HASH_LABEL = "pod-template-hash"
# The caller's side of a connection, and the pause between two attempts: what differs although nothing has changed
_PASSING = re.compile(r'(?:\d[\d.]*|\[[\da-f:]+\]):\d+->|ImagePullBackOff: Back-off pulling image "[^"]*": ')
REVISION = "deployment.kubernetes.io/revision"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # as kubectl rollout restart stamps a template
ORPHAN_OF = "segue.dev/orphan-of"  # on a pod that was taken out of traffic alive: its Deployment
HELD_BACK = "segue.dev/held-back"  # a scheduling gate: what bears it is never given a node, and ends at once


def without_hash(template: Obj) -> Obj:
    """A ReplicaSet's pod template as its Deployment had it: without the label the controller adds (D11)."""
    plain = copy_of(template)
    labels = plain.get("metadata", {}).get("labels")
    if labels:
        labels.pop(HASH_LABEL, None)
    return plain


def gates_of(pod_spec: Obj) -> list[Obj]:
    """The scheduling gates of a pod, or of a template's."""
    return list(pod_spec.get("schedulingGates") or [])


def is_held_back(pod_spec: Obj) -> bool:
    """Whether segue's own gate is among them."""
    return any(gate.get("name") == HELD_BACK for gate in gates_of(pod_spec))


def without_gate(template: Obj) -> Obj:
    """A template as it was before segue's gate was put into it."""
    spec: Obj = template.get("spec") or {}
    if not is_held_back(spec):
        return template
    kept = [gate for gate in gates_of(spec) if gate.get("name") != HELD_BACK]
    bare = {key: value for key, value in spec.items() if key != "schedulingGates"}
    return {**template, "spec": {**bare, "schedulingGates": kept} if kept else bare}


def selector_query(selector: Obj) -> str:
    """A workload's selector as a labelSelector query."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(expression.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts)


def _when(text: str | None) -> float:
    return seconds_of(text) if text else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(WorkloadView):
    """A Deployment as the API server stores it (defaults filled in)."""

    @property
    def replicas(self) -> int:
        """spec.replicas, 1 where it is not set (D1)."""
        return int(self.spec.get("replicas", 1))

    @property
    def selector(self) -> Obj:
        """spec.selector."""
        return cast("Obj", self.spec.get("selector") or {})

    @property
    def template(self) -> Obj:
        """spec.template."""
        return cast("Obj", self.spec["template"])

    @property
    def pod_labels(self) -> dict[str, str]:
        """Labels of its pods, without the hash."""
        return labels_of(self.template)

    @property
    def strategy(self) -> Obj:
        """spec.strategy."""
        return cast("Obj", self.spec.get("strategy") or {})

    @property
    def surge(self) -> int:
        """maxSurge as a number of pods: percentages are rounded up (D2), 25 % where it is not set (D1)."""
        if self.strategy.get("type") == "Recreate":
            return 0
        said = (self.strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
        if isinstance(said, str) and said.endswith("%"):
            return -(-self.replicas * int(said.removesuffix("%")) // 100)
        return int(said)

    @property
    def progress_deadline_s(self) -> int:
        """spec.progressDeadlineSeconds (600 where it is not set)."""
        return int(self.spec.get("progressDeadlineSeconds") or 600)

    @property
    def paused(self) -> bool:
        """spec.paused."""
        return bool(self.spec.get("paused"))

    @property
    def selector_query(self) -> str:
        """The selector as a labelSelector query."""
        return selector_query(self.selector)

    def changed_at_s(self) -> float:
        """When it was created or its controller last made progress: whole seconds, as the API tells them."""
        progressing = condition_of(self.obj, "Progressing") or {}
        return max(_when(self.obj["metadata"].get("creationTimestamp")), _when(progressing.get("lastUpdateTime")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSet(WorkloadView):
    """One version of a Deployment."""

    @property
    def pod_hash(self) -> str:
        """Its pod-template-hash, which every pod of it carries."""
        template = labels_of(cast("Obj", self.obj["spec"].get("template") or {}))
        return template.get(HASH_LABEL) or labels_of(self.obj).get(HASH_LABEL, "")

    @property
    def replicas(self) -> int:
        """spec.replicas."""
        return int(self.obj["spec"].get("replicas", 1))

    @property
    def available(self) -> int:
        """status.availableReplicas."""
        return int(self.obj.get("status", {}).get("availableReplicas") or 0)

    @property
    def revision(self) -> int:
        """Its revision, 0 where it has none."""
        text = annotations_of(self.obj).get(REVISION, "")
        return int(text) if text.isdigit() else 0

    @property
    def template(self) -> Obj:
        """Its pod template without the hash: equal to the Deployment's where it is its newest version."""
        return without_gate(without_hash(cast("Obj", self.obj["spec"]["template"])))

    @property
    def held_back(self) -> bool:
        """Whether the pods that it makes now are never to start."""
        return is_held_back(cast("Obj", self.obj["spec"]["template"].get("spec") or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of a container that opens a connection each period (HTTP, TCP or gRPC)."""

    kind: str
    period_s: float
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(ObjectView):
    """One pod."""

    @property
    def pod_hash(self) -> str:
        """Its pod-template-hash label."""
        return self.labels.get(HASH_LABEL, "")

    @property
    def owner(self) -> str:
        """Kind and name of what owns it, as kubectl takes them; "" for an orphan."""
        owner = controller_of(self.obj)
        return f"{owner['kind']}/{owner['name']}" if owner else ""

    @property
    def ready(self) -> bool:
        """Ready and neither leaving nor ended."""
        return is_ready(self.obj) and self.alive

    @property
    def orphaned(self) -> bool:
        """Whether it was taken out of its ReplicaSet and its Services, to drain."""
        return ORPHAN_OF in self.labels

    @property
    def terminating(self) -> bool:
        """Whether it is being deleted."""
        return is_terminating(self.obj)

    @property
    def deletion_began_s(self) -> float:
        """When its deletion was asked for: deletionTimestamp lies one grace later (T1)."""
        metadata = self.obj["metadata"]
        return _when(metadata.get("deletionTimestamp")) - float(metadata.get("deletionGracePeriodSeconds") or 0)

    @property
    def deletion_ends_s(self) -> float:
        """When its grace is over: its deletionTimestamp, 0 where it is not being deleted."""
        return _when(self.obj["metadata"].get("deletionTimestamp"))

    @property
    def never_served(self) -> bool:
        """Whether it began to end before it was ever Ready: no Service can have sent to it (E1)."""
        return self.terminating and (not is_ready(self.obj) or self.ready_since_s > self.deletion_began_s)

    @property
    def ended(self) -> bool:
        """Whether its phase is terminal."""
        return self.obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    @property
    def alive(self) -> bool:
        """Neither being deleted nor ended."""
        return not self.terminating and not self.ended

    @property
    def ip(self) -> str:
        """status.podIP, "" until it has one."""
        return str(self.obj.get("status", {}).get("podIP") or "")

    @property
    def node(self) -> str:
        """spec.nodeName."""
        return str(self.obj.get("spec", {}).get("nodeName") or "")

    @property
    def held_back(self) -> bool:
        """Whether it was made only to be ended: it has no node and gets none."""
        return is_held_back(self.obj.get("spec", {}))

    @property
    def host_network(self) -> bool:
        """Whether it shares the node's network, whose counters then say nothing about it (C6)."""
        return bool(self.obj.get("spec", {}).get("hostNetwork"))

    @property
    def ready_since_s(self) -> float:
        """When its Ready condition last changed."""
        return _when((condition_of(self.obj, "Ready") or {}).get("lastTransitionTime"))

    @property
    def container(self) -> str:
        """The name of its first container."""
        containers = self.obj.get("spec", {}).get("containers") or [{}]
        return str(containers[0].get("name") or "")

    def probes(self) -> tuple[Probe, ...]:
        """Every probe that the kubelet opens a connection for (P8); startup probes have ended by then (P4)."""
        return tuple(
            Probe(kind=kind, period_s=float(probe.get("periodSeconds") or 10), port=_probe_port(container, probe))
            for container in self.obj.get("spec", {}).get("containers") or []
            for kind in ("readinessProbe", "livenessProbe")
            if (probe := container.get(kind)) and "exec" not in probe
        )

    def trouble(self) -> str:
        """Why it is not Ready, in the API's own words, "" where it is."""
        if self.ready:
            return ""
        status = self.obj.get("status", {})
        for state in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            waiting = state.get("state", {}).get("waiting")
            if waiting:
                return lasting(": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part))
            ended = state.get("state", {}).get("terminated")
            if ended:
                return f"container {state.get('name')} ended with exit code {ended.get('exitCode')}"
        scheduled = condition_of(self.obj, "PodScheduled") or {}
        if scheduled.get("status") == "False":
            return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
        ready = condition_of(self.obj, "Ready") or {}
        return str(ready.get("message") or ready.get("reason") or status.get("phase") or "no status yet")


def lasting(text: str) -> str:
    """A message without what differs between attempts, so that pods with one trouble tell it in the same words."""
    return _PASSING.sub("", text)


def _probe_port(container: Obj, probe: Obj) -> int:
    action = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
    port = action.get("port", 0)
    if isinstance(port, int):
        return port
    return next((int(p["containerPort"]) for p in container.get("ports") or [] if p.get("name") == port), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease(ObjectView):
    """Who drives a release now."""

    @property
    def holder(self) -> str:
        """spec.holderIdentity, "" where nobody holds it."""
        return str(self.obj["spec"].get("holderIdentity") or "")

    @property
    def renewed_s(self) -> float:
        """spec.renewTime."""
        return _when(self.obj["spec"].get("renewTime"))

    @property
    def lasts_s(self) -> float:
        """spec.leaseDurationSeconds."""
        return float(self.obj["spec"].get("leaseDurationSeconds") or 0)

    def held_at(self, now_s: float) -> bool:
        """Whether somebody holds it at this moment."""
        return bool(self.holder) and now_s < self.renewed_s + self.lasts_s
