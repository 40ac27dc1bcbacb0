"""Reads what the processes of pods use, from /proc, at a fixed pace; what follows from it is `cluster.metrics`'.

Rule 1: a container is its first process and all that come of it, in whatever session; what the kernel has counted for
children that have ended and were waited for is in it.
Rule 2: one walk over /proc for all pods, in a thread: a machine with many processes must not keep the API waiting.
Memory is the resident set: pages that processes share count in each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from segue.cluster.metrics.readings import Reading, Readings, Round
from segue.host.node.processes import Process
from segue.ports import Clock

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KILO = 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stat:
    parent: int
    session: int
    cpu_s: float
    memory_bytes: int


class UsageReader:
    """Reads in its rhythm until it is stopped. `processes` are the first ones of containers, by container id."""

    def __init__(
        self, processes: Callable[[], Mapping[str, Process]], readings: Readings, clock: Clock, every_s: float
    ) -> None:
        self._processes = processes
        self._readings = readings
        self._clock = clock
        self._every_s = max(every_s, 1.0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first round is at once."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """No round follows."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            running = {
                container_id: (process.pid, process.started_at_s)
                for container_id, process in self._processes().items()
                if not process.ended.done()
            }
            at_s = self._clock.now_s()
            try:
                node, found = await asyncio.to_thread(_read, at_s)
            except OSError as error:  # a sandbox may hide /proc/stat: then nothing is known, and the cluster goes on
                _log.warning("what pods use cannot be read: %s", error)
            else:
                self._readings.take(Round(node=node, pods=_by_pod(running, found, at_s)))
            await asyncio.sleep(self._every_s)


def _read(at_s: float) -> tuple[Reading, dict[int, _Stat]]:
    return _node(at_s), dict(_stats())


def _by_pod(
    running: Mapping[str, tuple[int, float]], found: Mapping[int, _Stat], at_s: float
) -> dict[str, dict[str, Reading]]:
    """Readings by the uid of the pod and the container's name: what is between a container id's dots."""
    children: dict[int, list[int]] = {}
    for pid, process in found.items():
        children.setdefault(process.parent, []).append(pid)
        if process.session not in {pid, process.parent}:
            children.setdefault(process.session, []).append(pid)
    pods: dict[str, dict[str, Reading]] = {}
    for container_id, (pid, started_s) in running.items():
        tree = _tree(pid, children) & found.keys()
        if pid not in found:
            continue  # it has just ended: the next round finds its successor
        uid, name, _ = container_id.split(".")
        pods.setdefault(uid, {})[name] = Reading(
            at_s=at_s,
            started_s=started_s,
            cpu_s=sum(found[each].cpu_s for each in tree),
            memory_bytes=sum(found[each].memory_bytes for each in tree),
        )
    return pods


def _tree(root: int, children: Mapping[int, list[int]]) -> set[int]:
    found, waiting = set[int](), [root]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def _stats() -> Iterator[tuple[int, _Stat]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
                yield int(entry.name), _stat(Path(entry.path, "stat").read_bytes())


def _stat(line: bytes) -> _Stat:
    """One line of /proc/PID/stat; the program's name may hold spaces and brackets, so fields count from its end."""
    fields = line[line.rindex(b")") + 2 :].split()
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))  # utime, stime, and those of ended children
    return _Stat(
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu_s=ticks / _TICKS_PER_S,
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
    )


def _node(at_s: float) -> Reading:
    """The machine: it is what the Node's capacity is of."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {fields[0].rstrip(":"): int(fields[1]) for fields in lines if len(fields) > 1}
    used_kib = kib["MemTotal"] - kib.get("MemAvailable", kib["MemFree"])
    # The machine's start is no reading of ours: 0 says that it is the same machine each time
    cpu_s = (sum(ticks) - idle) / _TICKS_PER_S
    return Reading(at_s=at_s, started_s=0.0, cpu_s=cpu_s, memory_bytes=used_kib * _KILO)
