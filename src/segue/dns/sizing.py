"""How much memory a CoreDNS needs for a cluster, by the published formulas and by a fit of the figures behind them.

The formulas stand in coredns/deployment's Scaling_CoreDNS.md; the table in the same file, from Kubernetes 1.12 and
CoreDNS 1.2.5, gives other coefficients by least squares. `memory` has the law of a current CoreDNS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from segue.dns.memory import CACHE_MB, LAWS, MEASURED_ON
from segue.model.objects import Obj

CORES_PER_QPS = 1.9 / 33_669  # the same source: one replica on two cores, names of the cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """MB = objects / per_mb + base."""

    per_mb: float
    base_mb: float

    def mb(self, objects: int) -> float:
        """For so many Pods and Services."""
        return objects / self.per_mb + self.base_mb


PUBLISHED = {False: Law(per_mb=1000, base_mb=54), True: Law(per_mb=250, base_mb=56)}  # by autopath
FITTED = {False: Law(per_mb=1165, base_mb=54), True: Law(per_mb=401, base_mb=55.5)}


def sized(*, pods: int, services: int, queries_per_s: float, autopath: bool) -> Obj:
    """Memory and replicas for a cluster."""
    objects = pods + services
    cores = queries_per_s * CORES_PER_QPS
    return {
        "pods": pods,
        "services": services,
        "autopath": autopath,
        "memory_mb_published": round(PUBLISHED[autopath].mb(objects), 1),
        "memory_mb_fitted": round(FITTED[autopath].mb(objects), 1),
        "memory_mb_other": round(PUBLISHED[not autopath].mb(objects), 1),
        "memory_law": {
            "measured_on": MEASURED_ON,
            **{what: LAWS[what, autopath].as_obj(services=services, pods=pods) for what in ("heap", "rss", "peak")},
        },
        "memory_request_mb": request_mb(pods=pods, services=services, autopath=autopath),
        "memory_limit_mb": limit_mb(pods=pods, services=services, autopath=autopath),
        "queries_per_s": queries_per_s,
        "cores": round(cores, 2),
        "replicas": max(2, math.ceil(cores) + 1),
    }


def request_mb(*, pods: int, services: int, autopath: bool) -> int:
    """What to ask for: steady RSS at the far end of the law's interval, and the cache."""
    law = LAWS["rss", autopath]
    return math.ceil(law.mb(services=services, pods=pods) * (1 + law.within) + CACHE_MB)


def limit_mb(*, pods: int, services: int, autopath: bool) -> int:
    """What it must not be ended for: the peak of its start, the cache not being filled yet; never below the request."""
    law = LAWS["peak", autopath]
    peak = math.ceil(law.mb(services=services, pods=pods) * (1 + law.within))
    return max(peak, request_mb(pods=pods, services=services, autopath=autopath))
