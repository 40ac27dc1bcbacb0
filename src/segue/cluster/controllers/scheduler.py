"""The scheduler: gives a pending pod a node, the one with the fewest pods.

Rule 1: a pod that has a node is never moved.
Rule 2: a node takes pods while it is Ready, schedulable, tolerated, chosen by the pod's affinity and not full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import cast

from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.controllers.placement import UNSCHEDULABLE, chooses, tolerates, untolerated
from segue.cluster.store import StoreEvent
from segue.cluster.view import TERMINAL_PHASES, View
from segue.cluster.writes import Outcome, Say, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    condition_of,
    is_ready,
    is_terminating,
    name_of,
    namespace_of,
    rfc3339,
)

COMPONENT = "default-scheduler"
PODS_PER_NODE = 110  # the kubelet's default, where a node does not say
_CORDON: Obj = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}  # what a cordon means before the node has its taint


class Scheduler:
    """Binds pods to nodes."""

    name = "scheduler"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """A pod without a place (or whose place is not told yet); all of them where room may have come up."""
        if event.ref.resource == "pods":
            if event.kind == "DELETED":
                return _homeless(view)
            return [event.ref] if _is_homeless(event.obj) or _is_untold(event.obj) else []
        return _homeless(view) if event.ref.resource == "nodes" else []

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Bind, or say why not."""
        pod = view.get(ref)
        if pod is None:
            return NOTHING
        if _is_untold(pod):
            return Outcome(writes=(_told(pod, "True", "", "", now_s),), because="it has a node")
        if not _is_homeless(pod):
            return NOTHING
        nodes = view.all_of("nodes")
        obstacles = {name_of(node): _obstacle(view, node, pod) for node in nodes}
        open_nodes = [name for name, obstacle in obstacles.items() if not obstacle]
        if open_nodes:
            best = min(open_nodes, key=lambda name: (view.pods_on(name), name))
            bound = {**pod, "spec": {**pod["spec"], "nodeName": best}}
            told = Say(
                about=pod,
                about_resource="pods",
                kind="Normal",
                reason="Scheduled",
                message=f"Successfully assigned {namespace_of(pod)}/{name_of(pod)} to {best}",
                component=COMPONENT,
            )
            return Outcome(writes=(Update(resource="pods", obj=bound), told), because=f"{best} has the fewest pods")
        return _unschedulable(pod, obstacles, now_s)

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()


def _unschedulable(pod: Obj, obstacles: dict[str, str], now_s: float) -> Outcome:
    reasons = Counter(obstacles.values())
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    text = f"0/{len(obstacles)} nodes are available: {listed}." if obstacles else "no nodes available to schedule pods"
    known = condition_of(pod, "PodScheduled")
    if known is not None and known.get("status") == "False" and known.get("message") == text:
        return Outcome(because=text)
    told = Say(
        about=pod,
        about_resource="pods",
        kind="Warning",
        reason="FailedScheduling",
        message=text,
        component=COMPONENT,
    )
    return Outcome(writes=(_told(pod, "False", "Unschedulable", text, now_s), told), because=text)


def _obstacle(view: View, node: Obj, pod: Obj) -> str:
    """Why the node does not take the pod, "" where it does."""
    if not is_ready(node):  # a node's Ready condition has the same shape as a pod's
        return "node(s) were not ready"
    tolerations = pod["spec"].get("tolerations") or []
    cordoned = node.get("spec", {}).get("unschedulable") and not tolerates(tolerations, _CORDON)
    if is_terminating(node) or cordoned:
        return "node(s) were unschedulable"
    taint = untolerated(node.get("spec", {}).get("taints") or [], tolerations)
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if not chooses(pod["spec"], node):
        return "node(s) didn't match Pod's node affinity/selector"
    allowed = (node.get("status", {}).get("allocatable") or {}).get("pods", PODS_PER_NODE)
    if view.pods_on(name_of(node)) >= int(allowed):
        return "Too many pods"
    return ""


def _is_homeless(pod: Obj) -> bool:
    ended = pod.get("status", {}).get("phase") in TERMINAL_PHASES
    foreign = pod["spec"].get("schedulerName") or COMPONENT
    gated = bool(pod["spec"].get("schedulingGates"))
    return not (pod["spec"].get("nodeName") or ended or is_terminating(pod) or gated) and foreign == COMPONENT


def _is_untold(pod: Obj) -> bool:
    """Whether a pod has a node but its PodScheduled condition does not say so yet."""
    if not pod["spec"].get("nodeName") or is_terminating(pod):
        return False
    known = condition_of(pod, "PodScheduled")
    return known is None or known.get("status") != "True"


def _homeless(view: View) -> list[Ref]:
    return [
        Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod))
        for pod in view.all_of("pods")
        if _is_homeless(pod)
    ]


def _told(pod: Obj, status: str, reason: str, message: str, now_s: float) -> Update:
    known = condition_of(pod, "PodScheduled")
    since = cast("str", known.get("lastTransitionTime")) if known and known.get("status") == status else rfc3339(now_s)
    fresh: Obj = {"type": "PodScheduled", "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    if reason:
        fresh |= {"reason": reason, "message": message}
    before = pod.get("status") or {}
    others = [item for item in before.get("conditions") or [] if item.get("type") != "PodScheduled"]
    return Update(resource="pods", obj={**pod, "status": {**before, "conditions": [*others, fresh]}}, status=True)
