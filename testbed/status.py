"""`status`: what runs, as which process of the host, with how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segue.host.state import read_running
from testbed import cgroups
from testbed.layout import Bed
from testbed.starting import Started, read_started

_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "metrics-server",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program of the bed."""

    name: str
    pid: int  # as the host sees it
    rss_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A running bed."""

    started: Started | None  # None while it comes up
    api: str
    client_netns: str
    node_pid: int
    parts: tuple[Part, ...]
    pods: int  # processes that are neither parts nor PID 1
    whole_mib: float  # all of it, pods too


def status(bed: Bed) -> Status | None:
    """None where no bed runs."""
    running = read_running(bed.state)
    if running is None:
        return None
    children = _children(running.pid)
    parts = tuple(part for pid in children if (part := _part(pid)).name in _PARTS)
    return Status(
        started=read_started(bed),
        api=running.api,
        client_netns=running.client_netns,
        node_pid=running.pid,
        parts=tuple(sorted(parts, key=lambda part: _PARTS.index(part.name))),
        pods=sum(1 for pid in children if _part(pid).name == "containerd-shim-runc-v2"),
        whole_mib=cgroups.memory_mib(bed.cgroup),
    )


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in file.read_text().split()]
    return found


def _part(pid: int) -> Part:
    try:
        name = Path(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()).name
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended
        return Part(name="", pid=pid, rss_mib=0.0)
    return Part(name=name, pid=pid, rss_mib=pages * 4096 / 2**20)
