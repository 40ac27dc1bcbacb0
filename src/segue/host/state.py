"""Where an embedded cluster keeps its files, and who it is while it runs.

One directory per cluster: certificates, kubeconfig, store, logs, `cluster.json` while a process runs.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from segue.host.starting import start_time
from segue.model.errors import ClusterUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running cluster: `pid` is the outermost process, `node_pid` the one inside its namespaces (host's view)."""

    pid: int
    started: str  # the process's start time in clock ticks since boot: tells a re-used pid from ours
    node_pid: int
    mode: str  # "namespaces" | "loopback"
    reason: str  # why this mode
    api: str  # URL
    node_ip: str
    client_netns: str = ""  # path of the client namespace to fire loads from, "" in loopback mode


def state_dir(name: str = "default") -> Path:
    """The directory of the named cluster: $SEGUE_HOME, else the XDG state home, else ~/.local/state/segue."""
    home = os.environ.get("SEGUE_HOME")
    if home:
        return Path(home) / name
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "segue" / name


def write_running(state: Path, running: Running) -> None:
    """Publish who runs, atomically."""
    fresh = state / "cluster.json.new"
    fresh.write_bytes(msgspec.json.encode(asdict(running)))
    fresh.replace(state / "cluster.json")


def read_running(state: Path) -> Running | None:
    """Who runs, None where nobody does (a stale file counts as nobody)."""
    try:
        running = msgspec.json.decode((state / "cluster.json").read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None
    return running if start_time(running.pid) == running.started != "" else None


def must_run(state: Path) -> Running:
    """Who runs; ClusterUnreachable with the remedy where nobody does."""
    running = read_running(state)
    if running is None:
        raise ClusterUnreachable("no embedded cluster runs", remedy="start one with: segue up")
    return running
