"""Containers' output in files: one line per line with time and stream, as container runtimes keep it, and read back.

2026-01-31T10:00:00.123456789Z stdout F the text        P instead of F: the line goes on in the next one
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from segue.host.doors import LogQuery
from segue.ports import Clock

_CHUNK_BYTES = 65536
_LINE_BYTES = 16384  # longer lines are kept in parts, as runtimes do
_FOLLOW_EVERY_S = 0.05


class LogFile:
    """The log of one run of a container; open while a process writes to it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._clock = clock
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._open_streams: dict[int, tuple[bytes, bytes]] = {}  # descriptor -> stream, rest of a line

    @property
    def is_open(self) -> bool:
        """Whether somebody may still write."""
        return bool(self._open_streams)

    def pipe(self, stream: str) -> int:
        """A descriptor to write this stream to; the caller closes it once a process has it."""
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        self._open_streams[read_fd] = (stream.encode(), b"")
        asyncio.get_running_loop().add_reader(read_fd, self._read, read_fd)
        return write_fd

    def close(self) -> None:
        """Take what is there and close."""
        for fd in list(self._open_streams):
            self._read(fd)
        for fd in list(self._open_streams):
            self._end(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._end(fd)
            return
        stream, rest = self._open_streams[fd]
        *lines, rest = (rest + data).split(b"\n")
        written = [self._line(stream, b"F", line) for line in lines]
        while len(rest) > _LINE_BYTES:
            written.append(self._line(stream, b"P", rest[:_LINE_BYTES]))
            rest = rest[_LINE_BYTES:]
        self._open_streams[fd] = (stream, rest)
        self._file.write(b"".join(written))

    def _end(self, fd: int) -> None:
        stream, rest = self._open_streams.pop(fd)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        if rest:
            self._file.write(self._line(stream, b"P", rest))
        if not self._open_streams:
            self._file.close()

    def _line(self, stream: bytes, kind: bytes, text: bytes) -> bytes:
        now_s = self._clock.now_s()
        at = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
        return b"%s %s %s %s\n" % (at.encode(), stream, kind, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    at: bytes
    is_whole: bool
    text: bytes

    def shown(self, timestamps: bool) -> bytes:
        """The line as `kubectl logs` prints it."""
        return (self.at + b" " if timestamps else b"") + self.text + (b"\n" if self.is_whole else b"")


async def read_log(path: Path, query: LogQuery, writer: LogFile | None, now_s: float) -> AsyncIterator[bytes]:
    """The wanted lines; with `query.follow` also those that come, until `writer` has ended."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except FileNotFoundError:
            return
        rows = _rows(file.read())
        if query.since_s is not None:
            oldest = datetime.fromtimestamp(now_s - query.since_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode()
            rows = [row for row in rows if row.at >= oldest]
        if query.tail_lines is not None:
            rows = rows[-query.tail_lines :] if query.tail_lines else []
        if rows:
            yield b"".join(row.shown(query.timestamps) for row in rows)
        while query.follow and writer is not None:
            ending = not writer.is_open  # asked first: what was written before the end is then read below
            if rows := _rows(file.read()):
                yield b"".join(row.shown(query.timestamps) for row in rows)
            elif ending:
                return
            else:
                await asyncio.sleep(_FOLLOW_EVERY_S)


def _rows(data: bytes) -> list[_Row]:
    rows = []
    for line in data.splitlines():
        at, _, rest = line.partition(b" ")
        _stream, _, rest = rest.partition(b" ")
        kind, _, text = rest.partition(b" ")
        rows.append(_Row(at=at, is_whole=kind == b"F", text=text))
    return rows
