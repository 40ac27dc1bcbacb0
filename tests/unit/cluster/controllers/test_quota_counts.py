"""What a ResourceQuota counts, whom it refuses, and that a ReplicaSet goes on when there is room."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.cluster.quotas.amounts import Amount, added, amount, total
from segue.cluster.quotas.usage import RESOURCE, counts_in, usage_of
from segue.model.errors import StatusError
from segue.model.objects import Obj, condition_of
from segue.model.quantities import quantity
from tests.unit.cluster.controllers.small_world import World


def limited(**hard: str) -> World:
    """A namespace with one quota that has been counted."""
    world = World()
    names = {name.replace("__", "/").replace("_", "."): value for name, value in hard.items()}
    made: Obj = {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": names}}
    world.registry.create(RESOURCE, made)
    world.settle()
    return world


def used(world: World) -> Obj:
    found: Obj = world.get(RESOURCE, "q")["status"]["used"]
    return found


def container(name: str = "c", requests: Obj | None = None, limits: Obj | None = None, **more: object) -> Obj:
    return {"name": name, "image": "i", "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def pod(*containers: Obj, init: tuple[Obj, ...] = (), **spec: object) -> Obj:
    spec = {"containers": list(containers) or [container()], "initContainers": list(init), **spec}
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}


def told(usage: dict[str, Amount]) -> dict[str, str]:
    return {name: str(value) for name, value in usage.items() if name not in {"pods", "count/pods"}}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("0.5Gi", "512Mi"),
        ("0", "0"),
        ("0Ki", "0"),
        ("1e3", "1k"),
        ("100n", "100n"),
    ],
)
def test_an_amount_is_written_as_kubernetes_writes_it(text: str, shown: str) -> None:
    assert str(amount(text)) == shown


@given(st.decimals(min_value=0, max_value=10**15, places=3), st.booleans())
def test_what_is_written_says_the_same_amount(value: Decimal, twos: bool) -> None:
    assert quantity(str(Amount(value, twos))) == value


def test_a_sum_is_written_as_its_first_part() -> None:
    assert str(total([{"m": amount("0")}, {"m": amount("100Mi")}, {"m": amount("300M")}])["m"]) == "404857600"
    assert str(added({"m": amount("1k")}, {"m": amount("1Ki")})["m"]) == "2024"


def test_containers_add_up_and_what_runs_before_them_counts_by_its_largest() -> None:
    two = pod(container("a", {"cpu": "100m"}), container("b", {"cpu": "200m"}, {"memory": "1Mi"}))
    init = pod(container("a", {"cpu": "100m"}), init=(container("i", {"cpu": "1"}), container("j", {"cpu": "2"})))
    sidecar = pod(
        container("a", {"cpu": "100m"}),
        init=(container("s", {"cpu": "1"}, restartPolicy="Always"), container("i", {"cpu": "500m"})),
    )

    assert told(usage_of("pods", two)) == {"cpu": "300m", "requests.cpu": "300m", "limits.memory": "1Mi"}
    assert told(usage_of("pods", init)) == {"cpu": "2", "requests.cpu": "2"}
    assert told(usage_of("pods", sidecar)) == {"cpu": "1500m", "requests.cpu": "1500m"}


def test_an_ended_pod_counts_as_an_object_only() -> None:
    ended = {**pod(container(requests={"cpu": "1"})), "status": {"phase": "Succeeded"}}

    assert set(usage_of("pods", ended)) == {"count/pods"}


@pytest.mark.parametrize(
    ("scope", "spec", "counts"),
    [
        ("BestEffort", {}, True),
        ("NotBestEffort", {}, False),
        ("BestEffort", {"containers": [container(limits={"cpu": "1"})]}, False),
        ("Terminating", {"activeDeadlineSeconds": 1}, True),
        ("NotTerminating", {"activeDeadlineSeconds": 1}, False),
        ("PriorityClass", {"priorityClassName": "high"}, True),
        ("PriorityClass", {}, False),
    ],
)
def test_a_scope_chooses(scope: str, spec: Obj, counts: bool) -> None:
    quota: Obj = {"spec": {"scopes": [scope]}}

    assert counts_in(quota, "pods", pod(**spec)) is counts
    assert not counts_in(quota, "services", {"spec": {}})


def test_a_scope_selector_chooses_by_value() -> None:
    def quota(operator: str) -> Obj:
        match = {"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}
        return {"spec": {"scopeSelector": {"matchExpressions": [match]}}}

    high, low = pod(priorityClassName="high"), pod(priorityClassName="low")

    assert counts_in(quota("In"), "pods", high) and not counts_in(quota("In"), "pods", low)
    assert counts_in(quota("NotIn"), "pods", low) and not counts_in(quota("NotIn"), "pods", high)


def test_a_quota_that_nobody_has_counted_yet_lets_nothing_in() -> None:
    world = World()
    made: Obj = {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": {"pods": "1"}}}
    world.registry.create(RESOURCE, made)

    with pytest.raises(StatusError, match="status unknown for quota: q, resources: pods"):
        world.registry.create("pods", pod())


def test_a_quota_follows_what_comes_and_goes() -> None:
    world = limited(pods="9", count__deployments_apps="1", services="3", services_nodeports="2")
    world.deploy(replicas=3)
    world.start()
    world.serve()
    counted = dict(used(world))
    world.scale(1)
    world.end()
    world.settle()

    assert counted == {"pods": "3", "count/deployments.apps": "1", "services": "2", "services.nodeports": "0"}
    assert used(world)["pods"] == "1"


def test_a_replica_set_fills_up_to_the_quota_and_goes_on_with_room() -> None:
    world = limited(pods="2")
    world.deploy(replicas=3)
    world.start()
    world.pass_time(1)
    short = world.sets()[0]["status"]
    world.edit(RESOURCE, "q", lambda quota: quota["spec"]["hard"].update(pods="3"))
    world.pass_time(20)
    world.start()

    failing = condition_of({"status": short}, "ReplicaFailure")
    assert failing is not None and failing["reason"] == "FailedCreate"
    assert "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in failing["message"]
    assert short["replicas"] == 2
    assert len(world.pods()) == 3
    assert condition_of(world.sets()[0], "ReplicaFailure") is None
    assert any(text.startswith('Error creating: pods "web-') for text in world.told("FailedCreate"))


def test_an_update_is_charged_for_what_it_adds() -> None:
    world = limited(services_nodeports="1")
    world.serve()

    world.edit("services", "web", lambda service: service["spec"].update(type="NodePort"))
    world.settle()

    two_ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    assert used(world) == {"services.nodeports": "1"}
    with pytest.raises(StatusError, match=r"requested: services\.nodeports=1"):
        world.edit("services", "web", lambda one: one["spec"].update(ports=two_ports))
