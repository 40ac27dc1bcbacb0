"""EndpointSlices over time (E1, E3 to E5), their layout, and ports by name."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.endpointslice import EndpointSliceController
from segue.cluster.controllers.slices import FULL, fill
from segue.cluster.manager import Settings
from segue.cluster.store import StoreEvent
from segue.model.objects import Obj, labels_of, name_of, uid_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, SLICES, Dice, World, ref_of, rolling


def serving(replicas: int = 3, *, labels: dict[str, str] | None = None, **service: object) -> World:
    world = World()
    world.deploy(replicas=replicas)
    world.serve(labels=labels, fields=service)
    world.kubelet()
    return world


def states(world: World, service: str = "web") -> list[tuple[bool, bool, bool]]:
    """(ready, serving, terminating) of all endpoints, sorted."""
    conditions = [endpoint["conditions"] for endpoint in world.endpoints(service).values()]
    return sorted((item["ready"], item["serving"], item["terminating"]) for item in conditions)


def test_every_pod_of_the_selector_is_an_endpoint() -> None:
    world = serving(2)
    made = world.slices()[0]
    pod = world.pods()[0]

    assert made["addressType"] == "IPv4"
    assert made["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert labels_of(made)["kubernetes.io/service-name"] == "web"
    assert labels_of(made)["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert made["metadata"]["ownerReferences"][0]["uid"] == uid_of(world.get("services", "web"))
    assert world.endpoints()[name_of(pod)] == {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "node-0",
        "targetRef": {"kind": "Pod", "name": name_of(pod), "namespace": "default", "uid": uid_of(pod)},
    }


def test_a_pod_without_an_address_is_no_endpoint_and_one_that_is_not_ready_is_told_so() -> None:
    """E1, E3."""
    world = World()
    world.deploy(replicas=2)
    world.serve()
    assert world.endpoints() == {}
    world.report(world.pods()[0])

    assert states(world) == [(False, False, False)]


def test_a_terminating_pod_keeps_its_place_until_it_is_gone() -> None:
    """E1, E3, T18."""
    world = serving(2)
    first = name_of(world.pods()[0])
    world.delete("pods", first)
    assert world.endpoints()[first]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    world.report(world.get("pods", first), ready=False)
    assert world.endpoints()[first]["conditions"] == {"ready": False, "serving": False, "terminating": True}
    world.end()

    assert first not in world.endpoints()


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_an_ended_pod_is_no_endpoint_although_it_has_an_address(phase: str) -> None:
    """E3."""
    world = serving(2)
    first = world.pods()[0]
    world.report(first, phase=phase)

    assert name_of(first) not in world.endpoints()


def test_publishing_unready_addresses_makes_all_ready_even_the_terminating() -> None:
    """E1."""
    world = serving(2, publishNotReadyAddresses=True)
    world.delete("pods", name_of(world.pods()[0]))
    world.report(world.live_pods()[0], ready=False)

    assert all(ready for ready, _, _ in states(world))


def test_a_relabelled_pod_is_absent_not_terminating() -> None:
    """E5."""
    world = serving(3)
    first = name_of(world.pods()[0])
    world.relabel("pods", first, app="elsewhere")

    assert first not in world.endpoints()
    assert len(world.pods()) == 4


def test_the_switch_moves_all_endpoints_in_one_update() -> None:
    """M6: the selector gets the hash, which moves nothing, and then the other hash."""
    world = World()
    world.deploy(replicas=3, strategy=rolling("100%", 0), minReadySeconds=2**31 - 2, progressDeadlineSeconds=2**31 - 1)
    world.serve()
    world.kubelet()
    world.set_image("v2")
    world.start()
    hashes = [labels_of(item)["pod-template-hash"] for item in world.sets()]

    def pin(value: str) -> int:
        before = world.store.version
        world.edit("services", "web", lambda obj: obj["spec"]["selector"].update({"pod-template-hash": value}))
        return sum(event.ref.resource == SLICES for event in world.store.events_after(before))

    pin(hashes[0])
    assert set(world.endpoints()) == {name_of(pod) for pod in world.ready_pods("v1")}
    assert pin(hashes[1]) == 1
    assert set(world.endpoints()) == {name_of(pod) for pod in world.ready_pods("v2")}


def test_a_selector_that_matches_nothing_leaves_one_empty_slice() -> None:
    world = serving(2)
    name = name_of(world.slices()[0])
    world.edit("services", "web", lambda obj: obj["spec"].update(selector={"app": "nobody"}))

    assert [(name_of(item), item["endpoints"]) for item in world.slices()] == [(name, [])]


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "example.org"}])
def test_a_service_without_pods_of_its_own_has_no_slices(spec: Obj) -> None:
    world = World()
    world.deploy(replicas=1)
    world.serve(fields=spec)
    world.kubelet()

    assert world.slices() == []


def test_a_headless_service_has_slices_too_and_needs_no_port() -> None:
    world = serving(2, clusterIP="None", ports=None)

    assert len(world.endpoints()) == 2
    assert world.slices()[0]["ports"] == []
    assert labels_of(world.slices()[0])["service.kubernetes.io/headless"] == ""


def test_ports_by_name_are_looked_up_in_each_pod() -> None:
    """Pods that mean different numbers by one name lie in different slices."""
    world = World()

    def named(number: int) -> Obj:
        container = {"name": "main", "image": f"v{number}", "ports": [{"name": "web", "containerPort": number}]}
        return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}

    world.deploy(replicas=2, template=named(8080), strategy=rolling(2, 0))
    world.serve(ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    world.start()
    world.edit(DEPLOYMENTS, "web", lambda obj: obj["spec"].update(template=named(9090)))
    world.start(1)
    found = {item["ports"][0]["port"]: len(item["endpoints"]) for item in world.slices()}

    assert found[9090] == 1
    assert found[8080] >= 1


def test_a_port_name_that_a_pod_does_not_know_is_left_out() -> None:
    world = serving(1, ports=[{"port": 80, "targetPort": "nowhere"}])

    assert world.slices()[0]["ports"] == []


def test_labels_of_the_service_go_with_its_slices() -> None:
    world = serving(1, labels={"team": "blue"})
    assert labels_of(world.slices()[0])["team"] == "blue"
    world.edit("services", "web", lambda obj: obj["metadata"].update(labels={"team": "red"}))

    assert labels_of(world.slices()[0])["team"] == "red"


def test_250_endpoints_lie_in_three_slices_and_one_that_goes_changes_one() -> None:
    world = World(nodes=4)
    world.deploy(replicas=250)
    world.serve()
    world.start()
    assert sorted(len(item["endpoints"]) for item in world.slices()) == [50, 100, 100]
    versions = {name_of(item): item["metadata"]["resourceVersion"] for item in world.slices()}
    world.report(world.pods()[0], phase="Failed")
    changed = [item for item in world.slices() if item["metadata"]["resourceVersion"] != versions[name_of(item)]]

    assert len(changed) == 1


def test_a_slice_that_somebody_deletes_comes_back_after_a_second() -> None:
    """E4."""
    world = serving(2)
    world.delete(SLICES, name_of(world.slices()[0]))
    assert world.endpoints() == {}

    world.pass_time(1.0)

    assert len(world.endpoints()) == 2


def test_what_somebody_writes_into_a_slice_stands_for_a_second_or_until_a_pod_changes() -> None:
    """E4."""
    world = serving(2)

    def empty() -> None:
        world.edit(SLICES, name_of(world.slices()[0]), lambda item: item.update(endpoints=[]))
        world.pass_time(0.9)
        assert world.endpoints() == {}

    empty()
    world.pass_time(0.1)
    assert len(world.endpoints()) == 2

    empty()
    world.relabel("pods", name_of(world.pods()[0]), more="yes")
    assert len(world.endpoints()) == 2


@pytest.mark.parametrize(("leaving", "looked_at"), [({}, False), ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True)])
def test_a_phase_calls_for_a_sync_only_while_its_pod_is_being_deleted(leaving: Obj, looked_at: bool) -> None:
    """E3: what has ended without a deletion keeps its place, out of use, until something else is written."""
    world = serving(1)
    before = world.pods()[0]
    before = {**before, "metadata": before["metadata"] | leaving}
    after = {**before, "status": before["status"] | {"phase": "Failed"}}
    event = StoreEvent(version=9, kind="MODIFIED", ref=ref_of(before), obj=after, before=before)

    found = list(EndpointSliceController(Dice(1)).keys(world.manager.view, event))

    assert bool(found) == looked_at


def test_the_slices_go_with_their_service() -> None:
    world = serving(1)
    world.delete("services", "web")

    assert world.slices() == []


def test_a_write_that_changes_no_endpoint_writes_no_slice() -> None:
    world = serving(2)
    version = world.slices()[0]["metadata"]["resourceVersion"]
    world.annotate("pods", name_of(world.pods()[0]), "note", "x")

    assert world.slices()[0]["metadata"]["resourceVersion"] == version


def test_a_delayed_controller_writes_late_and_what_is_true_then() -> None:
    """A drill slows the controller down; what happens meanwhile is in the one late write."""
    world = World(settings=Settings(endpoint_slice_delay_s=5.0))
    world.deploy(replicas=2)
    world.serve()
    world.pass_time(6)
    world.kubelet()
    assert world.endpoints() == {}
    world.pass_time(3)
    world.delete("pods", name_of(world.pods()[0]))
    assert world.endpoints() == {}
    world.pass_time(2)

    assert len(world.endpoints()) == 2
    assert (False, True, True) in states(world)


def endpoint(number: int, *, ready: bool = True) -> Obj:
    return {"addresses": [f"10.0.{number // 250}.{number % 250}"], "conditions": {"ready": ready}}


def test_what_is_there_stays_in_its_slice() -> None:
    one, two = [endpoint(1), endpoint(2)], [endpoint(3)]
    result = fill([("a", one), ("b", two)], [endpoint(3), endpoint(2), endpoint(1, ready=False)])

    assert result.slices == {"a": [endpoint(1, ready=False), endpoint(2)], "b": [endpoint(3)]}
    assert result.more == []


def test_new_endpoints_go_where_something_changes_anyway() -> None:
    result = fill([("a", [endpoint(1)]), ("b", [endpoint(2), endpoint(3)])], [endpoint(1), endpoint(3), endpoint(4)])

    assert result.slices == {"a": [endpoint(1)], "b": [endpoint(3), endpoint(4)]}


def test_a_slice_that_is_left_empty_is_to_go_and_a_full_one_takes_no_more() -> None:
    full = [endpoint(number) for number in range(FULL)]
    result = fill([("full", full), ("old", [endpoint(200)])], [*full, *(endpoint(300 + n) for n in range(FULL + 1))])

    assert list(result.slices) == ["full", "old"]
    assert [len(items) for items in result.more] == [1]
    assert fill([("old", [endpoint(1)])], []).slices == {}
