"""Which ReplicaSet is the Deployment's new one, and the annotations that number revisions (D11, D12).

Templates are equal when nothing but the pod-template-hash label tells them apart; absent, null and empty are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from segue.cluster.controllers import owners
from segue.cluster.controllers.deployment.wishes import Wishes
from segue.cluster.controllers.hashing import fnv1a, safe
from segue.model.objects import Obj, annotations_of, name_of, namespace_of

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
LONGEST_HISTORY = 2000  # characters of the revision-history annotation
_OWN_TO_EACH = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)


def by_age(replica_sets: Iterable[Obj]) -> list[Obj]:
    """Oldest first; within one second by name."""
    return sorted(replica_sets, key=lambda item: (item["metadata"].get("creationTimestamp", ""), name_of(item)))


def find_new(template: Obj, replica_sets: Iterable[Obj]) -> Obj | None:
    """The oldest ReplicaSet of this very template (D11)."""
    wanted = _bare(template)
    return next((item for item in by_age(replica_sets) if _bare(item["spec"]["template"]) == wanted), None)


def template_hash(template: Obj, collision_count: int | None) -> str:
    """The value of the pod-template-hash label: FNV-1a over the template and the collision count, safely encoded."""
    text = json.dumps(_bare(template), sort_keys=True, separators=(",", ":")).encode()
    if collision_count is not None:
        text += collision_count.to_bytes(8, "little")
    return safe(fnv1a(text))


def new_replica_set(deployment: Obj, wishes: Wishes, *, revision: int, replicas: int) -> Obj:
    """The ReplicaSet of the Deployment's present template, to be created."""
    spec = deployment["spec"]
    label = {HASH_LABEL: template_hash(spec["template"], (deployment.get("status") or {}).get("collisionCount"))}
    metadata = spec["template"].get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **label}
    template = {**spec["template"], "metadata": {**metadata, "labels": labels}}
    selector = {**spec["selector"], "matchLabels": {**(spec["selector"].get("matchLabels") or {}), **label}}
    made: Obj = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{label[HASH_LABEL]}",
            "namespace": namespace_of(deployment),
            "labels": labels,
            "ownerReferences": [owners.owner_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if wishes.min_ready_s:
        made["spec"]["minReadySeconds"] = wishes.min_ready_s
    return with_size(with_revision(deployment, made, revision), wishes, replicas)


def revision_of(obj: Obj) -> int:
    """The revision annotation, 0 where it is absent or no number."""
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_revision(olds: Sequence[Obj]) -> int:
    """One more than the greatest revision of the old ReplicaSets."""
    return max((revision_of(old) for old in olds), default=0) + 1


def with_revision(deployment: Obj, replica_set: Obj, revision: int) -> Obj:
    """The ReplicaSet with the Deployment's annotations and at least this revision; itself where nothing changes."""
    before = annotations_of(replica_set)
    after = {**before, **{key: text for key, text in annotations_of(deployment).items() if key not in _OWN_TO_EACH}}
    known = before.get(REVISION, "")
    if (not known or known.isdecimal()) and revision_of(replica_set) < revision:
        after[REVISION] = str(revision)
        if known:
            # It is rolled back to: what it was called before stays readable.
            after[REVISION_HISTORY] = _longer_history(before.get(REVISION_HISTORY, ""), known)
    return replica_set if after == before else _annotated(replica_set, after)


def with_size(replica_set: Obj, wishes: Wishes, replicas: int) -> Obj:
    """The ReplicaSet at this size, annotated with the sizes that proportional scaling starts from (D15)."""
    after = {
        **annotations_of(replica_set),
        DESIRED_REPLICAS: str(wishes.replicas),
        MAX_REPLICAS: str(wishes.total_max),
    }
    if after == annotations_of(replica_set) and replica_set["spec"].get("replicas") == replicas:
        return replica_set
    return _annotated({**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}}, after)


def annotated_number(replica_set: Obj, key: str) -> int | None:
    """A number of an annotation, None where there is none."""
    text = annotations_of(replica_set).get(key, "")
    return int(text) if text.isdecimal() else None


def _annotated(obj: Obj, annotations: dict[str, str]) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _longer_history(history: str, revision: str) -> str:
    revisions = [item for item in history.split(",") if item]
    while revisions and len(",".join([*revisions, revision])) > LONGEST_HISTORY:
        del revisions[0]
    return ",".join([*revisions, revision])


def _bare(template: Obj) -> object:
    """The template without its hash label and without what is empty."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return _without_empty({**template, "metadata": {**metadata, "labels": labels}})


def _without_empty(value: object) -> object:
    if isinstance(value, dict):
        items = ((key, _without_empty(item)) for key, item in value.items())
        return {key: item for key, item in items if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
