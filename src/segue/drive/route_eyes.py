"""Looks at the route of a canary by weight: what it says, and what each version was sent since that is in effect.

Rule 1: a count begins after the gateway has said that it serves what the route says, by a reading made after that.
Rule 2: it begins anew when the route changes, or when whoever counts has begun anew. A run that starts counts afresh.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.http import ApiResponse
from segue.model.objects import Obj, annotations_of
from segue.release.snapshot import Routed
from segue.release.weights import Weights
from segue.route.gateway import ANNOTATION, GROUP, GatewayRoute, not_accepted

_READINGS = 2  # the one under way when it came into effect may be older
_NOBODY = "nothing on this cluster counts the requests of a route"


@dataclass(slots=True, kw_only=True)
class RouteEyes:
    """Looks at one route, again and again."""

    namespace: str
    weights: Weights
    key: tuple[str, str] = ("", "")
    begins_at: int = -1  # the first reading that counts; -1: not known yet
    first: tuple[int, int] | None = None

    def look(self, weights: Weights) -> Flow[Routed]:
        """The route now."""
        self.weights = weights
        kind = weights.kind.lower() + "s"
        _, (found, counted) = yield from ask(
            get(GatewayRoute(kind=weights.kind).path(self.namespace, weights.name)),
            get(f"/apis/segue.dev/v1/namespaces/{self.namespace}/{kind}/{weights.name}/requests"),
        )
        if found.code == 404:
            return (yield from self._missing())
        seen = body_of(found, f"reading {weights.kind} {weights.name}")
        if counted.code != 200:
            return Routed(seen=seen, trouble=_NOBODY)
        return Routed(seen=seen, counts=self._since(seen, counted))

    def _missing(self) -> Flow[Routed]:
        _, (group,) = yield from ask(get(f"/apis/{GROUP}/v1"))
        known = {row.get("kind") for row in group.body.get("resources") or []} if group.code == 200 else set()
        if self.weights.kind not in known:
            return Routed(
                seen=None,
                trouble=f"this cluster knows no kind {self.weights.kind} of {GROUP}/v1",
                remedy="install the Gateway API's CustomResourceDefinitions and a gateway that serves them",
            )
        trouble = f"there is none of this name in namespace {self.namespace}"
        return Routed(seen=None, trouble=trouble, remedy=f"kubectl get {self.weights.kind.lower()}s", gone=True)

    def _since(self, seen: Obj, counted: ApiResponse) -> tuple[int, int] | None:
        requests = counted.body.get("requests") or {}
        now = (int(requests.get(self.weights.service, 0)), int(requests.get(self.weights.canary, 0)))
        reading = int(counted.body.get("reading") or 0)
        key = (annotations_of(seen).get(ANNOTATION, ""), str(counted.body.get("epoch")))
        if key != self.key or not_accepted(seen):
            self.key, self.begins_at, self.first = key, -1, None
            if not_accepted(seen):
                return None
        if self.begins_at < 0:
            self.begins_at = reading + _READINGS
        if reading < self.begins_at:
            return None
        if self.first is None:
            self.first = now
        return max(0, now[0] - self.first[0]), max(0, now[1] - self.first[1])
