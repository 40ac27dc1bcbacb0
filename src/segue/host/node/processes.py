"""Processes of containers, started and ended through the fork server; the asyncio side of it.

Rule 1: a process is known by the number that the fork server gave and it is the fork server that signals it, so a
        number that the kernel has given to somebody else is never signalled.
Rule 2: when the fork server is gone, all its processes are (they die with it); it is started again at the next need.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import segue
from segue.host.node.forkserver import MESSAGE_BYTES, Order, Tidings
from segue.model.errors import HostError
from segue.ports import Clock

_ROOT = str(Path(segue.__file__).parent.parent)
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from segue.host.node import forkserver; forkserver.main({fd})"
_STOP_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. `stdio` are three descriptors, lent; `network_fd` None means without any namespace."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stdio: tuple[int, int, int]
    cwd: str = "/"
    hostname: str = ""
    binds: tuple[tuple[str, str], ...] = ()
    staging: str = ""  # an empty directory, where binds may need one
    network_fd: int | None = None
    target_pid: int = 0  # exec: join this process's namespaces
    is_isolated: bool = False  # exec: whether the target has namespaces of its own
    has_terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended; `signal` 0 where it exited by itself."""

    at_s: float
    code: int
    signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running process; `ended` is done once it has exited."""

    pid: int
    started_at_s: float
    ended: asyncio.Future[Ended]


class Processes:
    """The fork server and what it runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._last_id = 0
        self._answers: dict[int, asyncio.Future[Tidings]] = {}
        self._processes: dict[int, Process] = {}
        self._starts: set[int] = set()

    def start(self) -> None:
        """Start the fork server; it is usable at once, for messages wait until it reads them."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
        with theirs:
            program = _PROGRAM.format(root=_ROOT, fd=theirs.fileno())
            self._server = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear, ours)

    async def stop(self) -> None:
        """End the fork server and with it every process."""
        server = self._server
        self._lose()
        if server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(server.wait, _STOP_LIMIT_S)
            server.kill()
            server.wait()

    async def run(self, program: Program) -> Process:
        """Start a process; HostError says why where it cannot run."""
        isolated = program.network_fd is not None or program.is_isolated
        order: Order = {
            "do": "exec" if program.target_pid or program.has_terminal else "start",
            "argv": list(program.argv),
            "env": program.env,
            "cwd": program.cwd,
            "hostname": program.hostname,
            "binds": list(program.binds),
            "staging": program.staging,
            "isolated": isolated,
            "target": program.target_pid,
            "tty": program.has_terminal,
        }
        fds = [*program.stdio] + ([] if program.network_fd is None else [program.network_fd])
        tidings = await self._ask(order, fds, starts=True)
        if "error" in tidings:
            raise HostError(tidings["error"])
        return self._processes[tidings["pid"]]

    async def kill(self, process: Process, number: signal.Signals, *, group: bool = False) -> tuple[bool, float]:
        """Send a signal (to the whole process group where there is no namespace): (whether it went out, when)."""
        order: Order = {"do": "kill", "pid": process.pid, "signal": number.value, "group": group}
        tidings = await self._ask(order, [])
        return tidings.get("sent", False), self._when_s(tidings)

    async def _ask(self, order: Order, fds: list[int], *, starts: bool = False) -> Tidings:
        if self._control is None:
            self.start()
        assert self._control is not None
        self._last_id += 1
        order["id"] = self._last_id
        answer: asyncio.Future[Tidings] = asyncio.get_running_loop().create_future()
        self._answers[self._last_id] = answer
        if starts:
            self._starts.add(self._last_id)
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], fds)
        except OSError as error:
            self._answers.pop(self._last_id, None)
            raise HostError(f"{' '.join(order.get('argv', ()))[:80]}: {error.strerror}") from error
        return await answer

    def _hear(self, control: socket.socket) -> None:
        while True:
            try:
                data = control.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lose()
                return
            tidings: Tidings = json.loads(data)
            if "exit" in tidings:
                self._exited(tidings)
            else:
                self._answered(tidings)

    def _answered(self, tidings: Tidings) -> None:
        message_id = tidings["id"]
        if message_id in self._starts:
            self._starts.discard(message_id)
            if "pid" in tidings:  # known before the waiting task runs: its exit may be the next message
                ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
                pid = tidings["pid"]
                self._processes[pid] = Process(pid=pid, started_at_s=self._when_s(tidings), ended=ended)
        answer = self._answers.pop(message_id, None)
        if answer is not None and not answer.done():
            answer.set_result(tidings)

    def _exited(self, tidings: Tidings) -> None:
        process = self._processes.get(tidings["exit"])
        if process is None:
            return
        process.ended.set_result(Ended(at_s=self._when_s(tidings), code=tidings["code"], signal=tidings["signal"]))
        # kept until the task that started it has taken it; numbers come back only after the kernel's wrap
        asyncio.get_running_loop().call_later(1.0, self._drop, process)

    def _drop(self, process: Process) -> None:
        if self._processes.get(process.pid) is process:
            del self._processes[process.pid]

    def _lose(self) -> None:
        """The fork server is gone or about to be: so are its processes."""
        if self._control is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._control = None
        now_s = self._clock.now_s()
        for process in self._processes.values():
            if not process.ended.done():
                with contextlib.suppress(OSError):  # without a pid namespace its own children live on in its group
                    os.killpg(process.pid, signal.SIGKILL)
                process.ended.set_result(Ended(at_s=now_s, code=0, signal=signal.SIGKILL))
        self._processes.clear()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_result({"error": "the fork server is gone", "at": time.monotonic()})

    def _when_s(self, tidings: Tidings) -> float:
        return self._clock.now_s() - (time.monotonic() - tidings["at"])
