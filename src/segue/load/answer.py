"""Reads one HTTP/1.1 answer from bytes as they come: complete or not, its status, its version header.

Sans-IO. Understands Content-Length, chunked, bodies that end with the connection, and answers without a body. Never
keeps a body: only how much of it is still to come.
"""

from __future__ import annotations

HEAD_BYTES_MAX = 65536  # a head beyond this is no answer we want to hold in memory


class AnswerReader:
    """One answer in the making."""

    __slots__ = ("_buffer", "_chunked", "_left", "closes", "complete", "http", "status", "version")

    def __init__(self) -> None:
        self._buffer = b""
        self._chunked = False
        self._left = -1  # bytes of the body still to come; -1: until the connection ends
        self.status = 0
        self.version = ""
        self.closes = False
        self.complete = False
        self.http = True

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if self.complete or not self.http:
            return
        if self.status == 0:
            data = self._buffer + data if self._buffer else data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                self.http = data[:5] == b"HTTP/"[: len(data[:5])] and len(data) <= HEAD_BYTES_MAX
                return
            self._buffer = b""
            self._read_head(data[: end + 2])
            if not self.http:
                return
            data = data[end + 4 :]
            if 100 <= self.status < 200:  # an interim answer: the real one follows
                self.status = 0
                if data:
                    self.feed(data)
                return
        self._read_body(data)

    def end(self) -> None:
        """The peer closed in order: completes a body that ends with the connection."""
        if self.status and self._left < 0 and not self._chunked:
            self.complete = True

    def _read_head(self, head: bytes) -> None:
        if head[:7] != b"HTTP/1." or not head[9:12].isdigit():
            self.http = False
            return
        self.status = int(head[9:12])
        low = head.lower()
        length = _header(head, low, b"\r\ncontent-length:")
        if length:
            if not length.isdigit():
                self.http = False
                return
            self._left = int(length)
        self.version = _header(head, low, b"\r\nx-version:").decode("latin-1")[:64]
        connection = _header(low, low, b"\r\nconnection:")
        self.closes = b"close" in connection or (head[7:8] == b"0" and b"keep-alive" not in connection)
        self._chunked = b"chunked" in _header(low, low, b"\r\ntransfer-encoding:")
        if self.status in (204, 304):
            self._left, self._chunked = 0, False
        if self._left < 0 and not self._chunked:
            self.closes = True

    def _read_body(self, data: bytes) -> None:
        if self._chunked:
            self._read_chunks(data)
        elif self._left >= 0:
            self._left -= len(data)
            if self._left < 0:  # bytes nobody asked for: the connection cannot be used again
                self._left, self.closes = 0, True
            self.complete = self._left == 0

    def _read_chunks(self, data: bytes) -> None:
        """`_left` counts the current chunk with its line end; -1 while a size line is awaited."""
        rest = self._buffer + data
        while rest and not self.complete:
            if self._left > 0:
                taken = min(self._left, len(rest))
                self._left -= taken
                rest = rest[taken:]
                if self._left == 0:
                    self._left = -1
                continue
            line, found, after = rest.partition(b"\r\n")
            if not found:
                break
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                self.http = False
                return
            if size:
                rest, self._left = after, size + 2
                continue
            # The last chunk: trailers, if any, end with an empty line.
            if after.startswith(b"\r\n") or b"\r\n\r\n" in after:
                self.complete = True
            break
        self._buffer = rest


def _header(head: bytes, low: bytes, name: bytes) -> bytes:
    """The value after `name` (which begins with the line end before it); b"" where there is none."""
    start = low.find(name)
    if start < 0:
        return b""
    start += len(name)
    return head[start : low.find(b"\r\n", start)].strip()
