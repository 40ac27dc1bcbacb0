"""The desk of one look at a Deployment: its ReplicaSets as they are to be, gathered into one set of writes.

Rule 1: every object is written at most once per look, so no write of a look can make another one conflict.
Rule 2: where the Deployment's own annotations are to change, its status waits for the next look (same guard).
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.cluster.controllers.deployment import conditions, revisions
from segue.cluster.controllers.deployment.conditions import Rollout
from segue.cluster.controllers.deployment.sizes import raised
from segue.cluster.controllers.deployment.wishes import Wishes
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Outcome, Say, Update, Write
from segue.model.objects import Obj, Ref, annotations_of, condition_of, name_of, namespace_of, uid_of

RESOURCE = "deployments.apps"
SETS = "replicasets.apps"
COMPONENT = "deployment-controller"


class Desk:
    """What one look has decided so far."""

    def __init__(self, deployment: Obj, wishes: Wishes, owned: Sequence[Obj], now_s: float) -> None:
        self.deployment = deployment
        self.wishes = wishes
        self.now_s = now_s
        self.new = revisions.find_new(deployment["spec"]["template"], owned)
        self.olds = revisions.by_age(item for item in owned if item is not self.new)
        self.created = False
        self.collided = False
        self._stored = deployment
        self._edited: dict[str, Obj] = {}
        self._removed: list[Write] = []
        self._told: list[Write] = []

    @property
    def rollout(self) -> Rollout:
        """The Deployment and its ReplicaSets as they stand on the desk."""
        return Rollout(
            deployment=self.deployment, wishes=self.wishes, new=self.new, olds=tuple(self.olds), now_s=self.now_s
        )

    def set_conditions(self, wanted: list[Obj]) -> None:
        """Put conditions into the Deployment's status on the desk."""
        if wanted:
            self.deployment = {
                **self.deployment,
                "status": {**(self.deployment.get("status") or {}), "conditions": wanted},
            }

    def sync_revision(self) -> None:
        """The new ReplicaSet, if there is one, gets revision, annotations and minReadySeconds; old ones keep theirs."""
        if self.new is None:
            return
        fresh = revisions.with_revision(self.deployment, self.new, revisions.next_revision(self.olds))
        if (fresh["spec"].get("minReadySeconds") or 0) != self.wishes.min_ready_s:
            fresh = {**fresh, "spec": {**fresh["spec"], "minReadySeconds": self.wishes.min_ready_s}}
        self._replace(self.new, fresh)
        self._number(fresh)
        if self.wishes.deadline_s is not None and condition_of(self.deployment, "Progressing") is None:
            self._progress(conditions.NEW_FOUND, f'Found new replica set "{name_of(fresh)}"')

    def ensure_new(self, view: View) -> None:
        """Create the new ReplicaSet where there is none, in its first size (D3); another one of its name collides."""
        if self.new is not None:
            return
        total = sum(old["spec"].get("replicas", 1) for old in self.olds)
        replicas = raised(self.wishes, 0, total)
        revision = revisions.next_revision(self.olds)
        made = revisions.new_replica_set(self.deployment, self.wishes, revision=revision, replicas=replicas)
        if view.get(Ref(resource=SETS, namespace=namespace_of(made), name=name_of(made))) is not None:
            status = self.deployment.get("status") or {}
            collisions = {**status, "collisionCount": (status.get("collisionCount") or 0) + 1}
            self.deployment = {**self.deployment, "status": collisions}
            self.collided = True
            return
        self.new = made
        self.created = True
        if replicas > 0:
            self._tell(f"Scaled up replica set {name_of(made)} from 0 to {replicas}")
        if self.wishes.deadline_s is not None:
            self._progress(conditions.NEW_CREATED, f'Created new replica set "{name_of(made)}"')

    def scale(self, replica_set: Obj, replicas: int, *, annotate: bool = False) -> None:
        """Another size; `annotate` also where the size stays but the numbers for the next scaling event do not."""
        before = replica_set["spec"].get("replicas", 1)
        if before == replicas and not annotate:
            return
        self._replace(replica_set, revisions.with_size(replica_set, self.wishes, replicas))
        if before != replicas:
            way = "up" if before < replicas else "down"
            self._tell(f"Scaled {way} replica set {name_of(replica_set)} from {before} to {replicas}")

    def remove(self, replica_set: Obj) -> None:
        """Delete a ReplicaSet that nothing is left of."""
        ref = Ref(resource=SETS, namespace=namespace_of(replica_set), name=name_of(replica_set))
        self._removed.append(Delete(ref=ref, uid=uid_of(replica_set)))

    @property
    def edited(self) -> bool:
        """Whether a ReplicaSet is to be written."""
        return bool(self._edited)

    def edits(self, because: str) -> Outcome:
        """The ReplicaSets alone; their change calls for the next look."""
        writes = tuple(Update(resource=SETS, obj=item) for item in self._edited.values())
        return Outcome(writes=writes, because=because)

    def outcome(self, status: Obj, because: str) -> Outcome:
        """Everything decided, as writes."""
        writes: list[Write] = []
        if self.created and self.new is not None:
            writes.append(Create(resource=SETS, obj=self.new))
        numbered = annotations_of(self.deployment) != annotations_of(self._stored)
        if numbered:  # before any ReplicaSet is sized, as the real controller does
            metadata = {**self._stored["metadata"], "annotations": annotations_of(self.deployment)}
            writes.append(Update(resource=RESOURCE, obj={**self._stored, "metadata": metadata}))
        writes += [Update(resource=SETS, obj=item) for item in self._edited.values()]
        writes += self._removed
        if not numbered and status != (self._stored.get("status") or {}):
            writes.append(Update(resource=RESOURCE, obj={**self._stored, "status": status}, status=True))
        writes += self._told
        return Outcome(writes=tuple(writes), because=because, wake_in_s=conditions.deadline_in_s(self.rollout, status))

    def _number(self, new: Obj) -> None:
        """The Deployment bears its new ReplicaSet's revision."""
        revision = annotations_of(new).get(revisions.REVISION, "")
        annotations = annotations_of(self.deployment)
        if annotations.get(revisions.REVISION) != revision:
            metadata = {**self.deployment["metadata"], "annotations": {**annotations, revisions.REVISION: revision}}
            self.deployment = {**self.deployment, "metadata": metadata}

    def _progress(self, reason: str, message: str) -> None:
        known = (self.deployment.get("status") or {}).get("conditions") or []
        fresh = conditions.condition("Progressing", "True", reason, message, self.now_s)
        self.set_conditions(conditions.with_condition(known, fresh))

    def _replace(self, before: Obj, after: Obj) -> None:
        if after is before:
            return
        if before is not self.new or not self.created:
            self._edited[name_of(after)] = after
        if before is self.new:
            self.new = after
        else:
            self.olds = [after if old is before else old for old in self.olds]

    def _tell(self, message: str) -> None:
        self._told.append(
            Say(
                about=self._stored,
                about_resource=RESOURCE,
                kind="Normal",
                reason="ScalingReplicaSet",
                message=message,
                component=COMPONENT,
            )
        )
