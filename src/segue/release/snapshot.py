"""The cluster at one moment, as far as a release looks: objects as views, evidence per pod, who holds the Lease.

Rule: a snapshot is made in one go and believed for one decision; whoever needs newer facts takes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segue.analysis.values import Sample
from segue.drain.judge import Evidence
from segue.model.objects import Obj
from segue.model.services import Endpoint, Service
from segue.model.workloads import Deployment, Lease, Pod, ReplicaSet
from segue.release.memory import Memory, memory_of

SETTLE_S = 2.0  # a Deployment younger than this may not have reached the data plane yet (M7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How the user's check ended; `stage`: how many stops had been passed when it was run."""

    passed: bool
    said: str
    stage: int = 0
    number: int = 0  # of the check among those of its stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the sources of an analysis have said at one stop; `stage` as in Checked."""

    stage: int
    began_s: float
    samples: Mapping[str, Sample]  # by the name of the metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The route that sends each version its share, and requests that each was sent since the share is in effect."""

    seen: Obj | None
    counts: tuple[int, int] | None = None  # to the stable Service, to the canary's; None: nobody counts
    trouble: str = ""  # why there is no route, or no count
    remedy: str = ""
    gone: bool = False  # the route has been deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look by one run: `me` is its identity in the Lease."""

    now_s: float
    me: str
    lease: Lease | None = None
    holder_gone: bool = False  # the Lease's holder ran on this machine and does no more

    @property
    def mine(self) -> bool:
        """Whether this run holds the Lease."""
        return self.lease is not None and self.lease.holder == self.me

    @property
    def held_by(self) -> str:
        """Who else holds the Lease, "" for nobody."""
        if self.lease is None or self.mine or self.holder_gone or not self.lease.held_at(self.now_s):
            return ""
        return self.lease.holder


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Look):
    """What is there now of a Deployment and all that is around it."""

    deployment: Deployment
    sets: tuple[ReplicaSet, ...]
    pods: tuple[Pod, ...]
    services: tuple[Service, ...]  # those that select the Deployment's pods, whatever their version
    endpoints: Mapping[str, tuple[Endpoint, ...]]
    evidence: Mapping[str, Evidence] = field(default_factory=dict)  # by pod name
    checked: Checked | None = None  # what the user's check said, once it has ended
    measured: Measured | None = None
    route: Routed | None = None
    drain_began_s: float | None = None  # when the draining side was first seen without traffic

    @property
    def memory(self) -> Memory | None:
        """The release under way, as the Deployment's annotation tells."""
        return memory_of(self.deployment.annotations)

    @property
    def owned(self) -> tuple[ReplicaSet, ...]:
        """ReplicaSets the Deployment owns now."""
        return tuple(one for one in self.sets if one.owner_uid == self.deployment.uid)

    @property
    def newest(self) -> ReplicaSet | None:
        """The owned ReplicaSet whose template is the Deployment's (D11)."""
        return next((one for one in self.owned if one.template == self.deployment.template), None)

    def set_named(self, name: str) -> ReplicaSet | None:
        """A ReplicaSet by its name."""
        return next((one for one in self.sets if one.name == name), None)

    def owns(self, one: ReplicaSet) -> bool:
        """Whether the Deployment owns this ReplicaSet."""
        return one.owner_uid == self.deployment.uid

    def pods_of(self, pod_hash: str) -> tuple[Pod, ...]:
        """Pods of one version, leaving ones too."""
        return tuple(pod for pod in self.pods if pod.pod_hash == pod_hash)

    def ready_of(self, pod_hash: str) -> tuple[Pod, ...]:
        """Ready pods of one version, but for those that were taken out of traffic."""
        return tuple(pod for pod in self.pods_of(pod_hash) if pod.ready and not pod.orphaned)

    def alive_of(self, pod_hash: str) -> tuple[Pod, ...]:
        """Pods of one version that are not leaving, but for those that were taken out of traffic."""
        return tuple(pod for pod in self.pods_of(pod_hash) if pod.alive and not pod.orphaned)

    def ready_endpoints(self, service: str) -> frozenset[str]:
        """Names of the pods that are ready endpoints of a Service."""
        return frozenset(endpoint.pod for endpoint in self.endpoints.get(service, ()) if endpoint.ready)

    def reaches(self, service: Service, pods: tuple[Pod, ...]) -> bool:
        """Whether a Service's ready endpoints are exactly these pods."""
        return self.ready_endpoints(service.name) == {pod.name for pod in pods}
