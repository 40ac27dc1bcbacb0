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

from segue.host.settings import ClusterSettings, as_json, from_json
from segue.host.starting import start_time
from segue.host.state import Running, must_run, read_running
from segue.model.errors import HostError, ManifestError, Place, SegueError, UsageError
from segue.model.objects import Obj

START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0

_children: dict[int, subprocess.Popen[bytes]] = {}  # clusters that this very process started: it must reap them


def start(state: Path, settings: ClusterSettings, *, fresh: bool = False, with_me: bool = False) -> Running:
    """Start a cluster and wait until its API answers; the error that it tells where it does not.

    `fresh` forgets the objects of earlier runs; `with_me` lets the cluster end when this process does, even by SIGKILL.
    """
    argv = [sys.executable, "-m", "segue.host.cluster_process", "--state", str(state)]
    argv += ["--settings", msgspec.json.encode(as_json(settings)).decode()]
    argv += ["--fresh", "yes"] if fresh else []
    argv += ["--with", str(os.getpid())] if with_me else []
    heard, told = os.pipe()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (state / "cluster.log").open("ab") as log:
            process = subprocess.Popen(
                [*argv, "--ready-fd", str(told)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(told,),
                start_new_session=True,
            )
    except OSError as error:
        os.close(heard)
        raise HostError(
            f"the cluster's files cannot be kept in {state}: {error.strerror}",
            remedy="set SEGUE_HOME to a directory you may write to",
        ) from error
    finally:
        os.close(told)
    _children[process.pid] = process
    try:
        answer = _hear(heard, process)
    except BaseException:  # Ctrl-C, most likely: nobody will ask for this cluster
        _end(process.pid, start_time(process.pid))
        raise
    if answer is None:
        _end(process.pid, start_time(process.pid))
        raise HostError(
            f"the cluster did not start: {_last_line(state)}", remedy=f"its log tells more: {state / 'cluster.log'}"
        )
    if "error" in answer:
        process.wait()
        raise _told(answer)
    return must_run(state)


def settings_of(state: Path) -> ClusterSettings:
    """What the running cluster was started with; the defaults where nobody knows."""
    try:
        return from_json(msgspec.json.decode((state / "settings.json").read_bytes()))
    except (OSError, msgspec.MsgspecError):
        return ClusterSettings()


def _told(answer: Obj) -> SegueError:
    """What the cluster process could not do, as the error that it was there."""
    kinds = {kind.exit_code: kind for kind in (UsageError, ManifestError)}
    place = Place(**answer["place"])
    return kinds.get(answer["code"], HostError)(
        answer["error"], place=place if place.file else None, remedy=answer["remedy"]
    )


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


def _last_line(state: Path) -> str:
    """The end of the log: of a traceback that is the line with the exception."""
    try:
        lines = (state / "cluster.log").read_text(errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


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
