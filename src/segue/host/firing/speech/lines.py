"""Plain connections: lines that are echoed (`tcp`), and server-sent events (`sse`)."""

from __future__ import annotations

from segue.host.firing.speech.base import ROOM, SESSION, Echoes, Heard
from segue.load.answer import HEAD_BYTES_MAX
from segue.load.outcome import Outcome


class Lines:
    """A TCP connection. A request is a line with its id; the line that repeats it (or the next one) answers it."""

    def __init__(self, run: str) -> None:
        self._echoes = Echoes(run)
        self._said = b""
        self._rest = b""
        self.ready = False
        self.open = True

    @property
    def room(self) -> int:
        """No limit."""
        return ROOM

    def greet(self) -> None:
        """Nothing is said first."""
        self.ready = True

    def ask(self, key: int, request_id: str, path: str) -> None:
        """One line."""
        self._echoes.asked(key)
        self._said += request_id.encode() + b"\n"

    def receive(self, data: bytes) -> list[Heard]:
        """A line, an answer."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        keys = [(self._echoes.key_of(line), len(line) + 1) for line in lines]
        return [Heard(key=key, outcome=Outcome.OK, size=size) for key, size in keys if key is not None]

    def bye(self) -> None:
        """TCP's own end says it."""

    def out(self) -> bytes:
        """What was said."""
        said, self._said = self._said, b""
        return said


class Events:
    """A stream of server-sent events. Nothing is asked: a request is a client that waits for the next event."""

    def __init__(self, host: str, path: str, run: str) -> None:
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: segue\r\nAccept: text/event-stream\r\n"
            f"X-Request-Id: {run}-events\r\n\r\n"
        ).encode("latin-1")
        self._said = b""
        self._waiting: list[int] = []
        self._rest = b""
        self._version = ""
        self.ready = False
        self.open = True

    @property
    def room(self) -> int:
        """Any number may wait for one event."""
        return ROOM

    def greet(self) -> None:
        """The request for the stream."""
        self._said = self._head

    def ask(self, key: int, request_id: str, path: str) -> None:
        """Wait for the next event."""
        self._waiting.append(key)

    def receive(self, data: bytes) -> list[Heard]:
        """An event answers all who wait; comments that keep a connection alive do not."""
        self._rest += data
        if not self.ready:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found:
                return self._refused(0) if len(head) > HEAD_BYTES_MAX else []
            if head[:7] != b"HTTP/1." or not head[9:12].isdigit():
                return self._refused(0)
            if head[9:12] != b"200":
                return self._refused(int(head[9:12]))
            self._version = _header(head, b"x-version")
            self.ready, self._rest = True, rest
        *blocks, self._rest = self._rest.replace(b"\r\n", b"\n").split(b"\n\n")
        if b"0" in [block.strip() for block in blocks]:  # the last chunk: the server ends the stream in order
            self.open = False
            return [Heard(key=SESSION, outcome=Outcome.STREAM_ENDED, status=200, version=self._version)]
        events = [block for block in blocks if b"data:" in block]
        if not events:
            return []
        waiting, self._waiting = self._waiting, []
        size = len(events[-1])
        return [Heard(key=key, outcome=Outcome.OK, status=200, version=self._version, size=size) for key in waiting]

    def _refused(self, status: int) -> list[Heard]:
        self.open = False
        return [Heard(key=SESSION, outcome=Outcome.BAD_STATUS if status else Outcome.BAD_ANSWER, status=status)]

    def bye(self) -> None:
        """TCP's own end says it."""

    def out(self) -> bytes:
        """What was said."""
        said, self._said = self._said, b""
        return said


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")[:64]
    return ""
