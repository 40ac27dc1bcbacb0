"""Whom the Service kube-dns leads to."""

from __future__ import annotations

from segue.cluster.dns import SERVICE, SLICE, address_in, wanted
from segue.cluster.store import Store
from segue.cluster.writes import Create, Delete, Update

SERVER = ("10.10.0.1", 53)


def filled() -> Store:
    store = Store()
    for write in wanted(store, "10.96.0.10", SERVER):
        assert isinstance(write, Create)
        store.put(write.resource, {**write.obj, "metadata": {**write.obj["metadata"], "uid": "u"}})
    return store


def test_pods_ask_at_the_tenth_address() -> None:
    assert address_in("10.96.0.0/12") == "10.96.0.10"


def test_a_new_cluster_gets_the_service_and_our_endpoint_and_then_nothing_more() -> None:
    store = filled()

    assert store.get(SERVICE) is not None
    assert store.get(SLICE) is not None
    assert wanted(store, "10.96.0.10", SERVER) == []


def test_a_server_elsewhere_moves_the_endpoint() -> None:
    (write,) = wanted(filled(), "10.96.0.10", ("10.10.0.9", 53))

    assert isinstance(write, Update)
    assert write.obj["endpoints"][0]["addresses"] == ["10.10.0.9"]


def test_whoever_brings_a_dns_of_his_own_gets_the_service_for_himself() -> None:
    store = filled()
    service = store.get(SERVICE)
    assert service is not None
    store.put("services", {**service, "spec": {**service["spec"], "selector": {"k8s-app": "kube-dns"}}})

    assert wanted(store, "10.96.0.10", SERVER) == [Delete(ref=SLICE)]
    store.remove(SLICE)
    assert wanted(store, "10.96.0.10", SERVER) == []
