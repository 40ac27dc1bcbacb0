"""The running data plane follows the store in kube-proxy's rhythm and tells the timeline what took effect when."""

from __future__ import annotations

import asyncio
import socket

import pytest

from segue.cluster.dataplane.sync import Rhythm
from segue.cluster.store import Store
from segue.host.network.plane import SERVICES, SLICES, PlaneRunner, PlaneSettings
from segue.host.network.relay import NodePortRelay
from segue.model.objects import Ref
from segue.model.timeline import What
from tests.live.network_world import (
    World,
    endpoint,
    endpoint_slice,
    run_in_node,
    service,
    until,
)

pytestmark = pytest.mark.live


def runner(world: World, store: Store, **rhythm: float) -> PlaneRunner:
    settings = PlaneSettings(node="node-1", rhythm=Rhythm(**rhythm))
    return PlaneRunner(store, world.target, world.recording, world.clock, settings)


def test_the_first_change_takes_effect_at_once_and_the_second_a_second_after_the_first() -> None:
    """K5: measured from the completion of the last sync; what took effect is recorded, with pod and node."""

    async def body(world: World) -> None:
        a, b = await world.pod("a"), await world.pod("b")
        store = Store()
        store.put(SERVICES, service())
        plane = runner(world, store, min_interval_s=0.4)
        await plane.start()
        await asyncio.sleep(0.4)  # not for a condition: the interval itself is what is tested
        began_s = world.clock.now_s()
        store.put(SLICES, endpoint_slice(endpoint(a, "a")))
        await until(lambda: len(world.recording) == 1)
        store.put(SLICES, endpoint_slice(endpoint(b, "b")))
        await until(lambda: len(world.recording) == 3)
        await plane.stop()
        first, *second = world.recording
        assert first.at_s - began_s < 0.2
        assert 0.4 <= second[0].at_s - first.at_s < 0.6
        assert (first.what, first.pod) == (What.RULE_ADDED, "default/a")
        assert first.data == {"service": "default/web", "ip": a, "node": "node-1"}
        assert {(row.what, row.pod) for row in second} == {
            (What.RULE_ADDED, "default/b"),
            (What.RULE_REMOVED, "default/a"),
        }
        assert (await world.ask())[0] == "b"

    run_in_node(body)


def test_a_delayed_node_applies_each_change_so_much_later_and_in_order() -> None:
    """A drill's delay: what is applied is what was known then, not what is known now."""

    async def body(world: World) -> None:
        a, b = await world.pod("a"), await world.pod("b")
        store = Store()
        store.put(SERVICES, service())
        store.put(SLICES, endpoint_slice(endpoint(a, "a")))
        plane = runner(world, store, min_interval_s=0.01, delay_s=0.5)
        await plane.start()
        assert (await world.ask())[0] == "a"
        began_s = world.clock.now_s()
        store.put(SLICES, endpoint_slice(endpoint(b, "b")))
        await asyncio.sleep(0.2)
        assert (await world.ask())[0] == "a"
        store.put(SLICES, endpoint_slice())
        await until(lambda: plane.syncs == 3)
        await plane.stop()

        times = {(row.what, row.pod): row.at_s - began_s for row in world.recording[1:]}
        added_s, removed_s = times[What.RULE_ADDED, "default/b"], times[What.RULE_REMOVED, "default/b"]
        assert added_s >= 0.5
        assert removed_s >= 0.7  # no upper bounds: a busy machine is late
        assert added_s < removed_s

    run_in_node(body)


def test_the_relay_carries_people_to_node_ports_while_the_service_exists() -> None:
    """Opened and closed with the Service; a port in use is said and crashes nothing."""

    async def body(world: World) -> None:
        ip = await world.pod("a")
        store = Store()
        taken, free = world.doorman.listen(0), world.doorman.listen(0)
        taken_port, free_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        ports = [
            {"name": "http", "port": 80, "nodePort": free_port},
            {"name": "other", "port": 81, "nodePort": taken_port},
        ]
        relay = NodePortRelay(store, world.doorman, "10.10.0.1")
        await relay.start()
        store.put(SERVICES, service(ports=ports))
        await world.apply([service(ports=ports)], [endpoint_slice(endpoint(ip))])
        await until(lambda: relay.open_ports() == {free_port})

        assert (await _answer_on_host(world, free_port)).startswith(b"a ")
        await world.apply([], [])
        with pytest.raises(ConnectionResetError):
            await _answer_on_host(world, free_port)
        store.remove(Ref(resource="services", namespace="default", name="web"))
        await until(lambda: relay.open_ports() == frozenset())
        with pytest.raises(ConnectionRefusedError):
            await _answer_on_host(world, free_port)
        await relay.stop()

    run_in_node(body)


async def _answer_on_host(world: World, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    made = world.inside(world.host_fd, socket.socket)
    made.setblocking(False)
    try:
        await loop.sock_connect(made, ("127.0.0.1", port))
        return await asyncio.wait_for(loop.sock_recv(made, 100), 3)
    finally:
        made.close()
