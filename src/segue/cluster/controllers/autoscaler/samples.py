"""What an autoscaler knows of pods: samples of what they use, what they request, and which of them count.

Rule: a pod on its way out or failed is left out; one that has not begun to work counts for nothing where more are
wanted, and not at all where fewer are (A3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from segue.cluster.metrics.custom import CustomMetrics, Wanted
from segue.cluster.metrics.readings import Usage
from segue.model.objects import Obj, condition_of, is_terminating, name_of, seconds_of, uid_of
from segue.model.quantities import quantity

CPU_INITIALIZATION_S = 300.0  # kube-controller-manager --horizontal-pod-autoscaler-cpu-initialization-period
INITIAL_READINESS_S = 30.0  # --horizontal-pod-autoscaler-initial-readiness-delay
_NO_CUSTOM = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"


class Uncomputable(Exception):
    """No number of pods can be had: Kubernetes' words for why."""


class PodUsages(Protocol):
    """Who knows what pods use."""

    def pod(self, uid: str) -> Mapping[str, Usage] | None:
        """What each container of a pod uses, None where that is not known."""
        ...

    @property
    def custom(self) -> CustomMetrics:
        """What others tell of pods."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a pod uses, in thousandths of the unit."""

    milli: int
    at_s: float = 0.0
    window_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Sorted:
    """Pods by how they count."""

    ready: int = 0
    unready: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def samples_of(usages: PodUsages, pods: Sequence[Obj], resource: str, container: str = "") -> dict[str, Sample]:
    """By pod name; `container` "" means all of a pod."""
    known = [(pod, usages.pod(uid_of(pod))) for pod in pods]
    told = [(pod, containers) for pod, containers in known if containers]
    if not told:
        raise Uncomputable(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    found = {}
    for pod, containers in told:
        chosen = [usage for name, usage in containers.items() if container in {"", name}]
        if chosen and resource in {"cpu", "memory"}:
            milli = sum(_milli(usage, resource) for usage in chosen)
            oldest = min(chosen, key=lambda usage: usage.at_s)
            found[name_of(pod)] = Sample(milli=milli, at_s=oldest.at_s, window_s=oldest.window_s)
    return found


def custom_samples(usages: PodUsages, wanted: Wanted) -> dict[str, Sample]:
    """A metric that others serve, by pod name."""
    told = usages.custom.told.get(wanted)
    if told is None:
        raise Uncomputable(_NO_CUSTOM)
    if told.trouble:
        raise Uncomputable(f"unable to fetch metrics from custom metrics API: {told.trouble}")
    if not told.milli:
        raise Uncomputable("no metrics returned from custom metrics API")
    return {name: Sample(milli=milli) for name, milli in told.milli.items()}


def _milli(usage: Usage, resource: str) -> int:
    return -(-usage.cpu_nano // 1_000_000) if resource == "cpu" else usage.memory_bytes * 1000


def sort_pods(pods: Iterable[Obj], samples: Mapping[str, Sample], resource: str, now_s: float) -> Sorted:
    """Which pods count, and how."""
    found = Sorted()
    for pod in pods:
        name, phase = name_of(pod), pod.get("status", {}).get("phase")
        if is_terminating(pod) or phase == "Failed":
            found.ignored.append(name)
        elif phase == "Pending":
            found.unready.append(name)
        elif name not in samples:
            found.missing.append(name)
        elif resource == "cpu" and _is_starting(pod, samples[name], now_s):
            found.unready.append(name)
        else:
            found.ready += 1
    return found


def _is_starting(pod: Obj, sample: Sample, now_s: float) -> bool:
    """Whether what a pod burns may be its start alone."""
    ready = condition_of(pod, "Ready")
    started = pod["status"].get("startTime")
    if ready is None or not started:
        return True
    started_s, changed_s = seconds_of(started), seconds_of(ready["lastTransitionTime"])
    waits = ready.get("status") == "False"
    if started_s + CPU_INITIALIZATION_S > now_s:
        return waits or sample.at_s < changed_s + sample.window_s
    return waits and started_s + INITIAL_READINESS_S > changed_s


def requests_of(pods: Iterable[Obj], resource: str, container: str = "") -> dict[str, int]:
    """What each pod (or one container of it) requests, in thousandths."""
    return {name_of(pod): _request(pod, resource, container) for pod in pods}


def _request(pod: Obj, resource: str, container: str) -> int:
    spec = pod["spec"]
    whole = ((spec.get("resources") or {}).get("requests") or {}).get(resource)
    if whole is not None and not container:
        return _thousandths(whole)
    inits = [one for one in spec.get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    total = 0
    for one in [*spec["containers"], *inits]:
        if container not in {"", one["name"]}:
            continue
        request = ((one.get("resources") or {}).get("requests") or {}).get(resource)
        if request is None:
            raise Uncomputable(f"missing request for {resource} in container {one['name']} of Pod {name_of(pod)}")
        total += _thousandths(request)
        if container:
            return total
    if container:
        raise Uncomputable(f"container {container} not found in Pod {name_of(pod)}")
    return total


def _thousandths(text: str | int) -> int:
    return int(-(-quantity(text) * 1000 // 1))
