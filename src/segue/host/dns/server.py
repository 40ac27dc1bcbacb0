"""The DNS server of an embedded cluster, a process of its own: it answers whatever the cluster process is busy with.

    python -I -S -c '... server.main(FD)'       FD: one end of a stream socket pair, one JSON message per line

It is told    {"begin": {"ip", "port", "domain", "ttl_s", "upstreams": [[ip, port], ...], "cache_s"}}     at first
              {"put": resource, "objects": [...]}      {"remove": [resource, namespace, name]}
              {"serve": true}                          all that there is has been told
and tells     {"serving": [ip, port]}      or     {"failed": why}

Rule 1: it ends when the cluster process does, and waits for nobody: who asks slowly is cut off.
Rule 2: everything it holds for others is bounded: connections, questions under way, bytes.
Rule 3: standard library and `segue.dns` only, so that it starts in the time of one `python -I`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import time
from collections.abc import Coroutine
from typing import TypedDict

from segue.dns.responder import CACHE_S, Forward, Key, Responder, answers, is_cut
from segue.dns.zone import TTL_S, Zone
from segue.host import syscalls
from segue.model.objects import Obj

PACKETS_IN_A_ROW = 128  # then others get their turn
CONNECTIONS_MAX = 256
UNDER_WAY_MAX = 1_000  # questions that wait for an upstream, as CoreDNS' max_concurrent
IDLE_S = 10.0  # of a TCP connection
UPSTREAM_S = 2.0  # per upstream and try
TRIES = 2
PACKET_MAX = 65_535
_BUFFER_BYTES = 4 << 20


class Begin(TypedDict, total=False):
    """What a server must know before it serves."""

    ip: str
    port: int
    domain: str
    ttl_s: int
    upstreams: list[tuple[str, int]]
    cache_s: float


class Server:
    """Sockets around a Responder."""

    def __init__(self, begin: Begin) -> None:
        self._at = begin["ip"], begin.get("port", 53)
        self._upstreams = [(ip, port) for ip, port in begin.get("upstreams", [])]
        self.zone = Zone(domain=begin.get("domain", "cluster.local"), ttl_s=begin.get("ttl_s", TTL_S))
        cache_s = begin.get("cache_s", CACHE_S)
        self._responder = Responder(self.zone, forwards=bool(self._upstreams), cache_s=cache_s)
        self._under_way: dict[Key, asyncio.Task[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._udp: socket.socket | None = None

    async def open(self) -> tuple[str, int]:
        """Begin to serve; OSError where the address is not to be had."""
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        udp.bind(self._at)
        at: tuple[str, int] = udp.getsockname()
        await asyncio.start_server(self._on_connection, *at, backlog=CONNECTIONS_MAX)
        self._udp = udp
        asyncio.get_running_loop().add_reader(udp.fileno(), self._on_packets)
        return at

    # --- UDP --------------------------------------------------------------------------------------------------------

    def _on_packets(self) -> None:
        assert self._udp is not None
        receive, send, quick = self._udp.recvfrom, self._udp.sendto, self._responder.quick
        for _ in range(PACKETS_IN_A_ROW):
            try:
                packet, peer = receive(PACKET_MAX)
            except (BlockingIOError, ConnectionError):
                return
            reply = quick(packet)
            if reply is None:
                found = self._responder.respond(packet, time.monotonic())
                if isinstance(found, Forward):
                    self._begin(self._pass_on(found, peer))
                    continue
                reply = found
            if reply is not None:
                with contextlib.suppress(OSError):  # a full buffer, an address without a way to it: as if lost
                    send(reply, peer)

    async def _pass_on(self, forward: Forward, peer: tuple[str, int]) -> None:
        reply = await self._from_above(forward)
        assert self._udp is not None
        with contextlib.suppress(OSError):
            self._udp.sendto(reply, peer)

    # --- TCP --------------------------------------------------------------------------------------------------------

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            while self._connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2))
                    packet = await reader.readexactly(size)
                found = self._responder.respond(packet, time.monotonic(), over_tcp=True)
                reply = await self._from_above(found) if isinstance(found, Forward) else found
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2) + reply)
                async with asyncio.timeout(IDLE_S):
                    await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            return
        finally:
            self._connections -= 1
            writer.close()

    # --- further up -------------------------------------------------------------------------------------------------

    async def _from_above(self, forward: Forward) -> bytes:
        """The reply to a question of others; questions that are the same are asked once."""
        task = self._under_way.get(forward.key)
        if task is None:
            if len(self._under_way) >= UNDER_WAY_MAX:
                return self._responder.forwarded(forward, None)
            task = asyncio.ensure_future(self._ask_all(forward))
            self._under_way[forward.key] = task
            task.add_done_callback(lambda _done: self._under_way.pop(forward.key, None))
        return self._responder.forwarded(forward, await asyncio.shield(task))

    async def _ask_all(self, forward: Forward) -> bytes | None:
        for _ in range(TRIES):
            for upstream in self._upstreams:
                packet = forward.packet(int.from_bytes(os.urandom(2)))
                try:
                    async with asyncio.timeout(UPSTREAM_S):
                        answer = await _ask(upstream, packet)
                        if is_cut(answer):
                            answer = await _ask_whole(upstream, packet)
                except (TimeoutError, OSError, asyncio.IncompleteReadError):
                    continue
                self._responder.learn(forward.key, answer, time.monotonic())
                return answer
        return None

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _ask(upstream: tuple[str, int], packet: bytes) -> bytes:
    """One question over UDP, from a port of its own: who answers must have seen the question."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
        asking.connect(upstream)
        asking.send(packet)
        while True:
            answer = await loop.sock_recv(asking, PACKET_MAX)
            if answers(answer, packet):
                return answer


async def _ask_whole(upstream: tuple[str, int], packet: bytes) -> bytes:
    """The same over TCP."""
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(len(packet).to_bytes(2) + packet)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
    finally:
        writer.close()
    if not answers(answer, packet):
        raise ConnectionError("not an answer to what was asked")
    return answer


class _Control:
    """What the cluster process says, done in order."""

    def __init__(self, control: socket.socket) -> None:
        control.setblocking(False)
        self._control = control
        self._heard = b""
        self._server: Server | None = None
        self.ended = asyncio.Event()

    def on_readable(self) -> None:
        try:
            data = self._control.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended.set()
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._do(json.loads(line))

    def _do(self, order: Obj) -> None:
        if "begin" in order:
            self._server = Server(order["begin"])
            return
        assert self._server is not None, "begin comes first"
        if "put" in order:
            for obj in order["objects"]:
                self._server.zone.put(order["put"], obj)
        elif "remove" in order:
            self._server.zone.remove(*order["remove"])
        elif "serve" in order:
            asyncio.ensure_future(self._open(self._server)).add_done_callback(self._tell)

    @staticmethod
    async def _open(server: Server) -> Obj:
        try:
            return {"serving": list(await server.open())}
        except OSError as error:
            return {"failed": error.strerror or str(error)}

    def _tell(self, done: asyncio.Task[Obj]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(done.result()).encode() + b"\n")


async def _run(control_fd: int) -> None:
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    heard = _Control(control)
    asyncio.get_running_loop().add_reader(control.fileno(), heard.on_readable)
    await heard.ended.wait()
    os._exit(0)  # who is still answered is nobody's business now


def main(control_fd: int) -> None:
    """Serve on the inherited descriptor."""
    syscalls.prctl_pdeathsig(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent's end of the socket does
    gc.freeze()
    asyncio.run(_run(control_fd))
