"""The disruption controller: how many pods a PodDisruptionBudget lets go now (B3, B4).

Rule 1: it only counts; who may evict is decided where evictions are asked for (`cluster.eviction`).
Rule 2: percentages are of what the pods' owners ask for, never of the pods that happen to be there, and round up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Outcome, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    condition_of,
    controller_of,
    is_ready,
    is_terminating,
    label_selector_matches,
    labels_of,
    name_of,
    namespace_of,
    rfc3339,
    seconds_of,
)

RESOURCE = "poddisruptionbudgets.policy"
EVICTED_IS_REMEMBERED_S = 120.0  # an eviction whose deletion nobody saw counts that long (B4)
_SCALED = {"ReplicaSet": "replicasets.apps", "Deployment": "deployments.apps", "StatefulSet": "statefulsets.apps"}


class DisruptionController:
    """Keeps the status of every budget."""

    name = "disruption"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The budget itself, those that select a pod now or did before, and all of a namespace where sizes change."""
        namespace = event.ref.namespace
        if event.ref.resource == RESOURCE:
            return [event.ref] if event.kind != "DELETED" else []
        budgets = view.all_of(RESOURCE, namespace) if namespace else []
        if event.ref.resource == "pods":
            states = [labels_of(state) for state in (event.obj, event.before) if state is not None]
            budgets = [one for one in budgets if any(protects(one, labels) for labels in states)]
        elif event.ref.resource not in _SCALED.values():
            return []
        return [Ref(resource=RESOURCE, namespace=namespace, name=name_of(budget)) for budget in budgets]

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Count, and write what changed."""
        budget = view.get(ref)
        if budget is None:
            return NOTHING
        pods = [pod for pod in view.all_of("pods", ref.namespace) if protects(budget, labels_of(pod))]
        expected, desired = _wanted(view, budget, pods)
        evicted = _still_evicted(budget, pods, now_s)
        healthy = sum(1 for pod in pods if _is_healthy(pod) and name_of(pod) not in evicted)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        before = budget.get("status") or {}
        status: Obj = {
            **{key: value for key, value in before.items() if key != "disruptedPods"},
            "observedGeneration": budget["metadata"].get("generation", 1),
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [_condition(budget, allowed, now_s)],
        }
        if evicted:
            status["disruptedPods"] = evicted
        writes: tuple[Write, ...] = ()
        if status != before:
            writes = (Update(resource=RESOURCE, obj={**budget, "status": status}, status=True),)
        oldest_s = min((seconds_of(at) for at in evicted.values()), default=math.inf)
        wake_in_s = max(0.0, oldest_s + EVICTED_IS_REMEMBERED_S - now_s) if evicted else None
        return Outcome(writes=writes, because=f"{healthy} healthy, {desired} wanted", wake_in_s=wake_in_s)

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()


def protects(budget: Obj, labels: dict[str, str]) -> bool:
    """Whether a budget is about pods with these labels: about none without a selector, about all with an empty one."""
    selector = budget.get("spec", {}).get("selector")
    return selector is not None and label_selector_matches(selector, labels)


def _wanted(view: View, budget: Obj, pods: list[Obj]) -> tuple[int, int]:
    """How many pods there should be, and how many of them healthy (B3)."""
    spec = budget["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        expected = _asked_for(view, pods)
        return expected, max(0, expected - _number(most, expected))
    if isinstance(least, int):
        return len(pods), least
    expected = _asked_for(view, pods)
    return expected, _number(least, expected) if least is not None else 0


def _number(value: int | str, whole: int) -> int:
    return value if isinstance(value, int) else math.ceil(int(value.rstrip("%")) * whole / 100)


def _asked_for(view: View, pods: list[Obj]) -> int:
    """What the pods' owners ask for in all; pods that nobody owns count for nothing."""
    sizes: dict[str, int] = {}
    for pod in pods:
        owner = _scaled_owner(view, pod)
        if owner is not None:
            sizes[str(owner["metadata"]["uid"])] = int(owner["spec"].get("replicas", 1))
    return sum(sizes.values())


def _scaled_owner(view: View, obj: Obj) -> Obj | None:
    """The last owner upwards that has a size: a ReplicaSet's Deployment, else the ReplicaSet."""
    reference = controller_of(obj)
    resource = _SCALED.get(str(reference.get("kind"))) if reference is not None else None
    if reference is None or resource is None:
        return None
    owner = view.get(Ref(resource=resource, namespace=namespace_of(obj), name=str(reference["name"])))
    if owner is None or owner["metadata"]["uid"] != reference.get("uid"):
        return None
    return _scaled_owner(view, owner) or owner


def _is_healthy(pod: Obj) -> bool:
    return is_ready(pod) and not is_terminating(pod)


def _still_evicted(budget: Obj, pods: list[Obj], now_s: float) -> dict[str, str]:
    """Pods whose eviction was granted and whose deletion is not seen yet."""
    present = {name_of(pod) for pod in pods if not is_terminating(pod)}
    known: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    return {pod: at for pod, at in known.items() if pod in present and seconds_of(at) + EVICTED_IS_REMEMBERED_S > now_s}


def _condition(budget: Obj, allowed: int, now_s: float) -> Obj:
    status, reason = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    known = condition_of(budget, "DisruptionAllowed")
    changed = known is None or known.get("status") != status
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "reason": reason,
        "message": "",
        "lastTransitionTime": rfc3339(now_s) if changed or known is None else known["lastTransitionTime"],
    }
