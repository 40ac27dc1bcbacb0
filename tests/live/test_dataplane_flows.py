"""Every connection is attributed to the pod that the kernel gave it to; UDP flows end when their backend does."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import cast

import pytest

from segue.host.network.conntrack import FlowListener
from segue.model.timeline import What
from tests.live.network_world import (
    CLUSTER_IP,
    NOBODY,
    NODE_PORT,
    World,
    endpoint,
    endpoint_slice,
    run_in_node,
    service,
    until,
)

pytestmark = pytest.mark.live
FIRST_PORT = 20_000  # below the range from which the kernel hands out ports


@pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "user"])
def test_a_thousand_connections_are_all_attributed_to_the_pod_that_answered(uid: int) -> None:
    """By the client's own port, through ClusterIP and, masqueraded, through the node port."""

    async def body(world: World) -> None:
        ips = {name: await world.pod(name) for name in map(str, range(10))}
        await world.apply([service()], [endpoint_slice(*map(endpoint, ips.values()))])
        flows = FlowListener(world.recording, world.clock)
        flows.start()
        loop = asyncio.get_running_loop()
        answered: dict[int, str] = {}
        for number in range(1000):
            where = (CLUSTER_IP, 80) if number % 2 else ("10.10.0.1", NODE_PORT)
            # two destinations may be given the same port by the kernel; a port of its own tells each connection
            made = await world.connect(*where, from_port=FIRST_PORT + number)
            name = (await loop.sock_recv(made, 100)).decode().split()[0]
            answered[made.getsockname()[1]] = ips[name]
            made.close()
        await until(lambda: len(world.recording) >= 1000)
        flows.stop()
        seen = {row.data["src_port"]: row.data["ip"] for row in world.recording.of(What.FLOW)}

        assert len(answered) == 1000
        assert seen == answered
        assert flows.overruns == 0
        assert {row.data["src_ip"] for row in world.recording} == {"10.10.0.2"}
        assert {row.data["port"] for row in world.recording} == {8080}

    run_in_node(body, uid=uid)


def test_nothing_is_recorded_while_the_listener_is_off() -> None:
    """Flows cost time: nobody asks, nobody listens."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        flows = FlowListener(world.recording, world.clock)
        flows.start()
        flows.start()
        await world.ask()
        flows.stop()
        flows.stop()
        await world.ask()

        assert not flows.is_on
        assert len(world.recording) == 1

    run_in_node(body)


def test_a_udp_flow_moves_when_its_backend_stops_serving_and_not_before() -> None:
    """K7: a backend that terminates and serves keeps its flows."""

    async def body(world: World) -> None:
        loop = asyncio.get_running_loop()
        ips = {}
        for name in ("old", "new"):
            place = await world.pods.attach(name, f"default/{name}")
            ips[name] = place.ip
            assert place.netns_fd is not None
            inner = world.inside(place.netns_fd, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            inner.bind(("0.0.0.0", 5353))
            await loop.create_datagram_endpoint(partial(_Answer, name), sock=inner)
        ports = [{"name": "http", "port": 53, "protocol": "UDP", "targetPort": 5353}]
        web = service(type="ClusterIP", ports=ports)
        client = world.client_socket(socket.SOCK_DGRAM)
        await loop.sock_connect(client, (CLUSTER_IP, 53))

        async def ask() -> bytes:
            await loop.sock_sendall(client, b"?")
            return await asyncio.wait_for(loop.sock_recv(client, 100), 3)

        def pieces(old: str) -> list[dict[str, object]]:
            both = (endpoint(ips["old"], state=old), *([endpoint(ips["new"])] if old != "ready" else []))
            return [endpoint_slice(*both, port=5353, protocol="UDP")]

        await world.apply([web], pieces("ready"))
        assert await ask() == b"old"
        await world.apply([web], pieces("leaving"))
        assert await ask() == b"old"
        await world.apply([web], pieces("stopping"))
        assert await ask() == b"new"

    run_in_node(body)


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._name.encode(), addr)
