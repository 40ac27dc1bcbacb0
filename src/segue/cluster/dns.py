"""The Service `kube-dns`, by which pods reach whoever answers names: kept, or left to a DNS that somebody brings.

Rule: as soon as the Service has a selector it is somebody's own (a CoreDNS), and only our endpoint is taken out of it.
"""

from __future__ import annotations

import ipaddress

from segue.cluster.store import Store
from segue.cluster.writes import Create, Delete, Update, Write
from segue.model.objects import Obj, Ref

NAMESPACE, NAME = "kube-system", "kube-dns"
SERVICE = Ref(resource="services", namespace=NAMESPACE, name=NAME)
SLICE = Ref(resource="endpointslices.discovery.k8s.io", namespace=NAMESPACE, name="kube-dns-embedded")
PORT = 53
_LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def address_in(service_cidr: str) -> str:
    """Where pods ask: the tenth address of the Services' range, as kubeadm has it."""
    return str(ipaddress.ip_network(service_cidr)[10])


def wanted(store: Store, address: str, server: tuple[str, int]) -> list[Write]:
    """What is to be written so that `address` leads to the embedded server, unless somebody brought another."""
    service = store.get(SERVICE)
    if service is None:
        return [Create(resource=SERVICE.resource, obj=_service(address, server[1])), *_endpoint(store, server)]
    if (service.get("spec") or {}).get("selector"):
        return [] if store.get(SLICE) is None else [Delete(ref=SLICE)]
    return _endpoint(store, server)


def _endpoint(store: Store, server: tuple[str, int]) -> list[Write]:
    there = store.get(SLICE)
    if there is None:
        return [Create(resource=SLICE.resource, obj=_slice(server))]
    made = _slice(server)
    if there["endpoints"][0]["addresses"] == [server[0]] and there["ports"][0]["port"] == server[1]:
        return []
    return [Update(resource=SLICE.resource, obj={**there, "endpoints": made["endpoints"], "ports": made["ports"]})]


def _service(address: str, port: int) -> Obj:
    return {
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": dict(_LABELS)},
        "spec": {
            "clusterIP": address,
            "ports": [{"name": name, "port": PORT, "protocol": kind, "targetPort": port} for name, kind in _PORTS],
        },
    }


def _slice(server: tuple[str, int]) -> Obj:
    labels = {"kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": "segue"}
    return {
        "metadata": {"name": SLICE.name, "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [server[0]], "conditions": {"ready": True}}],
        "ports": [{"name": name, "port": server[1], "protocol": kind} for name, kind in _PORTS],
    }
