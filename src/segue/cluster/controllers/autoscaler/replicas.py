"""How many pods one metric asks for: usage against target, with what is unknown taken for the careful side.

Rule 1: pods without a metric count as using all they may where fewer are wanted, and nothing where more are.
Rule 2: what is unknown never turns the direction round: then nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from segue.cluster.controllers.autoscaler.samples import Sample, Uncomputable, requests_of, sort_pods
from segue.model.objects import Obj

TOLERANCE = 0.1  # kube-controller-manager --horizontal-pod-autoscaler-tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far usage may be off its target without a change."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def covers(self, ratio: float) -> bool:
        """Whether this ratio of usage to target changes nothing."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """The pods of a target, `resource` by which some of them may be too young, and how many there should be now."""

    pods: Sequence[Obj]
    replicas: int
    resource: str
    tolerance: Tolerance
    now_s: float
    selector: str = ""  # as a query has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """How many pods a metric asks for, the average that was found (thousandths), and its share of the request."""

    replicas: int
    average_milli: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    ratio: float
    average_milli: int
    utilization: int | None = None


_Judge: TypeAlias = Callable[[Mapping[str, Sample]], _Found]


def by_utilization(crowd: Crowd, samples: dict[str, Sample], target: int, container: str = "") -> Proposal:
    """For a target that is a percentage of what pods request."""
    requests: dict[str, int] = {}

    def judge(known: Mapping[str, Sample]) -> _Found:
        if not requests:
            requests.update(requests_of(crowd.pods, crowd.resource, container))
        matched = [name for name in known if name in requests]
        used, requested = sum(known[name].milli for name in matched), sum(requests[name] for name in matched)
        if requested == 0:
            raise Uncomputable("no metrics returned matched known pods")
        utilization = used * 100 // requested
        return _Found(ratio=utilization / target, average_milli=used // len(matched), utilization=utilization)

    return _proposed(crowd, samples, judge, lambda name: requests[name] * max(100, target) // 100)


def by_average(crowd: Crowd, samples: dict[str, Sample], target_milli: int) -> Proposal:
    """For a target that is an amount per pod."""

    def judge(known: Mapping[str, Sample]) -> _Found:
        average_milli = sum(sample.milli for sample in known.values()) // len(known)
        return _Found(ratio=average_milli / target_milli, average_milli=average_milli)

    return _proposed(crowd, samples, judge, lambda _name: target_milli)


def _proposed(crowd: Crowd, samples: dict[str, Sample], judge: _Judge, most_milli: Callable[[str], int]) -> Proposal:
    if not crowd.pods:
        raise Uncomputable("no pods returned by selector while calculating replica count")
    sorted_ = sort_pods(crowd.pods, samples, crowd.resource, crowd.now_s)
    left_out = {*sorted_.ignored, *sorted_.unready}
    known = {name: sample for name, sample in samples.items() if name not in left_out}
    if not known:
        raise Uncomputable("did not receive metrics for targeted pods (pods might be unready)")
    first = judge(known)
    more = first.ratio > 1.0
    if not sorted_.missing and not (more and sorted_.unready):
        wanted = crowd.replicas if crowd.tolerance.covers(first.ratio) else math.ceil(first.ratio * sorted_.ready)
        return _proposal(first, wanted)
    if first.ratio != 1.0:
        known |= {name: Sample(milli=0 if more else most_milli(name)) for name in sorted_.missing}
    if more:
        known |= {name: Sample(milli=0) for name in sorted_.unready}
    again = judge(known)
    wanted = math.ceil(again.ratio * len(known))
    turned = (first.ratio < 1.0 < again.ratio) or (again.ratio < 1.0 < first.ratio)
    backwards = (again.ratio < 1.0 and wanted > crowd.replicas) or (again.ratio > 1.0 and wanted < crowd.replicas)
    if crowd.tolerance.covers(again.ratio) or turned or backwards:
        wanted = crowd.replicas
    return _proposal(first, wanted)


def _proposal(found: _Found, wanted: int) -> Proposal:
    return Proposal(replicas=wanted, average_milli=found.average_milli, utilization=found.utilization)
