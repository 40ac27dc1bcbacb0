"""The whole set: which Services, autoscalers, budgets and routes belong to which workload, found by index, not by "
"pairs.

Rule 1: objects meet within one namespace only; what names none is of the namespace the caller said.
Rule 2: order is that of the input, so that the same files always read the same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from segue.check.findings import Source
from segue.check.reading import labels, part, rows, text, texts
from segue.model.objects import Obj, selects

WORKLOADS = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "DeploymentConfig", "ReplicaSet", "ReplicationController"}
)
MEETINGS_MAX = 20
_METRICS_PORT = re.compile(r"(?:\w+-)*metrics(?:-\w+)*|prometheus|prom")
_METRICS_SERVICE = re.compile(r".*-metrics(?:-service|-svc)?|metrics(?:-service|-svc)?")


def selector_of(source: Source) -> Mapping[str, str]:
    """What a Service selects by."""
    return labels(source.obj, "spec", "selector")


def template_labels(source: Source) -> dict[str, str]:
    """The labels of a workload's pods."""
    return labels(source.obj, "spec", "template", "metadata", "labels")


def expressions_hold(selector: Obj, pod: Mapping[str, str]) -> bool:
    """Whether a LabelSelector of unchecked shape matches; an empty one matches all."""
    for key, value in part(selector, "matchLabels").items():
        if pod.get(key) != value:
            return False
    for row in rows(selector, "matchExpressions"):
        key, values = text(row, "key"), texts(row, "values")
        held = {
            "In": pod.get(key) in values,
            "NotIn": pod.get(key) not in values,
            "Exists": key in pod,
            "DoesNotExist": key not in pod,
        }.get(text(row, "operator"), False)
        if not held:
            return False
    return True


@dataclass(slots=True)
class Joined:
    """All objects, by what they are and whom they belong to."""

    sources: tuple[Source, ...]
    by_kind: dict[str, list[Source]] = field(default_factory=lambda: defaultdict(list))
    _services: dict[tuple[str, str, str], list[Source]] = field(default_factory=lambda: defaultdict(list))
    _workloads: dict[tuple[str, str, str], list[Source]] = field(default_factory=lambda: defaultdict(list))
    _scalers: dict[tuple[str, str, str], list[Source]] = field(default_factory=lambda: defaultdict(list))
    _budgets: dict[tuple[str, str, str], list[Source]] = field(default_factory=lambda: defaultdict(list))
    _fronts: dict[tuple[str, str], list[Source]] = field(default_factory=lambda: defaultdict(list))
    _named: dict[tuple[str, str, str], Source] = field(default_factory=dict)
    _selecting: dict[tuple[str, frozenset[tuple[str, str]]], list[Source]] = field(default_factory=dict)
    _selected: dict[tuple[str, frozenset[tuple[str, str]]], list[Source]] = field(default_factory=dict)
    _addresses: dict[str, str] | None = None

    @classmethod
    def of(cls, sources: Iterable[Source]) -> Joined:
        """Index a set of objects."""
        joined = cls(tuple(sources))
        for source in joined.sources:
            joined._add(source)
        return joined

    def _add(self, source: Source) -> None:
        kind, space = source.kind, source.namespace
        self.by_kind[kind].append(source)
        self._named.setdefault((space, kind, source.name), source)
        if kind == "Service":
            for key, value in selector_of(source).items():
                self._services[space, key, value].append(source)
                break  # one of its labels is enough to find it by
        elif kind in WORKLOADS:
            for key, value in template_labels(source).items():
                self._workloads[space, key, value].append(source)
        elif kind == "HorizontalPodAutoscaler":
            target = part(source.obj, "spec", "scaleTargetRef")
            self._scalers[space, text(target, "kind"), text(target, "name")].append(source)
        elif kind == "PodDisruptionBudget":
            said = labels(source.obj, "spec", "selector", "matchLabels")
            self._budgets[space, *next(iter(said.items()), ("", ""))].append(source)
        elif kind in _ROUTES:
            for name in backends_of(source):
                self._fronts[space, name].append(source)

    def named(self, kind: str, name: str, namespace: str) -> Source | None:
        """One object."""
        return self._named.get((namespace, kind, name))

    def services_of(self, workload: Source) -> list[Source]:
        """The Services that select its pods, at most MEETINGS_MAX: more of them tell nothing new."""
        pod = template_labels(workload)
        key = (workload.namespace, frozenset(pod.items()))
        if key not in self._selecting:
            found = (
                service
                for item in pod.items()
                for service in self._services.get((workload.namespace, *item), ())
                if selects(selector_of(service), pod)
            )
            self._selecting[key] = sorted(islice(found, MEETINGS_MAX), key=lambda one: (one.file, one.line))
        return self._selecting[key]

    def workloads_of(self, service: Source) -> list[Source]:
        """The workloads whose pods a Service selects, at most MEETINGS_MAX."""
        selector = selector_of(service)
        key = (service.namespace, frozenset(selector.items()))
        if selector and key not in self._selected:
            candidates = self._workloads.get((service.namespace, *next(iter(selector.items()))), ())
            found = (one for one in candidates if selects(selector, template_labels(one)))
            self._selected[key] = list(islice(found, MEETINGS_MAX))
        return self._selected.get(key, [])

    def addresses(self) -> dict[str, str]:
        """Cluster addresses that manifests write down, and whose they are."""
        if self._addresses is None:
            found = ((text(part(one.obj, "spec"), "clusterIP"), one.name) for one in self.by_kind.get("Service", ()))
            self._addresses = {address: name for address, name in found if address not in ("", "None")}
        return self._addresses

    def scalers_of(self, workload: Source) -> list[Source]:
        """The autoscalers that set its size."""
        return self._scalers.get((workload.namespace, workload.kind, workload.name), [])

    def budgets_of(self, workload: Source) -> list[Source]:
        """At most MEETINGS_MAX budgets that count its pods; an empty selector means all in policy/v1, else none."""
        pod = template_labels(workload)
        keys = [(workload.namespace, *item) for item in pod.items()]
        likely = [one for key in [*keys, (workload.namespace, "", "")] for one in self._budgets.get(key, ())]
        found = (
            budget
            for budget in likely
            if isinstance(budget.obj.get("spec"), dict)
            and isinstance(selector := budget.obj["spec"].get("selector"), dict)
            and (selector or budget.obj.get("apiVersion") == "policy/v1")
            and expressions_hold(selector, pod)
        )
        return sorted(islice(found, MEETINGS_MAX), key=lambda one: (one.file, one.line))

    def selected_by(self, selector: Obj, namespace: str) -> list[Source]:
        """The workloads whose pods a LabelSelector matches, at most MEETINGS_MAX."""
        said = labels(selector, "matchLabels")
        of_one = self._workloads.get((namespace, *next(iter(said.items()))), ()) if said else None
        likely = self.sources if of_one is None else of_one
        found = (
            one
            for one in likely
            if one.kind in WORKLOADS and one.namespace == namespace and expressions_hold(selector, template_labels(one))
        )
        return list(islice(found, MEETINGS_MAX))

    def fronts_of(self, service: Source) -> list[Source]:
        """Ingresses and routes that send to a Service."""
        return self._fronts.get((service.namespace, service.name), [])


def backends_of(route: Source) -> list[str]:
    """The Services a route or Ingress names."""
    if route.kind == "Ingress":
        spec = part(route.obj, "spec")
        backends = [part(spec, "defaultBackend"), part(spec, "backend")]
        for rule in rows(spec, "rules"):
            backends += [part(row, "backend") for row in rows(rule, "http", "paths")]
        return list(
            dict.fromkeys(
                filter(None, (text(part(one, "service"), "name") or text(one, "serviceName") for one in backends))
            )
        )
    if route.kind == "Route":
        spec = part(route.obj, "spec")
        named = [part(spec, "to"), *rows(spec, "alternateBackends")]
        return list(dict.fromkeys(filter(None, (text(one, "name") for one in named))))
    found = [text(one, "name") for rule in rows(route.obj, "spec", "rules") for one in rows(rule, "backendRefs")]
    return list(dict.fromkeys(filter(None, found)))


_ROUTES = frozenset({"Ingress", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "Route"})


def carries_requests(service: Source) -> bool:
    """Whether losing a connection of this Service loses a request of somebody: no UDP-only and no metrics-only one."""
    if text(part(service.obj, "spec"), "type") == "ExternalName":
        return False
    ports = rows(service.obj, "spec", "ports")
    if len(ports) == 1 and _METRICS_SERVICE.fullmatch(service.name):
        return False  # operators' scaffolding names it so, and its port https
    return not ports or any(port_carries(port) for port in ports)


def port_carries(port: Obj) -> bool:
    """Whether requests come to this port of a Service: TCP, and no exporter's."""
    return text(port, "protocol") != "UDP" and not _METRICS_PORT.fullmatch(text(port, "name").lower())


def is_headless(service: Source) -> bool:
    """Whether its clients are given pod addresses by DNS."""
    return part(service.obj, "spec").get("clusterIP") == "None"
