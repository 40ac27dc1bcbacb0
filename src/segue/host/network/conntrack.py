"""Which pod got which connection, and which UDP flows must end: the kernel's connection tracking over ctnetlink.

A FLOW happening is the kernel's own decision, read from its event of a new connection: who opened it (address and
port before any translation) and which pod answers. It must never be guessed from rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable

from segue.cluster.dataplane.udp import UdpFlow
from segue.host.network.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_NETFILTER,
    NLA_F_NESTED,
    SOL_NETLINK,
    NetlinkSocket,
    attribute,
    attributes,
)
from segue.model.timeline import Happening, What
from segue.ports import Clock, Recorder

_GROUP_NEW = 1  # NFNLGRP_CONNTRACK_NEW
_GET = (1 << 8) | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_DELETE = (1 << 8) | 2
_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_TUPLE_IP = 1
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 8 << 20
_READ_AT_ONCE = 512  # events per turn of the event loop

# The two tuples of an IPv4 connection with ports come first and always in this shape. The attribute headers are
# compared, the rest is cut at fixed places: one unpack instead of a walk, so that 5,000 events per second cost little.
_TUPLES_AT = 32
_TUPLES = struct.Struct("!4s4x4s8xB3x4xH2x4xH2x12x4s4x4s8xB3x4xH2x4xH2x")
_TUPLES_BYTES = _TUPLES_AT + _TUPLES.size
_ADDRESS_HEADERS = struct.pack("=HHHHHH", 52, 1 | NLA_F_NESTED, 20, 1 | NLA_F_NESTED, 8, 1)
_REPLY_HEADERS = struct.pack("=HHHHHH", 52, 2 | NLA_F_NESTED, 20, 1 | NLA_F_NESTED, 8, 1)
_PORT_HEADER = struct.pack("=HH", 6, 2)


def flow_of(event: bytes | memoryview) -> tuple[bytes, int, bytes, int] | None:
    """(who opened it, its port, who answers, its port) of a TCP connection's event; None for anything else."""
    if len(event) < _TUPLES_BYTES or event[20:32] != _ADDRESS_HEADERS or event[56:60] != _PORT_HEADER:
        return None
    if event[72:84] != _REPLY_HEADERS:
        return None
    source, _, protocol, source_port, _, backend, _, _, backend_port, _ = _TUPLES.unpack_from(event, _TUPLES_AT)
    return (source, source_port, backend, backend_port) if protocol == socket.IPPROTO_TCP else None


class FlowListener:
    """Records a FLOW for each new TCP connection to a pod, while it is switched on."""

    def __init__(self, recorder: Recorder, clock: Clock, pod_cidr: str = "10.244.0.0/16") -> None:
        network = ipaddress.ip_network(pod_cidr)
        self._mask, self._network = int(network.netmask), int(network.network_address)
        self._recorder = recorder
        self._clock = clock
        self._socket: socket.socket | None = None
        self.overruns = 0  # times the kernel had to drop events because we were too slow: attribution has gaps

    @property
    def is_on(self) -> bool:
        """Whether connections are being recorded."""
        return self._socket is not None

    def start(self) -> None:
        """Begin, on the running event loop; connections made from now on are seen. Idempotent."""
        if self._socket is not None:
            return
        netlink = NetlinkSocket(NETLINK_NETFILTER).socket
        with contextlib.suppress(PermissionError):  # without it the default buffer has to do
            netlink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        netlink.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, _GROUP_NEW)
        netlink.setblocking(False)
        self._socket = netlink
        asyncio.get_running_loop().add_reader(netlink.fileno(), self._read)

    def stop(self) -> None:
        """Read what is there and end. Idempotent."""
        if self._socket is None:
            return
        while self._read():
            pass
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None

    def _read(self) -> bool:
        """Record what has arrived; whether there may be more."""
        assert self._socket is not None
        receive, record, now_s = self._socket.recv, self._recorder.record, self._clock.now_s
        for _ in range(_READ_AT_ONCE):
            try:
                event = receive(8192)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                continue
            flow = flow_of(event)
            if flow is None or int.from_bytes(flow[2]) & self._mask != self._network:
                continue
            record(
                Happening(
                    at_s=now_s(),
                    what=What.FLOW,
                    data={
                        "src_ip": socket.inet_ntoa(flow[0]),
                        "src_port": flow[1],
                        "ip": socket.inet_ntoa(flow[2]),
                        "port": flow[3],
                    },
                )
            )
        return True


class FlowTable:
    """The connection table itself: list UDP flows, end some of them (K7)."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def udp_flows(self) -> dict[UdpFlow, bytes]:
        """Each UDP flow and the tuple by which the kernel knows it."""
        found: dict[UdpFlow, bytes] = {}
        for data, start, past in self._netlink.dump(_GET, struct.pack("=BBH", socket.AF_INET, 0, 0)):
            parts = {kind: (first, end) for kind, first, end in attributes(data, start + 4, past)}
            orig = _tuple(data, *parts[_CTA_TUPLE_ORIG])
            reply = _tuple(data, *parts[_CTA_TUPLE_REPLY])
            if orig is not None and reply is not None and orig[0] == socket.IPPROTO_UDP:
                flow = UdpFlow(client=orig[1:3], frontend=orig[3:5], backend=reply[1:3])
                first, end = parts[_CTA_TUPLE_ORIG]
                found[flow] = data[first:end]
        return found

    def end(self, tuples: Iterable[bytes]) -> None:
        """Forget flows; one that has ended meanwhile is no error."""
        for raw in tuples:
            body = struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_CTA_TUPLE_ORIG | NLA_F_NESTED, raw)
            try:
                self._netlink.request([(_DELETE, 0, body)])
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise


def _tuple(data: bytes, start: int, past: int) -> tuple[int, str, int, str, int] | None:
    """(protocol, source, its port, destination, its port); None where it has no IPv4 addresses or no ports."""
    addresses: dict[int, bytes] = {}
    proto: dict[int, bytes] = {}
    for kind, first, end in attributes(data, start, past):
        into = addresses if kind == _CTA_TUPLE_IP else proto
        into.update((number, data[at:to]) for number, at, to in attributes(data, first, end))
    if not {1, 2} <= addresses.keys() or not {1, 2, 3} <= proto.keys():
        return None
    ports = [int.from_bytes(proto[number]) for number in (2, 3)]
    source, destination = socket.inet_ntoa(addresses[1]), socket.inet_ntoa(addresses[2])
    return proto[1][0], source, ports[0], destination, ports[1]
