"""The DaemonSet controller: one pod on each node that its template chooses and tolerates (W3, W20-W27).

Rule 1: it chooses the node and the scheduler binds: a pod is made with an affinity to one node's name.
Rule 2: a node that takes no more pods (cordoned, short of memory) takes these all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers import history, owners
from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.controllers.daemonset.pods import HASH_LABEL, oldest_first, pod_for
from segue.cluster.controllers.daemonset.steps import Look, Steps, look_at, steps_of
from segue.cluster.controllers.naming import free_names
from segue.cluster.controllers.pods import available_in_s
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Outcome, Say, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from segue.ports import Chance

RESOURCE = "daemonsets.apps"
COMPONENT = "daemonset-controller"
BURST = 250  # creates or deletes of one look
_ALWAYS = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")


class DaemonSetController:
    """Keeps a pod on each node."""

    name = "daemonset"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The DaemonSet itself, all of them where nodes change, and those that a pod concerns."""
        if event.ref.resource == RESOURCE:
            return [event.ref]
        if event.ref.resource == "nodes":
            return _refs(view.all_of(RESOURCE)) if _placement_changed(event) else []
        if event.ref.resource != "pods":
            return []
        return sorted(owners.concerned(view, event, RESOURCE, "DaemonSet"))

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Claim pods and revisions, then fill nodes or update, then say how many there are."""
        daemon_set = view.get(ref)
        if daemon_set is None or is_terminating(daemon_set):
            return NOTHING
        claimed = history.claim(view, daemon_set)
        pods = owners.claim(daemon_set, "pods", owners.claimable(view, daemon_set, "pods"))
        if claimed.writes or pods.writes:
            return Outcome(writes=(*claimed.writes, *pods.writes), because="pods or revisions to adopt or release")
        present = history.propose(view, daemon_set, claimed.owned, HASH_LABEL)
        digest = history.hash_in(present.revision, HASH_LABEL)
        look = look_at(daemon_set, view.all_of("nodes"), pods.owned, digest, now_s)
        steps = steps_of(look)
        writes: list[Write] = [*present.writes]
        status = _status(look, present.collisions)
        if status != (daemon_set.get("status") or {}):
            writes.append(Update(resource=RESOURCE, obj={**daemon_set, "status": status}, status=True))
        # After the status: a pod that is refused stops what comes after it.
        writes += [*self._creates(view, look, steps), *_deletes(look, steps)]
        old = [item for item in claimed.owned if name_of(item) != name_of(present.revision)]
        writes += _clean_up(daemon_set, old, pods.owned)
        return Outcome(writes=tuple(writes), because=steps.because, wake_in_s=_wake_in_s(look, steps))

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """A pod that may not be created or deleted is said."""
        daemon_set, message = view.get(ref), refusal.error.message
        match refusal.write:
            case Create(resource="pods") if daemon_set is not None:
                return (_say(daemon_set, "Warning", "FailedCreate", f"Error creating: {message}"),)
            case Delete(ref=Ref(resource="pods")) if daemon_set is not None:
                return (_say(daemon_set, "Warning", "FailedDelete", f"Error deleting: {message}"),)
            case _:
                return ()

    def _creates(self, view: View, look: Look, steps: Steps) -> list[Write]:
        daemon_set, nodes = look.daemon_set, steps.nodes[:BURST]
        prefix = f"{name_of(daemon_set)}-"
        writes: list[Write] = []
        for name, node in zip(
            free_names(view, self._chance, namespace_of(daemon_set), prefix, len(nodes)), nodes, strict=True
        ):
            writes.append(Create(resource="pods", obj=pod_for(daemon_set, look.digest, name, node)))
            writes.append(_say(daemon_set, "Normal", "SuccessfulCreate", f"Created pod: {name}"))
        return writes


def _deletes(look: Look, steps: Steps) -> list[Write]:
    writes: list[Write] = []
    for pod in steps.ended:
        where = f"daemon pod {namespace_of(pod)}/{name_of(pod)} on node {pod['spec'].get('nodeName', '')}"
        if pod["status"]["phase"] == "Failed":
            text = f"Found failed {where}, will try to kill it"
            writes.append(_say(look.daemon_set, "Warning", "FailedDaemonPod", text))
        else:
            text = f"Found succeeded {where}, will try to delete it"
            writes.append(_say(look.daemon_set, "Normal", "SucceededDaemonPod", text))
    for pod in steps.pods[:BURST]:
        ref = Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod))
        writes.append(Delete(ref=ref, uid=uid_of(pod)))
        writes.append(_say(look.daemon_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
    return writes


def _status(look: Look, collisions: int) -> Obj:
    """Counts by node, of each node's oldest pod."""
    counts = dict.fromkeys((*_ALWAYS, "updatedNumberScheduled", "numberAvailable", "numberUnavailable"), 0)
    desired = {name_of(node) for node in look.desired}
    for name in [name_of(node) for node in look.nodes]:
        pods = oldest_first(look.pods.get(name, []))
        if name not in desired:
            counts["numberMisscheduled"] += bool(pods)
            continue
        counts["desiredNumberScheduled"] += 1
        if pods:
            counts["currentNumberScheduled"] += 1
            counts["numberReady"] += is_ready(pods[0])
            counts["numberAvailable"] += is_ready(pods[0]) and look.available(pods[0])
            counts["updatedNumberScheduled"] += look.is_new(pods[0])
    counts["numberUnavailable"] = len(desired) - counts["numberAvailable"]
    # Kubernetes leaves zeros out, but for these four.
    status: Obj = {key: count for key, count in counts.items() if count or key in _ALWAYS}
    status["observedGeneration"] = look.daemon_set["metadata"].get("generation", 0)
    if collisions:
        status["collisionCount"] = collisions
    return status


def _clean_up(daemon_set: Obj, old: list[Obj], pods: Iterable[Obj]) -> list[Write]:
    """Old revisions beyond the limit go, lowest first, but for those that pods are of."""
    live = {labels_of(pod).get(HASH_LABEL) for pod in pods}
    surplus = max(0, len(old) - daemon_set["spec"].get("revisionHistoryLimit", 10))
    idle = [item for item in history.in_order(old) if history.hash_in(item, HASH_LABEL) not in live]
    return [history.deletion(item) for item in idle[:surplus]]


def _placement_changed(event: StoreEvent) -> bool:
    """Whether a node came or went, or another set of pods may be on it; heartbeats do not count."""
    if event.kind != "MODIFIED" or event.before is None:
        return True
    return labels_of(event.obj) != labels_of(event.before) or event.obj.get("spec") != event.before.get("spec")


def _wake_in_s(look: Look, steps: Steps) -> float | None:
    min_ready_s: int = look.daemon_set["spec"].get("minReadySeconds") or 0
    waits = [available_in_s(pod, min_ready_s, look.now_s) for pods in look.pods.values() for pod in pods]
    return min((wait for wait in [*waits, steps.wake_in_s] if wait is not None), default=None)


def _refs(daemon_sets: Iterable[Obj]) -> list[Ref]:
    return [Ref(resource=RESOURCE, namespace=namespace_of(one), name=name_of(one)) for one in daemon_sets]


def _say(daemon_set: Obj, kind: str, reason: str, message: str) -> Say:
    return Say(
        about=daemon_set, about_resource=RESOURCE, kind=kind, reason=reason, message=message, component=COMPONENT
    )
