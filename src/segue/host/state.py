"""Where an embedded cluster keeps its files, and who it is while it runs.

One directory per cluster: certificates, kubeconfig, store, logs, `cluster.json` while a process runs. All processes of
a running cluster hold the lock of its directory, so nobody starts a second one on the same store, nor one while the
last process of a killed one still ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from segue.host.starting import start_time
from segue.model.errors import ClusterUnreachable, UsageError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
TAKEN = {"pki", "receipts"}  # what else lies beside the clusters
_LOCK_POLL_S = 0.02


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


def named(cluster: str) -> str:
    """The name of an embedded cluster; UsageError for what cannot be one."""
    if not NAME.fullmatch(cluster) or cluster in TAKEN:
        remedy = "small letters, digits and -" + (f", and not {cluster}" if cluster in TAKEN else "")
        raise UsageError(f"{cluster!r} cannot be the name of a cluster", remedy=remedy)
    return cluster


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
        name = "" if state.name == "default" else state.name
        raise ClusterUnreachable(
            f"no embedded cluster {name} runs".replace("  ", " "),
            remedy="start one with: segue up" + (f" --name {name}" if name else ""),
        )
    return running


def take_lock(state: Path, *, limit_s: float) -> int | None:
    """The directory's lock as a descriptor for this process and its forks; None where others keep it for so long."""
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end_s = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() >= end_s or read_running(state) is not None:
                os.close(lock)
                return None
            time.sleep(_LOCK_POLL_S)
