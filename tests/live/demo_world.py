"""A demo as a process under test: what it says, what belongs to it, and what is left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Demo:
    """A demo under way, what it says, and what belongs to it."""

    def __init__(self, argv: Sequence[str], *, place: Path, cwd: Path, env: Mapping[str, str]) -> None:
        """`place` is a directory of its own; its `tmp`, where there is none yet, is made and is the TMPDIR."""
        self.place = place
        self.temporary = place / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.began_s = time.monotonic()
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**env, "TMPDIR": str(self.temporary), "SEGUE_HOME": str(place / "foreign"), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = ""

    def close(self) -> None:
        """End it, however far it has come."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def hear(self, wanted: str, limit_s: float) -> None:
        """Read on until it has said this."""
        assert self.process.stdout is not None
        end_s = time.monotonic() + limit_s
        while wanted not in self.said:
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"it did not say {wanted!r} in {limit_s} s, but:\n{self.said}"
            if select.select([self.process.stdout], [], [], left_s)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536)
                assert piece, f"it ended without saying {wanted!r}:\n{self.said}"
                self.said += piece.decode()

    def end(self, limit_s: float) -> int:
        """Wait for its end; the exit code."""
        rest, _ = self.process.communicate(timeout=limit_s)
        self.said += rest.decode()
        return self.process.returncode


def descendants(pid: int) -> dict[int, str]:
    """pid -> start time of every process below this one, itself included."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = (int(fields[1]), fields[19])
    found = {pid: parents[pid][1]} if pid in parents else {}
    for _ in range(8):  # deeper than any tree of ours
        found |= {child: began for child, (parent, began) in parents.items() if parent in found}
    return found


def networks(pids: dict[int, str]) -> set[str]:
    """Network namespaces of these processes that are not our own. Who has the pid of one that ended is another one."""
    found: set[str] = set()
    for pid, began in pids.items():
        with contextlib.suppress(OSError):
            space = str(Path(f"/proc/{pid}/ns/net").readlink())
            if not began or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19] == began:
                found.add(space)
    return found - {str(Path("/proc/self/ns/net").readlink())}


def all_pids() -> dict[int, str]:
    return {int(entry.name): "" for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def leftovers(demo: Demo, family: dict[int, str], spaces: set[str]) -> list[str]:
    """What is still there of a demo: processes, namespaces, files."""
    found: list[str] = []
    word = str(demo.place).encode()
    for pid in all_pids():
        with contextlib.suppress(OSError, IndexError):
            entry = Path(f"/proc/{pid}")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] in "ZX" or pid == os.getpid():
                continue
            if family.get(pid) == fields[19]:
                found.append(f"process {pid} of its family: {(entry / 'cmdline').read_bytes()!r}")
            elif word in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.append(f"process {pid} with its path: {(entry / 'cmdline').read_bytes()!r}")
    found += [f"network namespace {space}" for space in spaces & networks(all_pids())]
    found += [
        f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(demo.place) in line
    ]
    found += [str(path) for path in demo.temporary.iterdir()]
    return found
