"""What is written into the status of classes, Gateways and routes: conditions with their times, by who serves them.

Rule 1: a condition keeps its time while it says the same, and nothing is written that is there already.
Rule 2: `observedGeneration` is that of the object a proxy has taken over, not of the newest one.
Rule 3: what other controllers have said about a route stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.cluster.gateway.attaching import CLASSES, CONTROLLER, GATEWAYS, ParentSaid, Said, Served
from segue.cluster.gateway.objects import GROUP
from segue.cluster.writes import Update
from segue.model.objects import Obj, Ref, namespace_of, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmed:
    """How the proxy of one Gateway stands to what was asked of it."""

    ok: bool
    reason: str = "Programmed"
    message: str = ""


def class_update(obj: Obj, now_s: float) -> Update | None:
    """The class is taken up."""
    said = Said(type="Accepted", ok=True, reason="Accepted", message="served by Envoy on this node")
    before = obj.get("status") or {}
    status = {**before, "conditions": _conditions(before.get("conditions"), (said,), _generation(obj), now_s)}
    return _update(CLASSES, obj, status)


def gateway_update(served: Served, programmed: Programmed, address: str, now_s: float) -> Update | None:
    """A Gateway's conditions, and those of its listeners."""
    gateway = served.gateway
    generation = _generation(gateway)
    before = gateway.get("status") or {}
    known = {one["name"]: one for one in before.get("listeners") or []}
    listeners = []
    for door in served.doors:
        ready = programmed if door.is_open else Programmed(ok=False, reason="Invalid")
        said = (*door.said, Said(type="Programmed", ok=ready.ok, reason=ready.reason, message=ready.message))
        kinds = {one.get("kind") for one in (door.listener.get("allowedRoutes") or {}).get("kinds") or []}
        supported = [kind for kind in ("HTTPRoute", "GRPCRoute") if not kinds or kind in kinds]
        name = door.listener["name"]
        listeners.append(
            {
                "name": name,
                "supportedKinds": [{"group": GROUP, "kind": kind} for kind in supported],
                "attachedRoutes": len(door.attached),
                "conditions": _conditions((known.get(name) or {}).get("conditions"), said, generation, now_s),
            }
        )
    opened = [door for door in served.doors if door.is_open]
    reason = "Accepted" if len(opened) == len(served.doors) else "ListenersNotValid"
    ready = programmed if opened else Programmed(ok=False, reason="Invalid", message="no listener can be served")
    said = (
        Said(type="Accepted", ok=bool(opened), reason=reason),
        Said(type="Programmed", ok=ready.ok, reason=ready.reason, message=ready.message),
    )
    status: Obj = {
        **before,
        "addresses": [{"type": "IPAddress", "value": address}],
        "conditions": _conditions(before.get("conditions"), said, generation, now_s),
        "listeners": listeners,
    }
    return _update(GATEWAYS, gateway, status)


def route_update(resource: str, route: Obj, said: list[ParentSaid], now_s: float) -> Update | None:
    """A route's conditions, for each of its parents that is ours."""
    before = route.get("status") or {}
    parents = list(before.get("parents") or [])
    theirs = [one for one in parents if one.get("controllerName") != CONTROLLER]
    known = [one for one in parents if one.get("controllerName") == CONTROLLER]
    if not said and not known:
        return None
    ours = []
    for one in said:
        old = next((row for row in known if row["parentRef"] == one.parent), None) or {}
        conditions = _conditions(old.get("conditions"), one.said, _generation(route), now_s)
        ours.append({"parentRef": one.parent, "controllerName": CONTROLLER, "conditions": conditions})
    return _update(resource, route, {**before, "parents": [*theirs, *ours]})


def _generation(obj: Obj) -> int:
    return int(obj["metadata"].get("generation") or 1)


def _conditions(before: list[Obj] | None, said: tuple[Said, ...], generation: int, now_s: float) -> list[Obj]:
    known = {one.get("type"): one for one in before or []}
    return [_condition(known.get(one.type), one, generation, now_s) for one in said]


def _condition(old: Obj | None, said: Said, generation: int, now_s: float) -> Obj:
    status = "True" if said.ok else "False"
    since = old["lastTransitionTime"] if old is not None and old.get("status") == status else rfc3339(now_s)
    return {
        "type": said.type,
        "status": status,
        "reason": said.reason,
        "message": said.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }


def _update(resource: str, obj: Obj, status: Obj) -> Update | None:
    if obj.get("status") == status:
        return None
    return Update(resource=resource, obj={**obj, "status": status}, status=True)


def ref_of(resource: str, obj: Obj) -> Ref:
    """Where an object lies."""
    return Ref(resource=resource, namespace=namespace_of(obj), name=obj["metadata"]["name"])
