"""The kernel's data plane does with connections what K1 to K9 and N12 say."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter

import pytest

from segue.cluster.dataplane.nftables import render
from segue.host.network.nft import run_nft
from segue.model.errors import HostError
from tests.live.network_world import (
    CLUSTER_IP,
    NOBODY,
    NODE_PORT,
    World,
    endpoint,
    endpoint_slice,
    run_in_node,
    service,
)

pytestmark = pytest.mark.live

as_both = pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "user"])


@as_both
def test_new_connections_spread_over_all_ready_endpoints(uid: int) -> None:
    """K1, through the ClusterIP and through the node port, and nobody else gets one."""

    async def body(world: World) -> None:
        ips = {name: await world.pod(name) for name in ("a", "b", "c", "starting")}
        ready = [endpoint(ips[name]) for name in ("a", "b", "c")]
        await world.apply([service()], [endpoint_slice(*ready, endpoint(ips["starting"], state="starting"))])
        inner = Counter([(await world.ask())[0] for _ in range(90)])
        outer = Counter([(await world.ask("10.10.0.1", NODE_PORT))[0] for _ in range(90)])

        for seen in (inner, outer):
            assert set(seen) == {"a", "b", "c"}
            assert min(seen.values()) > 10

    run_in_node(body, uid=uid)


def test_a_serving_endpoint_that_terminates_is_used_only_while_none_is_ready() -> None:
    """K3 and its end."""

    async def body(world: World) -> None:
        old, new = await world.pod("old"), await world.pod("new")
        await world.apply(
            [service()], [endpoint_slice(endpoint(old, state="leaving"), endpoint(new, state="starting"))]
        )
        assert {(await world.ask())[0] for _ in range(10)} == {"old"}

        await world.apply([service()], [endpoint_slice(endpoint(old, state="leaving"), endpoint(new))])

        assert {(await world.ask())[0] for _ in range(10)} == {"new"}

    run_in_node(body)


@as_both
def test_without_any_endpoint_a_connection_is_refused_at_once(uid: int) -> None:
    """K4, for ClusterIP and node port."""

    async def body(world: World) -> None:
        await world.apply([service()], [endpoint_slice()])
        for where in ((CLUSTER_IP, 80), ("10.10.0.1", NODE_PORT)):
            began_s = time.monotonic()
            with pytest.raises(ConnectionRefusedError):
                await world.ask(*where)
            assert time.monotonic() - began_s < 0.5

    run_in_node(body, uid=uid)


def test_local_policy_with_endpoints_elsewhere_only_is_silent() -> None:
    """K4's other half: DROP, the client hangs; while the ClusterIP (Cluster policy) goes on."""

    async def body(world: World) -> None:
        far = await world.pod("far")
        web = service(externalTrafficPolicy="Local")
        await world.apply([web], [endpoint_slice(endpoint(far, node="node-2"))])
        assert (await world.ask())[0] == "far"

        with pytest.raises(TimeoutError):
            await world.ask("10.10.0.1", NODE_PORT, limit_s=0.6)

    run_in_node(body)


def test_local_policy_keeps_the_clients_address_and_cluster_policy_hides_it() -> None:
    """What a pod sees of a client at the node port; the port is kept where it is free."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        await world.apply([service(externalTrafficPolicy="Local")], [endpoint_slice(endpoint(ip))])
        _, local = await world.ask("10.10.0.1", NODE_PORT)
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        _, cluster = await world.ask("10.10.0.1", NODE_PORT)
        _, inner = await world.ask()

        assert local.startswith("10.10.0.2:")
        assert cluster.startswith("10.244.0.1:")
        assert inner.startswith("10.10.0.2:")

    run_in_node(body)


def test_a_pod_reaches_itself_and_the_node_reaches_services() -> None:
    """Hairpin, and the node's own connections to ClusterIP and node port."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        fd = (await world.pods.attach("a", "default/a")).netns_fd
        assert fd is not None
        loop = asyncio.get_running_loop()
        for inside_pod in (True, False):
            for where in ((CLUSTER_IP, 80), ("10.10.0.1", NODE_PORT)):
                made = world.inside(fd, socket.socket) if inside_pod else socket.socket()
                made.setblocking(False)
                await asyncio.wait_for(loop.sock_connect(made, where), 3)
                assert (await loop.sock_recv(made, 100)).startswith(b"a ")
                made.close()

    run_in_node(body)


@as_both
def test_an_established_connection_keeps_its_backend_whatever_the_rules_become(uid: int) -> None:
    """K6: after the switch, after the removal of the Service, with a reject; and a full replacement (N12)."""

    async def body(world: World) -> None:
        old, new = await world.pod("old"), await world.pod("new")
        loop = asyncio.get_running_loop()
        await world.apply([service()], [endpoint_slice(endpoint(old))])
        kept = [await world.connect(), await world.connect("10.10.0.1", NODE_PORT)]
        for made in kept:
            assert (await loop.sock_recv(made, 100)).startswith(b"old")

        async def still_answered() -> None:
            for made in kept:
                await loop.sock_sendall(made, b"still there?\n")
                assert await asyncio.wait_for(loop.sock_recv(made, 100), 3) == b"still there?\n"

        await world.apply([service()], [endpoint_slice(endpoint(new))])
        await still_answered()
        assert (await world.ask())[0] == "new"
        await world.apply([service()], [endpoint_slice()])
        await still_answered()
        with pytest.raises(ConnectionRefusedError):
            await world.ask()
        await world.apply([], [])
        await still_answered()
        run_nft(render(world.table, world.target.frame))
        await still_answered()
        run_nft("delete table ip segue\n")
        await still_answered()

    run_in_node(body, uid=uid)


def test_without_the_keeper_a_deleted_table_resets_established_connections() -> None:
    """N12 itself: this is what the keeper is for."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        loop = asyncio.get_running_loop()
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        made = await world.connect()
        await loop.sock_recv(made, 100)
        run_nft("delete table ip segue-keeper\ndelete table ip segue\n")
        await loop.sock_sendall(made, b"still there?\n")

        with pytest.raises((ConnectionResetError, TimeoutError)):
            await asyncio.wait_for(loop.sock_recv(made, 100), 1)

    run_in_node(body)


def test_session_affinity_sticks_until_the_endpoint_leaves() -> None:
    """K9: one client, one pod; re-spread on its next new connection once that pod left the list."""

    async def body(world: World) -> None:
        ips = {name: await world.pod(name) for name in ("a", "b", "c")}
        web = service(sessionAffinity="ClientIP")
        await world.apply([web], [endpoint_slice(*map(endpoint, ips.values()))])
        first = {(await world.ask())[0] for _ in range(20)}
        assert len(first) == 1
        left = [ip for name, ip in ips.items() if name not in first]

        await world.apply([web], [endpoint_slice(*map(endpoint, left))])

        second = {(await world.ask())[0] for _ in range(20)}
        assert len(second) == 1
        assert second != first

    run_in_node(body)


def test_rules_that_nft_refuses_change_nothing() -> None:
    """One transaction: all or nothing."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        await world.apply([service()], [endpoint_slice(endpoint(ip))])
        with pytest.raises(HostError, match="nft refused"):
            run_nft("flush table ip segue\nadd rule ip segue nowhere accept\n")

        assert (await world.ask())[0] == "a"

    run_in_node(body)
