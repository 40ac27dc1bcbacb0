"""Which endpoints a new connection may be given to: K1 to K4, and who is not served at all."""

from __future__ import annotations

import pytest

from segue.cluster.dataplane.rules import RuleTable, Verdict, plan
from segue.cluster.dataplane.udp import UdpFlow, has_udp, stale_flows
from segue.model.objects import Obj

STATES = {
    "ready": (True, True, False),
    "starting": (False, False, False),
    "leaving": (False, True, True),
    "stopping": (False, False, True),
    "published": (True, False, True),  # publishNotReadyAddresses: ready always (E1)
}


def service(**spec: object) -> Obj:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    whole: Obj = {"type": "NodePort", "clusterIP": "10.96.0.10", "ports": ports, **spec}
    return {"metadata": {"namespace": "default", "name": "web"}, "spec": whole}


def piece(*endpoints: tuple[str, str, str], port: int = 8080, protocol: str = "TCP", name: str = "http") -> Obj:
    entries = [
        {
            "addresses": [ip],
            "nodeName": node,
            "conditions": dict(zip(("ready", "serving", "terminating"), STATES[state], strict=True)),
            "targetRef": {"kind": "Pod", "namespace": "default", "name": f"pod-{ip[-1]}"},
        }
        for ip, state, node in endpoints
    ]
    return {
        "metadata": {"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": protocol}],
        "endpoints": entries,
    }


A, B, FAR = ("10.244.0.1", "n1"), ("10.244.0.2", "n1"), ("10.244.1.3", "n2")


def at(place: tuple[str, str], state: str) -> tuple[str, str, str]:
    return place[0], state, place[1]


def used(table: RuleTable, way: str = "internal") -> tuple[str, list[str]]:
    (rule,) = table.rules
    found = getattr(rule, way)
    return found.verdict.value, [endpoint.ip for endpoint in found.endpoints]


@pytest.mark.parametrize(
    ("states", "verdict", "ips"),
    [
        ([at(A, "ready"), at(B, "ready")], "forward", [A[0], B[0]]),
        ([at(A, "ready"), at(B, "leaving")], "forward", [A[0]]),
        ([at(A, "starting"), at(B, "leaving")], "forward", [B[0]]),
        ([at(A, "published")], "forward", [A[0]]),
        ([at(A, "starting"), at(B, "stopping")], "reject", []),
        ([], "reject", []),
    ],
    ids=["ready ones", "not those leaving", "leaving ones as the last resort", "published", "nobody", "none"],
)
def test_cluster_policy_uses_ready_endpoints_else_serving_ones_that_terminate(
    states: list[tuple[str, str, str]], verdict: str, ips: list[str]
) -> None:
    """K1, K3, K4."""
    table = plan([service()], [piece(*states)], "n1")

    assert used(table) == (verdict, ips)
    assert used(table, "external") == (verdict, ips)


@pytest.mark.parametrize(
    ("states", "verdict", "ips"),
    [
        ([at(A, "ready"), at(FAR, "ready")], "forward", [A[0]]),
        ([at(A, "leaving"), at(FAR, "ready")], "forward", [A[0]]),
        ([at(A, "starting"), at(FAR, "ready")], "drop", []),
        ([at(FAR, "leaving")], "drop", []),
        ([at(FAR, "starting")], "reject", []),
    ],
    ids=["local only", "local leaving", "elsewhere only", "elsewhere leaving", "nobody anywhere"],
)
def test_local_policy_uses_local_endpoints_and_is_silent_where_only_others_have_some(
    states: list[tuple[str, str, str]], verdict: str, ips: list[str]
) -> None:
    """K2, K3, K4, for either traffic policy by itself."""
    outer = plan([service(externalTrafficPolicy="Local")], [piece(*states)], "n1")
    inner = plan([service(internalTrafficPolicy="Local")], [piece(*states)], "n1")

    assert used(outer, "external") == (verdict, ips)
    assert used(inner, "internal") == (verdict, ips)
    assert used(outer, "internal")[0] == used(inner, "external")[0] != "drop"


def test_missing_conditions_read_as_ready_and_serving_and_staying() -> None:
    """E2."""
    bare = piece(at(A, "starting"))
    bare["endpoints"][0]["conditions"] = {}

    assert used(plan([service()], [bare], "n1")) == ("forward", [A[0]])


def test_an_address_in_two_slices_is_one_endpoint_and_its_ready_entry_wins() -> None:
    """A pod may stand in two slices while the controller moves it."""
    table = plan([service()], [piece(at(A, "stopping")), piece(at(A, "ready"))], "n1")

    assert used(table) == ("forward", [A[0]])


@pytest.mark.parametrize(
    "spec",
    [{"clusterIP": "None"}, {"clusterIP": ""}, {"type": "ExternalName"}, {"clusterIP": "fd00::1"}],
    ids=["headless", "no address yet", "external name", "ipv6"],
)
def test_services_without_a_cluster_ip_of_ours_have_no_rules(spec: Obj) -> None:
    """Nor those that another proxy serves."""
    other = service()
    other["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "mesh"}

    assert plan([service(**spec), other], [piece(at(A, "ready"))], "n1").rules == ()


def test_ports_are_joined_by_name_and_protocol() -> None:
    """A slice port of another name or protocol is not this port's."""
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    slices = [piece(at(A, "ready")), piece(at(B, "ready"), port=5353, protocol="UDP", name="dns")]
    table = plan([service(ports=ports)], slices, "n1")

    assert [(rule.port_name, rule.protocol, [e.port for e in rule.internal.endpoints]) for rule in table.rules] == [
        ("dns", "udp", [5353]),
        ("http", "tcp", [8080]),
    ]
    assert table.rules[0].internal.endpoints[0].pod == "default/pod-2"


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "None"}, 0),
        ({"sessionAffinity": "ClientIP"}, 10_800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}, 7),
    ],
)
def test_affinity_lasts_three_hours_unless_told_otherwise(spec: Obj, seconds: int) -> None:
    """K9."""
    assert plan([service(**spec)], [], "n1").rules[0].affinity_s == seconds


def udp_table(state: str) -> RuleTable:
    ports = [{"name": "http", "port": 53, "protocol": "UDP", "nodePort": 30053}]
    return plan([service(ports=ports)], [piece(at(A, state), port=5353, protocol="UDP")], "n1")


def flow(frontend: tuple[str, int], backend: str = A[0]) -> UdpFlow:
    return UdpFlow(client=("10.10.0.2", 1), frontend=frontend, backend=(backend, 5353))


INNER, OUTER, OTHER = flow(("10.96.0.10", 53)), flow(("10.10.0.1", 30053)), flow(("10.96.0.99", 53))


@pytest.mark.parametrize(
    ("state", "ended"),
    [("ready", []), ("leaving", []), ("stopping", [INNER])],
    ids=["ready", "serving while it terminates", "nobody serves: the node port's stay"],
)
def test_udp_flows_end_when_their_backend_serves_no_more(state: str, ended: list[UdpFlow]) -> None:
    """K7; flows to nobody's frontend are nobody's business."""
    assert stale_flows(udp_table(state), ["10.10.0.1"], [INNER, OUTER, OTHER]) == ended


def test_udp_flows_to_a_backend_that_is_gone_end_everywhere() -> None:
    """K7, while another backend serves."""
    old = [flow(("10.96.0.10", 53), "10.244.0.9"), flow(("10.10.0.1", 30053), "10.244.0.9")]

    assert stale_flows(udp_table("ready"), ["10.10.0.1"], [*old, INNER]) == old
    assert has_udp(udp_table("ready"))
    assert not has_udp(plan([service()], [], "n1"))


def test_a_verdict_is_one_of_three() -> None:
    """Whoever carries rules out matches all of them."""
    assert [verdict.value for verdict in Verdict] == ["forward", "reject", "drop"]
