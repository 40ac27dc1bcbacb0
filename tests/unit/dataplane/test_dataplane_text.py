"""The nftables text of a rule table, whole and as a change: golden, and loaded into the kernel by the live tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cluster.dataplane.nftables import Frame, render, render_change
from segue.cluster.dataplane.rules import RuleTable, plan
from segue.model.objects import Obj

GOLDEN = Path(__file__).with_name("golden")
EMPTY = RuleTable(node="n1")


def service(name: str = "web", ip: str = "10.96.0.10", **spec: object) -> Obj:
    whole: Obj = {"clusterIP": ip, "ports": [{"name": "http", "port": 80}], **spec}
    return {"metadata": {"namespace": "default", "name": name}, "spec": whole}


def piece(*ips: str, name: str = "web", node: str = "n1") -> Obj:
    return {
        "metadata": {"namespace": "default", "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [ip], "nodeName": node} for ip in ips],
    }


def table(services: list[Obj], slices: list[Obj]) -> RuleTable:
    return plan(services, slices, "n1")


NODE_PORT = [{"name": "http", "port": 80, "nodePort": 30080}]
CASES = {
    "cluster": ([service(ports=NODE_PORT)], [piece("10.244.0.2", "10.244.0.3")]),
    "rejected": ([service(ports=NODE_PORT)], []),
    "affinity": ([service(sessionAffinity="ClientIP")], [piece("10.244.0.2")]),
    "local": ([service(ports=NODE_PORT, externalTrafficPolicy="Local")], [piece("10.244.0.2")]),
    "local-elsewhere": ([service(ports=NODE_PORT, externalTrafficPolicy="Local")], [piece("10.244.1.2", node="n2")]),
    "internal-local": ([service(internalTrafficPolicy="Local")], [piece("10.244.0.2"), piece("10.244.1.2", node="n2")]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_table_renders_as_written_down(name: str) -> None:
    """`golden/NAME.nft` holds what is added to the frame."""
    text = render_change(EMPTY, table(*CASES[name]), Frame()).apply

    assert text == (GOLDEN / f"{name}.nft").read_text()


def test_the_whole_ruleset_replaces_what_is_loaded_in_one_transaction() -> None:
    """The frame first, then what a change from nothing would add."""
    whole = table(*CASES["cluster"])
    text = render(whole, Frame())

    assert text.startswith("add table ip segue\ndelete table ip segue\nadd table ip segue\n")
    assert text.endswith(render_change(EMPTY, whole, Frame()).apply)
    assert "add rule ip segue cluster-ips-check ip daddr 10.96.0.0/12 drop\n" in text


def test_an_equal_table_changes_nothing() -> None:
    """No text, no transaction."""
    whole = table(*CASES["cluster"])

    assert render_change(whole, whole, Frame()) == render_change(EMPTY, EMPTY, Frame())
    assert render_change(whole, whole, Frame()).apply == ""


def test_only_the_chains_of_the_service_that_changed_are_touched() -> None:
    """K6's partial sync: one endpoint more is one chain more and one choice rewritten."""
    both = [service(), service("other", "10.96.0.11")]
    other = piece("10.244.0.9", name="other")
    before = table(both, [piece("10.244.0.2"), other])
    after = table(both, [piece("10.244.0.2", "10.244.0.3"), other])
    texts = render_change(before, after, Frame())

    assert "other" not in texts.apply
    assert texts.tidy == ""
    assert texts.apply.count("\n") == 5
    assert "numgen random mod 2 vmap" in texts.apply


def test_what_is_removed_is_first_left_and_then_deleted() -> None:
    """In two transactions."""
    before = table([service()], [piece("10.244.0.2", "10.244.0.3")])
    after = table([service()], [piece("10.244.0.2")])
    texts = render_change(before, after, Frame())

    assert "delete" not in texts.apply
    assert "numgen random mod 1 vmap" in texts.apply
    assert texts.tidy.splitlines()[-1].startswith("delete chain ip segue endpoint-")
    assert texts.tidy.splitlines()[-1].endswith("__10.244.0.3/8080")


def test_the_last_endpoint_turns_the_service_from_forward_to_reject() -> None:
    """The element moves from one map to the other in one transaction."""
    before = table([service()], [piece("10.244.0.2")])
    after = table([service()], [piece()])
    text = render_change(before, after, Frame()).apply

    assert "delete element ip segue service-ips { 10.96.0.10 . tcp . 80 }" in text
    assert "add element ip segue no-endpoint-services { 10.96.0.10 . tcp . 80 : goto reject-new }" in text


def test_long_names_stay_legal_and_apart() -> None:
    """nftables allows 127 characters; Kubernetes two names of 63 and a port name."""
    names = ["x" * 62 + letter for letter in "ab"]
    services = []
    for number, name in enumerate(names):
        made = service(name, f"10.96.0.{number + 1}")
        made["metadata"]["namespace"] = "n" * 63
        services.append(made)
    slices = []
    for name in names:
        made = piece("10.244.100.100", name=name)
        made["metadata"]["namespace"] = "n" * 63
        slices.append(made)
    text = render_change(EMPTY, table(services, slices), Frame()).apply
    chains = [line.split()[-1] for line in text.splitlines() if line.startswith("add chain")]

    assert len(chains) == len(set(chains)) == 4
    assert max(map(len, chains)) < 128
