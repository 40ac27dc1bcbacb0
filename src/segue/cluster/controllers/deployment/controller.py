"""The Deployment controller: one ReplicaSet per template, and the way from the old ones to the new one (D1-D17).

Rule 1: it never touches a pod; it sizes ReplicaSets and believes their status.
Rule 2: one step per look: a look that raises the new ReplicaSet lowers no old one (D4); a scaling event rolls nothing
(D15).
Rule 3: a ReplicaSet that no longer matches the selector is let go and keeps its pods; one that matches is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from segue.cluster.controllers import owners
from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.controllers.deployment import conditions, revisions
from segue.cluster.controllers.deployment.desk import COMPONENT, RESOURCE, Desk
from segue.cluster.controllers.deployment.sizes import Size, lowered, raised, shared_out
from segue.cluster.controllers.deployment.wishes import wishes_of
from segue.cluster.store import StoreEvent
from segue.cluster.view import TERMINAL_PHASES, View
from segue.cluster.writes import Create, Outcome, Say, Update, Write
from segue.model.objects import (
    Obj,
    Ref,
    controller_of,
    is_terminating,
    name_of,
    namespace_of,
    uid_of,
)

SETS = "replicasets.apps"


class DeploymentController:
    """Rolls Deployments out."""

    name = "deployment"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The Deployment itself; of a ReplicaSet whoever controls, controlled or may adopt it; of a gone pod."""
        if event.ref.resource == RESOURCE:
            return [event.ref]
        if event.ref.resource == "pods" and event.kind == "DELETED":
            return _recreated_by(view, event)  # Recreate waits for the last old pod to be gone (D10)
        if event.ref.resource != SETS:
            return []
        return sorted(owners.concerned(view, event, RESOURCE, "Deployment"))

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """One look: claim ReplicaSets, then scale, roll or recreate, then say how far it is."""
        deployment = view.get(ref)
        if deployment is None:
            return NOTHING
        claim = owners.claim(deployment, SETS, owners.claimable(view, deployment, SETS))
        if claim.writes:
            return Outcome(writes=claim.writes, because="ReplicaSets to adopt or release")
        desk = Desk(deployment, wishes_of(deployment), claim.owned, now_s)
        if is_terminating(deployment):
            return desk.outcome(conditions.counted(desk.rollout), "it is being deleted")
        desk.set_conditions(conditions.pause_condition(desk.rollout))
        desk.sync_revision()
        if desk.edited and not desk.wishes.paused:
            # Its size is not judged by a status that does not know its new minReadySeconds yet (M11).
            return desk.edits("the new ReplicaSet's revision or minReadySeconds changed")
        if desk.wishes.paused or _is_scaling_event(desk):
            _scale(desk)
            if desk.wishes.paused:
                _clean_up(desk)
            because = "paused" if desk.wishes.paused else "the number of replicas changed"
            return desk.outcome(conditions.counted(desk.rollout), because)
        because = _roll(view, desk) if desk.wishes.rolling else _recreate(view, desk)
        if desk.collided:
            return desk.outcome(conditions.counted(desk.rollout), "another ReplicaSet has the new one's name")
        return desk.outcome(conditions.progressed(desk.rollout), because)

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """A new ReplicaSet that may not be created is said, and shows as Progressing=False."""
        deployment = view.get(ref)
        if deployment is None or not isinstance(refusal.write, Create):
            return ()
        text = f'Failed to create new replica set "{name_of(refusal.write.obj)}": {refusal.error.message}'
        told = Say(
            about=deployment,
            about_resource=RESOURCE,
            kind="Warning",
            reason=conditions.CREATE_FAILED,
            message=text,
            component=COMPONENT,
        )
        if wishes_of(deployment).deadline_s is None:
            return (told,)
        status = deployment.get("status") or {}
        fresh = conditions.condition("Progressing", "False", conditions.CREATE_FAILED, text, refusal.now_s)
        after = {**status, "conditions": conditions.with_condition(status.get("conditions") or [], fresh)}
        if after == status:
            return (told,)
        return (told, Update(resource=RESOURCE, obj={**deployment, "status": after}, status=True))


def _roll(view: View, desk: Desk) -> str:
    """RollingUpdate: raise, else lower, else tidy up."""
    desk.ensure_new(view)
    if desk.new is None:
        return "another ReplicaSet has the new one's name"
    if desk.created:
        return "the new ReplicaSet first, then the Deployment's revision, then sizes"
    new = size_of(desk.new)
    if new.replicas > desk.wishes.replicas:
        desk.scale(desk.new, desk.wishes.replicas)
        return "the new ReplicaSet is larger than wanted"
    total = sum(size_of(item).replicas for item in desk.rollout.sets)
    larger = raised(desk.wishes, new.replicas, total) if new.replicas < desk.wishes.replicas else new.replicas
    if larger > new.replicas:
        desk.scale(desk.new, larger)
        return f"room for {larger - new.replicas} new pods"
    smaller = lowered(desk.wishes, new, [size_of(old) for old in desk.olds])
    if smaller:
        for old in list(desk.olds):
            if name_of(old) in smaller:
                desk.scale(old, smaller[name_of(old)])
        return "old pods can be spared"
    _clean_up_when_complete(desk)
    return "nothing to raise or to lower"


def _recreate(view: View, desk: Desk) -> str:
    """Recreate: the old ones to 0, wait until none of their pods is left, then the new one (D10)."""
    alive = [old for old in desk.olds if size_of(old).replicas > 0]
    if alive:
        for old in alive:
            desk.scale(old, 0)
        return "old pods go first"
    if any((old.get("status") or {}).get("replicas") for old in desk.olds) or _old_pods_left(view, desk):
        return "old pods are still there"
    desk.ensure_new(view)
    if desk.new is None:
        return "another ReplicaSet has the new one's name"
    if not desk.created:
        desk.scale(desk.new, desk.wishes.replicas)
        _clean_up_when_complete(desk)
    return "no old pod is left"


def _old_pods_left(view: View, desk: Desk) -> bool:
    return any(
        pod.get("status", {}).get("phase") not in TERMINAL_PHASES
        for old in desk.olds
        for pod in view.owned_by(uid_of(old), "pods", namespace_of(old))
    )


def _is_scaling_event(desk: Desk) -> bool:
    """Whether spec.replicas differs from what an active ReplicaSet was last sized for (D15)."""
    known = [revisions.annotated_number(item, revisions.DESIRED_REPLICAS) for item in _active(desk)]
    return any(number is not None and number != desk.wishes.replicas for number in known)


def _scale(desk: Desk) -> None:
    """Sizes alone: the only active ReplicaSet takes all, or all active ones share (D15)."""
    active = _active(desk)
    if len(active) <= 1:
        latest = active or ([desk.new] if desk.new is not None else desk.olds[-1:])
        for item in latest:
            # Also where the size is right already: else the annotation would ask for scaling for ever.
            desk.scale(item, desk.wishes.replicas, annotate=bool(active))
        return
    if desk.new is not None and _is_saturated(desk, desk.new):
        for old in [item for item in active if item is not desk.new]:
            desk.scale(old, 0)
        return
    if not desk.wishes.rolling:
        return
    newest_first = list(reversed(revisions.by_age(active)))
    total = (desk.deployment.get("status") or {}).get("replicas", 0)
    sizes = shared_out(desk.wishes, [size_of(item) for item in newest_first], deployment_total=total)
    in_order = {name: place for place, name in enumerate(sizes)}
    for item in sorted(newest_first, key=lambda item: in_order[name_of(item)]):
        desk.scale(item, sizes[name_of(item)], annotate=True)


def _is_saturated(desk: Desk, new: Obj) -> bool:
    size = size_of(new)
    desired = revisions.annotated_number(new, revisions.DESIRED_REPLICAS)
    return size.replicas == size.available == desired == desk.wishes.replicas


def _clean_up_when_complete(desk: Desk) -> None:
    if conditions.is_complete(desk.wishes, desk.deployment, desk.deployment.get("status") or {}):
        _clean_up(desk)


def _clean_up(desk: Desk) -> None:
    """Old ReplicaSets beyond the history limit go, lowest revision first, if nothing of them is alive (D12)."""
    if desk.wishes.history_limit is None:
        return
    alive = sorted((old for old in desk.olds if not is_terminating(old)), key=revisions.revision_of)
    for old in alive[: max(0, len(alive) - desk.wishes.history_limit)]:
        status = old.get("status") or {}
        seen = status.get("observedGeneration", 0) >= old["metadata"].get("generation", 0)
        if seen and not status.get("replicas") and size_of(old).replicas == 0:
            desk.remove(old)


def _active(desk: Desk) -> list[Obj]:
    return [item for item in desk.rollout.sets if size_of(item).replicas > 0]


def size_of(replica_set: Obj) -> Size:
    """A ReplicaSet in numbers."""
    return Size(
        name=name_of(replica_set),
        replicas=cast("int", replica_set["spec"].get("replicas", 1)),
        available=(replica_set.get("status") or {}).get("availableReplicas") or 0,
        total_max_before=revisions.annotated_number(replica_set, revisions.MAX_REPLICAS),
    )


def _recreated_by(view: View, event: StoreEvent) -> list[Ref]:
    owner = controller_of(event.obj)
    if owner is None or owner.get("kind") != "ReplicaSet":
        return []
    replica_set = view.get(Ref(resource=SETS, namespace=event.ref.namespace, name=owner["name"]))
    above = controller_of(replica_set) if replica_set is not None else None
    if above is None or above.get("kind") != "Deployment":
        return []
    ref = Ref(resource=RESOURCE, namespace=event.ref.namespace, name=above["name"])
    deployment = view.get(ref)
    return [ref] if deployment is not None and not wishes_of(deployment).rolling else []
