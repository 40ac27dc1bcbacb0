"""Where StatefulSets and DaemonSets stand, for `segue status` and `segue history`: read, never changed."""

from __future__ import annotations

from collections.abc import Callable

from segue.drive.flow import Flow, ask, body_of, get
from segue.drive.native_observe import NativeObserver
from segue.drive.standing import Standing
from segue.model.natives import PLURALS, partition_of
from segue.model.objects import Obj, name_of
from segue.model.workloads import CHANGE_CAUSE
from segue.release.memory import Memory
from segue.release.native_snapshot import ORDINALS, NativeSnapshot


def native_standing(observer: NativeObserver) -> Flow[Standing]:
    """Where one stands."""
    return native_standing_of((yield from observer.observe()))


def native_standing_of(seen: NativeSnapshot) -> Standing:
    """Where the workload of a snapshot stands."""
    memory, native = seen.memory, seen.native
    versions = sorted({seen.version_of(pod) for pod in seen.pods})
    return Standing(
        kind=native.kind,
        name=native.name,
        replicas=native.desired,
        ready=sum(pod.ready for pod in seen.pods),
        version=seen.newest.short if seen.newest is not None else "",
        state=_state(seen, memory),
        versions=tuple(line for version in versions for line in _version(seen, version)),
        services=tuple(
            f"Service {service.name}: {sum(one.ready for one in seen.endpoints[service.name])} ready endpoints"
            for service in seen.services
        ),
        driven_by=seen.held_by,
        since_s=memory.begun_s if memory else None,
        phase=_phase(seen, memory) if memory else "",
    )


def native_standings(namespace: str, me: str, holder_is_gone: Callable[[str], bool]) -> Flow[tuple[Standing, ...]]:
    """Where all of a namespace stand; none of a kind that may not be listed."""
    rows: list[Standing] = []
    for kind, plural in PLURALS.items():
        _, (found,) = yield from ask(get(f"/apis/apps/v1/namespaces/{namespace}/{plural}"))
        if found.code == 403:
            continue
        for obj in body_of(found, f"listing {kind}s").get("items") or []:
            observer = NativeObserver(
                kind=kind, namespace=namespace, name=name_of(obj), me=me, holder_is_gone=holder_is_gone
            )
            rows.append((yield from native_standing(observer)))
    return tuple(rows)


def native_revisions(observer: NativeObserver) -> Flow[list[Obj]]:
    """The revisions of one, oldest first."""
    seen = yield from observer.observe()
    newest = seen.newest
    return [
        {
            "revision": one.number,
            "version": one.short,
            "replicas": sum(one.bears(pod) for pod in seen.pods),
            "current": newest is not None and one.name == newest.name,
            "images": [str(c.get("image")) for c in one.template.get("spec", {}).get("containers") or []],
            "cause": one.annotations.get(CHANGE_CAUSE, ""),
        }
        for one in sorted(seen.revisions, key=lambda one: one.number)
    ]


def _version(seen: NativeSnapshot, version: str) -> list[str]:
    pods = [pod for pod in seen.pods if seen.version_of(pod) == version]
    names = ", ".join(pod.name for pod in pods[:5]) + (f" and {len(pods) - 5} more" if len(pods) > 5 else "")
    lines = [f"version {version}: {sum(pod.ready for pod in pods)} of {len(pods)} Ready ({names})"]
    return lines + [f"  {pod.name}: {pod.trouble()}" for pod in pods if pod.alive and not pod.ready]


def _state(seen: NativeSnapshot, memory: Memory | None) -> str:
    if memory is None:
        return "none under way"
    age_s = max(0.0, seen.now_s - memory.begun_s)
    driven = f"driven by {seen.held_by}" if seen.held_by else "nobody drives it"
    return f"{memory.kind} under way for {age_s:.0f} s, {_phase(seen, memory)}; {driven}"


def _phase(seen: NativeSnapshot, memory: Memory) -> str:
    native = seen.native
    if memory.aborting:
        return "on its way back"
    if memory.paused:
        return f"paused: segue resume {native.name}"
    said = f"{seen.new_and_ready()} of {native.desired} pods are new and Ready"
    if memory.strategy == ORDINALS:
        said += f", the partition is at {partition_of(native.strategy)}"
    stop = memory.next_stop
    return said if stop is None else f"{said}; it holds at {stop}: segue promote {native.name}"
