"""A node without a cluster for live tests: forked, isolated, with pods that are sockets of the test's own process.

`run_in_node` forks first, so that the test process itself never changes a namespace; what fails inside is told
outside as text.
"""

from __future__ import annotations

import asyncio
import ctypes
import encodings.idna  # noqa: F401 - what is imported late may be unreadable for an ordinary user
import gc
import os
import signal
import socket
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import uvloop

from segue.cluster.dataplane.rules import RuleTable, plan
from segue.host import isolation, syscalls
from segue.host.clock import SystemClock
from segue.host.network.netns import NamespaceThread
from segue.host.network.node import NodeNetwork
from segue.host.network.plane import NftTarget
from segue.host.network.pods import NamespaceNetwork
from segue.model.objects import Obj
from segue.model.timeline import Happening, What

T = TypeVar("T")
NOBODY = 65534
CLUSTER_IP = "10.96.0.10"
NODE_PORT = 30080
DEADLINE_S = 10.0
BODY_LIMIT_S = 30.0


class Recording(list[Happening]):
    """A Recorder that is a list."""

    def record(self, happening: Happening) -> None:
        self.append(happening)

    def of(self, what: What) -> list[Happening]:
        return [happening for happening in self if happening.what is what]


class World:
    """The node, its pods, a client, and a data plane."""

    def __init__(self, doorman: isolation.Doorman, host_fd: int) -> None:
        self.doorman = doorman
        self.host_fd = host_fd  # the network namespace of the test process; only root may go back there
        self.node = NodeNetwork()
        self.pods = NamespaceNetwork(self.node)
        self.target = NftTarget()
        self.clock = SystemClock()
        self.recording = Recording()
        self.table = RuleTable(node="node-1")
        self._traveller = NamespaceThread()
        self._servers: list[asyncio.Server] = []

    def inside(self, fd: int, work: Callable[[], T]) -> T:
        """Do something in the namespace behind `fd`."""

        def there() -> T:
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
            return work()

        return self._traveller.submit(there).result()

    def client_socket(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        made = self.inside(self.node.client_fd, lambda: socket.socket(socket.AF_INET, kind))
        made.setblocking(False)
        return made

    async def pod(self, name: str, *, port: int = 8080) -> str:
        """A pod that answers every connection with its name and echoes what it is sent; returns its address."""
        place = await self.pods.attach(name, f"default/{name}")
        assert place.netns_fd is not None
        listener = self.inside(place.netns_fd, lambda: socket.create_server(("0.0.0.0", port), backlog=1024))

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                peer = "{}:{}".format(*writer.get_extra_info("peername"))
                writer.write(f"{name} {peer}\n".encode())
                while line := await reader.readline():
                    writer.write(line)
            except OSError:
                pass
            finally:
                writer.close()

        self._servers.append(await asyncio.start_server(answer, sock=listener))
        return place.ip

    async def connect(
        self, ip: str = CLUSTER_IP, port: int = 80, *, limit_s: float = 3.0, from_port: int = 0
    ) -> socket.socket:
        """A connection from the client namespace."""
        made = self.client_socket()
        try:
            if from_port:
                made.bind(("0.0.0.0", from_port))
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, (ip, port)), limit_s)
        except BaseException:
            made.close()
            raise
        return made

    async def ask(self, ip: str = CLUSTER_IP, port: int = 80, *, limit_s: float = 3.0) -> tuple[str, str]:
        """(the pod that answered, the peer it saw) over a new connection."""
        made = await self.connect(ip, port, limit_s=limit_s)
        try:
            name, peer = (await asyncio.get_running_loop().sock_recv(made, 100)).decode().split()
            return name, peer
        finally:
            made.close()

    async def close(self) -> None:
        """uvloop insists on it."""
        for server in self._servers:
            server.close()
        await self.pods.close()
        self.target.close()
        self.node.close()

    async def apply(self, services: list[Obj], slices: list[Obj]) -> None:
        """One sync to this state."""
        after = plan(services, slices, "node-1")
        full = self.table.rules == ()
        await self.target.apply(self.table, after, full=full)
        await self.target.tidy(self.table, after, full=full)
        self.table = after


async def until(holds: Callable[[], bool], limit_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds."""
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, "the condition did not come to hold"
        await asyncio.sleep(0.005)


def service(**spec: object) -> Obj:
    """The Service `default/web`."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": NODE_PORT}]
    whole: Obj = {"type": "NodePort", "clusterIP": CLUSTER_IP, "ports": ports, **spec}
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": whole}


def endpoint(ip: str, name: str = "", *, state: str = "ready", node: str = "node-1") -> Obj:
    """An endpoint that is ready, starting, leaving (serves while it terminates) or stopping."""
    ready, serving, terminating = {
        "ready": (True, True, False),
        "starting": (False, False, False),
        "leaving": (False, True, True),
        "stopping": (False, False, True),
    }[state]
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    target = {"kind": "Pod", "namespace": "default", "name": name or ip}
    return {"addresses": [ip], "conditions": conditions, "nodeName": node, "targetRef": target}


def endpoint_slice(*endpoints: Obj, port: int = 8080, protocol: str = "TCP") -> Obj:
    """The one EndpointSlice of `default/web`."""
    labels = {"kubernetes.io/service-name": "web"}
    ports = [{"name": "http", "port": port, "protocol": protocol}]
    meta = {"namespace": "default", "name": "web-abc", "labels": labels}
    return {"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": list(endpoints)}


def run_in_node(body: Callable[[World], Awaitable[None]], *, uid: int = 0) -> None:
    """Run a test's body in a fresh node, as root or as an ordinary user."""

    host_fd = os.open("/proc/self/ns/net", os.O_RDONLY)

    def main(doorman: isolation.Doorman, _: isolation.Mode) -> int:
        async def all_of_it() -> None:
            world = World(doorman, host_fd)
            try:
                await asyncio.wait_for(body(world), BODY_LIMIT_S)
            finally:
                await world.close()

        uvloop.run(all_of_it())  # the loop that the cluster process runs
        return 0

    try:
        run_isolated(main, uid=uid)
    finally:
        os.close(host_fd)


def become(uid: int) -> None:
    """An ordinary user from here on (0: stay who we are)."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: a process of an ordinary login is


def run_isolated(
    main: Callable[[isolation.Doorman, isolation.Mode], int], *, uid: int = 0, wanted: str = "auto"
) -> None:
    """Fork, isolate, run; the traceback of what failed inside becomes this test's failure."""
    if uid and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        syscalls.prctl_pdeathsig(signal.SIGKILL)
        warnings.simplefilter("ignore")  # uvloop hangs where a warning about what is left open becomes an error
        gc.disable()  # what the parent's test session left open is not ours to warn about
        code = 1
        try:
            os.close(heard)
            become(uid)
            code = isolation.launch(_telling(main, told), isolation.choose(wanted))
        except BaseException:  # noqa: BLE001 - told outside
            os.write(told, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(told)
    with os.fdopen(heard, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    if said:
        pytest.fail(said, pytrace=False)


def _telling(
    main: Callable[[isolation.Doorman, isolation.Mode], int], told: int
) -> Callable[[isolation.Doorman, isolation.Mode], int]:
    def inner(doorman: isolation.Doorman, mode: isolation.Mode) -> int:
        try:
            return main(doorman, mode)
        except BaseException:  # noqa: BLE001 - told outside
            os.write(told, traceback.format_exc().encode())
            return 1

    return inner
