"""Loopback mode follows the same rule table with a proxy, and is as faithful as a proxy can be."""

from __future__ import annotations

import asyncio
import socket
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from segue.cluster.dataplane.rules import RuleTable, plan
from segue.cluster.store import Store
from segue.host.clock import SystemChance, SystemClock
from segue.host.isolation import Doorman, choose
from segue.host.network.loopback import LoopbackNetwork
from segue.host.network.plane import SERVICES, SLICES, PlaneSettings
from segue.host.network.proxy import ProxyFlows, ProxyTarget
from segue.host.network.relay import reset
from segue.host.network.surroundings import Tools, surroundings
from segue.model.errors import StatusError
from segue.model.objects import Obj
from segue.model.timeline import What
from tests.live.network_world import Recording, endpoint, endpoint_slice, until

pytestmark = pytest.mark.live

CLUSTER_IP, PORT = "127.96.0.10", 18080  # high: an ordinary user may bind to it


class LoopbackWorld:
    """Pods as servers of this process, a proxy, and no cluster."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.recording = Recording()
        self.pods = LoopbackNetwork()
        self.flows = ProxyFlows(self.recording, self.clock)
        self.target = ProxyTarget(self.pods, self.flows, self.clock)
        self.table = RuleTable(node="node-1")
        self.servers: dict[str, asyncio.AbstractServer] = {}

    async def pod(self, name: str) -> str:
        ip = (await self.pods.attach(name, f"default/{name}")).ip

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name}\n".encode())
            while line := await reader.readline():
                if line == b"reset\n":
                    reset(writer)
                    return
                writer.write(line)
            writer.write(b"bye\n")
            writer.close()

        self.servers[name] = await asyncio.start_server(answer, ip, 8080)
        return ip

    async def apply(self, services: list[Obj], slices: list[Obj]) -> None:
        after = plan(services, slices, "node-1")
        await self.target.apply(self.table, after, full=False)
        self.table = after

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection(CLUSTER_IP, PORT), 3)

    async def ask(self) -> tuple[str, int]:
        """(the pod that answered, our own port)."""
        reader, writer = await self.connect()
        name = (await asyncio.wait_for(reader.readline(), 3)).decode().strip()
        port: int = writer.get_extra_info("sockname")[1]
        writer.close()
        await writer.wait_closed()
        if not name:
            raise ConnectionResetError
        return name, port

    async def close(self) -> None:
        self.target.close()
        for server in self.servers.values():
            server.close()
        await self.pods.close()


def run(body: Callable[[LoopbackWorld], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        world = LoopbackWorld()
        try:
            await asyncio.wait_for(body(world), 30)
        finally:
            await world.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # uvloop hangs where a warning about what is left open becomes an error
        uvloop.run(all_of_it())


def service(**spec: object) -> Obj:
    ports = [{"name": "http", "port": PORT, "targetPort": 8080}]
    whole: Obj = {"type": "ClusterIP", "clusterIP": CLUSTER_IP, "ports": ports, **spec}
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": whole}


def test_connections_spread_and_each_is_attributed_to_the_pod_that_answered() -> None:
    """K1 and FLOW, all of 300."""

    async def body(world: LoopbackWorld) -> None:
        ips = {name: await world.pod(name) for name in ("a", "b", "c")}
        await world.apply([service()], [endpoint_slice(*map(endpoint, ips.values()))])
        await world.ask()
        assert world.recording == []
        world.flows.start()
        answered = {}
        for _ in range(300):
            name, port = await world.ask()
            answered[port] = ips[name]
        await until(lambda: len(world.recording) == 300)
        seen = {row.data["src_port"]: row.data["ip"] for row in world.recording.of(What.FLOW)}

        assert seen == answered
        assert min(Counter(answered.values()).values()) > 50
        assert sum(world.pods.traffic(name)["passiveOpens"] for name in ips) == 301

    run(body)


def test_without_endpoints_the_kernel_itself_refuses() -> None:
    """K4 REJECT; and the listener comes back with the first endpoint."""

    async def body(world: LoopbackWorld) -> None:
        ip = await world.pod("a")
        await world.apply([service()], [endpoint_slice()])
        with pytest.raises(ConnectionRefusedError):
            await world.ask()
        await world.apply([service()], [endpoint_slice(endpoint(ip))])

        assert (await world.ask())[0] == "a"

    run(body)


def test_a_pod_that_refuses_resets_the_client() -> None:
    """As near to refused as a proxy can come."""

    async def body(world: LoopbackWorld) -> None:
        ip = (await world.pods.attach("a", "default/a")).ip
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        with pytest.raises(ConnectionResetError):
            await world.ask()

    run(body)


def test_an_established_connection_keeps_its_backend_whatever_the_rules_become() -> None:
    """K6: after the switch, with a reject, and after the removal."""

    async def body(world: LoopbackWorld) -> None:
        old, new = await world.pod("old"), await world.pod("new")
        await world.apply([service()], [endpoint_slice(endpoint(old))])
        reader, writer = await world.connect()
        assert await reader.readline() == b"old\n"
        states: tuple[tuple[list[Obj], list[Obj]], ...] = (
            ([service()], [endpoint_slice(endpoint(new))]),
            ([service()], [endpoint_slice()]),
            ([], []),
        )
        for services, slices in states:
            await world.apply(services, slices)
            writer.write(b"still there?\n")

            assert await asyncio.wait_for(reader.readline(), 3) == b"still there?\n"
        writer.close()

    run(body)


def test_ends_and_resets_of_a_pod_are_passed_on() -> None:
    """A half-close gets its answer, a reset arrives as a reset, much data arrives whole."""

    async def body(world: LoopbackWorld) -> None:
        ip = await world.pod("a")
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        reader, writer = await world.connect()
        await reader.readline()
        writer.write(b"one\n")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 3) == b"one\nbye\n"
        writer.close()
        reader, writer = await world.connect()
        await reader.readline()
        for _ in range(16):
            writer.write(b"y" * 60_000 + b"\n")
        got = await asyncio.wait_for(reader.readexactly(16 * 60_001), 5)
        assert len(got) == 16 * 60_001
        writer.write(b"reset\n")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 3)
        writer.close()

    run(body)


def test_affinity_sticks_until_the_endpoint_leaves() -> None:
    """K9."""

    async def body(world: LoopbackWorld) -> None:
        ips = {name: await world.pod(name) for name in ("a", "b", "c")}
        web = service(sessionAffinity="ClientIP")
        await world.apply([web], [endpoint_slice(*map(endpoint, ips.values()))])
        first = {(await world.ask())[0] for _ in range(10)}
        assert len(first) == 1
        await world.apply([web], [endpoint_slice(*(endpoint(ip) for name, ip in ips.items() if name not in first))])
        second = {(await world.ask())[0] for _ in range(10)}

        assert len(second) == 1
        assert second != first

    run(body)


def test_a_port_in_use_is_said_and_the_others_work() -> None:
    """Not a crash: the cluster goes on."""

    async def body(world: LoopbackWorld) -> None:
        ip = await world.pod("a")
        taken = socket.create_server((CLUSTER_IP, PORT + 1))
        ports = [{"name": "http", "port": PORT}, {"name": "other", "port": PORT + 1}]
        piece = endpoint_slice(endpoint(ip))
        piece["ports"].append({"name": "other", "port": 8080, "protocol": "TCP"})
        await world.apply([service(ports=ports)], [piece])
        taken.close()

        assert (await world.ask())[0] == "a"

    run(body)


def test_pods_are_looked_into_by_their_address() -> None:
    """Listeners and connections of one pod only; a detached pod has none."""

    async def body(world: LoopbackWorld) -> None:
        await world.pod("a")
        await world.pods.attach("b", "default/b")
        assert world.pods.listening_ports("a") == {8080}
        assert world.pods.listening_ports("b") == frozenset()
        ip = (await world.pods.attach("a", "default/a")).ip
        reader, writer = await asyncio.open_connection(ip, 8080)
        await reader.readline()
        rows = world.pods.traffic("a")["connections"]
        assert [(row["localPort"], row["state"], row["bytesSent"]) for row in rows] == [(8080, "ESTABLISHED", 2)]
        writer.close()
        await world.pods.detach("a")
        await world.pods.detach("a")

        with pytest.raises(StatusError):
            world.pods.traffic("a")

    run(body)


def test_the_whole_of_loopback_mode_follows_a_store() -> None:
    """The entrance that the cluster is wired to, with the timeline."""

    async def whole() -> None:
        recording, clock, store = Recording(), SystemClock(), Store()
        tools = Tools(store=store, recorder=recording, clock=clock, chance=SystemChance())
        around = await surroundings(choose("loopback"), Doorman(), tools, PlaneSettings(node="node-1"))
        ip = (await around.network.attach("a", "default/a")).ip
        server = await asyncio.start_server(lambda _, writer: writer.close(), ip, 8080)
        store.put(SERVICES, service())
        await around.plane.start()
        await around.open_relay()
        store.put(SLICES, endpoint_slice(endpoint(ip, "a")))
        await until(lambda: bool(recording.of(What.RULE_ADDED)))
        reader, writer = await asyncio.open_connection(CLUSTER_IP, PORT)
        assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()
        server.close()
        await around.close()

        assert around.client_netns == ""
        assert around.less_faithful
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(CLUSTER_IP, PORT)

    uvloop.run(whole())


def test_clusters_side_by_side_share_no_address() -> None:
    """Seen as pods that never became ready: another cluster's listened at their addresses."""

    async def both() -> None:
        one, other = LoopbackNetwork(), LoopbackNetwork()
        ips = [(await network.attach("a", "default/a")).ip for network in (one, other)]
        blocks = [network.service_cidr for network in (one, other)]
        await one.close()
        third = LoopbackNetwork()  # an ended cluster's place is free again
        blocks_after = [network.service_cidr for network in (third, other)]
        for network in (other, third):
            await network.close()

        assert len({block_of(ip) for ip in [*ips, *blocks]}) == 4
        assert blocks_after == blocks

    asyncio.run(both())


def block_of(address: str) -> tuple[str, ...]:
    """The first half of an address."""
    return tuple(address.split(".")[:2])
