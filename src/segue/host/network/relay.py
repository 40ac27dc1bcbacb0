"""Node ports on the host's loopback, for people: a browser or curl reaches 127.0.0.1:nodePort.

Loads and drills never use it: a relay accepts before it knows whether anybody answers, so refused is not refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable

from segue.cluster.store import Store, StoreEvent
from segue.host.isolation import Doorman
from segue.model.errors import HostError

_CHUNK_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST
_log = logging.getLogger(__name__)


class NodePortRelay:
    """One listener on the host per TCP node port, opened and closed as Services come and go."""

    def __init__(self, store: Store, doorman: Doorman, node_ip: str) -> None:
        self._store = store
        self._doorman = doorman
        self._node_ip = node_ip
        self._servers: dict[int, asyncio.AbstractServer | None] = {}  # None: the port was taken, said once
        self._unsubscribe: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open what exists and follow the store."""
        self._unsubscribe = self._store.subscribe(self._on_event)
        await self._follow()

    async def stop(self) -> None:
        """Close every listener."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        for server in self._servers.values():
            if server is not None:
                server.close()
        self._servers.clear()
        for task in list(self._tasks):
            task.cancel()

    def open_ports(self) -> frozenset[int]:
        """Node ports that people can reach."""
        return frozenset(port for port, server in self._servers.items() if server is not None)

    def _on_event(self, event: StoreEvent) -> None:
        if event.ref.resource == "services":
            task = asyncio.ensure_future(self._follow())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        wanted = {
            port["nodePort"]
            for service in self._store.all_of("services")
            for port in service.get("spec", {}).get("ports") or []
            if port.get("nodePort") and port.get("protocol", "TCP") == "TCP"
        }
        for port in self._servers.keys() - wanted:
            server = self._servers.pop(port)
            if server is not None:
                server.close()
        for port in wanted - self._servers.keys():
            self._servers[port] = None
            try:
                listener = self._doorman.listen(port)
            except HostError as error:
                _log.warning("node port %s is not reachable from the host: %s", port, error.message)
                continue
            server = await asyncio.start_server(self._handler(port), sock=listener)
            if port in self._servers:
                self._servers[port] = server
            else:  # the Service went while we were at it
                server.close()

    def _handler(self, port: int) -> _Handler:
        return _Handler(self._node_ip, port)


class _Handler:
    """Carries bytes both ways for one node port."""

    def __init__(self, node_ip: str, port: int) -> None:
        self._node_ip = node_ip
        self._port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from the host."""
        try:
            inner_reader, inner_writer = await asyncio.open_connection(self._node_ip, self._port)
        except OSError:
            reset(writer)
            return
        try:
            await asyncio.gather(_carry(reader, inner_writer), _carry(inner_reader, writer))
        except OSError:
            reset(writer)
            reset(inner_writer)
        finally:
            for one in (writer, inner_writer):
                one.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as the kernel does where nobody listens."""
    inner: socket.socket | None = writer.get_extra_info("socket")
    if inner is not None:
        with contextlib.suppress(OSError):
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
