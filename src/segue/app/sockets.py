"""The TCP sockets of a pod as its kernel knows them: by sock_diag, or from /proc/net where netlink is refused.

Rule 1: rows are plain tuples, for there may be 10,000 of them in every look.
Rule 2: the standard library's light modules alone; it needs no privilege.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # the module typing alone would cost a megabyte
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    _Answer: TypeAlias = tuple[Any, ...]  # type: ignore[explicit-any]  # a row, by the struct's format

CLOSED_FOR_S = 60.0  # how long the kernel keeps TIME_WAIT
_LISTEN, _TIME_WAIT = 10, 6
_LIVE = (1 << 13) - 1 & ~(1 << _LISTEN) & ~(1 << _TIME_WAIT) & ~1
STATES = (
    *("", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT"),
    *("LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV"),
)
_V4_MAPPED = bytes(10) + b"\xff\xff"
_DIAG, _DONE, _ERROR, _INFO = 20, 3, 2, 2
_HEADER = struct.Struct("=IHHII")
_ROW = "=IH10xBB2x4s16s16s12xI"  # length and type; family, state, ports, local, remote; what is left of TIME_WAIT
_ROW_BYTES = struct.calcsize(_ROW)
_ATTRIBUTES = 16 + 72
_INFO_FIELDS = "44xI4xI72xQ64xQ"  # of tcp_info: ms since data went and came, bytes received and sent (Linux 4.19)
_INFO_BYTES = struct.calcsize("=" + _INFO_FIELDS)

Key = bytes  # local and remote port, remote address as the kernel writes it
Row = tuple[Key, int, int, int, int, int]  # key, state, bytes received and sent (-1: unknown), idle ms in and out


def is_loopback(raw: bytes) -> bool:
    """Whether an address is only the pod's own."""
    return raw[:1] == b"\x7f" or raw == bytes(15) + b"\1" or (raw.startswith(_V4_MAPPED) and raw[12] == 127)


def address_of(key: Key) -> str:
    """The remote address in a key."""
    raw = key[4:]
    if len(raw) == 4 or not any(raw[4:]):
        return socket.inet_ntoa(raw[:4])
    if raw.startswith(_V4_MAPPED):
        return socket.inet_ntoa(raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def passive_opens() -> int:
    """Connections that listeners of this network have been given so far."""
    fd = os.open("/proc/net/snmp", os.O_RDONLY)  # not open(): this is asked several times a second
    try:
        text = os.read(fd, 1 << 14)
    finally:
        os.close(fd)
    names, values = [line.split() for line in text.splitlines() if line.startswith(b"Tcp:")]
    return int(values[names.index(b"PassiveOpens")])


class Diag:
    """The kernel's own table of sockets, by netlink."""

    name = "sock_diag"

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
        self._socket.settimeout(5.0)
        self._structs: dict[str, struct.Struct] = {}
        self._number = 0

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()

    def rows(self) -> list[Row]:
        """Every connection that has not ended."""
        return [
            (row[4] + row[6], row[3], row[10], row[11], row[9], row[8])
            for datagram in self._datagrams(_LIVE, info=True)
            for row in datagram
        ]

    def closed(self) -> list[tuple[Key, float]]:
        """Connections in TIME_WAIT, and for how long they have been there."""
        return [
            (row[4] + row[6], CLOSED_FOR_S - row[7] / 1000)
            for datagram in self._datagrams(1 << _TIME_WAIT, info=False)
            for row in datagram
        ]

    def listeners(self) -> list[tuple[int, bool]]:
        """Ports that are listened on, and whether they can be reached from outside the pod."""
        return [
            (int.from_bytes(row[4][:2], "big"), not is_loopback(row[5]))
            for datagram in self._datagrams(1 << _LISTEN, info=False)
            for row in datagram
        ]

    def _datagrams(self, states: int, *, info: bool) -> Iterator[list[_Answer]]:
        """The answers to one question, datagram by datagram."""
        for family in (socket.AF_INET, socket.AF_INET6):
            self._number += 1
            body = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, (1 << (_INFO - 1)) if info else 0, 0, states)
            self._socket.send(_HEADER.pack(16 + len(body), _DIAG, 0x301, self._number, 0) + body)
            while (answers := self._answers(self._socket.recv(1 << 16), info)) is not None:
                yield answers[0]
                if answers[1]:
                    break

    def _answers(self, data: bytes, info: bool) -> tuple[list[_Answer], bool]:
        """What one datagram holds, and whether it is the last one."""
        found: list[_Answer] = []
        at = 0
        while at + 16 <= len(data):
            length, kind, _, number, _ = _HEADER.unpack_from(data, at)
            if number != self._number:  # of a dump that was broken off
                return [], False
            if kind == _ERROR:
                raise OSError(-struct.unpack_from("=i", data, at + 16)[0], "sock_diag")
            if kind == _DONE:
                return found, True
            whole = (len(data) - at) // length * length
            for row in self._struct(data, at, length, info).iter_unpack(data[at : at + whole]):
                if row[0] != length or row[1] != _DIAG:
                    break
                found.append(row)
                at += length
        return found, False

    def _struct(self, data: bytes, start: int, length: int, info: bool) -> struct.Struct:
        """How to read answers like this one: where its tcp_info lies."""
        if not info:
            return self._made(f"{_ROW}{length - _ROW_BYTES}x")
        at = start + _ATTRIBUTES
        while at + 4 <= start + length:
            size, kind = struct.unpack_from("=HH", data, at)
            if kind == _INFO and size >= 4 + _INFO_BYTES:
                before = at + 4 - start - _ROW_BYTES
                return self._made(f"{_ROW}{before}x{_INFO_FIELDS}{length - _ROW_BYTES - before - _INFO_BYTES}x")
            at += max(4, size + 3 & ~3)
        raise OSError("sock_diag tells no bytes")

    def _made(self, form: str) -> struct.Struct:
        if form not in self._structs:
            self._structs[form] = struct.Struct(form)
        return self._structs[form]


class Proc:
    """/proc/net/tcp, where netlink is refused: who is connected, and not what they send."""

    name = "/proc/net"

    def close(self) -> None:
        """Nothing is held open."""

    def _lines(self) -> list[list[str]]:
        lines: list[list[str]] = []
        for name in ("tcp", "tcp6"):
            try:
                with open(f"/proc/net/{name}", encoding="ascii") as file:  # noqa: PTH123 - as above
                    lines += [line.split() for line in file][1:]
            except OSError:
                continue
        return [fields for fields in lines if len(fields) > 9]

    def rows(self) -> list[Row]:
        """Every connection that has not ended."""
        rows = [(_proc_key(fields), int(fields[3], 16)) for fields in self._lines()]
        return [(key, state, -1, -1, 0, 0) for key, state in rows if state not in {_LISTEN, _TIME_WAIT}]

    def closed(self) -> list[tuple[Key, float]]:
        """Connections in TIME_WAIT, and for how long they have been there."""
        left = [(fields, int(fields[5].partition(":")[2], 16)) for fields in self._lines() if fields[3] == "06"]
        return [(_proc_key(fields), CLOSED_FOR_S - ticks / 100) for fields, ticks in left]

    def listeners(self) -> list[tuple[int, bool]]:
        """Ports that are listened on, and whether they can be reached from outside the pod."""
        rows = [fields[1].split(":") for fields in self._lines() if fields[3] == "0A"]
        return [(int(port, 16), not is_loopback(_raw(address))) for address, port in rows]


def _raw(text: str) -> bytes:
    """An address as /proc writes it, in words of the machine's order; IPv4 without the zeros that sock_diag adds."""
    raw = bytes.fromhex(text)
    return b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4)) if sys.byteorder == "little" else raw


def _proc_key(fields: list[str]) -> Key:
    address, _, port = fields[2].partition(":")
    ports = int(fields[1].partition(":")[2], 16).to_bytes(2, "big") + int(port, 16).to_bytes(2, "big")
    return ports + _raw(address).ljust(16, b"\0")
