"""kubectl against the API alone: apply, get, describe, patch, label, create, delete."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.api_house import BIN, ROOT, ApiHouse
from tests.waiting import wait_until

pytestmark = pytest.mark.live
SEED = ROOT / "examples" / "seed" / "second-option.yaml"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: x}}
spec: {nodeName: n1, terminationGracePeriodSeconds: 30, containers: [{name: c, image: i}]}
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHouse]:
    house = ApiHouse(tmp_path_factory.mktemp("api"))
    house.start()
    yield house
    house.stop()


@pytest.fixture
def house(shared: ApiHouse) -> Iterator[ApiHouse]:
    """The shared server without what the last test made."""
    yield shared
    for resource in ("deployments", "services", "pods", "configmaps", "secrets"):
        shared.run("delete", resource, "--all", "--force", "--grace-period=0", "--wait=false")


def test_the_seeds_manifest_applies_and_applying_it_again_changes_nothing(house: ApiHouse) -> None:
    first = house.kubectl("apply", "-f", str(SEED))
    version = house.get("deployment", "test")["metadata"]["resourceVersion"]
    again = house.kubectl("apply", "-f", str(SEED))

    assert "deployment.apps/test created" in first and "service/test created" in first
    assert again == "deployment.apps/test unchanged\nservice/test unchanged\n"
    assert house.get("deployment", "test")["metadata"]["resourceVersion"] == version
    assert house.run("diff", "-f", str(SEED)).returncode == 0


def test_a_changed_manifest_changes_only_what_it_says(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", str(SEED))
    house.kubectl("scale", "deployment", "test", "--replicas=4")
    text = SEED.read_text().replace("grace:v0.1", "grace:v0.2").replace("replicas: 10", "replicas: 6")
    house.kubectl("apply", "-f", "-", stdin=text)
    spec = house.get("deployment", "test")["spec"]
    probe = spec["template"]["spec"]["containers"][0]["livenessProbe"]

    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (6, "host.org/images/grace:v0.2")
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (10, 1)


def test_a_field_taken_out_of_the_manifest_leaves_the_object(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", str(SEED))
    without = SEED.read_text().replace("      terminationGracePeriodSeconds: 120\n", "")
    assert without != SEED.read_text()
    house.kubectl("apply", "-f", "-", stdin=without)

    assert house.get("deployment", "test")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30


def test_tables_yaml_and_descriptions_read_as_in_kubernetes(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", str(SEED))
    table = house.kubectl("get", "deployments,services", "-o", "wide")
    described = house.kubectl("describe", "deployment,service", "test")
    yaml = house.kubectl("get", "service", "test", "-o", "yaml")

    assert "READY   UP-TO-DATE   AVAILABLE   AGE" in table and "0/10" in table and "app/name=test" in table
    assert "StrategyType:           RollingUpdate" in described and "NodePort:                 http" in described
    assert yaml.startswith("apiVersion: v1\nkind: Service\n")


def test_all_ways_to_patch_reach_the_object(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", str(SEED))
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"service","env":[{"name":"A","value":"1"}]}]}}}}'
    house.kubectl("patch", "deployment", "test", "-p", strategic)
    house.kubectl("patch", "deployment", "test", "--type=merge", "-p", '{"spec":{"minReadySeconds":5}}')
    operations = '[{"op":"test","path":"/spec/replicas","value":10},{"op":"replace","path":"/spec/replicas","value":2}]'
    house.kubectl("patch", "deployment", "test", "--type=json", "-p", operations)
    refused = house.refused("patch", "deployment", "test", "--type=json", "-p", operations)
    spec = house.get("deployment", "test")["spec"]
    (container,) = spec["template"]["spec"]["containers"]

    assert (spec["replicas"], spec["minReadySeconds"], container["env"]) == (2, 5, [{"name": "A", "value": "1"}])
    assert container["image"] == "host.org/images/grace:v0.1" and "testing value /spec/replicas failed" in refused


def test_labels_and_annotations_come_and_go(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", str(SEED))
    house.kubectl("label", "deployment", "test", "tier=web")
    house.kubectl("annotate", "deployment", "test", "note=hello")
    chosen = house.kubectl("get", "deployments", "-l", "tier in (web)", "-o", "name")
    house.kubectl("label", "deployment", "test", "tier-")

    assert chosen == "deployment.apps/test\n"
    assert house.get("deployments", "-l", "tier")["items"] == []


def test_typed_commands_create_objects(house: ApiHouse) -> None:
    house.kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=2")
    house.kubectl("create", "secret", "generic", "s", "--from-literal=a=1")
    house.kubectl("create", "deployment", "d", "--image=i:1", "--replicas=2", "--port=80")
    house.kubectl("expose", "deployment", "d", "--port=80")
    made = house.get("deployment", "d")

    assert house.get("configmap", "c")["data"] == {"a": "1", "b": "2"}
    assert house.get("secret", "s")["data"] == {"a": "MQ=="}
    assert made["spec"]["replicas"] == 2 and made["spec"]["template"]["spec"]["containers"][0]["name"] == "i"
    assert house.get("service", "d")["spec"]["selector"] == {"app": "d"}


def test_a_deleted_pod_keeps_its_grace_and_force_ends_it(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", "-", stdin=POD)
    house.kubectl("delete", "pod", "p", "--wait=false", "--grace-period=20")
    leaving = house.get("pod", "p")["metadata"]
    table = house.kubectl("get", "pods")
    house.kubectl("delete", "pod", "p", "--force", "--grace-period=0")

    assert leaving["deletionGracePeriodSeconds"] == 20 and "Terminating" in table
    assert house.run("get", "pod", "p").returncode == 1


def test_delete_waits_until_the_object_is_gone(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", "-", stdin=POD)
    env = {"KUBECONFIG": str(house.state / "kubeconfig"), "HOME": str(house.state)}
    waiting = subprocess.Popen([str(BIN / "kubectl"), "delete", "pod", "p"], env=env, stdout=subprocess.DEVNULL)
    wait_until(lambda: "deletionTimestamp" in house.get("pod", "p")["metadata"], what="the deletion")
    still = waiting.poll()
    house.kubectl("delete", "pod", "p", "--force", "--grace-period=0", "--wait=false")

    assert still is None and waiting.wait(10) == 0


def test_a_dry_run_on_the_server_changes_nothing(house: ApiHouse) -> None:
    said = house.kubectl("apply", "-f", str(SEED), "--dry-run=server")

    assert "created (server dry run)" in said and house.get("deployments")["items"] == []


def test_a_watch_prints_each_change_as_it_comes(house: ApiHouse) -> None:
    house.kubectl("apply", "-f", "-", stdin=POD)
    env = {"KUBECONFIG": str(house.state / "kubeconfig"), "HOME": str(house.state)}
    watching = subprocess.Popen(
        [str(BIN / "kubectl"), "get", "pods", "-w", "--no-headers"], env=env, stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    first = watching.stdout.readline()
    house.kubectl("delete", "pod", "p", "--wait=false")
    second = watching.stdout.readline()
    house.kubectl("delete", "pod", "p", "--force", "--grace-period=0")
    watching.kill()
    watching.wait()
    watching.stdout.close()

    assert "Pending" in first and "Terminating" in second


def test_events_are_listed(house: ApiHouse) -> None:
    event = """
apiVersion: v1
kind: Event
metadata: {name: e, namespace: default}
involvedObject: {kind: Pod, name: p, namespace: default}
reason: Pulled
message: the image is here
type: Normal
count: 2
firstTimestamp: "2026-01-01T00:00:00Z"
lastTimestamp: "2026-01-01T00:01:00Z"
"""
    house.kubectl("create", "-f", "-", stdin=event)

    assert "Pulled" in house.kubectl("get", "events") and "the image is here" in house.kubectl("events")


def test_every_kind_that_discovery_names_can_be_listed(house: ApiHouse) -> None:
    names = house.kubectl("api-resources", "--verbs=list", "-o", "name").split()

    assert len(names) >= 40 and house.run("get", ",".join(names), "-A").returncode == 0


def test_the_state_outlives_a_killed_server(tmp_path: Path) -> None:
    house = ApiHouse(tmp_path / "state")
    house.start()
    house.kubectl("apply", "-f", str(SEED))
    before = house.get("deployment", "test")
    house.stop()
    house.start()
    after = house.get("deployment", "test")
    house.stop()

    assert after == before
