"""A control group of the bed's own in every hierarchy, seen from inside as if it were the root.

So nothing that kubelet, containerd or runc make can meet what the machine has, and one walk removes it all. Works
with version 1, version 2 and a mixture of both.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segue.host import syscalls

CLONE_NEWCGROUP = 0x02000000
NODE_LEAF = "node"  # version 2 wants processes in leaves only
_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_NOT_CONTROLLERS = {"rw", "ro", "xattr", "release_agent", "clone_children", "nsdelegate", "favordynmods"}
_EMPTY_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted tree of control groups."""

    place: Path
    kind: str  # cgroup | cgroup2
    options: str  # what to mount it with again

    @property
    def is_v2(self) -> bool:
        """Whether it is the unified tree."""
        return self.kind == "cgroup2"


def hierarchies() -> list[Hierarchy]:
    """What this machine has mounted."""
    found: list[Hierarchy] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        if kind not in {"cgroup", "cgroup2"}:
            continue
        kept = [option for option in options.split(",") if option.split("=")[0] not in _NOT_CONTROLLERS]
        if any(option.startswith("name=") for option in kept):
            kept.insert(0, "none")
        found.append(Hierarchy(place=Path(before.split()[4]), kind=kind, options=",".join(kept)))
    return found


def enter(name: str) -> None:
    """Make the groups called `name` and move this process there, then make them the root of what it sees."""
    for tree in hierarchies():
        group = tree.place / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # version 1 lets nobody in before these are set
            with contextlib.suppress(OSError):
                if not tree.is_v2 and not (group / file).read_text().strip():
                    (group / file).write_text((tree.place / file).read_text())
        (group / "cgroup.procs").write_text("0")
    syscalls.unshare(CLONE_NEWCGROUP)
    for tree in hierarchies():
        if tree.is_v2:
            leaf = tree.place / name / NODE_LEAF
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text("0")


def show_as_root() -> None:
    """Inside the bed's own mount namespace: mount the trees anew, so that each begins at our group."""
    for tree in hierarchies():
        syscalls.umount(str(tree.place))
        syscalls.mount(tree.kind, str(tree.place), tree.kind, _FLAGS, tree.options)
        if tree.is_v2:
            wanted = (tree.place / "cgroup.controllers").read_text().split()
            with contextlib.suppress(OSError):  # a controller that version 1 holds is none of this tree's
                (tree.place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def remove(name: str) -> list[Path]:
    """Remove the groups called `name` with all below them, once their processes are gone; returns what remains."""
    return [group for tree in hierarchies() if not _removed(group := tree.place / name)]


def left_over(name: str) -> list[Path]:
    """Groups called `name` that exist."""
    return [tree.place / name for tree in hierarchies() if (tree.place / name).exists()]


def _removed(group: Path) -> bool:
    deadline_s = time.monotonic() + _EMPTY_LIMIT_S
    while group.exists():
        _try_remove(group)
        if time.monotonic() > deadline_s:
            return False
        if group.exists():
            time.sleep(0.02)
    return True


def _try_remove(group: Path) -> None:
    for below in sorted(group.rglob("*/"), key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            below.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()


def memory_mib(name: str) -> float:
    """What the bed's processes and their pods use, page cache not counted; 0 where no tree tells."""
    readers: tuple[tuple[str, Callable[[dict[str, int]], int]], ...] = (
        ("cgroup", lambda stat: stat.get("total_rss", 0)),
        ("cgroup2", lambda stat: stat.get("anon", 0)),
    )
    for tree in hierarchies():
        stat_file = tree.place / name / "memory.stat"
        for kind, read in readers:
            if tree.kind == kind and stat_file.exists():
                stat = {key: int(value) for key, value in (row.split() for row in stat_file.read_text().splitlines())}
                return read(stat) / 2**20
    return 0.0
