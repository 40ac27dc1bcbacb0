"""Start, find and stop an embedded cluster from outside: what `segue up` and the tests call.

Never imports the cluster itself: that lives in a process of its own (`cluster_process`).
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from segue.host.settings import ClusterSettings, as_json
from segue.host.starting import start_time
from segue.host.state import Running, must_run, read_running
from segue.model.errors import HostError, SegueError
from segue.model.objects import Obj

START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0

_children: dict[int, subprocess.Popen[bytes]] = {}  # clusters that this very process started: it must reap them


def start(state: Path, settings: ClusterSettings, *, fresh: bool = False) -> Running:
    """Start a cluster and wait until its API answers; HostError (with the log's last lines) where it does not."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if fresh:
        for stale in state.glob("store.db*"):
            stale.unlink()
    (state / "settings.json").write_bytes(msgspec.json.encode(as_json(settings)))
    heard, told = os.pipe()
    with (state / "cluster.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "segue.host.cluster_process", "--state", str(state), "--ready-fd", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(told,),
            start_new_session=True,
        )
    os.close(told)
    _children[process.pid] = process
    answer = _hear(heard, process)
    if answer is None:
        _end(process.pid, start_time(process.pid))
        raise HostError(
            "the cluster did not start", remedy=f"its log {state / 'cluster.log'} ends with:\n{_tail(state)}"
        )
    if "error" in answer:
        process.wait()
        raise HostError(answer["error"], remedy=answer.get("remedy", ""))
    return must_run(state)


def _hear(pipe: int, process: subprocess.Popen[bytes]) -> Obj | None:
    """The one JSON line that the cluster process writes when it answers or gives up."""
    heard = b""
    end_s = time.monotonic() + START_LIMIT_S
    try:
        while not heard.endswith(b"\n"):
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([pipe], [], [], min(left_s, 1.0))[0]:
                if left_s <= 0 or process.poll() is not None:
                    return None
                continue
            chunk = os.read(pipe, 65536)
            if not chunk:
                return None
            heard += chunk
    finally:
        os.close(pipe)
    return msgspec.json.decode(heard, type=Obj)


def _tail(state: Path, lines: int = 8) -> str:
    try:
        return "\n".join((state / "cluster.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def stop(state: Path, *, purge: bool = False) -> bool:
    """Stop the cluster and wait until its processes are gone; False where none ran."""
    running = read_running(state)
    if running is not None:
        _end(running.pid, running.started)
    (state / "cluster.json").unlink(missing_ok=True)
    if purge and state.exists():
        shutil.rmtree(state)
    return running is not None


def _end(pid: int, started: str) -> None:
    """SIGTERM, then SIGKILL; a pid that no longer is the process we meant is left alone."""
    for number, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, STOP_LIMIT_S)):
        if not started or start_time(pid) != started:
            return
        os.kill(pid, number)
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            child = _children.get(pid)
            if child is not None and child.poll() is not None:
                del _children[pid]
                return
            if start_time(pid) != started:
                return
            time.sleep(0.01)
    raise SegueError(f"process {pid} of the cluster does not end")


def describe(state: Path, running: Running) -> Obj:
    """The running cluster for people and machines."""
    return {
        "api": running.api,
        "kubeconfig": str(state / "kubeconfig"),
        "mode": running.mode,
        "reason": running.reason,
        "nodeIP": running.node_ip,
        "pid": running.pid,
        "state": str(state),
        "residentMB": round(sum(_resident_kb(pid) for pid in control_plane_pids(running)) / 1024, 1),
    }


def control_plane_pids(running: Running) -> list[int]:
    """The processes that are the cluster itself, without its containers."""
    found = [running.pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(running.pid):
            try:
                argv = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent in found and b"segue.host" in argv:
                found.append(int(entry.name))
    return found


def _resident_kb(pid: int) -> int:
    """Proportional set size: shared pages are counted once over all processes."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0
