"""The ReplicaSet controller: as many pods of one template as spec.replicas says (R1-R5, D9).

Rule 1: a pod on its way out, or ended, is no replica; it is neither counted nor waited for (D9).
Rule 2: deletion is a plain DELETE with the pod's own grace; disruption budgets are not asked (R5).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from segue.cluster.controllers import owners
from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.controllers.naming import free_names
from segue.cluster.controllers.pods import available_in_s, is_active, is_available
from segue.cluster.controllers.ranking import first_to_go
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Outcome, Say, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    condition_of,
    controller_of,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    rfc3339,
    selects,
    uid_of,
)
from segue.ports import Chance

RESOURCE = "replicasets.apps"
COMPONENT = "replicaset-controller"
BURST = 500  # creates or deletes of one look (R3)


class ReplicaSetController:
    """Keeps the number of pods."""

    name = "replicaset"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The ReplicaSet itself; of a pod the one that controls or controlled it, or those that may adopt it."""
        if event.ref.resource == RESOURCE:
            return [event.ref]
        if event.ref.resource != "pods":
            return []
        return sorted(owners.concerned(view, event, RESOURCE, "ReplicaSet"))

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Claim, then create or delete, then say how many there are."""
        replica_set = view.get(ref)
        if replica_set is None:
            return NOTHING
        claim = owners.claim(replica_set, "pods", _may_be_claimed(view, replica_set))
        if claim.writes:
            return Outcome(writes=claim.writes, because="pods to adopt or release")
        active = [pod for pod in claim.owned if is_active(pod)]
        terminating = sum(1 for pod in claim.owned if is_terminating(pod))
        writes: list[Write] = []
        because = ""
        if not is_terminating(replica_set):
            missing = _wanted(replica_set) - len(active)
            if missing > 0:
                because = f"{missing} pods missing"
                writes += self._creates(view, replica_set, min(missing, BURST))
            elif missing < 0:
                because = f"{-missing} pods too many"
                writes += _deletes(view, replica_set, active, now_s)
        status = _status(replica_set, active, terminating, now_s)
        if status != (replica_set.get("status") or {}):
            writes.append(Update(resource=RESOURCE, obj={**replica_set, "status": status}, status=True))
        return Outcome(writes=tuple(writes), because=because, wake_in_s=_wake_in_s(replica_set, active, now_s))

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """A pod that may not be created or deleted is said, and shows as ReplicaFailure."""
        replica_set, write, error = view.get(ref), refusal.write, refusal.error
        if replica_set is None or not isinstance(write, Create | Delete):
            return ()
        reason, what = ("FailedCreate", "creating") if isinstance(write, Create) else ("FailedDelete", "deleting")
        message = f"Error {what}: {error.message}"
        told = _say(replica_set, "Warning", reason, message)
        mine = view.owned_by(uid_of(replica_set), "pods", namespace_of(replica_set))
        terminating = sum(1 for pod in mine if is_terminating(pod))
        status = _status(replica_set, [pod for pod in mine if is_active(pod)], terminating, refusal.now_s)
        if condition_of({"status": status}, "ReplicaFailure") is None:
            failure: Obj = {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": rfc3339(refusal.now_s),
                "reason": reason,
                "message": error.message,
            }
            status["conditions"] = [*(status.get("conditions") or []), failure]
        if status == replica_set.get("status"):
            return (told,)
        failed = {**replica_set, "status": status}
        return (told, Update(resource=RESOURCE, obj=failed, status=True))

    def _creates(self, view: View, replica_set: Obj, count: int) -> list[Write]:
        prefix = f"{name_of(replica_set)}-"
        writes: list[Write] = []
        for name in free_names(view, self._chance, namespace_of(replica_set), prefix, count):
            writes.append(Create(resource="pods", obj=_pod(replica_set, prefix, name)))
            writes.append(_say(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}"))
        return writes


def _may_be_claimed(view: View, replica_set: Obj) -> list[Obj]:
    mine = view.owned_by(uid_of(replica_set), "pods", namespace_of(replica_set))
    # An ended pod without a controller is nobody's: it would be adopted only to be counted out again.
    return mine + [pod for pod in view.owned_by("", "pods", namespace_of(replica_set)) if is_active(pod)]


def _wanted(replica_set: Obj) -> int:
    replicas = replica_set["spec"].get("replicas")
    return 1 if replicas is None else cast("int", replicas)


def _pod(replica_set: Obj, prefix: str, name: str) -> Obj:
    template = replica_set["spec"]["template"]  # shared, not copied: whoever performs a write makes its own copy
    metadata: Obj = {"name": name, "generateName": prefix, "namespace": namespace_of(replica_set)}
    for field in ("labels", "annotations", "finalizers"):
        if template.get("metadata", {}).get(field):
            metadata[field] = template["metadata"][field]
    metadata["ownerReferences"] = [owners.owner_reference(replica_set)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _deletes(view: View, replica_set: Obj, active: list[Obj], now_s: float) -> list[Write]:
    count = min(len(active) - _wanted(replica_set), BURST)
    victims = active
    if count < len(active):  # all of them need no order (R3)
        victims = first_to_go(active, _related(view, replica_set), now_s)[:count]
    writes: list[Write] = []
    for pod in victims:
        ref = Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod))
        writes.append(Delete(ref=ref, uid=uid_of(pod)))
        writes.append(_say(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
    return writes


def _related(view: View, replica_set: Obj) -> list[Obj]:
    """Pods of every ReplicaSet with the same controller (R1), this one's included."""
    namespace = namespace_of(replica_set)
    owner = controller_of(replica_set)
    siblings = view.owned_by(owner["uid"], RESOURCE, namespace) if owner is not None else [replica_set]
    return [pod for sibling in siblings for pod in view.owned_by(uid_of(sibling), "pods", namespace)]


def _status(replica_set: Obj, active: list[Obj], terminating: int, now_s: float) -> Obj:
    min_ready_s: int = replica_set["spec"].get("minReadySeconds") or 0
    wanted_labels = replica_set["spec"]["template"].get("metadata", {}).get("labels") or {}
    ready = [pod for pod in active if is_ready(pod)]
    status: Obj = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(1 for pod in active if selects(wanted_labels, labels_of(pod))),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for pod in ready if is_available(pod, min_ready_s, now_s)),
        "terminatingReplicas": terminating,
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    # Kubernetes leaves zeros out; `replicas` and `terminatingReplicas` are always there.
    always = ("replicas", "terminatingReplicas")
    kept: Obj = {key: value for key, value in status.items() if value or key in always}
    conditions = (replica_set.get("status") or {}).get("conditions") or []
    if len(active) == _wanted(replica_set):
        conditions = [item for item in conditions if item.get("type") != "ReplicaFailure"]
    if conditions:
        kept["conditions"] = conditions
    return kept


def _wake_in_s(replica_set: Obj, active: list[Obj], now_s: float) -> float | None:
    min_ready_s: int = replica_set["spec"].get("minReadySeconds") or 0
    waits = [wait for pod in active for wait in [available_in_s(pod, min_ready_s, now_s)] if wait is not None]
    return min(waits, default=None)


def _say(replica_set: Obj, kind: str, reason: str, message: str) -> Say:
    return Say(
        about=replica_set, about_resource=RESOURCE, kind=kind, reason=reason, message=message, component=COMPONENT
    )
