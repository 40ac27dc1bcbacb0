"""The node lifecycle controller: a node that is silent for too long is not ready, and neither are its pods (B10).

Rule 1: what a node says of itself is left alone while it speaks; its taints follow its conditions.
Rule 2: silence is measured by the node's Lease; a node that never had one is somebody else's business.
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Outcome, Say, Update, Write
from segue.model.objects import Obj, Ref, condition_of, is_ready, name_of, rfc3339, seconds_of

COMPONENT = "node-controller"
LEASES, LEASE_NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
SILENT_MAX_S = 50.0  # nodeMonitorGracePeriod
_UNREACHABLE, _NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OURS = (_UNREACHABLE, _NOT_READY, _UNSCHEDULABLE)


class NodeLifecycleController:
    """Watches over the nodes."""

    name = "nodelifecycle"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The node itself, and that of a lease."""
        if event.ref.resource == "nodes" and event.kind != "DELETED":
            return [event.ref]
        if event.ref.resource == LEASES and event.ref.namespace == LEASE_NAMESPACE:
            return [Ref(resource="nodes", namespace="", name=event.ref.name)]
        return []

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Declare it lost, or look again when it could be."""
        node = view.get(ref)
        if node is None:
            return NOTHING
        lease = view.get(Ref(resource=LEASES, namespace=LEASE_NAMESPACE, name=ref.name))
        if lease is None:
            return Outcome(writes=_tainted(node, now_s), because="a node without a lease is not watched over")
        left_s = seconds_of(lease["spec"]["renewTime"]) + SILENT_MAX_S - now_s
        if left_s > 0:
            return Outcome(writes=_tainted(node, now_s), because="it spoke of late", wake_in_s=left_s)
        ready = condition_of(node, "Ready")
        if ready is None or ready["status"] != "Unknown":
            return Outcome(writes=(_silenced(node, now_s), *_said(node)), because="it has been silent for too long")
        return Outcome(writes=(*_tainted(node, now_s), *_unready_pods(view, node, now_s)), because="it is silent")

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()


def _silenced(node: Obj, now_s: float) -> Update:
    """All that a kubelet told is unknown now."""
    unknown = {
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastTransitionTime": rfc3339(now_s),
    }
    status = node["status"]
    conditions = [{**condition, **unknown} for condition in status.get("conditions") or []]
    return Update(resource="nodes", obj={**node, "status": {**status, "conditions": conditions}}, status=True)


def _said(node: Obj) -> tuple[Say, ...]:
    message = f"Node {name_of(node)} status is now: NodeNotReady"
    return (_say(node, "nodes", "Normal", message),)


def _say(about: Obj, resource: str, kind: str, message: str) -> Say:
    return Say(
        about=about, about_resource=resource, kind=kind, reason="NodeNotReady", message=message, component=COMPONENT
    )


def _tainted(node: Obj, now_s: float) -> tuple[Write, ...]:
    """The taints that follow from its conditions and from whether it takes pods; others stay."""
    spec = node.get("spec") or {}
    taints: list[Obj] = spec.get("taints") or []
    wanted: list[tuple[str, str]] = [(_UNSCHEDULABLE, "NoSchedule")] if spec.get("unschedulable") else []
    ready = condition_of(node, "Ready")
    if ready is not None and not is_ready(node):
        key = _UNREACHABLE if ready["status"] == "Unknown" else _NOT_READY
        wanted += [(key, "NoSchedule"), (key, "NoExecute")]
    known = {(taint["key"], taint["effect"]): taint for taint in taints}
    fresh = [
        known.get((key, effect), {"key": key, "effect": effect, "timeAdded": rfc3339(now_s)}) for key, effect in wanted
    ]
    after = [taint for taint in taints if taint["key"] not in _OURS] + fresh
    if after == taints:
        return ()
    rest = {key: value for key, value in spec.items() if key != "taints"}
    return (Update(resource="nodes", obj={**node, "spec": {**rest, "taints": after} if after else rest}),)


def _unready_pods(view: View, node: Obj, now_s: float) -> tuple[Write, ...]:
    """Its pods that were Ready are not; only the node itself can take that back."""
    writes: list[Write] = []
    for pod in view.all_of("pods"):
        if pod["spec"].get("nodeName") != name_of(node) or not is_ready(pod):
            continue
        status = pod["status"]
        conditions = [
            {**one, "status": "False", "lastTransitionTime": rfc3339(now_s)} if one["type"] == "Ready" else one
            for one in status["conditions"]
        ]
        writes.append(Update(resource="pods", obj={**pod, "status": {**status, "conditions": conditions}}, status=True))
        writes.append(_say(pod, "pods", "Warning", "Node is not ready"))
    return tuple(writes)
