"""Metrics of pods that somebody else serves behind an APIService: what was heard last of those that autoscalers want.

Rule: nobody is asked here. The host asks, and keeps what it heard; an autoscaler reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segue.cluster.store import Store
from segue.model.objects import Obj, Ref, is_terminating
from segue.model.quantities import quantity

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
HPAS = "horizontalpodautoscalers.autoscaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A metric of the pods that a selector takes."""

    namespace: str
    metric: str
    selector: str  # as a query has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Thousandths by pod name, or why there are none."""

    milli: Mapping[str, int]
    trouble: str = ""


class CustomMetrics:
    """What was heard last. Without an entry nobody serves custom metrics, or nobody has been asked yet."""

    def __init__(self) -> None:
        self.told: dict[Wanted, Told] = {}


def read_list(body: Obj) -> Told:
    """A MetricValueList."""
    try:
        rows = {str(item["describedObject"]["name"]): str(item["value"]) for item in body.get("items") or []}
        return Told(milli={name: int(-(-quantity(value) * 1000 // 1)) for name, value in rows.items()})
    except (KeyError, TypeError, ValueError) as error:
        return Told(milli={}, trouble=f"no list of metric values: {type(error).__name__}")


def backend_of(store: Store, group: str, version: str) -> str:
    """https://ADDRESS:PORT of who serves a group that an APIService names; "" where nobody does."""
    service = aggregated(store, group, version)
    if service is None:
        return ""
    namespace, name = str(service.get("namespace") or ""), str(service.get("name") or "")
    for one in store.all_of("endpointslices.discovery.k8s.io", namespace):
        if one["metadata"].get("labels", {}).get("kubernetes.io/service-name") != name or is_terminating(one):
            continue
        for endpoint in one.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True) and one.get("ports"):
                address = endpoint["addresses"][0]
                return f"https://{f'[{address}]' if ':' in address else address}:{one['ports'][0]['port']}"
    return ""


def aggregated(store: Store, group: str, version: str) -> Obj | None:
    """The Service that an APIService sends a group to; None where no APIService does."""
    ref = Ref(resource="apiservices.apiregistration.k8s.io", namespace="", name=f"{version}.{group}")
    found = store.get(ref)
    service: Obj | None = (found or {}).get("spec", {}).get("service")
    return service or None
