"""Reads of a cluster what lookups depend on: its Services' names, its DNS Service, a pod, what CoreDNS was told."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.dns.resolver import ClusterDns, Resolver, of_namespace, of_pod
from segue.dns.zone import NAMESPACES, SERVICES, SLICES, Zone, essence
from segue.drive.flow import Flow, ask, body_of, get
from segue.model.objects import Obj, name_of, namespace_of

DNS_NAMESPACE, DNS_SERVICE, DNS_CONFIG = "kube-system", "kube-dns", "coredns"
_LISTS = {
    NAMESPACES: "/api/v1/namespaces",
    SERVICES: "/api/v1/services",
    SLICES: "/apis/discovery.k8s.io/v1/endpointslices",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What was read."""

    zone: Zone
    dns: ClusterDns
    corefile: str = ""  # "" where there is none that may be read
    pod: Obj = field(default_factory=dict)
    namespace: str = "default"

    @property
    def resolver(self) -> Resolver:
        """The pod's, or that of a pod that says nothing about DNS."""
        return of_pod(self.pod, self.dns) if self.pod else of_namespace(self.namespace, self.dns)


def read_names(namespace: str, pod: str, dns: ClusterDns) -> Flow[Names]:
    """All of it; `dns` holds what the API does not know: the cluster's domain and the nodes' own resolv.conf."""
    config = get(f"/api/v1/namespaces/{DNS_NAMESPACE}/configmaps/{DNS_CONFIG}")
    service = get(f"/api/v1/namespaces/{DNS_NAMESPACE}/services/{DNS_SERVICE}")
    _, answers = yield from ask(*(get(path) for path in _LISTS.values()), service, config)
    zone = Zone(domain=dns.domain)
    for resource, answer in zip(_LISTS, answers, strict=False):
        for obj in body_of(answer, f"listing {resource}").get("items") or []:
            zone.put(resource, essence(resource, obj))
    found: Obj = {}
    if pod:
        _, (seen,) = yield from ask(get(f"/api/v1/namespaces/{namespace}/pods/{pod}"))
        found = body_of(seen, f"reading pod {pod}")
        assert name_of(found) == pod
        assert namespace_of(found) == namespace
    address = dns.address
    if answers[3].code < 400:
        address = str(answers[3].body["spec"].get("clusterIP") or address)
    corefile = str((answers[4].body.get("data") or {}).get("Corefile") or "") if answers[4].code < 400 else ""
    known = ClusterDns(address=address, domain=dns.domain, node=dns.node)
    return Names(zone=zone, dns=known, corefile=corefile, pod=found, namespace=namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corefile:
    """What CoreDNS was told, and for how much."""

    text: str
    pods: int
    services: int


def read_corefile(namespace: str) -> Flow[Corefile]:
    """The ConfigMap and two counts; "" where there is no ConfigMap."""
    config = get(f"/api/v1/namespaces/{namespace}/configmaps/{DNS_CONFIG}")
    _, (told, pods, services) = yield from ask(config, get("/api/v1/pods"), get("/api/v1/services"))
    text = (
        "" if told.code == 404 else str((body_of(told, "reading CoreDNS' ConfigMap").get("data") or {}).get("Corefile"))
    )
    return Corefile(
        text=text,
        pods=len(body_of(pods, "listing pods").get("items") or []),
        services=len(body_of(services, "listing Services").get("items") or []),
    )
