"""Where Deployments stand, for `segue status` and `segue history`: read, never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.drive.flow import Flow, ask, body_of, get
from segue.drive.observe import Observer
from segue.drive.standing_beside import sides_of
from segue.model.objects import Obj, name_of, rfc3339
from segue.model.workloads import CHANGE_CAUSE
from segue.release.beside import Pair
from segue.release.memory import RAMPED, Memory
from segue.release.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One Deployment, in words."""

    name: str
    replicas: int
    ready: int
    version: str
    state: str
    versions: tuple[str, ...]
    services: tuple[str, ...]
    driven_by: str = ""
    since_s: float | None = None
    kind: str = "Deployment"
    phase: str = ""  # what of the state tells no time, "" where nothing is under way

    def as_obj(self) -> Obj:
        """For machines."""
        return {
            self.kind.lower(): self.name,
            "replicas": self.replicas,
            "ready": self.ready,
            "version": self.version,
            "release": self.state,
            "drivenBy": self.driven_by or None,
            "since": rfc3339(self.since_s) if self.since_s else None,
            "versions": list(self.versions),
            "services": list(self.services),
        }


def standing(namespace: str, name: str, me: str, holder_is_gone: Callable[[str], bool]) -> Flow[Standing]:
    """Where one Deployment stands."""
    observer = Observer(namespace=namespace, name=name, me=me, holder_is_gone=holder_is_gone)
    snapshot = yield from observer.observe()
    return standing_of(snapshot)


def standings(namespace: str, me: str, holder_is_gone: Callable[[str], bool]) -> Flow[tuple[Standing, ...]]:
    """Where all Deployments of a namespace stand."""
    _, (found,) = yield from ask(get(f"/apis/apps/v1/namespaces/{namespace}/deployments"))
    rows: list[Standing] = []
    for obj in body_of(found, "listing Deployments").get("items") or []:
        row = yield from standing(namespace, name_of(obj), me, holder_is_gone)
        if all(row.name != one.name for one in rows):  # two side by side are told of together
            rows.append(row)
    return tuple(rows)


def revisions(namespace: str, name: str, me: str, holder_is_gone: Callable[[str], bool]) -> Flow[list[Obj]]:
    """The revisions of a Deployment, oldest first."""
    observer = Observer(namespace=namespace, name=name, me=me, holder_is_gone=holder_is_gone)
    snapshot = yield from observer.observe()
    newest = snapshot.newest
    return [
        {
            "revision": one.revision,
            "version": one.pod_hash,
            "replicas": one.replicas,
            "current": newest is not None and one.name == newest.name,
            "images": [str(c.get("image")) for c in one.template.get("spec", {}).get("containers") or []],
            "cause": one.annotations.get(CHANGE_CAUSE, ""),
        }
        for one in sorted(snapshot.sets, key=lambda one: one.revision)
    ]


def _standing_of_two(pair: Pair) -> Standing:
    sides, memory = sides_of(pair), pair.memory
    return Standing(
        name=pair.beside.app if memory is not None else pair.deployment.name,
        replicas=sides.replicas,
        ready=sides.ready,
        version=sides.version,
        state=_state(pair, memory, sides.phase),
        versions=sides.versions,
        services=_services(pair),
        driven_by=pair.held_by,
        since_s=memory.begun_s if memory else None,
        phase=(sides.phase or _phase(pair, memory)) if memory else "",
    )


def _services(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(
        f"Service {service.name}: "
        + (f"pinned to {service.pinned_to}" if service.pinned_to else "all versions")
        + f", {len(snapshot.ready_endpoints(service.name))} ready endpoints"
        for service in snapshot.services
    )


def standing_of(snapshot: Snapshot) -> Standing:
    """Where the Deployment of a snapshot stands."""
    if isinstance(snapshot, Pair):
        return _standing_of_two(snapshot)
    deployment = snapshot.deployment
    memory = snapshot.memory
    newest = snapshot.newest
    serving = newest.pod_hash if newest else ""
    ready = sum(pod.ready for pod in snapshot.pods if pod.pod_hash)
    if memory is not None and memory.strategy in RAMPED:
        ready = sum(pod.ready and not pod.orphaned for pod in snapshot.pods if pod.pod_hash)
    elif memory is not None and memory.old_hash:  # both versions are up: what counts is the one that serves
        serving = memory.new_hash if memory.serving == "new" else memory.old_hash
        ready = len(snapshot.ready_of(serving))
    return Standing(
        name=deployment.name,
        replicas=deployment.replicas,
        ready=ready,
        version=serving,
        state=_state(snapshot, memory),
        versions=tuple(_versions(snapshot, memory)),
        services=_services(snapshot),
        driven_by=snapshot.held_by,
        since_s=memory.begun_s if memory else None,
        phase=_phase(snapshot, memory) if memory else "",
    )


def _state(snapshot: Snapshot, memory: Memory | None, phase: str = "") -> str:
    if memory is None:
        return "none under way"
    age_s = max(0.0, snapshot.now_s - memory.begun_s)
    driven = f"driven by {snapshot.held_by}" if snapshot.held_by else "nobody drives it"
    return f"{memory.kind} under way for {age_s:.0f} s, {phase or _phase(snapshot, memory)}; {driven}"


def _phase(snapshot: Snapshot, memory: Memory) -> str:
    if memory.kind == "scale":
        return f"from {snapshot.deployment.replicas} to {memory.target} replicas"
    if memory.kind == "retire":
        return f"pod {memory.pod} is to go"
    if memory.aborting:
        return "on its way back"
    if memory.paused:
        return f"paused: segue resume {snapshot.deployment.name}"
    if memory.strategy in RAMPED and memory.patched:
        return _mixed(snapshot, memory)
    old = snapshot.set_named(memory.old_set)
    if memory.serving == "new":
        return "old pods are ending" if old is None or old.replicas == 0 else "the new version serves, old pods drain"
    if not memory.patched:
        return "the Services are being pinned"
    if old is not None and snapshot.owns(old):
        return "the new version comes up under the brake"
    new = snapshot.newest
    if memory.next_stop and new is not None and len(snapshot.ready_of(new.pod_hash)) >= snapshot.deployment.replicas:
        return f"all new pods are Ready and have no traffic: segue promote {snapshot.deployment.name}"
    return "the old version serves, new pods come up"


def _mixed(snapshot: Snapshot, memory: Memory) -> str:
    """Where a release stands that mixes both versions."""
    new = snapshot.newest
    count = len(snapshot.ready_of(new.pod_hash)) if new is not None else 0
    leaving = sum(pod.orphaned and not pod.ended for pod in snapshot.pods)
    said = f"{count} of {snapshot.deployment.replicas} new pods are Ready" + (
        f", {leaving} pods drain" if leaving else ""
    )
    stop = memory.next_stop
    if stop is None:
        return said
    return f"{said}; it holds at {stop}: segue promote {snapshot.deployment.name}"


def _versions(snapshot: Snapshot, memory: Memory | None) -> list[str]:
    lines = []
    for one in sorted(snapshot.sets, key=lambda one: one.revision):
        pods = snapshot.pods_of(one.pod_hash)
        if not pods and not one.replicas:
            continue
        leaving = sum(pod.terminating for pod in pods)
        detached = "" if snapshot.owns(one) else ", detached: it does not show in kubectl rollout history now"
        serves = memory is not None and one.pod_hash == (
            memory.new_hash if memory.serving == "new" else memory.old_hash
        )
        lines.append(
            f"version {one.pod_hash} (revision {one.revision}): "
            f"{len(snapshot.ready_of(one.pod_hash))} of {one.replicas} Ready{f', {leaving} leaving' if leaving else ''}"
            + (", serves" if serves else "")
            + detached
        )
        lines += [f"  {pod.name}: {pod.trouble()}" for pod in pods if pod.alive and not pod.ready]
    return lines
