"""`down`: end the bed's PID 1, and with it everything; then what the kernel does not take away by itself.

Processes, mounts, links, rules and namespaces end with PID 1. What remains are control groups and files.
Idempotent, and right after a crash, too: it asks what is there, not what was planned.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal

from segue.host.state import read_running
from segue.model.errors import HostError
from testbed import cgroups
from testbed.layout import Bed
from testbed.toolchain import Say

END_LIMIT_S = 30.0


def down(bed: Bed, say: Say) -> bool:
    """Remove all that a bed left; whether there was anything. HostError where something cannot be removed."""
    running = read_running(bed.state)
    if running is not None:
        _end(running.pid)
    strays = _end_strays(bed.cgroup)
    groups = cgroups.left_over(bed.cgroup)
    remaining = cgroups.remove(bed.cgroup)
    if remaining:
        raise HostError(
            f"control groups remain: {', '.join(str(path) for path in remaining)}",
            remedy="end the processes that are in them (cgroup.procs below), then run down again",
        )
    had_files = bed.data.is_dir() or bed.kubeconfig.exists()
    for folder in (bed.data, bed.pki, bed.configs):
        shutil.rmtree(folder, ignore_errors=True)
    files = ("cluster.json", "started.json", "orders.json", bed.kubeconfig.name, bed.inner_kubeconfig.name)
    for file in (*files, bed.viewer_kubeconfig.name):
        (bed.state / file).unlink(missing_ok=True)
    was_there = running is not None or bool(groups) or strays > 0 or had_files
    if was_there:
        say("the bed is down" if running else "what an earlier bed left is gone")
    return was_there


def _end(pid: int) -> None:
    """SIGKILL to PID 1 of a pid namespace, and wait until the kernel has ended all that was in it."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(ended, signal.SIGKILL)
    over, _, _ = select.select([ended], [], [], END_LIMIT_S)
    os.close(ended)
    if not over:
        raise HostError(f"process {pid} does not end", remedy="it waits for a device or a file system")


def _end_strays(group: str) -> int:
    """End processes that are in the bed's control group although its PID 1 is gone (a start that was interrupted)."""
    strays = 0
    for place in cgroups.left_over(group):
        for file in place.rglob("cgroup.procs"):
            for pid in file.read_text().split():
                strays += 1
                _end(int(pid))
    return strays
