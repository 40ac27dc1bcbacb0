"""What `segue metrics` says: Prometheus' text, and the answers of custom.metrics.k8s.io/v1beta2. Values in, values out.

Rule: a pod of which nothing can be seen has no value, never 0: an autoscaler must not take it for an idle one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segue.cluster.api.selectors import parse_selectors
from segue.drain.sights import Sight
from segue.model.errors import StatusError
from segue.model.objects import Obj, name_of, namespace_of, rfc3339
from segue.model.workloads import Pod

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
ROOT = f"/apis/{GROUP}/{VERSION}"
HELP = {
    "segue_active_connections": "Connections of a pod whose loss would be noticed now.",
    "segue_open_connections": "Connections of a pod that are open.",
    "segue_arrivals_per_second": "New connections of a pod per second, over 10 s, without probes.",
}
# Counters are for Prometheus' rate(): an autoscaler takes a value as it is, and these only grow.
COUNTERS = {
    "segue_arrivals_total": "New connections of a pod since segue first looked at it, with probes.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """One pod at one moment."""

    pod: Obj
    source: str
    at_s: float
    values: Mapping[str, float]

    @staticmethod
    def of(pod: Pod, sight: Sight, at_s: float) -> Metered:
        """As it was seen."""
        values: dict[str, float] = {}
        if sight.rate is not None:
            values = {
                "segue_active_connections": sight.evidence.live,
                "segue_open_connections": sight.open or 0,
                "segue_arrivals_per_second": sight.rate,
                "segue_arrivals_total": sight.arrived,
            }
        return Metered(pod=pod.obj, source=sight.evidence.source, at_s=at_s, values=values)


def prometheus_text(found: Iterable[Metered]) -> str:
    """The text format 0.0.4."""
    rows = sorted(found, key=lambda one: (namespace_of(one.pod), name_of(one.pod)))
    lines: list[str] = []
    for metric, told in {**HELP, **COUNTERS}.items():
        lines += [f"# HELP {metric} {told}", f"# TYPE {metric} {'counter' if metric in COUNTERS else 'gauge'}"]
        # Not :g, by which a large counter would stand still
        lines += [f"{metric}{{{_labels(one)}}} {one.values[metric]!r}" for one in rows if metric in one.values]
    lines += ["# HELP segue_pod_seen Whether anything can be seen of a pod, and by which source."]
    lines += ["# TYPE segue_pod_seen gauge"]
    lines += [f'segue_pod_seen{{{_labels(one)},source="{one.source}"}} {int(bool(one.values))}' for one in rows]
    return "\n".join(lines) + "\n"


def _labels(one: Metered) -> str:
    return f'namespace="{namespace_of(one.pod)}",pod="{name_of(one.pod)}"'


def answer(path: str, query: Mapping[str, str], found: Sequence[Metered]) -> tuple[int, Obj]:
    """One call of the custom metrics API: HTTP status and body."""
    parts = path.removeprefix(ROOT).strip("/").split("/") if path.startswith(ROOT) else ["?"]
    try:
        return _answer(parts, query, found)
    except StatusError as refusal:
        return refusal.code, refusal.body()


def _answer(parts: list[str], query: Mapping[str, str], found: Sequence[Metered]) -> tuple[int, Obj]:
    match parts:
        case [""]:
            return 200, _resources()
        case ["namespaces", namespace, "pods", name, metric] if metric in HELP:
            return _values(namespace, name, metric, query, found)
        case ["namespaces", _, "pods", _, metric]:
            raise StatusError(404, "NotFound", f"the server could not find the metric {metric} for pods")
        case _:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")


def _values(
    namespace: str, name: str, metric: str, query: Mapping[str, str], found: Sequence[Metered]
) -> tuple[int, Obj]:
    matches = parse_selectors("pods", {"labelSelector": query.get("labelSelector", "")}) if name == "*" else None
    chosen = [
        one
        for one in found
        if metric in one.values
        and namespace_of(one.pod) == namespace
        and name in {"*", name_of(one.pod)}
        and (matches is None or matches(one.pod))
    ]
    if not chosen and name != "*":
        raise StatusError(404, "NotFound", f"the server could not find the metric {metric} for pods {name}")
    kind = {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}}
    return 200, {**kind, "items": [_item(one, metric) for one in chosen]}


def _item(one: Metered, metric: str) -> Obj:
    return {
        "describedObject": {
            "kind": "Pod",
            "namespace": namespace_of(one.pod),
            "name": name_of(one.pod),
            "apiVersion": "v1",
        },
        "metric": {"name": metric, "selector": None},
        "timestamp": rfc3339(one.at_s),
        "value": f"{round(one.values[metric] * 1000)}m",
    }


def _resources() -> Obj:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{VERSION}",
        "resources": [
            {
                "name": f"pods/{metric}",
                "singularName": "",
                "namespaced": True,
                "kind": "MetricValueList",
                "verbs": ["get"],
            }
            for metric in HELP
        ],
    }


def registration(namespace: str, address: str, port: int) -> list[Obj]:
    """What makes an API server ask `segue metrics` at this address: a Service without pods, and an APIService."""
    name = "segue-metrics"
    meta = {"name": name, "namespace": namespace}
    slices = {**meta, "labels": {"kubernetes.io/service-name": name}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": slices,
            "addressType": "IPv6" if ":" in address else "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "https", "port": port}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{VERSION}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": name, "namespace": namespace, "port": 443},
            },
        },
    ]
