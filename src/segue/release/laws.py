"""Laws that hold at every moment of a release, checked on what can be observed and on what the user wrote.

Rule: no number here comes from the engine. Floor and ceiling are recomputed from the user's manifest, "switched" and
"braked" are read from the objects, so that a law cannot agree with a mistake of the code it judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segue.model.objects import (
    Obj,
    annotations_of,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    seconds_of,
    selects,
    uid_of,
)
from segue.model.workloads import HASH_LABEL, without_hash

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The objects of one moment. `endpoints` are ready endpoints by Service; `live` are connections by pod."""

    at_s: float
    deployment: Obj
    replica_sets: Sequence[Obj]
    pods: Sequence[Obj]
    services: Sequence[Obj]
    endpoints: Mapping[str, frozenset[str]]
    live: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A law that did not hold."""

    law: str
    at_s: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Fewest pods that serve and most that are alive, from what the user wrote."""

    floor: int
    ceiling: int


def all_first_bounds(before: int, wanted: int) -> Bounds:
    """Both versions at full size."""
    return Bounds(floor=min(before, wanted), ceiling=before + max(before, wanted))


def let_go_bounds(before: int, wanted: int) -> Bounds:
    """The same where the tool dies just after the old pods have left traffic: they are replaced by pods without any."""
    both = all_first_bounds(before, wanted)
    return Bounds(floor=both.floor, ceiling=both.ceiling + before)


def ramped_bounds(replicas: int, max_surge: int | str) -> Bounds:
    """As many as there were, and maxSurge more, at least one; percentages are rounded up (D2)."""
    share = isinstance(max_surge, str) and max_surge.endswith("%")
    surge = -(-replicas * int(str(max_surge).removesuffix("%")) // 100) if share else int(max_surge)
    return Bounds(floor=replicas, ceiling=replicas + max(1, surge))


def check_moment(seen: Seen, bounds: Bounds) -> list[Broken]:
    """The laws of one moment of a release."""
    return [
        broken
        for law in (_floor, _ceiling, _served, _switched_and_braked, _detached_alone)
        for broken in law(seen, bounds)
    ]


def _pods(seen: Seen) -> list[Obj]:
    selector: dict[str, str] = seen.deployment["spec"]["selector"].get("matchLabels") or {}
    return [pod for pod in seen.pods if selects(selector, labels_of(pod))]


def _serving(seen: Seen) -> list[Obj]:
    return [
        pod
        for pod in _pods(seen)
        if is_ready(pod)
        and not is_terminating(pod)
        and any(selects(service["spec"].get("selector") or {}, labels_of(pod)) for service in seen.services)
    ]


def _floor(seen: Seen, bounds: Bounds) -> list[Broken]:
    """Never fewer Ready pods that the Service selects than the floor."""
    serving = len(_serving(seen))
    if serving >= bounds.floor:
        return []
    return [Broken(law="floor", at_s=seen.at_s, what=f"{serving} serve, floor {bounds.floor}")]


def _ceiling(seen: Seen, bounds: Bounds) -> list[Broken]:
    """Never more pods than the ceiling, leaving ones counted too, but for those that live for a moment only (A3)."""
    alive = sum(not is_momentary(pod, seen.at_s) for pod in _alive(seen))
    if alive <= bounds.ceiling:
        return []
    return [Broken(law="ceiling", at_s=seen.at_s, what=f"{alive} pods, ceiling {bounds.ceiling}")]


def _alive(seen: Seen) -> list[Obj]:
    """Its pods, and those of its ReplicaSets that were taken out of traffic."""
    sets = {name_of(one) for one in seen.replica_sets}
    out = [pod for pod in seen.pods if name_of(pod).rpartition("-")[0] in sets]
    known = {name_of(pod) for pod in out}
    return out + [pod for pod in _pods(seen) if name_of(pod) not in known]


def is_momentary(pod: Obj, at_s: float) -> bool:
    """Made to replace one that was taken out, and ended at once: not Ready, and ending or not a second old."""
    made = str(pod["metadata"].get("creationTimestamp") or "")
    return not is_ready(pod) and (is_terminating(pod) or (bool(made) and at_s - seconds_of(made) < 2))


def _served(seen: Seen, _: Bounds) -> list[Broken]:
    """The Service is never without a ready endpoint."""
    return [
        Broken(law="served", at_s=seen.at_s, what=f"Service {service} has no ready endpoint")
        for service, pods in seen.endpoints.items()
        if not pods
    ]


def _braked(seen: Seen) -> bool:
    return int(seen.deployment["spec"].get("minReadySeconds") or 0) > DAY_S


def _owned(seen: Seen) -> list[Obj]:
    uid = uid_of(seen.deployment)
    return [
        one
        for one in seen.replica_sets
        if any(
            owner.get("controller") and owner["uid"] == uid for owner in one["metadata"].get("ownerReferences") or []
        )
    ]


def _matches(one: Obj, seen: Seen) -> bool:
    return bool(without_hash(one["spec"]["template"]) == seen.deployment["spec"]["template"])


def _switched_and_braked(seen: Seen, _: Bounds) -> list[Broken]:
    """Never switched and braked at once (A2): a second template would end the version that serves."""
    newest = {labels_of(one).get(HASH_LABEL) for one in _owned(seen) if _matches(one, seen)}
    owned = {labels_of(one).get(HASH_LABEL) for one in _owned(seen)}
    for service in seen.services:
        pin = (service["spec"].get("selector") or {}).get(HASH_LABEL)
        if pin and pin in newest and len(owned) > 1 and _braked(seen) and _others_live(seen, pin):
            return [Broken(law="never switched and braked", at_s=seen.at_s, what=f"pinned to {pin} under the brake")]
    return []


def _others_live(seen: Seen, pin: str) -> bool:
    return any(labels_of(pod).get(HASH_LABEL) != pin for pod in _pods(seen))


def _detached_alone(seen: Seen, _: Bounds) -> list[Broken]:
    """Never a ReplicaSet detached unless another one matches the Deployment's template (A1)."""
    owned = _owned(seen)
    loose = [one for one in seen.replica_sets if one not in owned and int(one["spec"].get("replicas") or 0) > 0]
    if loose and not any(_matches(one, seen) for one in owned):
        return [Broken(law="detached alone", at_s=seen.at_s, what=f"{name_of(loose[0])} is loose and nothing matches")]
    return []


def check_ends(before: Seen, after: Seen, *, cap_s: float, switched_s: float | None) -> list[Broken]:
    """No pod is ended while it carries a live connection, before its cap."""
    ended = {name_of(pod) for pod in after.pods if is_terminating(pod)} | (
        {name_of(pod) for pod in before.pods} - {name_of(pod) for pod in after.pods}
    )
    already = {name_of(pod) for pod in before.pods if is_terminating(pod)}
    late = switched_s is not None and after.at_s - switched_s >= cap_s
    return [
        Broken(law="no live connection ended", at_s=after.at_s, what=f"{name} carried {before.live[name]}")
        for name in sorted(ended - already)
        if before.live.get(name) and not late
    ]


def check_traces(seen: Seen, leases: Sequence[Obj]) -> list[Broken]:
    """Nothing of segue's stays on the objects."""
    found = [
        f"{one.get('kind', 'object')} {name_of(one)}: {key}"
        for one in [seen.deployment, *seen.replica_sets, *seen.services, *seen.pods]
        for key in [*annotations_of(one), *labels_of(one)]
        if key.startswith("segue.dev/")
    ]
    found += [
        f"Service {name_of(one)} is pinned"
        for one in seen.services
        if HASH_LABEL in (one["spec"].get("selector") or {})
    ]
    found += [f"Lease {name_of(lease)}" for lease in leases if name_of(lease).startswith("segue-")]
    found += ["the brake is on"] if _braked(seen) else []
    found += [f"ReplicaSet {name_of(one)} is detached" for one in seen.replica_sets if one not in _owned(seen)]
    found += [
        f"what ReplicaSet {name_of(one)} makes is held back"
        for one in seen.replica_sets
        for gate in one["spec"]["template"]["spec"].get("schedulingGates") or []
        if gate["name"].startswith("segue.dev/")
    ]
    return [Broken(law="no traces", at_s=seen.at_s, what=what) for what in found]
