"""One kept connection with what is under way on it, and one request of it. They only hold; the loop moves them."""

from __future__ import annotations

import socket
from collections import deque

from segue.host.firing.speech.base import Speech
from segue.load.outcome import Phase
from segue.load.plan import Shot


class Ask:
    """A request, or the session that a connection is."""

    __slots__ = ("bytes_in", "first_byte_s", "nth", "request_id", "sent_s", "shot", "status", "version")

    def __init__(self, shot: Shot, request_id: str) -> None:
        self.shot = shot
        self.request_id = request_id
        self.nth = 0
        self.sent_s = 0.0
        self.first_byte_s = 0.0
        self.bytes_in = 0
        self.status = 0
        self.version = ""


class Peer:
    """A connection. `waiting` holds those of `asks` that have not been said yet."""

    __slots__ = (
        "asks",
        "bytes_in",
        "conn",
        "connected_s",
        "fd",
        "local_ip",
        "local_port",
        "mask",
        "opened_s",
        "place",
        "session",
        "sock",
        "speech",
        "unsent",
        "used",
        "version",
        "waiting",
    )

    def __init__(self, sock: socket.socket, speech: Speech, conn: int, place: int, opened_s: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.speech = speech
        self.conn = conn
        self.place = place
        self.opened_s = opened_s
        self.connected_s = 0.0
        self.local_ip = ""
        self.local_port = 0
        self.mask = 0
        self.asks: dict[int, Ask] = {}
        self.waiting: deque[Ask] = deque()
        self.session: Ask | None = None
        self.unsent = b""
        self.used = 0
        self.bytes_in = 0
        self.version = ""

    def phase_of(self, ask: Ask) -> Phase:
        """How far a request of it has come."""
        if not self.connected_s:
            return Phase.CONNECT
        if not ask.sent_s:
            return Phase.SEND
        return Phase.READ if ask.first_byte_s else Phase.WAIT
