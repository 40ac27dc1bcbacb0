"""A StatefulSet or a DaemonSet at one moment, as far as a release looks.

Rule: a pod counts as serving when it is Ready, an endpoint of every Service that selects it, and has been so for as
long as a data plane takes to know it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from segue.model.natives import Native, Revision, plain
from segue.model.services import Endpoint, Service
from segue.model.workloads import Pod
from segue.release.memory import Memory, memory_of
from segue.release.snapshot import SETTLE_S, Look

ORDINALS, NODES, SURGE = "ordinals", "nodes", "surge"  # the ways; a StatefulSet has the first, a DaemonSet the others
_ORDINAL = re.compile(r"-(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSnapshot(Look):
    """What is there now of a StatefulSet or a DaemonSet and all that is around it."""

    native: Native
    revisions: tuple[Revision, ...]
    pods: tuple[Pod, ...]  # its own; of a StatefulSet those of its ordinals
    services: tuple[Service, ...]
    endpoints: Mapping[str, tuple[Endpoint, ...]]

    @property
    def memory(self) -> Memory | None:
        """The release under way."""
        return memory_of(self.native.annotations)

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
