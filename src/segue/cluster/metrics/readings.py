"""What pods and the node use: of two readings of a container comes a rate. Never measures; it is told.

Rule 1: a container counts from its second reading, or from its start where that lies between two readings.
Rule 2: a pod is known only while each of its running containers is: one that is half known would pass for an idle one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segue.cluster.metrics.custom import CustomMetrics

FRESH_S = 10.0  # a container that has run for less says too little about itself; as a metrics-server sees it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What something has used so far: `cpu_s` since its start."""

    at_s: float
    started_s: float
    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What something uses, over the `window_s` before `at_s`; `cpu_nano` are billionths of a CPU."""

    at_s: float
    window_s: float
    cpu_nano: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """All that one round of reading has found: the running containers of each pod (by uid), and the node itself."""

    node: Reading
    pods: Mapping[str, Mapping[str, Reading]] = field(default_factory=dict)


class Readings:
    """The last two rounds."""

    def __init__(self) -> None:
        self._before: Round | None = None
        self._last: Round | None = None
        self.custom = CustomMetrics()

    def take(self, found: Round) -> None:
        """Keep a round; the one before the last is forgotten."""
        assert self._last is None or found.node.at_s > self._last.node.at_s
        self._before, self._last = self._last, found

    def pod(self, uid: str) -> dict[str, Usage] | None:
        """What each container of a pod uses; None where that is not known."""
        containers = self._last.pods.get(uid) if self._last else None
        if not containers:
            return None
        earlier = self._before.pods.get(uid, {}) if self._before else {}
        found = {name: _usage(earlier.get(name), reading) for name, reading in containers.items()}
        known = {name: usage for name, usage in found.items() if usage is not None}
        return known if len(known) == len(found) else None

    def node(self) -> Usage | None:
        """What the whole node uses; None before the second round."""
        if self._last is None or self._before is None:
            return None
        return _usage(self._before.node, self._last.node)


def _usage(before: Reading | None, after: Reading) -> Usage | None:
    if before is None or before.started_s != after.started_s:
        lived_s = after.at_s - after.started_s
        if lived_s < FRESH_S:
            return None
        before = Reading(at_s=after.started_s, started_s=after.started_s, cpu_s=0.0, memory_bytes=0)
    window_s = after.at_s - before.at_s
    used_s = max(0.0, after.cpu_s - before.cpu_s)
    return Usage(
        at_s=after.at_s,
        window_s=window_s,
        cpu_nano=round(used_s / window_s * 1e9),
        memory_bytes=after.memory_bytes,
    )
