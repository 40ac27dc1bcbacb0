"""What kubectl tells a user whose input is off: one clear error, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.api_house import ROOT, ApiHouse

pytestmark = pytest.mark.live
SEED = ROOT / "examples" / "seed" / "second-option.yaml"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHouse]:
    house = ApiHouse(tmp_path_factory.mktemp("api"))
    house.start()
    house.kubectl("apply", "-f", str(SEED))
    yield house
    house.stop()


def test_an_unknown_field_is_named_by_its_path(house: ApiHouse) -> None:
    text = SEED.read_text().replace("name: test", "name: other").replace("replicas: 10", "replicaz: 10")
    said = house.refused("apply", "-f", "-", stdin=text)

    assert 'strict decoding error: unknown field "spec.replicaz"' in said
    assert house.run("get", "deployment", "other").returncode == 1


def test_an_unknown_field_in_a_change_is_named_too(house: ApiHouse) -> None:
    text = SEED.read_text().replace("replicas: 10", "replicas: 10\n  foo: 1")
    said = house.refused("apply", "-f", "-", stdin=text)

    assert 'strict decoding error: unknown field "spec.foo"' in said


def test_an_immutable_selector_is_refused(house: ApiHouse) -> None:
    text = SEED.read_text().replace("app/name: test", "app/name: other")
    said = house.refused("apply", "-f", "-", stdin=text)

    assert "field is immutable" in said and "spec.selector" in said


def test_a_selector_that_misses_its_template_is_refused(house: ApiHouse) -> None:
    text = SEED.read_text().replace("name: test", "name: third").replace("app/name: third", "app/name: x", 1)
    said = house.refused("apply", "-f", "-", stdin=text)

    assert "`selector` does not match template `labels`" in said


def test_an_unknown_kind_is_named(house: ApiHouse) -> None:
    said = house.refused("apply", "-f", "-", stdin="apiVersion: apps/v1\nkind: Deplyment\nmetadata: {name: x}\n")

    assert 'no matches for kind "Deplyment" in version "apps/v1"' in said


def test_a_wrong_type_is_named(house: ApiHouse) -> None:
    text = SEED.read_text().replace("name: test", "name: fourth").replace("replicas: 10", "replicas: ten")
    said = house.refused("create", "-f", "-", stdin=text)

    assert "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" in said


def test_a_taken_node_port_is_named(house: ApiHouse) -> None:
    taken = house.get("service", "test")["spec"]["ports"][0]["nodePort"]
    text = f"""
apiVersion: v1
kind: Service
metadata: {{name: second}}
spec: {{type: NodePort, ports: [{{port: 80, nodePort: {taken}}}]}}
"""

    assert f"Invalid value: {taken}: provided port is already allocated" in house.refused(
        "create", "-f", "-", stdin=text
    )


def test_what_is_not_there_is_not_found(house: ApiHouse) -> None:
    said = house.refused("get", "deployment", "nope")

    assert 'Error from server (NotFound): deployments.apps "nope" not found' in said


def test_an_unknown_namespace_is_not_found(house: ApiHouse) -> None:
    said = house.refused("create", "configmap", "c", "-n", "nowhere")

    assert 'namespaces "nowhere" not found' in said


def test_a_reader_may_not_write(house: ApiHouse) -> None:
    said = house.refused("delete", "service", "test", who="viewer")

    assert 'User "segue-viewer" cannot delete resource "services" in API group "" in the namespace "default"' in said
    assert house.run("get", "pods", who="viewer").returncode == 0
    assert house.run("auth", "can-i", "create", "pods", who="viewer").stdout.startswith("no")


def test_nobody_comes_in_without_a_token(house: ApiHouse) -> None:
    (house.state / "stranger").write_text((house.state / "kubeconfig").read_text().replace("token: ", "token: not-"))
    said = house.refused("get", "pods", who="stranger")

    assert "Unauthorized" in said
