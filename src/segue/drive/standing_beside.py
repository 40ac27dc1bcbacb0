"""Where a release side by side stands, and which versions an app has: for `segue status` and `segue history`.

Rule: read, never changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.drive.flow import Flow, ask, get
from segue.drive.pair import items_of
from segue.model.objects import Obj, annotations_of, name_of, selects
from segue.model.services import Service
from segue.model.workloads import CHANGE_CAUSE, Deployment
from segue.release.beside import Pair, label_of_app, pod_labels_of, version_of_app
from segue.release.memory import RAMPED, Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is to be said of both together."""

    replicas: int
    ready: int
    version: str
    phase: str
    versions: tuple[str, ...]


def sides_of(pair: Pair) -> Sides:
    """Both Deployments in words."""
    memory = pair.memory
    mixes = memory is not None and memory.strategy in RAMPED
    serves = pair.new if memory is None or memory.serving == "new" else pair.old
    serves = serves or pair.deployment
    current = pair.current(serves)
    both = list({one.name: one for one in (pair.old, pair.new) if one is not None}.values())
    ready = sum(len(pair.ready_in(one)) for one in both) if mixes else len(pair.ready_in(serves))
    return Sides(
        replicas=sum(one.replicas for one in both) if mixes else serves.replicas,
        ready=ready,
        version=current.pod_hash if current is not None else "",
        phase=_phase(pair, memory) if memory is not None else "",
        versions=tuple(_line(pair, one, serves=mixes or one is serves) for one in both),
    )


def _line(pair: Pair, one: Deployment, *, serves: bool) -> str:
    said = f"Deployment {one.name}: {len(pair.ready_in(one))} of {one.replicas} Ready"
    return said + (", serves" if serves and one.replicas else "")


def _phase(pair: Pair, memory: Memory) -> str:
    app = pair.beside.app
    if memory.aborting:
        return "on its way back"
    if memory.paused:
        return f"paused: segue resume {app}"
    new, old = pair.ready_in(pair.new), pair.ready_in(pair.old)
    if memory.strategy in RAMPED:
        said = f"{len(new)} new pods and {len(old)} old ones are Ready"
        stop = memory.next_stop
        return said if stop is None else f"{said}; it holds at {stop}: segue promote {app}"
    if memory.serving == "new":
        return "the new version serves, old pods drain" if old else "old pods are ending"
    if memory.next_stop and pair.new is not None and 0 < pair.new.replicas <= len(new):
        return f"all new pods are Ready and have no traffic: segue promote {app}"
    return "the old version serves, new pods come up"


def versions_of(namespace: str, app: str) -> Flow[list[Obj]]:
    """The Deployments that are versions of an app, oldest first; none where it has none of its own for each."""
    _, (found, services) = yield from ask(
        get(f"/apis/apps/v1/namespaces/{namespace}/deployments"), get(f"/api/v1/namespaces/{namespace}/services")
    )
    reach = [Service(obj=obj) for obj in items_of(services, "Services")]
    deployments = items_of(found, "Deployments")
    versions = [obj for obj in deployments if label_of_app(app, obj)]
    if not versions:
        return []
    rows = [*(obj for obj in deployments if name_of(obj) == app), *versions]
    rows.sort(key=lambda obj: str(obj["metadata"].get("creationTimestamp") or ""))
    return [
        {
            "deployment": name_of(obj),
            "version": version_of_app(app, label_of_app(app, obj), obj),
            "replicas": obj["spec"].get("replicas", 1),
            "current": bool(obj["spec"].get("replicas", 1))
            and any(selects(one.plain_selector, pod_labels_of(obj)) for one in reach if one.plain_selector),
            "images": [str(c.get("image")) for c in obj["spec"]["template"].get("spec", {}).get("containers") or []],
            "cause": annotations_of(obj).get(CHANGE_CAUSE, ""),
        }
        for obj in rows
    ]
