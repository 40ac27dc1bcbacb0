"""Which share of a route's requests a new version is to get, step by step: what the user wants, and whether it can be.

Rule: what stands in the way of any of the steps is said before the first one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from segue.analysis.share import needed, usual_margin
from segue.model.errors import Conflict, Refused
from segue.model.objects import Obj, labels_of
from segue.model.services import PREVIEW_OF, Service
from segue.release.snapshot import Snapshot
from segue.route.gateway import GatewayRoute, rules_of
from segue.route.shares import WHOLE, Pin, Split, percent

USUAL_STEPS = (100, 500, 2500, 5000, WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the user wants of a route. `service` and `canary` are known once the route has been seen."""

    kind: str = "HTTPRoute"
    name: str
    steps: tuple[int, ...] = USUAL_STEPS
    margin: float | None = None  # None: what is usual for a share
    pins: tuple[tuple[str, str, str], ...] = ()
    service: str = ""
    canary: str = ""

    @staticmethod
    def of(obj: Obj) -> Weights:
        """As a memory holds it."""
        raw = {**obj, "steps": tuple(obj["steps"]), "pins": tuple(tuple(one) for one in obj["pins"])}
        return Weights(**raw)

    def as_obj(self) -> Obj:
        """For a memory."""
        return dataclasses.asdict(self)

    def split(self, app: str, share: int) -> Split:
        """This share of them."""
        pins = tuple(
            Pin(by="cookie" if by == "cookie" else "header", name=name, value=value) for by, name, value in self.pins
        )
        return Split(app=app, stable=self.service, canary=self.canary, share=share, pins=pins)

    def margin_of(self, share: int) -> float:
        """How far the proved share may be from the asked one."""
        return self.margin if self.margin is not None else usual_margin(share / WHOLE)


def planned(weights: Weights, snapshot: Snapshot, services: tuple[Service, ...], *, forces: bool) -> Weights:
    """With the Services it is about. Raises what stands in the way, before anything is written."""
    said = f"{weights.kind} {weights.name}"
    routed = snapshot.route
    assert routed is not None, "whoever plans with a route looks at it"
    if routed.seen is None:
        raise Refused(f"{said}: {routed.trouble}", remedy=routed.remedy)
    named = {str(ref.get("name")) for rule in rules_of(routed.seen) for ref in rule.get("backendRefs") or []}
    stable = next((one for one in services if one.name in named), None)
    if stable is None:
        mine = ", ".join(one.name for one in services)
        raise Refused(
            f"{said} leads to {', '.join(sorted(named)) or 'nothing'}, and the pods are behind Service {mine}",
            remedy="name a route that leads to one of these Services",
        )
    canary = f"{stable.name[:56]}-canary"
    taken = next((one for one in snapshot.services if one.name == canary), None)
    if taken is not None and PREVIEW_OF not in labels_of(taken.obj):
        raise Conflict(
            f"there is a Service {canary} already, which is not of a release",
            remedy="rename it: the new version needs a Service of that name while it is a canary",
        )
    found = dataclasses.replace(weights, service=stable.name, canary=canary)
    for share in weights.steps:
        split = found.split(snapshot.deployment.name, share)
        GatewayRoute(kind=weights.kind).check(routed.seen, split, forces=forces)
    return found


def is_canary_service(weights: Weights | None, service: Service) -> bool:
    """Whether a Service is only there because of such a release: a plan is not about it."""
    return weights is not None and service.name.endswith("-canary") and PREVIEW_OF in labels_of(service.obj)


def sentences(weights: Weights) -> tuple[str, ...]:
    """What a plan says of it."""
    last = 0
    found = []
    for share in weights.steps:
        margin = weights.margin_of(share)
        count = needed(share / WHOLE, margin)
        found.append(
            f"send {percent(share)} of the requests of {weights.kind} {weights.name} to the new version, hold until "
            f"that is proved within {margin * 100:g} points (about {count:,} requests: {_time(count)})"
        )
        last = share
    assert last == WHOLE
    return tuple(found)


def requests_for(weights: Weights) -> int:
    """About how many requests prove all of it."""
    return sum(needed(share / WHOLE, weights.margin_of(share)) for share in weights.steps)


def _time(count: int) -> str:
    return ", ".join(f"{count / rate:,.0f} s at {rate:,} a second" for rate in (10, 1000))
