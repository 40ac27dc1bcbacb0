"""A WebSocket whose messages are echoed (websockets' own sans-IO half)."""

from __future__ import annotations

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from segue.host.firing.speech.base import ROOM, SESSION, Echoes, Heard
from segue.load.outcome import Outcome

SIZE_MAX = 1 << 20  # a message beyond this is no echo


class WebSocket:
    """One WebSocket. Each request is a text message with its id, answered by a message that repeats it."""

    def __init__(self, url: str, run: str) -> None:
        self._protocol = ClientProtocol(parse_uri(url), max_size=SIZE_MAX)
        self._echoes = Echoes(run)
        self._version = ""
        self._message = b""
        self.ready = False
        self.open = True

    @property
    def room(self) -> int:
        """A WebSocket has no limit of its own."""
        return ROOM

    def greet(self) -> None:
        """The upgrade."""
        request = self._protocol.connect()
        request.headers["User-Agent"] = "segue"
        self._protocol.send_request(request)

    def ask(self, key: int, request_id: str, path: str) -> None:
        """One text message."""
        self._echoes.asked(key)
        self._protocol.send_text(request_id.encode())

    def receive(self, data: bytes) -> list[Heard]:
        """Answers, and the end of the session."""
        protocol = self._protocol
        protocol.receive_data(data)
        heard: list[Heard] = []
        for event in protocol.events_received():
            if isinstance(event, Response):
                self._version = event.headers.get("X-Version", "")
                self.ready = protocol.state is State.OPEN
            elif isinstance(event, Frame):
                heard += self._frame(event)
        if self.open and protocol.handshake_exc is not None:
            self.open = False
            failure = protocol.handshake_exc
            status = failure.response.status_code if isinstance(failure, InvalidStatus) else 0
            outcome = Outcome.BAD_STATUS if status >= 400 else Outcome.BAD_ANSWER
            error = "" if status else type(failure).__name__
            heard.append(Heard(key=SESSION, outcome=outcome, status=status, version=self._version, error=error))
        return heard

    def _frame(self, frame: Frame) -> list[Heard]:
        if frame.opcode is Opcode.CLOSE:
            self.open = False
            code = self._protocol.close_code
            return [Heard(key=SESSION, outcome=Outcome.STREAM_ENDED, version=self._version, error=f"close {code}")]
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return []
        self._message = self._message + frame.data if self._message else bytes(frame.data)
        if not frame.fin:
            return []
        message, self._message = self._message, b""
        key = self._echoes.key_of(message)
        if key is None:
            return []
        return [Heard(key=key, outcome=Outcome.OK, status=101, version=self._version, size=len(message))]

    def bye(self) -> None:
        """The closing handshake."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)

    def out(self) -> bytes:
        """What the library wants to send."""
        return b"".join(self._protocol.data_to_send())
