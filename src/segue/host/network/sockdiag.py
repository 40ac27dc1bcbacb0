"""What happens at a pod's sockets, read from the kernel's own tables: sock_diag and the namespace's TCP counters.

A `SocketView` belongs to the namespace in which it was made and can be asked from anywhere afterwards.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from segue.host.network.netlink import NETLINK_SOCK_DIAG, NetlinkSocket, attributes
from segue.model.objects import Obj

_SOCK_DIAG_BY_FAMILY = 20
_INET_DIAG_INFO = 2
_LISTEN = 10
_TIME_WAIT = 6
_STATES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    11: "CLOSING",
    12: "SYN_RECV",  # the kernel's NEW_SYN_RECV: a handshake under way
}
# Ended connections (TIME_WAIT) owe nobody anything and may be thousands.
_LIVE = (1 << 13) - 1 & ~(1 << _LISTEN) & ~(1 << _TIME_WAIT) & ~1
_REQUEST = struct.Struct("=BBBBI48s")  # inet_diag_req_v2: family, protocol, extensions, pad, states, socket id
_HEAD = struct.Struct("=BBBB")  # inet_diag_msg: family, state, timer, retransmits; then the socket id
_PORTS = struct.Struct("!HH")
_COUNT = struct.Struct("=I")
_MESSAGE_BYTES = 72
_EXPIRES = 52  # of inet_diag_msg: ms until a socket in TIME_WAIT is forgotten
TIME_WAIT_MS = 60_000
ENDED_EVERY_S = 0.5
_V4_MAPPED = bytes(10) + b"\xff\xff"
# Offsets within tcp_info, fixed since Linux 4.1.
_LAST_DATA_SENT = 44  # then last_ack_sent, last_data_recv (ms)
_BYTES_RECEIVED = 128
_BYTES_SENT = 200  # since Linux 4.19


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketRow:
    """One TCP socket; addresses as text, idle times in ms; byte counters are of the data, not of segments."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: str
    bytes_received: int
    bytes_sent: int
    idle_received_ms: int
    idle_sent_ms: int

    def as_json(self) -> Obj:
        """The row in the form of `PodNetwork.traffic`."""
        return {
            "localPort": self.local_port,
            "remote": self.remote,
            "remotePort": self.remote_port,
            "state": self.state,
            "bytesReceived": self.bytes_received,
            "bytesSent": self.bytes_sent,
            "idleReceivedMs": self.idle_received_ms,
            "idleSentMs": self.idle_sent_ms,
        }


class SocketView:
    """Eyes in one network namespace; make it on a thread that is there."""

    def __init__(self) -> None:
        self._diag = NetlinkSocket(NETLINK_SOCK_DIAG)
        self._snmp = os.open("/proc/thread-self/net/snmp", os.O_RDONLY | os.O_CLOEXEC)
        self._ended: dict[tuple[int, bytes], list[int]] = {}  # port, family and peer: all so far, those in TIME_WAIT
        self._ended_s = 0.0

    def close(self) -> None:
        """Let the namespace go: an open view keeps it alive."""
        self._diag.close()
        with contextlib.suppress(OSError):
            os.close(self._snmp)

    def listeners(self) -> frozenset[tuple[str, int]]:
        """(address, port) of every listening TCP socket."""
        found: set[tuple[str, int]] = set()
        for data, start, _ in self._sockets(1 << _LISTEN, info=False):
            local, _ = _addresses(data, start)
            found.add((local, _PORTS.unpack_from(data, start + 4)[0]))
        return frozenset(found)

    def connections(self) -> list[SocketRow]:
        """Every TCP connection that has not ended."""
        return [_row(data, start, past) for data, start, past in self._sockets(_LIVE, info=True)]

    def ended(self) -> list[Obj]:
        """By port and peer: connections that ended here and were seen to, all so far and those of the last minute.

        A connection of a millisecond is open at no look; who ends it first, the pod for the most part, keeps it in
        TIME_WAIT. Of thousands only how many they are is told.
        """
        now_s = time.monotonic()
        if now_s - self._ended_s >= ENDED_EVERY_S:
            fresh_ms = TIME_WAIT_MS - int(1000 * (now_s - self._ended_s)) if self._ended_s else 0
            self._ended_s = now_s
            for row in self._ended.values():
                row[1] = 0
            for data, start, _ in self._sockets(1 << _TIME_WAIT, info=False):
                key = (_PORTS.unpack_from(data, start + 4)[0], data[start : start + 1] + data[start + 24 : start + 40])
                row = self._ended.setdefault(key, [0, 0])
                row[0] += _COUNT.unpack_from(data, start + _EXPIRES)[0] > fresh_ms
                row[1] += 1
        found = ((port, _text(peer[0], peer[1:]), all_, lately) for (port, peer), (all_, lately) in self._ended.items())
        return [
            {"port": port, "remote": remote, "all": all_, "lately": lately}
            for port, remote, all_, lately in found
            if not remote.startswith("127.") and remote != "::1"
        ]

    def passive_opens(self) -> int:
        """Connections accepted by the kernel for listeners here since the namespace exists."""
        return passive_opens(os.pread(self._snmp, 16384, 0))

    def datagrams(self) -> int:
        """Datagrams of UDP received here since the namespace exists."""
        return counter(os.pread(self._snmp, 16384, 0), b"Udp:", b"InDatagrams")

    def _sockets(self, states: int, *, info: bool) -> Iterator[tuple[bytes, int, int]]:
        for family in (socket.AF_INET, socket.AF_INET6):
            extensions = 1 << (_INET_DIAG_INFO - 1) if info else 0
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, extensions, 0, states, b"")
            yield from self._diag.dump(_SOCK_DIAG_BY_FAMILY, body)


def passive_opens(snmp: bytes) -> int:
    """Tcp: PassiveOpens of a /proc/net/snmp text."""
    return counter(snmp, b"Tcp:", b"PassiveOpens")


def counter(snmp: bytes, protocol: bytes, name: bytes) -> int:
    """One counter of a /proc/net/snmp text."""
    names: list[bytes] = []
    for line in snmp.splitlines():
        if line.startswith(protocol):
            if names:
                return int(line.split()[names.index(name)])
            names = line.split()
    raise AssertionError(f"no {protocol.decode()} lines in /proc/net/snmp")


def _addresses(data: bytes, start: int) -> tuple[str, str]:
    family = data[start]
    return _text(family, data[start + 8 : start + 24]), _text(family, data[start + 24 : start + 40])


def _text(family: int, raw: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntoa(raw[:4])
    if raw.startswith(_V4_MAPPED):  # an IPv4 peer of a socket that listens on [::]
        return socket.inet_ntoa(raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def _row(data: bytes, start: int, past: int) -> SocketRow:
    _, state, _, _ = _HEAD.unpack_from(data, start)
    local_port, remote_port = _PORTS.unpack_from(data, start + 4)
    local, remote = _addresses(data, start)
    numbers = (0, 0, 0, 0)
    for kind, first, end in attributes(data, start + _MESSAGE_BYTES, past):
        if kind == _INET_DIAG_INFO:
            numbers = _tcp_info(data, first, end)
    return SocketRow(
        local=local,
        local_port=local_port,
        remote=remote,
        remote_port=remote_port,
        state=_STATES.get(state, str(state)),
        bytes_received=numbers[0],
        bytes_sent=numbers[1],
        idle_received_ms=numbers[2],
        idle_sent_ms=numbers[3],
    )


def _tcp_info(data: bytes, first: int, end: int) -> tuple[int, int, int, int]:
    """(bytes received, bytes sent, ms since data came, ms since data went)."""
    size = end - first
    sent_ms, _, received_ms = struct.unpack_from("=III", data, first + _LAST_DATA_SENT)
    received = struct.unpack_from("=Q", data, first + _BYTES_RECEIVED)[0] if size >= _BYTES_RECEIVED + 8 else 0
    sent = struct.unpack_from("=Q", data, first + _BYTES_SENT)[0] if size >= _BYTES_SENT + 8 else 0
    return received, sent, received_ms, sent_ms
