"""Names: what the cluster's DNS answers, what pods are told to ask it, and what their C library makes of both."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from segue.dns.resolver import Resolver, parsed
from segue.model.objects import Obj
from tests import dns_asking
from tests.dns_asking import Said
from tests.live.both import manifests
from tests.live.both.test_api_answers import ask
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "DNS-Service": "A Service is its ClusterIP; with no address of the family the answer is empty, with the SOA.",
    "DNS-headless": "A headless Service is its ready endpoints, each has a name; without any it does not exist.",
    "DNS-SRV": "Ports have SRV records, their targets' addresses stand beside; the Service's own name has all of them.",
    "DNS-alias": "An ExternalName is a CNAME, followed within the cluster.",
    "DNS-PTR": "ClusterIPs and endpoints lead back to their names.",
    "DNS-domain": "The domain, svc, pod and namespaces exist without records; dashed addresses are names of pods.",
    "DNS-TCP": "What is too long for UDP is cut and says so, and is whole over TCP; EDNS makes room up to 1,232 bytes.",
    "DNS-resolv": "resolv.conf: kube-dns, NAMESPACE.svc, svc and the domain, ndots:5; dnsConfig adds to it.",
    "DNS-policy": "dnsPolicy None leaves dnsConfig alone; Default is the node's own, without the cluster's domains.",
    "DNS-hosts": "/etc/hosts has the pod's name, its full name where it has a subdomain, and hostAliases, which win.",
    "DNS-lookup": "A pod's C library finds SERVICE, SERVICE.NAMESPACE, and a pod by HOSTNAME.SUBDOMAIN.",
    "DNS-invalid": "dnsPolicy, dnsConfig, hostAliases, hostname and subdomain are refused in the same words.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "DNS-resolv": "real: nodes may have search domains of their own, which pods get too; embedded: --set dns_search",
    "DNS-alias": "real: where the target has no address of the family, the CNAME is left out; embedded: it is told",
    "DNS-domain": "real (no upstream): names outside are SERVFAIL; embedded: REFUSED. TTL: kubeadm 30 s, embedded 5 s",
}

CACHED_S = 40.0  # CoreDNS' cache holds its own cluster's answers for 30 s, too


def asked(place: Place, name: str, kind: str = "A", *, edns: int = 1232) -> Said:
    """What kube-dns says over UDP."""
    with place.datagram(dns_ip(place), 53) as way:
        way.settimeout(5)
        way.send(dns_asking.packet(name, kind, edns=edns))
        return dns_asking.said(way.recv(65535))


def dns_ip(place: Place) -> str:
    code, service = place.world.call("GET", "/api/v1/namespaces/kube-system/services/kube-dns")
    assert code == 200
    return str(service["spec"]["clusterIP"])


def full(place: Place, name: str) -> str:
    return f"{name}.{place.namespace}.svc.cluster.local"


def find(place: Place, name: str, kind: str = "A") -> Said:
    """What it says once it has heard of the name."""
    wait_until(lambda: asked(place, name, kind).answers, what=f"{kind} of {name}")
    return asked(place, name, kind)


def service(name: str, **spec: object) -> Obj:
    ports = [{"name": "http", "port": 80}, {"name": "adm", "port": 81}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}


def piece(of: str, ends: list[Obj]) -> Obj:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{of}-1", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": ends,
    }


def headless(place: Place, name: str = "db") -> None:
    """Two that are ready, one by name, and one that is not."""
    ends: list[Obj] = [
        {"addresses": ["10.244.99.1"], "hostname": "db-0"},
        {"addresses": ["10.244.99.2"]},
        {"addresses": ["10.244.99.3"], "conditions": {"ready": False}},
    ]
    place.create(service(name, clusterIP="None"), piece(name, ends))
    find(place, full(place, name))


@pytest.mark.states("DNS-Service", "DNS-SRV", "DNS-PTR")
def test_a_service_by_its_names(place: Place) -> None:
    place.create(service("web"))
    ip = place.cluster_ip("web")
    name = full(place, "web")

    found = find(place, name)
    assert (found.code, found.texts, found.authoritative) == ("NOERROR", [ip], True)
    assert 0 <= found.answers[0][2] <= 30
    empty = asked(place, name, "AAAA")
    assert (empty.code, empty.answers, [row[1] for row in empty.authority]) == ("NOERROR", [], ["SOA"])
    missing = asked(place, full(place, "wep"))
    assert (missing.code, [row[:2] for row in missing.authority]) == ("NXDOMAIN", [("cluster.local", "SOA")])
    assert asked(place, name.upper()).texts == [ip]

    assert asked(place, name, "SRV").texts == [f"0 50 80 {name}", f"0 50 81 {name}"]
    one = asked(place, f"_http._tcp.{name}", "SRV")
    assert (one.texts, [(row[0], row[3]) for row in one.more]) == ([f"0 100 80 {name}"], [(name, ip)])
    assert asked(place, f"_http._tcp.{name}").texts == [ip]
    assert asked(place, f"_http._udp.{name}", "SRV").code == "NXDOMAIN"
    assert asked(place, f"_tcp.{name}").code == "NXDOMAIN"

    back = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
    assert asked(place, back, "PTR").texts == [name]
    place.delete("services", "web")
    gone = "the name to go with the Service"
    wait_until(lambda: asked(place, name).code == "NXDOMAIN", limit_s=CACHED_S, what=gone)


@pytest.mark.states("DNS-headless", "DNS-SRV", "DNS-PTR")
def test_a_headless_service_by_its_names(place: Place) -> None:
    headless(place)
    name = full(place, "db")

    assert asked(place, name).texts == ["10.244.99.1", "10.244.99.2"]
    assert asked(place, f"db-0.{name}").texts == ["10.244.99.1"]
    assert asked(place, f"10-244-99-2.{name}").texts == ["10.244.99.2"]
    assert asked(place, f"10-244-99-3.{name}").code == "NXDOMAIN"
    found = asked(place, f"_http._tcp.{name}", "SRV")
    assert found.texts == [f"0 50 8080 10-244-99-2.{name}", f"0 50 8080 db-0.{name}"]
    assert sorted(row[3] for row in found.more) == ["10.244.99.1", "10.244.99.2"]
    assert asked(place, "1.99.244.10.in-addr.arpa", "PTR").texts == [f"db-0.{name}"]
    place.patch("endpointslices", "db-1", {"endpoints": []}, kind="application/merge-patch+json")
    gone = "an empty headless Service to have no name"
    wait_until(lambda: asked(place, name).code == "NXDOMAIN", limit_s=CACHED_S, what=gone)


@pytest.mark.states("DNS-alias")
def test_an_external_name_is_an_alias(place: Place) -> None:
    place.create(service("web"))
    near = service("near", type="ExternalName", externalName=full(place, "web"))
    far = service("far", type="ExternalName", externalName="api.example.com")
    place.create(near, far)

    wait_until(lambda: len(asked(place, full(place, "near")).answers) == 2, what="an alias and what it leads to")
    assert asked(place, full(place, "near")).texts == sorted([full(place, "web"), place.cluster_ip("web")])
    assert find(place, full(place, "far"), "CNAME").texts == ["api.example.com"]


@pytest.mark.states("DNS-domain")
def test_the_domain_itself(place: Place) -> None:
    wait_until(lambda: asked(place, f"{place.namespace}.svc.cluster.local").code == "NOERROR", what="the namespace")

    for known in ("cluster.local", "svc.cluster.local", "pod.cluster.local", f"{place.namespace}.pod.cluster.local"):
        found = asked(place, known)
        assert (found.code, found.answers) == ("NOERROR", []), known
    for unknown in ("nowhere.svc.cluster.local", "a.b.cluster.local", f"a.b.c.{place.namespace}.svc.cluster.local"):
        assert asked(place, unknown).code == "NXDOMAIN", unknown
    assert asked(place, f"10-1-2-3.{place.namespace}.pod.cluster.local").texts == ["10.1.2.3"]
    assert asked(place, f"hello.{place.namespace}.pod.cluster.local").code == "NXDOMAIN"
    assert asked(place, "dns-version.cluster.local", "TXT").texts == ["1.1.0"]
    assert asked(place, "ns.dns.cluster.local").texts == [dns_ip(place)]
    servers = asked(place, "cluster.local", "NS")
    assert (servers.texts, servers.more[0][3]) == (["kube-dns.kube-system.svc.cluster.local"], dns_ip(place))
    assert asked(place, "cluster.local", "SOA").texts == ["ns.dns.cluster.local"]
    assert asked(place, "api.example.com").code in ("SERVFAIL", "REFUSED")


@pytest.mark.states("DNS-TCP")
def test_what_is_too_long_for_a_datagram(place: Place) -> None:
    ends = [{"addresses": [f"10.244.98.{number}"]} for number in range(1, 101)]
    place.create(service("many", clusterIP="None"), piece("many", ends))
    name = full(place, "many")
    wait_until(lambda: asked(place, name).code == "NOERROR", what="the name")

    for edns, limit in ((0, 512), (1232, 1232)):
        found = asked(place, name, edns=edns)
        assert found.cut
        assert found.bytes <= limit
    with place.connect(dns_ip(place), 53) as way:
        question = dns_asking.packet(name, "A")
        for _ in range(2):  # more than one question to a connection
            way.sendall(len(question).to_bytes(2) + question)
            size = int.from_bytes(_exactly(way.recv, 2))
            found = dns_asking.said(_exactly(way.recv, size))
            assert (len(found.answers), found.cut) == (100, False)


def _exactly(receive: object, size: int) -> bytes:
    data = b""
    while len(data) < size:
        assert callable(receive)
        got = receive(size - len(data))
        assert got
        data += got
    return data


# --- in pods ----------------------------------------------------------------------------------------------------------


def resolver(place: Place, name: str) -> Resolver:
    """What the pod was told."""
    conf = place.kubectl("exec", name, "--", "cat", "/etc/resolv.conf")
    return parsed(conf, place.kubectl("exec", name, "--", "cat", "/etc/hosts"))


def lookup(place: Place, pod: Obj, name: str) -> Obj:
    """What the pod's C library finds."""
    code, told = place.ask(pod["status"]["podIP"], manifests.PORT, f"/lookup?name={quote(name)}", limit_s=30.0)
    assert code == 200
    found: Obj = json.loads(told)
    return found


@pytest.mark.states("DNS-resolv", "DNS-policy", "DNS-hosts")
def test_what_pods_are_told(place: Place) -> None:
    config: Obj = {
        "nameservers": ["10.96.0.99"],
        "searches": ["corp.example"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    specs: dict[str, Obj] = {
        "plain": {},
        "more": {"dnsConfig": config | {"options": [*config["options"], {"name": "edns0"}]}},
        "none": {"dnsPolicy": "None", "dnsConfig": config},
        "node": {"dnsPolicy": "Default"},
        "named": {
            "hostname": "first",
            "subdomain": "db",
            "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["a.b", "c"]}],
        },
    }
    place.create(*(manifests.pod(name, spec=spec) for name, spec in specs.items()))
    pods = {name: place.wait_ready(name) for name in specs}
    own = (f"{place.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local")

    plain = resolver(place, "plain")
    assert (plain.nameservers, plain.search, plain.options) == ((dns_ip(place),), own, {"ndots": "5"})
    more = resolver(place, "more")
    assert (more.nameservers, more.search) == ((dns_ip(place), "10.96.0.99"), (*own, "corp.example"))
    assert more.options == {"ndots": "2", "edns0": ""}
    alone = resolver(place, "none")
    assert (alone.nameservers, alone.search, alone.options) == (("10.96.0.99",), ("corp.example",), {"ndots": "2"})
    assert dns_ip(place) not in resolver(place, "node").nameservers
    assert not set(own) & set(resolver(place, "node").search)

    hosts = {line.ip: line.names for line in resolver(place, "named").hosts}
    assert hosts[pods["named"]["status"]["podIP"]] == (f"first.db.{place.namespace}.svc.cluster.local", "first")
    assert hosts["10.9.9.9"] == ("a.b", "c")
    assert place.kubectl("exec", "named", "--", "hostname").strip() == "first"
    assert lookup(place, pods["named"], "a.b") == {"addresses": ["10.9.9.9"]}
    assert {line.ip: line.names for line in plain.hosts}[pods["plain"]["status"]["podIP"]] == ("plain",)


@pytest.mark.states("DNS-lookup")
def test_a_pods_c_library_finds_services_and_pods(place: Place) -> None:
    spec = {"hostname": "first", "subdomain": "db"}
    place.create(
        manifests.service("web"),
        manifests.service("db", clusterIP="None"),
        manifests.pod("first", spec=spec, readinessProbe=manifests.http("ready")),
    )
    pod = place.wait_ready("first")
    ip, web = pod["status"]["podIP"], place.cluster_ip("web")
    find(place, full(place, "first.db"))

    for name, wanted in (
        ("web", web),
        (f"web.{place.namespace}", web),
        (f"web.{place.namespace}.svc", web),
        (full(place, "web"), web),
        (f"{full(place, 'web')}.", web),
        ("first.db", ip),
        ("db", ip),
        ("first", ip),  # the hosts file
    ):
        assert lookup(place, pod, name) == {"addresses": [wanted]}, name
    assert "code" in lookup(place, pod, "nobody")


@pytest.mark.states("DNS-invalid")
def test_what_pods_may_not_say_about_names(place: Place) -> None:
    searches = [f"a{number}.example" for number in range(33)]
    long = [f"{'a' * 60}.{'b' * 60}.{'c' * 60}.d{number}" for number in range(12)]
    refused: list[tuple[Obj, str]] = [
        ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        ({"dnsPolicy": "None", "dnsConfig": {"searches": ["a"]}}, "spec.dnsConfig.nameservers: Required value"),
        ({"dnsPolicy": "Maybe"}, 'spec.dnsPolicy: Unsupported value: "Maybe"'),
        ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, "must not have more than 3 nameservers"),
        ({"dnsConfig": {"nameservers": ["1.1.1"]}}, 'spec.dnsConfig.nameservers[0]: Invalid value: "1.1.1": must be a'),
        ({"dnsConfig": {"searches": searches}}, "must not have more than 32 search paths"),
        ({"dnsConfig": {"searches": long}}, "must not have more than 2048 characters (including spaces)"),
        ({"dnsConfig": {"searches": ["a_b!"]}}, 'spec.dnsConfig.searches[0]: Invalid value: "a_b!": a lowercase RFC'),
        ({"dnsConfig": {"options": [{"value": "1"}]}}, "spec.dnsConfig.options[0]: Required value: must not be empty"),
        ({"hostAliases": [{"ip": "1.2"}]}, 'spec.hostAliases[0].ip: Invalid value: "1.2": must be a valid IP address'),
        ({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["A_b"]}]}, "spec.hostAliases[0].hostnames[0]: Invalid value"),
        ({"hostname": "A.b"}, 'spec.hostname: Invalid value: "A.b": a lowercase RFC 1123 label'),
        ({"hostname": "a" * 64}, "must be no more than 63 characters"),
        ({"subdomain": "a.b"}, 'spec.subdomain: Invalid value: "a.b": must not contain dots'),
    ]
    for spec, words in refused:
        code, told = ask(place, "POST", place.path("pods") + "?dryRun=All", manifests.pod("p", spec=spec))
        assert (code, words in told["message"]) == (422, True), f"{spec}: {told['message']}"
    for spec in (
        {"dnsConfig": {"searches": [".", "a.example.", "_a.example"]}},
        {"dnsConfig": {"nameservers": ["fd00::1"]}},
    ):
        assert ask(place, "POST", place.path("pods") + "?dryRun=All", manifests.pod("p", spec=spec))[0] == 201
