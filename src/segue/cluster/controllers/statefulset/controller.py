"""The StatefulSet controller: pods with names that stay, made and replaced in order (W1, W2, W10-W17).

Rule 1: a pod is replaced only after its object is gone: two pods of one name never are.
Rule 2: one look writes the status once, of the pods that it found, and before its steps: one that is refused stops
what comes after it.
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers import history, owners
from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.controllers.pods import available_in_s, is_available
from segue.cluster.controllers.statefulset.identity import is_member, revision_of
from segue.cluster.controllers.statefulset.steps import Look, Steps, steps_of
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Outcome, Say, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    is_ready,
    is_terminating,
    name_of,
    namespace_of,
    uid_of,
)

RESOURCE = "statefulsets.apps"
COMPONENT = "statefulset-controller"
HASH_LABEL = "controller.kubernetes.io/hash"


class StatefulSetController:
    """Keeps pods that have names."""

    name = "statefulset"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The set itself; of a pod the set that controls or controlled it, or those that may adopt it."""
        if event.ref.resource == RESOURCE:
            return [event.ref]
        if event.ref.resource != "pods":
            return []
        return sorted(owners.concerned(view, event, RESOURCE, "StatefulSet", lambda one: is_member(one, event.obj)))

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Claim pods and revisions, find the two revisions, take the steps, say how many there are."""
        stateful_set = view.get(ref)
        if stateful_set is None:
            return NOTHING
        claimed = history.claim(view, stateful_set)
        pods = owners.claim(stateful_set, "pods", _may_be_claimed(view, stateful_set))
        if claimed.writes or pods.writes:
            return Outcome(writes=(*claimed.writes, *pods.writes), because="pods or revisions to adopt or release")
        update = history.propose(view, stateful_set, claimed.owned, HASH_LABEL)
        known = (stateful_set.get("status") or {}).get("currentRevision")
        current = next((item for item in claimed.owned if name_of(item) == known), update.revision)
        look = Look(stateful_set=stateful_set, pods=pods.owned, current=current, update=update.revision, now_s=now_s)
        steps = Steps(because="it is being deleted") if is_terminating(stateful_set) else steps_of(look)
        writes: list[Write] = list(update.writes)
        status = _status(look, steps.updated, update.collisions)
        if status != (stateful_set.get("status") or {}):
            writes.append(Update(resource=RESOURCE, obj={**stateful_set, "status": status}, status=True))
        writes += _writes(stateful_set, steps)
        live = {name_of(current), name_of(update.revision), *(revision_of(pod) for pod in pods.owned)}
        writes += history.beyond_the_limit(claimed.owned, live, stateful_set["spec"].get("revisionHistoryLimit", 10))
        return Outcome(writes=tuple(writes), because=steps.because, wake_in_s=_wake_in_s(look))

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """A pod that may not be created, changed or deleted is said."""
        stateful_set = view.get(ref)
        match refusal.write:
            case Create(resource="pods", obj=obj):
                verb, pod = "Create", name_of(obj)
            case Update(resource="pods", obj=obj):
                verb, pod = "Update", name_of(obj)
            case Delete(ref=Ref(resource="pods", name=name)):
                verb, pod = "Delete", name
            case _:
                return ()
        if stateful_set is None:
            return ()
        return (_say(stateful_set, verb, pod, refusal.error.message),)


def _may_be_claimed(view: View, stateful_set: Obj) -> list[Obj]:
    """Its own pods, and those without a controller that have a name of its making."""
    namespace = namespace_of(stateful_set)
    orphans = view.owned_by("", "pods", namespace)
    return view.owned_by(uid_of(stateful_set), "pods", namespace) + [
        pod for pod in orphans if is_member(stateful_set, pod)
    ]


def _writes(stateful_set: Obj, steps: Steps) -> list[Write]:
    writes: list[Write] = []
    for pod in steps.made:
        writes += [Create(resource="pods", obj=pod), _say(stateful_set, "Create", name_of(pod))]
    for pod in steps.mended:
        writes += [Update(resource="pods", obj=pod), _say(stateful_set, "Update", name_of(pod))]
    for pod in steps.deleted:
        ref = Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod))
        writes += [Delete(ref=ref, uid=uid_of(pod)), _say(stateful_set, "Delete", name_of(pod))]
    return writes


def _status(look: Look, updated: int, collisions: int) -> Obj:
    """Counts of the pods as they were found; when all are new, the update revision becomes the current one."""
    wanted = look.stateful_set["spec"]["replicas"]
    ready = [pod for pod in look.pods if pod["status"].get("phase") == "Running" and is_ready(pod)]
    min_ready_s = look.stateful_set["spec"].get("minReadySeconds") or 0
    staying = [revision_of(pod) for pod in look.pods if not is_terminating(pod)]
    counts = {
        "replicas": len(look.pods),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for pod in ready if is_available(pod, min_ready_s, look.now_s)),
        "currentReplicas": staying.count(name_of(look.current)) - updated,
        "updatedReplicas": staying.count(name_of(look.update)),
    }
    current = name_of(look.current)
    if counts["updatedReplicas"] == counts["readyReplicas"] == counts["replicas"] == wanted:
        counts["currentReplicas"] = counts["updatedReplicas"]
        current = name_of(look.update)
    # Kubernetes leaves zeros out, but for these two.
    status: Obj = {key: count for key, count in counts.items() if count or key in ("replicas", "availableReplicas")}
    status |= {
        "observedGeneration": look.stateful_set["metadata"].get("generation", 0),
        "currentRevision": current,
        "updateRevision": name_of(look.update),
        "collisionCount": collisions,
    }
    conditions = (look.stateful_set.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    return status


def _wake_in_s(look: Look) -> float | None:
    min_ready_s: int = look.stateful_set["spec"].get("minReadySeconds") or 0
    waits = [available_in_s(pod, min_ready_s, look.now_s) for pod in look.pods]
    return min((wait for wait in waits if wait is not None), default=None)


def _say(stateful_set: Obj, verb: str, pod: str, error: str = "") -> Say:
    whose = f"{verb} Pod {pod} in StatefulSet {name_of(stateful_set)}"
    return Say(
        about=stateful_set,
        about_resource=RESOURCE,
        kind="Warning" if error else "Normal",
        reason=f"Failed{verb}" if error else f"Successful{verb}",
        message=f"{whose} failed error: {error}" if error else f"{whose} successful",
        component=COMPONENT,
    )
