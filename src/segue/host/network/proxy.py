"""Loopback mode's data plane: a proxy in user space that follows the same rule table as nftables.

It must never decide on its own: which endpoints a connection may go to is the rule's, an even choice is the proxy's.
Like the kernel it leaves established connections alone whatever the rules become (K6).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from dataclasses import dataclass, field
from typing import cast

from segue.cluster.dataplane.rules import Endpoint, RuleTable, ServiceRule, Verdict, Way
from segue.host.network.loopback import LoopbackNetwork
from segue.model.timeline import Happening, What
from segue.ports import Chance, Clock, Recorder

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST
_BACKLOG = 4096
_BUFFERED_BYTES = 1 << 18
_log = logging.getLogger(__name__)

Frontend = tuple[str, int]


class ProxyFlows:
    """Records a FLOW for each connection that the proxy gives to a pod, while it is switched on."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self.is_on = False
        self.overruns = 0  # never: what the proxy does it knows

    def start(self) -> None:
        """Begin. Idempotent."""
        self.is_on = True

    def stop(self) -> None:
        """End. Idempotent."""
        self.is_on = False

    def tell(self, client: Frontend, endpoint: Endpoint) -> None:
        """A connection of `client` goes to `endpoint`."""
        if self.is_on:
            data = {"src_ip": client[0], "src_port": client[1], "ip": endpoint.ip, "port": endpoint.port}
            self._recorder.record(
                Happening(at_s=self._clock.now_s(), what=What.FLOW, pod=endpoint.pod, data=data),
            )


@dataclass(slots=True, kw_only=True)
class _Door:
    """One frontend: what is done with its new connections, and its listener where it has one."""

    way: Way
    affinity_s: int
    listener: socket.socket | None = None
    stuck: dict[str, tuple[Endpoint, float]] = field(default_factory=dict)  # client -> endpoint, until when (K9)


class ProxyTarget:
    """Carries a rule table out by accepting and connecting."""

    def __init__(self, network: LoopbackNetwork, flows: ProxyFlows, chance: Chance, clock: Clock) -> None:
        self._network = network
        self._flows = flows
        self._chance = chance
        self._clock = clock
        self._doors: dict[Frontend, _Door] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def apply(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Open, change and close frontends until they are as `after` says."""
        wanted: dict[Frontend, tuple[Way, ServiceRule]] = {}
        for rule in after.rules:
            if rule.protocol != "tcp":
                _log.warning("%s port %s: loopback mode does not carry UDP", rule.service, rule.port)
                continue
            wanted[rule.cluster_ip, rule.port] = (rule.internal, rule)
            if rule.node_port:
                wanted["127.0.0.1", rule.node_port] = (rule.external, rule)
        for frontend in [one for one in self._doors if one not in wanted]:
            self._shut(frontend, self._doors.pop(frontend))
        for frontend, (way, rule) in wanted.items():
            door = self._doors.setdefault(frontend, _Door(way=way, affinity_s=rule.affinity_s))
            door.way, door.affinity_s = way, rule.affinity_s
            if way.verdict is Verdict.REJECT:
                self._shut(frontend, door)  # nobody listens: the kernel itself refuses, as K4 wants it
            elif door.listener is None:
                self._open(frontend, door, rule)

    async def tidy(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Nothing is left behind by `apply`."""

    def close(self) -> None:
        """Close every frontend and every connection."""
        for frontend, door in self._doors.items():
            self._shut(frontend, door)
        self._doors.clear()
        for task in list(self._tasks):
            task.cancel()

    def _open(self, frontend: Frontend, door: _Door, rule: ServiceRule) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(frontend)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            _log.warning("%s is not reachable at %s:%s: %s", rule.service, *frontend, error.strerror)
            return
        listener.setblocking(False)
        door.listener = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, frontend, door)

    def _shut(self, frontend: Frontend, door: _Door) -> None:
        if door.listener is None:
            return
        self._accept(frontend, door)  # what the kernel has already accepted would be reset by closing (N1)
        asyncio.get_running_loop().remove_reader(door.listener.fileno())
        door.listener.close()
        door.listener = None

    def _accept(self, frontend: Frontend, door: _Door) -> None:
        assert door.listener is not None
        while True:
            try:
                client, peer = door.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("accepting at %s:%s failed: %s", *frontend, error.strerror)
                return
            client.setblocking(False)
            task = asyncio.ensure_future(self._serve(client, cast("Frontend", peer), door))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket, peer: Frontend, door: _Door) -> None:
        """Choose, connect, then carry bytes; a refusal of the pod becomes a reset of the client."""
        if door.way.verdict is Verdict.DROP or not door.way.endpoints:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while await asyncio.get_running_loop().sock_recv(client, 4096):
                    pass  # silence, until the client gives up
            client.close()
            return
        endpoint = self._choose(door, peer[0])
        self._flows.tell(peer, endpoint)
        loop = asyncio.get_running_loop()
        backend = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        backend.setblocking(False)
        try:
            await loop.sock_connect(backend, (endpoint.ip, endpoint.port))
        except OSError:
            backend.close()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.close()
            return
        self._network.count_arrival(endpoint.ip)
        one, other = _Side(), _Side()
        one.peer, other.peer = other, one
        await loop.connect_accepted_socket(lambda: one, backend)
        await loop.connect_accepted_socket(lambda: other, client)

    def _choose(self, door: _Door, client: str) -> Endpoint:
        ends = door.way.endpoints
        if not door.affinity_s:
            return ends[self._chance.below(len(ends))]
        now_s = self._clock.now_s()
        endpoint, until_s = door.stuck.get(client, (ends[0], 0.0))
        if until_s < now_s or endpoint not in ends:
            endpoint = ends[self._chance.below(len(ends))]
        door.stuck[client] = (endpoint, now_s + door.affinity_s)
        return endpoint


class _Side(asyncio.Protocol):
    """One of the two connections of a proxied one: what comes here goes out over there, its end too."""

    def __init__(self) -> None:
        self.peer: _Side | None = None
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # came before the other side was wired
        self._early_end = False
        self._heard_end = False
        self._finished = False
        self._lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wired: send on what came before."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_BUFFERED_BYTES)
        for data in self._early:
            self._transport.write(data)
        if self._early_end:
            self.send_end()
        if self._finished:
            self._finish(self._lost)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        assert self.peer is not None
        self.peer.send(data)

    def eof_received(self) -> bool:
        """Pass the half-close on and stay open for the answer."""
        assert self.peer is not None
        self._heard_end = True
        self.peer.send_end()
        if self.peer._heard_end:  # both directions have ended, and nothing else would close the two
            self._finish(None)
            self.peer._finish(None)
        return True

    def pause_writing(self) -> None:
        """The other side must slow down."""
        if self.peer is not None and self.peer._transport is not None:
            self.peer._transport.pause_reading()

    def resume_writing(self) -> None:
        """The other side may go on."""
        if self.peer is not None and self.peer._transport is not None:
            self.peer._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """A reset is passed on as a reset, an end as an end."""
        if self.peer is not None:
            self.peer._finish(exc)

    def send(self, data: bytes) -> None:
        """Out on this side."""
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def send_end(self) -> None:
        """No more will go out on this side."""
        if self._transport is None:
            self._early_end = True
        elif not self._transport.is_closing():
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write_eof()

    def _finish(self, exc: Exception | None) -> None:
        self._finished, self._lost = True, exc
        if self._transport is None or self._transport.is_closing():
            return
        if exc is None:
            self._transport.close()
            return
        inner: socket.socket | None = self._transport.get_extra_info("socket")
        if inner is not None:
            with contextlib.suppress(OSError):
                inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
