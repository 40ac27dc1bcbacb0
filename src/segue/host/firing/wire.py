"""One TCP connection of the load and the request it carries at the moment. Only holds; the loop moves it."""

from __future__ import annotations

import socket

from segue.load.answer import AnswerReader
from segue.load.outcome import Phase
from segue.load.plan import Shot


class Wire:
    """A non-blocking connection. Plain slots: one is made per request, thousands each second."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "conn",
        "connected_s",
        "fd",
        "first_byte_s",
        "local_ip",
        "local_port",
        "mask",
        "nth",
        "opened_s",
        "phase",
        "pooled",
        "reader",
        "request",
        "request_id",
        "sent_s",
        "shot",
        "sock",
    )

    def __init__(self, sock: socket.socket | None, conn: int, opened_s: float, pooled: bool) -> None:
        self.sock = sock
        self.fd = sock.fileno() if sock is not None else -1
        self.conn = conn
        self.opened_s = opened_s
        self.pooled = pooled
        self.connected_s = 0.0
        self.local_ip = ""
        self.local_port = 0
        self.nth = 0
        self.shot: Shot | None = None
        self.request = b""
        self.request_id = ""
        self.phase = Phase.CONNECT
        self.mask = 0  # what the epoll watches it for
        self.reader: AnswerReader | None = None  # None until the first byte of an answer
        self.sent_s = 0.0
        self.first_byte_s = 0.0
        self.bytes_out = 0
        self.bytes_in = 0

    def take(self, shot: Shot, request: bytes, request_id: str) -> None:
        """Carry this request from now on."""
        assert self.shot is None, "a connection carries one request at a time"
        self.shot = shot
        self.request = request
        self.request_id = request_id
        self.nth += 1
        self.sent_s = 0.0
        self.first_byte_s = 0.0
        self.bytes_out = 0
        self.bytes_in = 0
        if self.nth > 1:
            self.phase = Phase.SEND
            self.reader = None
