"""Cluster addresses and node ports: asked for, drawn, refused, given back."""

from __future__ import annotations

import pytest

from segue.cluster.registry import Registry, RegistrySettings
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref
from tests.unit.cluster.api_world import ApiWorld, CountedChance, HandClock, service


def node_port(obj: Obj) -> int:
    port: int = obj["spec"]["ports"][0]["nodePort"]
    return port


def test_node_ports_are_drawn_apart_and_in_range() -> None:
    world = ApiWorld()
    ports = {
        node_port(world.registry.create("services", service(f"s{number}", type="NodePort"))) for number in range(50)
    }

    assert len(ports) == 50 and all(30000 <= port <= 32767 for port in ports)


def test_a_taken_node_port_is_refused_and_free_again_after_deletion() -> None:
    world = ApiWorld()
    wanted = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
    world.registry.create("services", service("a", **wanted))
    with pytest.raises(StatusError, match="provided port is already allocated"):
        world.registry.create("services", service("b", **wanted))
    world.registry.delete(Ref(resource="services", namespace="default", name="a"))

    assert node_port(world.registry.create("services", service("b", **wanted))) == 30080


@pytest.mark.parametrize("port", [29999, 32768, 80])
def test_a_node_port_outside_the_range_is_refused(port: int) -> None:
    with pytest.raises(StatusError, match="The range of valid ports is 30000-32767"):
        ApiWorld().registry.create("services", service(type="NodePort", ports=[{"port": 80, "nodePort": port}]))


def test_an_update_keeps_addresses_it_does_not_name() -> None:
    world = ApiWorld()
    made = world.registry.create("services", service(type="NodePort"))
    again = world.registry.update("services", service(type="NodePort", selector={"app": "other"}))

    assert node_port(again) == node_port(made) and again["spec"]["clusterIP"] == made["spec"]["clusterIP"]


def test_an_address_may_not_change() -> None:
    world = ApiWorld()
    world.registry.create("services", service())
    with pytest.raises(StatusError, match="may not change once set"):
        world.registry.update("services", service(clusterIP="10.96.200.200"))


def test_a_type_that_has_no_node_ports_gives_them_back() -> None:
    world = ApiWorld()
    made = world.registry.create("services", service(type="NodePort"))
    plain = world.registry.update("services", {**made, "spec": {**made["spec"], "type": "ClusterIP"}})

    assert "nodePort" not in plain["spec"]["ports"][0] and "externalTrafficPolicy" not in plain["spec"]


def test_a_headless_service_has_no_address() -> None:
    spec = ApiWorld().registry.create("services", service(clusterIP="None"))["spec"]

    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


@pytest.mark.parametrize("address", ["10.97.0.1", "10.96.0.1", "nonsense"])
def test_an_address_that_cannot_be_had_is_refused(address: str) -> None:
    with pytest.raises(StatusError) as raised:
        ApiWorld().registry.create("services", service(clusterIP=address))

    assert raised.value.code == 422


def test_the_range_of_addresses_can_be_another_one() -> None:
    registry = Registry(Store(), HandClock(), CountedChance(), RegistrySettings(service_cidr="127.96.0.0/16"))
    own = registry.read(Ref(resource="services", namespace="default", name="kubernetes"))

    assert own["spec"]["clusterIP"] == "127.96.0.1"
    assert registry.create("services", service())["spec"]["clusterIP"].startswith("127.96.")
