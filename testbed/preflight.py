"""`can`: whether this machine can hold a bed, before minutes of building show that it cannot. Changes nothing but for
installing Debian packages where it may, as `up` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from segue.model.errors import HostError
from testbed.building import fetch, is_built, programs
from testbed.layout import cache_dir
from testbed.toolchain import Say, find_go, install_packages
from testbed.versions import Release

DISK_GB_BUILD = 12.0
DISK_GB_RUN = 1.0
MEMORY_GB = 2.5
_TRY_NAMESPACES = [
    "unshare",
    "--net",
    "--pid",
    "--ipc",
    "--uts",
    "--mount",
    "--fork",
    "mount",
    "-t",
    "tmpfs",
    "t",
    "/mnt",
]


def must_be_able(release: Release, say: Say) -> None:
    """Return where a bed of this release can be built and run here; HostError with the first reason where not."""
    if os.geteuid() != 0:
        raise HostError("a real Kubernetes needs root: containers, control groups", remedy="run it as root")
    tried = subprocess.run(_TRY_NAMESPACES, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise HostError(f"namespaces cannot be made here: {tried.stderr.strip()}", remedy="take a machine of your own")
    if not os.access("/sys/fs/cgroup", os.W_OK) or not any(Path("/sys/fs/cgroup").iterdir()):
        raise HostError("control groups cannot be written to here", remedy="mount them at /sys/fs/cgroup")
    if (memory := _memory_gb()) < MEMORY_GB:
        raise HostError(f"{memory:.1f} GB of memory are available, {MEMORY_GB} GB are needed")
    install_packages(say)
    missing = [program for program in programs(release) if not is_built(program)]
    cache_dir().mkdir(parents=True, exist_ok=True)
    free_gb, wanted_gb = shutil.disk_usage(cache_dir()).free / 1e9, DISK_GB_BUILD if missing else DISK_GB_RUN
    if free_gb < wanted_gb:
        raise HostError(f"{cache_dir()} has {free_gb:.0f} GB left, {wanted_gb:.0f} GB are needed")
    if missing:
        go = find_go(say)
        for program in missing:
            fetch(program, go)


def _memory_gb() -> float:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / 1e6
