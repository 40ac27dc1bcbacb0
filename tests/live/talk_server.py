"""A server that speaks what a load speaks: WebSocket, HTTP/2, gRPC, events, plain lines; each by its first bytes.

`python talk_server.py PORT`. On SIGTERM: GOAWAY to HTTP/2, close 1001 to WebSockets, then it ends. Every request id
that arrives is printed, so that both sides can be compared. Paths: /pkg.Svc/Fail answers UNAVAILABLE, /reset resets a
stream, /events sends one event every 20 ms, /refuse answers 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from typing import ClassVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

VERSION = os.environ.get("VERSION", "v1")


def told(request_id: str) -> None:
    """One line on stdout per request that arrived."""
    sys.stdout.write(request_id + "\n")
    sys.stdout.flush()


class Talker(asyncio.Protocol):
    """One connection, of whichever kind its first bytes say."""

    everyone: ClassVar[set[Talker]] = set()  # all there are
    empty: ClassVar[asyncio.Event] = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""
        self.kind = ""
        self.h2: H2Connection | None = None
        self.ws: ServerProtocol | None = None
        self.paths: dict[int, str] = {}
        self.rests: dict[int, bytes] = {}
        self.ticker: asyncio.Task[None] | None = None
        Talker.everyone.add(self)
        Talker.empty.clear()

    def connection_lost(self, _error: Exception | None) -> None:
        Talker.everyone.discard(self)
        if not Talker.everyone:
            Talker.empty.set()
        if self.ticker is not None:
            self.ticker.cancel()

    def data_received(self, data: bytes) -> None:
        if not self.kind:
            self.buffer += data
            data = self.buffer
            if not self._choose():
                return
        getattr(self, "_" + self.kind)(data)

    def _choose(self) -> bool:
        first = self.buffer
        if first.startswith(b"PRI * HTTP/2.0"):
            self.kind = "http2"
            self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
            self.h2.initiate_connection()
        elif first.startswith(b"GET "):
            if b"\r\n\r\n" not in first:
                return False
            self.kind = "socket" if b"upgrade: websocket" in first.lower() else "http"
            self.ws = ServerProtocol()
        elif b"\n" in first:
            self.kind = "lines"
        return bool(self.kind)

    def _lines(self, data: bytes) -> None:
        self.transport.write(data)
        for line in data.decode().split():
            told(line)

    def _http(self, data: bytes) -> None:
        if b"upgrade: websocket" in data.lower():  # a proxy upgrades a connection that carried requests before
            self.kind = "socket"
            self._socket(data)
        elif data.startswith(b"GET /refuse"):
            self.transport.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif data.startswith(b"GET /events"):
            head = f"HTTP/1.1 200 OK\r\nX-Version: {VERSION}\r\nContent-Type: text/event-stream\r\n\r\n"
            self.transport.write(head.encode())
            self.ticker = asyncio.get_running_loop().create_task(self._tick())
        else:
            told(data.partition(b"X-Request-Id: ")[2].partition(b"\r\n")[0].decode() or "probe")
            self.transport.write(f"HTTP/1.1 200 OK\r\nX-Version: {VERSION}\r\nContent-Length: 2\r\n\r\nok".encode())

    async def _tick(self) -> None:
        number = 0
        while True:
            number += 1
            self.transport.write(f"id: {number}\ndata: {VERSION}\n\n".encode())
            await asyncio.sleep(0.02)

    def _socket(self, data: bytes) -> None:
        assert self.ws is not None
        self.ws.receive_data(data)
        for event in self.ws.events_received():
            if isinstance(event, Request):
                response = self.ws.accept(event)
                if event.path == "/refuse":
                    response = self.ws.reject(503, "busy")
                response.headers["X-Version"] = VERSION
                self.ws.send_response(response)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                told(bytes(event.data).decode())
                self.ws.send_text(event.data)
        self.transport.write(b"".join(self.ws.data_to_send()))

    def _http2(self, data: bytes) -> None:
        assert self.h2 is not None
        try:
            events = self.h2.receive_data(data)
        except ProtocolError:
            self.transport.abort()
            return
        for event in events:
            if isinstance(event, RequestReceived):
                self._asked(event)
            elif isinstance(event, DataReceived):
                self._data(event)
            elif isinstance(event, StreamEnded) and event.stream_id in self.paths:
                self._answer(event.stream_id)
        self.transport.write(self.h2.data_to_send())

    def _asked(self, event: RequestReceived) -> None:
        assert self.h2 is not None
        headers = {str(name): str(value) for name, value in event.headers or ()}
        stream = event.stream_id or 0
        self.paths[stream] = headers[":path"]
        told(headers.get("x-request-id", "session"))
        if headers[":path"].endswith("/Stream"):
            self.h2.send_headers(stream, self._head("application/grpc"))
            self.rests[stream] = b""

    def _head(self, content: str) -> list[tuple[str, str]]:
        return [(":status", "200"), ("content-type", content), ("x-version", VERSION)]

    def _data(self, event: DataReceived) -> None:
        assert self.h2 is not None
        stream = event.stream_id or 0
        self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        if stream not in self.rests:
            return
        rest = self.rests[stream] + (event.data or b"")
        while len(rest) >= 5 and len(rest) >= 5 + struct.unpack(">I", rest[1:5])[0]:
            end = 5 + struct.unpack(">I", rest[1:5])[0]
            told(rest[5:end].decode())
            self.h2.send_data(stream, rest[:end])
            rest = rest[end:]
        self.rests[stream] = rest

    def _answer(self, stream: int) -> None:
        assert self.h2 is not None
        path = self.paths.pop(stream)
        if path == "/reset":
            self.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        elif path.endswith("/Fail"):
            self.h2.send_headers(stream, [*self._head("application/grpc"), ("grpc-status", "14")], end_stream=True)
        elif path.count("/") == 2:
            if stream not in self.rests:
                self.h2.send_headers(stream, self._head("application/grpc"))
                self.h2.send_data(stream, b"\0\0\0\0\0")
            self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        else:
            self.h2.send_headers(stream, self._head("text/plain"))
            self.h2.send_data(stream, b"ok", end_stream=True)

    def leave(self) -> None:
        """Say goodbye as each protocol has it."""
        if self.ws is not None and self.kind == "socket":
            self.ws.send_close(1001)
            self.transport.write(b"".join(self.ws.data_to_send()))
        elif self.h2 is not None:
            self.h2.close_connection()
            self.transport.write(self.h2.data_to_send())
        self.transport.close()


async def main() -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    host = os.environ.get("POD_IP", "127.0.0.1")
    server = await loop.create_server(Talker, host, int(sys.argv[1]), backlog=512)
    sys.stderr.write(f"listening {server.sockets[0].getsockname()[1]}\n")
    sys.stderr.flush()
    await over.wait()
    server.close()
    if not Talker.everyone:
        Talker.empty.set()
    for talker in [*Talker.everyone]:
        talker.leave()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await Talker.empty.wait()


if __name__ == "__main__":
    asyncio.run(main())
