"""The cluster's side of its DNS: starts the server, tells it what makes names, and keeps the Service `kube-dns`.

Rule: a server that dies is started again and told everything anew; the cluster goes on without it meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import segue
from segue.cluster.dns import SERVICE, SLICE, address_in, wanted
from segue.cluster.store import Store, StoreEvent
from segue.cluster.writes import Write
from segue.dns.zone import RESOURCES, essence
from segue.model.errors import StatusError
from segue.model.objects import Obj

_ROOT = str(Path(segue.__file__).parent.parent)
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from segue.host.dns import server; server.main({fd})"
_OBJECTS_AT_ONCE = 500
_AGAIN_S = 0.5
_STOP_LIMIT_S = 2.0
_START_LIMIT_S = 10.0
_log = logging.getLogger(__name__)


class Performer(Protocol):
    """Who performs writes: the registry."""

    def perform(self, write: Write) -> object:
        """Perform one write, or raise StatusError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """Where it serves, and whom it asks for what the cluster does not know."""

    ip: str
    service_cidr: str
    port: int = 53
    domain: str = "cluster.local"
    ttl_s: int = 5
    cache_s: float = 30.0
    upstreams: tuple[tuple[str, int], ...] = ()

    @property
    def address(self) -> str:
        """The ClusterIP of kube-dns."""
        return address_in(self.service_cidr)


class DnsKeeper:
    """One server, as long as the cluster runs."""

    def __init__(self, store: Store, performer: Performer, settings: DnsSettings) -> None:
        self._store = store
        self._performer = performer
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = _nothing
        self._serving = asyncio.Event()

    async def start(self) -> None:
        """Begin; `wait` tells when it answers."""
        self._unsubscribe = self._store.subscribe(self._on_event)
        self._keep_service()
        self._task = asyncio.create_task(self._follow(), name="dns")

    async def wait(self) -> None:
        """Wait until it answers; a server that cannot is told of in the log, and the cluster runs without names."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_LIMIT_S):
                await self._serving.wait()

    async def stop(self) -> None:
        """End the server."""
        self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._end()

    @property
    def pid(self) -> int:
        """The server's process, 0 where it does not run."""
        return self._process.pid if self._process else 0

    async def _follow(self) -> None:
        while True:
            reader = await self._begin()
            while line := await reader.readline():
                told = json.loads(line)
                if "failed" in told:
                    _log.error("no DNS at %s port %s: %s", self._settings.ip, self._settings.port, told["failed"])
                self._serving.set()
            _log.error("the cluster's DNS server was killed; it is started again")
            await self._end()
            await asyncio.sleep(_AGAIN_S)

    async def _begin(self) -> asyncio.StreamReader:
        """Start it, and tell it all."""
        self._process, ours = start_server()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        at = self._settings
        begin = {"ip": at.ip, "port": at.port, "domain": at.domain, "ttl_s": at.ttl_s, "cache_s": at.cache_s}
        self._tell({"begin": begin | {"upstreams": at.upstreams}})
        for resource in RESOURCES:
            objects = [essence(resource, obj) for obj in self._store.all_of(resource)]
            for first in range(0, len(objects), _OBJECTS_AT_ONCE):
                self._tell({"put": resource, "objects": objects[first : first + _OBJECTS_AT_ONCE]})
        self._tell({"serve": True})
        return reader

    async def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, _STOP_LIMIT_S)
            process.kill()
            process.wait()

    def _on_event(self, event: StoreEvent) -> None:
        resource, ref = event.ref.resource, event.ref
        if resource not in RESOURCES:
            return
        if event.kind == "DELETED":
            self._tell({"remove": [resource, ref.namespace, ref.name]})
        else:
            made = essence(resource, event.obj)
            if event.before is None or essence(resource, event.before) != made:
                self._tell({"put": resource, "objects": [made]})
        if ref in (SERVICE, SLICE):
            asyncio.get_running_loop().call_soon(self._keep_service)

    def _keep_service(self) -> None:
        server = self._settings.ip, self._settings.port
        try:
            for write in wanted(self._store, self._settings.address, server):
                self._performer.perform(write)
        except StatusError as error:
            _log.warning("the Service kube-dns is not as it should be: %s", error.message)

    def _tell(self, message: Obj) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")


def start_server() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A server that has been told nothing yet, and the socket over which it is told."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM.format(root=_ROOT, fd=theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    return process, ours


def _nothing() -> None:
    """Nobody listens yet."""
