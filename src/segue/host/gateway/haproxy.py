"""One HAProxy: its files, its process, its runtime socket.

Rule 1: weights are changed in the running process; for all else a new worker takes the listeners over, the old one ends
when its connections have.
Rule 2: a text that HAProxy refuses is never loaded: what runs goes on.
Rule 3: nothing is believed because it was written: `load` returns when the process tells the version and the weights.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from segue.cluster.gateway.config import Config
from segue.cluster.gateway.haproxy import MAP, SOCKET, Written, backend_name, map_text, written
from segue.host.gateway.proxy import CHILD, shows, stop_process
from segue.model.errors import HostError

ASK_LIMIT_S = 2.0
CHECK_LIMIT_S = 10.0
_PLACES = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian puts it, and a user's PATH does not lead
_SESSIONS = 7  # column of `show stat`: requests that a backend was given
_TYPE, _BACKEND = 32, "1"
_MASTER = "master.sock"
_OLD = "# old workers"


def find_haproxy() -> str:
    """The program. HostError where there is none."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path=_PLACES)
    if path is None:
        raise HostError("HAProxy is not installed", remedy="apt-get install haproxy")
    return path


class Haproxy:
    """One proxy, serving one Gateway on one address."""

    def __init__(self, program: str, directory: Path, address: str) -> None:
        self._program = program
        self._directory = directory
        self._address = address
        self._process: asyncio.subprocess.Process | None = None
        self._now: Written | None = None
        self._names: dict[str, str] = {}
        self._taken = False  # whether it has shown what was written last
        self.starts = 0

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process with the configuration it had, or with none."""
        self._directory.mkdir(parents=True, exist_ok=True)
        wanted = self._now or written(Config(ports={}, clusters={}), self._address)
        self._put(wanted)
        (self._directory / SOCKET).unlink(missing_ok=True)
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", CHILD, str(os.getpid()),
                self._program, "-W", "-db", "-S", f"unix@{_MASTER},mode,600", "-f", "haproxy.cfg",
                cwd=self._directory, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.starts += 1
        if not await shows(lambda: self._serves(wanted), self):
            raise HostError("HAProxy does not answer", remedy=f"its log is {self._directory / 'log'}")

    async def stop(self) -> None:
        """End the process and its workers."""
        await stop_process(self._process)
        shutil.rmtree(self._directory, ignore_errors=True)

    async def load(self, config: Config, now_s: float) -> str:
        """Take a configuration over: returns when HAProxy tells it; what it refuses is returned in its words."""
        del now_s  # a worker keeps what it had while it ends: nothing lingers here
        wanted = written(config, self._address)
        self._names = {backend_name(name): name for name in config.clusters}
        if wanted == self._now and self._taken:
            return ""
        self._taken = False
        if self._now is not None and wanted.version == self._now.version:
            self._put(wanted)
            for key, end in wanted.weights.items():
                if self._now.weights.get(key) != end:
                    await self._ask(f"set map ./{MAP} {key} {end}")
        else:
            refused = await self._refused(wanted)
            if refused:
                return refused
            self._put(wanted)
            assert self._process is not None, "it was started"
            self._process.send_signal(signal.SIGUSR2)
            self.starts += 1
        self._now = wanted
        if not await shows(lambda: self._serves(wanted), self):
            return "HAProxy does not take its configuration over"
        self._taken = True
        return ""

    async def requests(self) -> dict[str, int]:
        """Requests by cluster since this worker began."""
        rows = [line.split(",") for line in (await self._ask("show stat -1 2 -1") or "").splitlines()]
        return {
            self._names[row[0]]: int(row[_SESSIONS] or 0)
            for row in rows
            if len(row) > _TYPE and row[_TYPE] == _BACKEND and row[0] in self._names
        }

    async def _serves(self, wanted: Written) -> bool:
        info = await self._ask("show info") or ""
        if f"node: {wanted.version}" not in info.splitlines():
            return False
        if not await self._alone():
            return False
        if not wanted.weights:
            return True
        rows = [line.split() for line in (await self._ask(f"show map ./{MAP}") or "").splitlines()]
        return {row[1]: int(row[2]) for row in rows if len(row) == 3} == wanted.weights

    async def _alone(self) -> bool:
        """Whether no worker of before takes new connections any more: for a moment two do."""
        listed = await self._ask("show proc", _MASTER)
        if listed is None:
            return False
        pids = [line.split()[0] for line in listed.partition(_OLD)[2].splitlines() if line[:1].isdigit()]
        for pid in pids:
            told = await self._ask(f"@!{pid} show info", _MASTER) or ""
            if "Stopping: 1" not in told.splitlines() and _is_there(pid):
                return False
        return True

    async def _refused(self, wanted: Written) -> str:
        """What HAProxy says against a text, "" for nothing."""
        trial = self._directory / "trial.cfg"
        trial.write_text(wanted.text)
        (self._directory / MAP).touch()
        process = await asyncio.create_subprocess_exec(
            self._program, "-c", "-f", trial.name,
            cwd=self._directory, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(CHECK_LIMIT_S):
            _, said = await process.communicate()
        if process.returncode == 0:
            return ""
        alerts = [line for line in said.decode(errors="replace").splitlines() if "ALERT" in line]
        return " ".join(alerts[:1])[:300] or "HAProxy refuses it"

    async def _ask(self, command: str, door: str = SOCKET) -> str | None:
        return await asyncio.to_thread(_ask, self._directory, door, command)

    def _put(self, wanted: Written) -> None:
        for name, text in ((MAP, map_text(wanted.weights)), ("haproxy.cfg", wanted.text)):
            part = self._directory / f".{name}"
            part.write_text(text)
            part.rename(self._directory / name)


def _is_there(pid: str) -> bool:
    """Whether a worker's process is there: it lives in this process' own pid namespace."""
    return Path(f"/proc/{pid}").exists()


def _ask(directory: Path, door: str, command: str) -> str | None:
    """An answer of a runtime socket; its path may be longer than a socket's name can be."""
    try:
        fd = os.open(directory, os.O_PATH)
    except OSError:
        return None
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as way:
        try:
            way.settimeout(ASK_LIMIT_S)
            way.connect(f"/proc/self/fd/{fd}/{door}")
            way.sendall(command.encode() + b"\n")
            way.shutdown(socket.SHUT_WR)  # the master's would wait for more
            found = b""
            while piece := way.recv(65536):
                found += piece
            return found.decode(errors="replace")
        finally:
            os.close(fd)
    return None
