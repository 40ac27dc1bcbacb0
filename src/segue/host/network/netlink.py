"""The wire format of netlink and one socket that speaks it: enough for rtnetlink, sock_diag and ctnetlink.

Rule: a socket belongs to the network namespace in which it was created, for ever; nothing here changes namespaces.
Own code instead of a library, because importing one costs more time than a whole cluster may take to start.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence

NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
NETLINK_NETFILTER = 12

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_REPLACE = 0x100
NLM_F_CREATE = 0x400

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_DROP_MEMBERSHIP = 2

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_RECEIVE_BYTES = 1 << 18


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def attribute_u32(kind: int, value: int) -> bytes:
    """An attribute that holds an unsigned 32-bit number in the machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes | memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, first, past) of each attribute's payload within data[start:end]."""
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < 4 or start + length > end:
            return
        yield kind & NLA_TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


class NetlinkSocket:
    """A netlink socket of the namespace it was made in."""

    def __init__(self, protocol: int) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.socket.bind((0, 0))
        self._sequence = 1

    def close(self) -> None:
        """Close it; the namespace lives on where somebody else holds it."""
        self.socket.close()

    def request(self, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """Send (type, flags, body) messages at once; OSError of the first one that the kernel refused."""
        first = self._sequence
        packed = b"".join(self._pack(kind, flags | NLM_F_ACK, body) for kind, flags, body in messages)
        self.socket.send(packed)
        refused: OSError | None = None
        left = len(messages)
        while left:
            data = self.socket.recv(_RECEIVE_BYTES)
            for kind, sequence, start, _ in _messages(data):
                if kind != NLMSG_ERROR or sequence < first:
                    continue
                left -= 1
                code = -_ERRNO.unpack_from(data, start)[0]
                if code and refused is None:
                    refused = OSError(code, f"netlink request {sequence - first}: {os.strerror(code)}")
        if refused is not None:
            raise refused

    def dump(self, kind: int, body: bytes, *, flags: int = NLM_F_DUMP) -> Iterator[tuple[bytes, int, int]]:
        """Yield (data, first, past) of each answer's body; OSError where the kernel refuses."""
        sequence = self._sequence
        self.socket.send(self._pack(kind, flags, body))
        while True:
            data = self.socket.recv(_RECEIVE_BYTES)
            for answer, number, start, past in _messages(data):
                if number != sequence:
                    continue
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    code = -_ERRNO.unpack_from(data, start)[0]
                    raise OSError(code, f"netlink dump: {os.strerror(code)}")
                yield data, start, past

    def _pack(self, kind: int, flags: int, body: bytes) -> bytes:
        sequence = self._sequence
        self._sequence += 1
        return HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body + bytes(-len(body) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(type, sequence, first byte of the body, past) of each message in one datagram."""
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        if length < 16:
            return
        yield kind, sequence, at + 16, at + length
        at += (length + 3) & ~3
