"""Pods get a place in the network, are looked into, and leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from pathlib import Path

import pytest

from segue.model.errors import HostError, StatusError
from tests.live.network_world import NOBODY, World, run_in_node, until

pytestmark = pytest.mark.live

as_both = pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "user"])


def links() -> set[str]:
    return {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}


@as_both
def test_a_pod_is_attached_within_fifteen_milliseconds_and_detached_within_five(uid: int) -> None:
    """Medians over ten pods; attaching twice is attaching once."""

    async def body(world: World) -> None:
        attach_ms, detach_ms = [], []
        for number in range(10):
            began_s = time.monotonic()
            place = await world.pods.attach(f"uid-{number}", "default/a")
            attach_ms.append((time.monotonic() - began_s) * 1e3)
            assert await world.pods.attach(f"uid-{number}", "default/a") == place
        places = {(await world.pods.attach(f"uid-{number}", "default/a")).ip for number in range(10)}
        assert len(places) == 10
        for number in range(10):
            began_s = time.monotonic()
            await world.pods.detach(f"uid-{number}")
            detach_ms.append((time.monotonic() - began_s) * 1e3)
            await world.pods.detach(f"uid-{number}")

        assert statistics.median(attach_ms) < 15
        assert statistics.median(detach_ms) < 5
        await until(lambda: links() == {"lo", "client"} | _unasked())

    run_in_node(body, uid=uid)


def _unasked() -> set[str]:
    """Links that some kernels put into every new namespace."""
    return {name for name in links() if name not in ("lo", "client") and not name.startswith("pod")}


def test_pods_attached_at_once_get_different_addresses_and_reach_each_other() -> None:
    """Also the same pod asked for twice at the same time."""

    async def body(world: World) -> None:
        names = [f"p{number}" for number in range(8)]
        places = await asyncio.gather(*(world.pods.attach(name, f"default/{name}") for name in names * 2))
        assert len({place.ip for place in places}) == 8
        there = await world.pod("p0")
        fd = places[1].netns_fd
        assert fd is not None
        made = world.inside(fd, socket.socket)
        made.setblocking(False)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, (there, 8080)), 3)

        assert made.getsockname()[0] == places[1].ip
        made.close()

    run_in_node(body)


def test_a_detached_pod_answers_nobody_although_its_process_still_listens() -> None:
    """Its address has no owner any more, and nobody says so (N10)."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        assert (await world.ask(ip, 8080))[0] == "a"
        await world.pods.detach("a")

        with pytest.raises(TimeoutError):
            await world.ask(ip, 8080, limit_s=1)
        with pytest.raises(StatusError):
            world.pods.traffic("a")
        assert world.pods.listening_ports("a") == frozenset()

        world.pods._last = -1
        assert await world.pod("b") == ip
        assert (await world.ask(ip, 8080))[0] == "b"

    run_in_node(body)


def test_an_address_is_not_given_to_the_next_pod() -> None:
    """A stale client must not meet a new pod at an old address."""

    async def body(world: World) -> None:
        first = (await world.pods.attach("a", "default/a")).ip
        await world.pods.detach("a")

        assert (await world.pods.attach("b", "default/b")).ip != first

    run_in_node(body)


def test_a_node_without_free_addresses_says_so() -> None:
    """254 pods are too many."""

    async def body(world: World) -> None:
        world.pods._taken.update(world.pods._hosts)
        with pytest.raises(HostError, match="no address is left for pod default/a"):
            await world.pods.attach("a", "default/a")
        world.pods._taken.clear()

        assert (await world.pods.attach("a", "default/a")).ip

    run_in_node(body)


@as_both
def test_traffic_tells_arrivals_bytes_and_silence_of_outer_connections(uid: int) -> None:
    """What the evidence of quiet stands on: a request in flight shows as bytes received and none sent."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        loop = asyncio.get_running_loop()
        assert world.pods.listening_ports("a") == {8080}
        before = world.pods.traffic("a")
        assert (before["passiveOpens"], before["connections"], before["listening"]) == (0, [], [8080])
        busy, idle = await world.connect(ip, 8080), await world.connect(ip, 8080)
        greeting = await loop.sock_recv(busy, 100)
        await loop.sock_recv(idle, 100)
        await loop.sock_sendall(busy, b"no newline yet")
        await until(lambda: any(row["bytesReceived"] == 14 for row in world.pods.traffic("a")["connections"]))
        seen = world.pods.traffic("a")
        rows = {row["remotePort"]: row for row in seen["connections"]}
        row = rows[busy.getsockname()[1]]

        assert seen["passiveOpens"] == 2
        assert rows.keys() == {busy.getsockname()[1], idle.getsockname()[1]}
        assert (row["localPort"], row["remote"], row["state"]) == (8080, "10.10.0.2", "ESTABLISHED")
        assert row["bytesSent"] == len(greeting)
        assert rows[idle.getsockname()[1]]["bytesReceived"] == 0
        assert 0 <= row["idleReceivedMs"] < 1000
        assert 0 <= row["idleSentMs"] < 1000
        busy.close()
        idle.close()
        await until(lambda: world.pods.traffic("a")["connections"] == [])
        assert world.pods.traffic("a")["passiveOpens"] == 2

    run_in_node(body, uid=uid)
