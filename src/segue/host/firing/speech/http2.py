"""HTTP/2 by prior knowledge, and gRPC on it: frames and header compression are h2's, gRPC's five bytes are ours.

Rule: a GOAWAY never reaches h2. It takes one for the end of the connection and refuses the answers that a draining
server still sends to streams it has accepted; here it means "no further streams", as RFC 9113 (6.8) has it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from segue.host.firing.speech.base import SESSION, Echoes, Heard
from segue.load.outcome import Outcome
from segue.load.plan import Scheme

_FRAME_HEAD = 9
_GOAWAY = 7
_MESSAGE_HEAD = struct.Struct(">BI")
GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


def grpc_code(number: str) -> str:
    """The name of a grpc-status."""
    known = number.isdigit() and int(number) < len(GRPC_CODES)
    return GRPC_CODES[int(number)] if known else f"grpc-status {number}"


def message(payload: bytes) -> bytes:
    """A gRPC message on the wire: not compressed, its length, itself."""
    return _MESSAGE_HEAD.pack(0, len(payload)) + payload


def messages(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The whole gRPC messages in a buffer, and the rest."""
    found: list[bytes] = []
    while len(buffer) >= _MESSAGE_HEAD.size:
        size = _MESSAGE_HEAD.unpack_from(buffer)[1]
        end = _MESSAGE_HEAD.size + size
        if len(buffer) < end:
            break
        found.append(buffer[_MESSAGE_HEAD.size : end])
        buffer = buffer[end:]
    return found, buffer


class _Stream:
    """One stream under way."""

    __slots__ = ("key", "rest", "size", "status", "version")

    def __init__(self, key: int) -> None:
        self.key = key
        self.status = 0
        self.version = ""
        self.size = 0
        self.rest = b""


class Http2:
    """One HTTP/2 connection: requests (`h2c`), calls (`grpc`), or one stream of messages (`grpc-stream`)."""

    def __init__(self, scheme: Scheme, authority: str, path: str, run: str) -> None:
        self._scheme = scheme
        self._authority = authority
        self._path = path
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._streams: dict[int, _Stream] = {}
        self._echoes = Echoes(run)
        self._session = 0  # the stream of `grpc-stream`
        self._buffer = b""
        self.ready = False
        self.open = True

    @property
    def room(self) -> int:
        """What the server's settings allow."""
        return int(self._h2.remote_settings.max_concurrent_streams)

    def greet(self) -> None:
        """Preface and settings; the one stream of a session at once."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)  # answers are thrown away: none is to wait for us
        if self._scheme is Scheme.GRPC_STREAM:
            self._session = self._begin(SESSION, "", self._path, end=False)
        self.ready = True

    def _begin(self, key: int, request_id: str, path: str, *, end: bool) -> int:
        number = self._h2.get_next_available_stream_id()
        headers = [
            (":method", "GET" if self._scheme is Scheme.H2C else "POST"),
            (":scheme", "http"),
            (":authority", self._authority),
            (":path", path),
            ("user-agent", "segue"),
        ]
        if self._scheme is not Scheme.H2C:
            headers += [("content-type", "application/grpc"), ("te", "trailers")]
        if request_id:
            headers.append(("x-request-id", request_id))
        self._h2.send_headers(number, headers, end_stream=end)
        self._streams[number] = _Stream(key)
        return number

    def ask(self, key: int, request_id: str, path: str) -> None:
        """A stream of its own, or a message on the one there is."""
        match self._scheme:
            case Scheme.GRPC_STREAM:
                self._echoes.asked(key)
                self._h2.send_data(self._session, message(request_id.encode()))
            case Scheme.GRPC:
                number = self._begin(key, request_id, path, end=False)
                self._h2.send_data(number, message(b""), end_stream=True)  # the empty message is one of every type
            case _:
                self._begin(key, request_id, path, end=True)

    def receive(self, data: bytes) -> list[Heard]:
        """Answers; the connection's own frames are h2's business, but for GOAWAY."""
        self._buffer += data
        heard: list[Heard] = []
        while len(self._buffer) >= _FRAME_HEAD:
            end = _FRAME_HEAD + int.from_bytes(self._buffer[:3])
            if len(self._buffer) < end:
                break
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            if frame[3] == _GOAWAY:
                heard += self._goaway(frame)
                continue
            try:
                heard += [one for event in self._h2.receive_data(frame) for one in self._event(event)]
            except ProtocolError as error:
                self.open = False
                return [*heard, *self._all(Outcome.BAD_ANSWER, type(error).__name__)]
        return heard

    def _all(self, outcome: Outcome, error: str) -> Iterable[Heard]:
        for stream in [*self._streams.values()]:
            yield Heard(key=stream.key, outcome=outcome, status=stream.status, version=stream.version, error=error)
        self._streams.clear()

    def _goaway(self, frame: bytes) -> list[Heard]:
        self.open = False
        last = int.from_bytes(frame[9:13]) & 0x7FFFFFFF
        beyond = [number for number in self._streams if number > last]
        return [
            Heard(key=self._streams.pop(number).key, outcome=Outcome.STREAM_REFUSED, error="GOAWAY")
            for number in beyond
        ]

    def _event(self, event: Event) -> list[Heard]:
        number = getattr(event, "stream_id", None)
        stream = self._streams.get(number) if number is not None else None
        match event:
            case DataReceived():
                return self._data(event, stream)
            case RemoteSettingsChanged() | _ if stream is None:
                return []
            case ResponseReceived():
                headers = _texts(event.headers or ())
                status = headers.get(":status", "")
                stream.status = int(status) if status.isdigit() else 0
                stream.version = headers.get("x-version", "")[:64]
                if "grpc-status" in headers:  # an answer of trailers only
                    return self._end(number or 0, stream, headers["grpc-status"])
                return [Heard(key=stream.key, outcome=None, status=stream.status, version=stream.version)]
            case TrailersReceived():
                return self._end(number or 0, stream, _texts(event.headers or ()).get("grpc-status", ""))
            case StreamEnded():
                return self._end(number or 0, stream, None)
            case StreamReset():
                del self._streams[number or 0]
                refused = event.error_code == ErrorCodes.REFUSED_STREAM
                code = event.error_code
                name = code.name if isinstance(code, ErrorCodes) else f"h2 error {code}"
                outcome = Outcome.STREAM_REFUSED if refused else Outcome.STREAM_RESET
                return [self._told(stream, outcome, name)]
            case _:
                return []

    def _data(self, event: DataReceived, stream: _Stream | None) -> list[Heard]:
        number, size = event.stream_id or 0, event.flow_controlled_length or 0
        if size:
            self._h2.acknowledge_received_data(size, number)
        if stream is None or not event.data:
            return []
        stream.size += len(event.data)
        if stream.key != SESSION:
            return []
        found, stream.rest = messages(stream.rest + event.data)
        keys = [(self._echoes.key_of(one), len(one)) for one in found]
        return [
            Heard(key=key, outcome=Outcome.OK, status=stream.status, version=stream.version, size=length)
            for key, length in keys
            if key is not None
        ]

    def _end(self, number: int, stream: _Stream, code: str | None) -> list[Heard]:
        """The stream's last word; `code` is gRPC's, None where the protocol has none."""
        del self._streams[number]
        if stream.status != 200 and (self._scheme is not Scheme.H2C or not 200 <= stream.status < 400):
            return [self._told(stream, Outcome.BAD_STATUS, "")]
        if self._scheme is Scheme.H2C:
            return [self._told(stream, Outcome.OK, "")]
        if code is None or code == "":
            return [self._told(stream, Outcome.SHORT_ANSWER, "no grpc-status")]
        if code != "0":
            return [self._told(stream, Outcome.BAD_STATUS, grpc_code(code))]
        return [self._told(stream, Outcome.STREAM_ENDED if stream.key == SESSION else Outcome.OK, "")]

    def _told(self, stream: _Stream, outcome: Outcome, error: str) -> Heard:
        if stream.key == SESSION:
            self.open = False
        return Heard(
            key=stream.key,
            outcome=outcome,
            status=stream.status,
            version=stream.version,
            error=error,
            size=stream.size,
        )

    def bye(self) -> None:
        """Half-close the stream of a session, and leave."""
        if self._session in self._streams:
            self._h2.end_stream(self._session)
        self._h2.close_connection()

    def out(self) -> bytes:
        """What h2 wants to send."""
        return self._h2.data_to_send()


def _texts(headers: Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in headers}


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
