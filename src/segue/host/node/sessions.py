"""A command run beside a container for somebody who watches (`kubectl exec`): by three pipes or by a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable

from segue.host.node.processes import Process, Processes
from segue.model.errors import HostError

_CHUNK_BYTES = 65536
_STDOUT, _STDERR = 1, 2
_CHUNKS_WAITING = 64
_LEFT_BEHIND_S = 0.5


class Session:
    """One running command; implements `ExecSession`. Descriptors given to it are its own to close."""

    def __init__(self, processes: Processes, *, stdin_fd: int, outputs: dict[int, int], has_terminal: bool) -> None:
        self._processes = processes
        self._process: Process | None = None
        self._stdin_fd = stdin_fd
        self._has_terminal = has_terminal
        self._outputs = outputs  # descriptor -> stream number
        self._chunks: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._paused: set[int] = set()
        for fd in outputs:
            os.set_blocking(fd, False)
            asyncio.get_running_loop().add_reader(fd, self._read, fd)
        if stdin_fd >= 0:
            os.set_blocking(stdin_fd, False)

    def runs(self, process: Process) -> None:
        """The command has started."""
        self._process = process
        process.ended.add_done_callback(lambda _ended: self._after_exit())

    async def write_stdin(self, data: bytes) -> None:
        """Feed standard input; b"" closes it (a terminal gets its end-of-file character instead)."""
        if self._stdin_fd < 0:
            return
        if not data:
            if not self._has_terminal:
                self._close_stdin()
                return
            data = b"\x04"
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self._stdin_fd, data) :]
            except BlockingIOError:
                writable = loop.create_future()
                loop.add_writer(self._stdin_fd, _done(writable))
                try:
                    await writable
                finally:
                    loop.remove_writer(self._stdin_fd)
            except OSError:  # the command has closed its input: what is left nobody wants
                self._close_stdin()
                return

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(1 or 2, bytes) until both streams have ended."""
        while True:
            stream, data = await self._chunks.get()
            if self._chunks.qsize() < _CHUNKS_WAITING // 2:
                self._resume()
            if data:
                yield stream, data
            elif not self._outputs and self._chunks.empty():
                return

    async def wait(self) -> int:
        """The exit code, 128 + signal where a signal ended it."""
        assert self._process is not None
        ended = await asyncio.shield(self._process.ended)
        return 128 + ended.signal if ended.signal else ended.code

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its new size."""
        if self._has_terminal and self._stdin_fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._stdin_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """End the command where it still runs, and drop its streams."""
        process = self._process
        if process is not None and not process.ended.done():
            work = asyncio.get_running_loop().create_task(self._kill(process))
            work.add_done_callback(lambda done: done.exception() if not done.cancelled() else None)
        self._close_stdin()
        for fd in list(self._outputs):
            self._end(fd)

    async def _kill(self, process: Process) -> None:
        with contextlib.suppress(HostError):
            await self._processes.kill(process, signal.SIGKILL, group=True)

    def _close_stdin(self) -> None:
        if self._stdin_fd >= 0 and self._stdin_fd not in self._outputs:
            os.close(self._stdin_fd)
        self._stdin_fd = -1

    def _resume(self) -> None:
        paused, self._paused = self._paused, set()
        for fd in paused & self._outputs.keys():
            asyncio.get_running_loop().add_reader(fd, self._read, fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose last program is gone says EIO where a pipe would say end of file
            data = b""
        if not data:
            self._end(fd)
            return
        self._chunks.put_nowait((self._outputs[fd], data))
        if self._chunks.qsize() >= _CHUNKS_WAITING:  # who watches is slow: let the pipe fill up
            self._paused.add(fd)
            asyncio.get_running_loop().remove_reader(fd)

    def _end(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        stream = self._outputs.pop(fd)
        if fd == self._stdin_fd:
            self._stdin_fd = -1
        os.close(fd)
        self._chunks.put_nowait((stream, b""))

    def _after_exit(self) -> None:
        """What the command left behind in the background must not keep the streams open for ever."""
        asyncio.get_running_loop().call_later(_LEFT_BEHIND_S, self._take_rest)

    def _take_rest(self) -> None:
        for fd in list(self._outputs):
            data = b"-"
            while data:
                try:
                    data = os.read(fd, _CHUNK_BYTES)
                except OSError:  # nothing more now, or a terminal without programs
                    break
                self._chunks.put_nowait((self._outputs[fd], data))
            self._end(fd)


def _done(future: asyncio.Future[None]) -> Callable[[], None]:
    return lambda: None if future.done() else future.set_result(None)


def pipes(processes: Processes, *, stdin: bool) -> tuple[Session, tuple[int, int, int]]:
    """A session over pipes, and the command's three descriptors (to be closed by the caller once it runs)."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    if stdin:
        in_read, in_write = os.pipe()
    else:
        in_read, in_write = os.open(os.devnull, os.O_RDONLY), -1
    outputs = {out_read: _STDOUT, err_read: _STDERR}
    session = Session(processes, stdin_fd=in_write, outputs=outputs, has_terminal=False)
    return session, (in_read, out_write, err_write)


def terminal(processes: Processes) -> tuple[Session, tuple[int, int, int]]:
    """A session over a terminal; all three descriptors are one."""
    ours, theirs = os.openpty()
    os.set_inheritable(ours, False)
    session = Session(processes, stdin_fd=ours, outputs={ours: _STDOUT}, has_terminal=True)
    return session, (theirs, theirs, theirs)
