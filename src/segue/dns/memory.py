"""The memory of a current CoreDNS by what it watches: a law that was fitted to measurements, and how sure it is.

MB = base + per 1,000 Services + per 1,000 Pods, as a cluster with one EndpointSlice per Service has them. With autopath
(`pods verified`) CoreDNS keeps every Pod, else the addresses of their slices. Without the cache: add `CACHE_MB`.
`bench/coredns_memory.py` measures, `bench/coredns-memory.json` keeps what it found, and a test fits the law again.

    heap    live after a garbage collection
    rss     steady, what a request for memory must cover
    peak    the most it ever had: at its start, while it reads everything, which is what a limit must leave room for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.model.objects import Obj

MEASURED_ON = "CoreDNS v1.15.0"
CACHE_MB = 30.0  # both caches full, as Scaling_CoreDNS.md has it
_T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31}  # Student's t, both sides
_TERMS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """MB of one kind, and the 95 % interval of a single prediction as a share of it."""

    base_mb: float
    per_1000_services_mb: float
    per_1000_pods_mb: float
    within: float

    def mb(self, *, services: int, pods: int) -> float:
        """For so many."""
        return self.base_mb + self.per_1000_services_mb * services / 1000 + self.per_1000_pods_mb * pods / 1000

    def as_obj(self, *, services: int, pods: int) -> Obj:
        """The prediction with its interval."""
        mb = self.mb(services=services, pods=pods)
        return {
            "mb": round(mb, 1),
            "from_mb": round(mb * (1 - self.within), 1),
            "to_mb": round(mb * (1 + self.within), 1),
        }


LAWS: dict[tuple[str, bool], Law] = {  # by what is told, and whether with autopath
    ("heap", False): Law(base_mb=1.96, per_1000_services_mb=1.798, per_1000_pods_mb=0.555, within=0.05),
    ("rss", False): Law(base_mb=44.42, per_1000_services_mb=3.318, per_1000_pods_mb=0.717, within=0.059),
    ("peak", False): Law(base_mb=42.39, per_1000_services_mb=10.197, per_1000_pods_mb=0.512, within=0.104),
    ("heap", True): Law(base_mb=1.99, per_1000_services_mb=1.852, per_1000_pods_mb=1.693, within=0.061),
    ("rss", True): Law(base_mb=44.87, per_1000_services_mb=2.981, per_1000_pods_mb=3.176, within=0.053),
    ("peak", True): Law(base_mb=42.28, per_1000_services_mb=5.105, per_1000_pods_mb=9.1, within=0.095),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """So much was there, and so many MB were measured."""

    services: int
    pods: int
    mb: float


def fitted(points: Sequence[Point]) -> Law:
    """Least squares of the relative errors: a small cluster counts as much as a large one."""
    rows = [(1 / one.mb, one.services / 1000 / one.mb, one.pods / 1000 / one.mb) for one in points]
    matrix = [[sum(row[i] * row[j] for row in rows) for j in range(_TERMS)] for i in range(_TERMS)]
    base, services, pods = _solved(matrix, [sum(row[i] for row in rows) for i in range(_TERMS)])
    law = Law(base_mb=base, per_1000_services_mb=services, per_1000_pods_mb=pods, within=0.0)
    free = len(points) - _TERMS
    errors = [law.mb(services=one.services, pods=one.pods) / one.mb - 1 for one in points]
    spread = (sum(error**2 for error in errors) / free) ** 0.5
    within = _T_95[free] * spread * (1 + _TERMS / len(points)) ** 0.5
    return Law(
        base_mb=round(base, 2),
        per_1000_services_mb=round(services, 3),
        per_1000_pods_mb=round(pods, 3),
        within=round(within, 3),
    )


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss and Jordan, with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at in range(len(rows)):
        best = max(range(at, len(rows)), key=lambda one: abs(rows[one][at]))
        rows[at], rows[best] = rows[best], rows[at]
        rows[at] = [value / rows[at][at] for value in rows[at]]
        for other in range(len(rows)):
            if other != at:
                rows[other] = [a - rows[other][at] * b for a, b in zip(rows[other], rows[at], strict=True)]
    return [row[-1] for row in rows]
