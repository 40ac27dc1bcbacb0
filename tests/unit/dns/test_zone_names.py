"""What a cluster's names come to, object by object. Whether CoreDNS agrees, tests/live/both/test_names.py asks it."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from segue.dns.wire import Answer, Code, Type
from segue.dns.zone import NAMESPACES, SERVICES, SLICES, Zone, essence
from segue.model.objects import Obj

SHOP = "shop.svc.cluster.local"


def service(name: str, ip: str = "10.96.0.7", **spec: object) -> Obj:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"clusterIP": ip, "ports": ports, **spec}}


def piece(name: str, of: str, *endpoints: Obj) -> Obj:
    metadata = {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": of}}
    return {"metadata": metadata, "endpoints": list(endpoints), "ports": [{"name": "http", "port": 8080}]}


def end(ip: str, **more: object) -> Obj:
    return {"addresses": [ip], **more}


def shop() -> Zone:
    zone = Zone()
    zone.put(NAMESPACES, {"metadata": {"name": "shop"}})
    zone.put(SERVICES, service("web"))
    zone.put(SERVICES, service("db", "None"))
    ends = [end("10.244.0.1", hostname="db-0"), end("10.244.0.2"), end("10.244.0.3", conditions={"ready": False})]
    zone.put(SLICES, piece("db-1", "db", *ends))
    return zone


def addresses(answer: Answer) -> list[str]:
    return sorted(socket.inet_ntoa(one.data) for one in answer.records if one.type == Type.A)


def test_a_service_is_its_cluster_ip() -> None:
    found = shop().find(f"web.{SHOP}", Type.A)

    assert (found.code, addresses(found), found.records[0].ttl_s) == (Code.NOERROR, ["10.96.0.7"], 5)


def test_what_has_no_such_record_is_told_with_the_soa_by_which_it_is_remembered() -> None:
    found = shop().find(f"web.{SHOP}", Type.AAAA)

    assert (found.code, list(found.records), [one.type for one in found.authority]) == (Code.NOERROR, [], [Type.SOA])


def test_a_headless_service_is_its_ready_endpoints() -> None:
    assert addresses(shop().find(f"db.{SHOP}", Type.A)) == ["10.244.0.1", "10.244.0.2"]


def test_an_endpoint_has_its_hostname_or_its_address_with_dashes() -> None:
    zone = shop()

    assert addresses(zone.find(f"db-0.db.{SHOP}", Type.A)) == ["10.244.0.1"]
    assert addresses(zone.find(f"10-244-0-2.db.{SHOP}", Type.A)) == ["10.244.0.2"]
    assert zone.find(f"10-244-0-3.db.{SHOP}", Type.A).code is Code.NXDOMAIN


def test_a_headless_service_without_ready_endpoints_does_not_exist() -> None:
    zone = shop()
    zone.put(SLICES, piece("db-1", "db"))

    assert zone.find(f"db.{SHOP}", Type.A).code is Code.NXDOMAIN


def test_ports_have_srv_records_with_the_addresses_beside() -> None:
    found = shop().find(f"_http._tcp.db.{SHOP}", Type.SRV)

    assert sorted((one.data[2:4], int.from_bytes(one.data[4:6])) for one in found.records) == [(b"\0\x32", 8080)] * 2
    assert {one.name for one in found.more} == {f"db-0.db.{SHOP}", f"10-244-0-2.db.{SHOP}"}
    assert len(shop().find(f"web.{SHOP}", Type.SRV).records) == 2


def test_an_external_name_is_an_alias_that_is_followed_within_the_cluster() -> None:
    zone = shop()
    zone.put(SERVICES, service("near", "", type="ExternalName", externalName=f"web.{SHOP}"))
    zone.put(SERVICES, service("far", "", type="ExternalName", externalName="api.example.com"))
    zone.put(SERVICES, service("loop", "", type="ExternalName", externalName=f"loop.{SHOP}"))

    assert addresses(zone.find(f"near.{SHOP}", Type.A)) == ["10.96.0.7"]
    assert [one.type for one in zone.find(f"far.{SHOP}", Type.A).records] == [Type.CNAME]
    assert zone.find(f"loop.{SHOP}", Type.A).code is Code.SERVFAIL


def test_an_address_leads_back_to_its_name() -> None:
    zone = shop()

    assert zone.find("7.0.96.10.in-addr.arpa", Type.PTR).records[0].data.startswith(b"\x03web\x04shop\x03svc")
    assert zone.find("1.0.244.10.in-addr.arpa", Type.PTR).records[0].data.startswith(b"\x04db-0\x02db")
    assert not zone.holds("9.9.9.10.in-addr.arpa")


def test_names_of_the_domain_itself() -> None:
    zone = shop()

    assert zone.find("cluster.local", Type.SOA).records
    for known in ("svc.cluster.local", SHOP, "pod.cluster.local", "shop.pod.cluster.local"):
        assert zone.find(known, Type.A).code is Code.NOERROR
    for unknown in ("no.svc.cluster.local", f"no.{SHOP}", f"a.b.c.web.{SHOP}", "x.cluster.local", f"_tcp.web.{SHOP}"):
        assert zone.find(unknown, Type.A).code is Code.NXDOMAIN
    assert addresses(zone.find("10-1-2-3.shop.pod.cluster.local", Type.A)) == ["10.1.2.3"]
    assert zone.find("hello.shop.pod.cluster.local", Type.A).code is Code.NXDOMAIN


def test_only_what_makes_names_is_sent_to_a_server() -> None:
    ends = [
        end("10.1.1.1", nodeName="node-1", conditions={"ready": True, "serving": True}),
        end("10.1.1.2", conditions={"ready": False}),
    ]

    assert essence(SLICES, piece("x", "web", *ends))["endpoints"] == [{"addresses": ["10.1.1.1"], "hostname": ""}]
    assert essence(SERVICES, service("web", selector={"a": "b"}))["spec"].keys() == {"clusterIP", "ports"}


@given(
    st.lists(st.tuples(st.sampled_from(["web", "db"]), st.sampled_from(["a", "b"]), st.integers(0, 3), st.booleans()))
)
def test_however_objects_come_and_go_the_names_are_those_of_what_is_there(
    story: list[tuple[str, str, int, bool]],
) -> None:
    """A zone that lived through all of it answers as one that was made of the end alone."""
    lived, there = Zone(), dict[tuple[str, str], Obj]()
    for of, suffix, count, is_service in story:
        obj = service(of, "None") if is_service else piece(suffix, of, *(end(f"10.0.0.{n}") for n in range(count)))
        resource, name = (SERVICES, of) if is_service else (SLICES, suffix)
        if count:
            lived.put(resource, obj)
            there[resource, name] = obj
        else:
            lived.remove(resource, "shop", name)
            there.pop((resource, name), None)
    fresh = Zone()
    for (resource, _), obj in there.items():
        fresh.put(resource, obj)

    assert lived.listed() == fresh.listed()
    for name in (f"web.{SHOP}", f"db.{SHOP}"):
        assert addresses(lived.find(name, Type.A)) == addresses(fresh.find(name, Type.A))
    for number in range(4):
        name = f"{number}.0.0.10.in-addr.arpa"
        assert lived.holds(name) == fresh.holds(name)
