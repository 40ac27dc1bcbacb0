"""PodMetrics and NodeMetrics of metrics.k8s.io/v1beta1, made of usages. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from segue.cluster.kinds import Kind
from segue.cluster.metrics.readings import Usage
from segue.cluster.quotas.amounts import Amount
from segue.model.objects import Obj, labels_of, name_of, namespace_of, rfc3339

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
POD_METRICS = Kind(group=GROUP, version=VERSION, plural="pods", kind="PodMetrics", model="")
NODE_METRICS = Kind(group=GROUP, version=VERSION, plural="nodes", kind="NodeMetrics", model="", namespaced=False)
KINDS = (NODE_METRICS, POD_METRICS)


def pod_metrics(pod: Obj, containers: Mapping[str, Usage], now_s: float) -> Obj:
    """The PodMetrics of a pod; the oldest of its containers' readings tells the time."""
    oldest = min(containers.values(), key=lambda usage: usage.at_s)
    return {
        **_head(POD_METRICS, pod, oldest, now_s),
        "containers": [{"name": name, "usage": _told(usage)} for name, usage in sorted(containers.items())],
    }


def node_metrics(node: Obj, usage: Usage, now_s: float) -> Obj:
    """The NodeMetrics of a node."""
    return {**_head(NODE_METRICS, node, usage, now_s), "usage": _told(usage)}


def _head(kind: Kind, obj: Obj, usage: Usage, now_s: float) -> Obj:
    metadata: Obj = {"name": name_of(obj), "creationTimestamp": rfc3339(now_s)}
    if kind.namespaced:
        metadata["namespace"] = namespace_of(obj)
    if labels_of(obj):
        metadata["labels"] = labels_of(obj)
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": metadata,
        "timestamp": rfc3339(usage.at_s),
        "window": f"{usage.window_s:.3f}".rstrip("0").rstrip(".") + "s",
    }


def _told(usage: Usage) -> Obj:
    cpu = Amount(Decimal(usage.cpu_nano).scaleb(-9))
    return {"cpu": str(cpu), "memory": str(Amount(Decimal(usage.memory_bytes), twos=True))}
