"""StatefulSet and DaemonSet at one moment, the plan of their release, and what a decision about them says.

Rule 1: their own controllers make and end pods; a release only decides when the next one goes, and where it stops.
Rule 2: a pod counts as serving when it is Ready, an endpoint of every Service that selects it, and has been so for as
long as a data plane takes to know it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segue.model.natives import STATEFUL_SET, Native, Revision, plain
from segue.model.objects import Obj
from segue.model.services import Endpoint, Service
from segue.model.workloads import Lease, Pod
from segue.release.decision import LOOK_AGAIN_S, End, Stopped
from segue.release.memory import Memory, memory_of
from segue.release.native_actions import NativeAction
from segue.release.plan import SETTLE_S, Target

ORDINALS, NODES, SURGE = "ordinals", "nodes", "surge"  # the ways; a StatefulSet has the first, a DaemonSet the others
NATIVE_SETTINGS = ("updateStrategy", "minReadySeconds")
_ORDINAL = re.compile(r"-(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativePlan:
    """How a StatefulSet or a DaemonSet gets to its target."""

    target: Target
    namespace: str
    kind: str
    name: str
    way: str
    services: tuple[str, ...]
    desired: int  # pods now
    wanted: int  # pods at the end
    old_revision: str
    partition: int = 0  # the user's own: so many of the lowest ordinals stay as they are
    step: int = 1  # most pods that are away, or beside another one, at once
    stops: tuple[int, ...] = ()  # numbers of new pods at which it holds until it is promoted
    waits: bool = True
    timeout_s: float = 600.0
    deadline_s: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"

    @property
    def peak(self) -> int:
        """Most pods alive at once, those on their way out aside."""
        return max(self.desired, self.wanted) + (self.step if self.way == SURGE else 0)

    @property
    def floor(self) -> int:
        """Fewest pods that serve at any moment."""
        return self.desired if self.way == SURGE else max(0, min(self.desired, self.wanted) - self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSnapshot:
    """What is there now. `me` is this run's identity in the Lease."""

    now_s: float
    me: str
    native: Native
    revisions: tuple[Revision, ...]
    pods: tuple[Pod, ...]  # its own; of a StatefulSet those of its ordinals
    services: tuple[Service, ...]
    endpoints: Mapping[str, tuple[Endpoint, ...]]
    lease: Lease | None = None
    holder_gone: bool = False

    @property
    def memory(self) -> Memory | None:
        """The release under way."""
        return memory_of(self.native.annotations)

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

    @property
    def newest(self) -> Revision | None:
        """The revision of the present template; None until its controller has made it."""
        template = plain(self.native.template)
        found = [one for one in self.revisions if one.template == template]
        return max(found, key=lambda one: one.number) if found and self.native.observed else None

    def revision_named(self, name: str) -> Revision | None:
        """A revision by its name."""
        return next((one for one in self.revisions if one.name == name), None)

    def place(self, pod: Pod) -> int:
        """A StatefulSet's pod: its ordinal, counted from the first; -1 where it has none."""
        found = _ORDINAL.search(pod.name)
        return int(found[1]) - self.native.start if found else -1

    def away(self, pod: Pod) -> str:
        """Why a pod does not serve for certain, "" where it does."""
        if not pod.ready:
            return f"pod {pod.name} is not Ready ({'it ends' if pod.terminating else pod.trouble()})"
        for service in self.services:
            known = any(one.pod == pod.name and one.ready for one in self.endpoints.get(service.name, ()))
            if service.selects_pod(pod.labels) and not known:
                return f"pod {pod.name} is not yet an endpoint of Service {service.name}"
        if self.now_s < pod.ready_since_s + max(SETTLE_S, self.native.min_ready_s):
            return f"pod {pod.name} is Ready; it must have reached the data plane before the next one goes"
        return ""

    def is_long_broken(self, pod: Pod, patience_s: float) -> bool:
        """Whether a pod has been without traffic for so long that nobody waits for it."""
        since_s = max(pod.ready_since_s, pod.created_s)
        return pod.alive and not pod.ready and self.now_s > since_s + patience_s

    def new_and_ready(self) -> int:
        """How many pods of the present template are Ready."""
        newest = self.newest
        return sum(pod.ready and newest.bears(pod) for pod in self.pods) if newest is not None else 0

    def version_of(self, pod: Pod) -> str:
        """The short name of a pod's version."""
        return next((one.short for one in self.revisions if one.bears(pod)), "?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeDecision:
    """Actions to perform in this order, why, and when to look again."""

    because: str
    actions: tuple[NativeAction, ...] = ()
    barrier: str = ""
    wake_in_s: float = LOOK_AGAIN_S
    holds: bool = False
    end: End | None = None


def pause(because: str) -> NativeDecision:
    """Nothing to do but look again."""
    return NativeDecision(because=because)


def do(*actions: NativeAction, because: str, barrier: str = "") -> NativeDecision:
    """Do this, then look again at once."""
    return NativeDecision(actions=actions, because=because, barrier=barrier, wake_in_s=0.0)


def halt(error: Literal["conflict", "refused", "unfinished"], message: str, remedy: str) -> NativeDecision:
    """Go no further."""
    return NativeDecision(because=message, end=Stopped(error=error, message=message, remedy=remedy))


def is_stateful(native: Native) -> bool:
    """Whether its pods have ordinals."""
    return native.kind == STATEFUL_SET


def settings_of_native(spec: Obj) -> Obj:
    """The spec fields a release changes, None where they are not set."""
    return {key: spec.get(key) for key in NATIVE_SETTINGS}
