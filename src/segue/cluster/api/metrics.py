"""metrics.k8s.io: what pods and nodes use, as a metrics-server beside a cluster answers it. Never writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segue.cluster.api.access import Gate
from segue.cluster.api.forms import form_of
from segue.cluster.api.results import Answer, ApiUser
from segue.cluster.api.selectors import parse_selectors
from segue.cluster.kinds import Kind, kind_of
from segue.cluster.metrics.objects import GROUP, NODE_METRICS, POD_METRICS, VERSION, node_metrics, pod_metrics
from segue.cluster.metrics.readings import Readings
from segue.cluster.refusals import method_not_allowed, missing, no_such_path
from segue.cluster.rights.rules import Wish
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref, uid_of
from segue.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReader:
    """Answers calls of the group."""

    store: Store
    gate: Gate
    readings: Readings
    clock: Clock

    def read(self, request: ApiRequest, user: ApiUser) -> Answer:
        """One get or list; StatusError 404, 405 or 403 where it cannot be had."""
        kind, namespace, name = _target(request.path)
        if request.method not in {"GET", "HEAD"} or request.query.get("watch") in {"true", "1"}:
            raise method_not_allowed()
        self.gate.check(user, wish_of(request))
        form, now_s = form_of(request), self.clock.now_s()
        if not name:
            found = self._all(kind, namespace, request.query)
            return Answer(code=200, body=form.many(kind, found, {}, now_s))
        obj = self.store.get(Ref(resource=kind.plural, namespace=namespace, name=name))
        if obj is None:
            raise missing(kind_of(kind.plural), name)
        metrics = self._metrics(kind, [obj])
        if not metrics:
            raise _unknown(kind, namespace, name)
        return Answer(code=200, body=form.one(kind, metrics[0], now_s=now_s))

    def _all(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> list[Obj]:
        objects = self.store.all_of(kind.plural, namespace)
        matches = parse_selectors(kind.plural, query)
        return self._metrics(kind, [obj for obj in objects if matches is None or matches(obj)])

    def _metrics(self, kind: Kind, objects: Sequence[Obj]) -> list[Obj]:
        """Of those that something is known of."""
        now_s = self.clock.now_s()
        if kind is NODE_METRICS:
            usage = self.readings.node()
            return [node_metrics(node, usage, now_s) for node in objects] if usage is not None else []
        known = [(pod, self.readings.pod(uid_of(pod))) for pod in objects]
        return [pod_metrics(pod, containers, now_s) for pod, containers in known if containers is not None]


def is_metrics(path: str) -> bool:
    """Whether a path leads to objects of this group."""
    return path.startswith(f"/apis/{GROUP}/{VERSION}/")


def wish_of(request: ApiRequest) -> Wish:
    """What a call of this group asks for."""
    kind, namespace, name = _target(request.path)
    verb = "get" if name else "list"
    if request.query.get("watch") in {"true", "1"}:
        verb = "watch"
    return Wish(verb=verb, group=GROUP, resource=kind.plural, namespace=namespace, name=name)


def _target(path: str) -> tuple[Kind, str, str]:
    match path.strip("/").split("/")[3:]:
        case ["nodes"]:
            return NODE_METRICS, "", ""
        case ["nodes", name]:
            return NODE_METRICS, "", name
        case ["pods"]:
            return POD_METRICS, "", ""
        case ["namespaces", namespace, "pods"]:
            return POD_METRICS, namespace, ""
        case ["namespaces", namespace, "pods", name]:
            return POD_METRICS, namespace, name
        case _:
            raise no_such_path()


def _unknown(kind: Kind, namespace: str, name: str) -> StatusError:
    """404 of a pod or node that is there and has not been measured."""
    full = f"{namespace}/{name}" if namespace else name
    plural = f"{kind.kind.lower()}.{GROUP}"
    details: Obj = {"name": full, "group": GROUP, "kind": kind.kind.lower()}
    return StatusError(404, "NotFound", f'{plural} "{full}" not found', details)
