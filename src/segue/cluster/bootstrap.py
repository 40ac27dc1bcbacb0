"""What every cluster has before anybody asks: its namespaces and the Service `kubernetes`. Written by the registry."""

from __future__ import annotations

from typing import Protocol

from segue.cluster.store import Store
from segue.model.objects import Obj, Ref, name_of, namespace_of

SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
API_SERVICE = Ref(resource="services", namespace="default", name="kubernetes")
_API_PORT = 6443


class Writer(Protocol):
    """The part of a registry that is needed here."""

    store: Store

    def create(self, resource: str, obj: Obj) -> Obj:
        """Make an object."""
        ...

    def update(self, resource: str, obj: Obj) -> Obj:
        """Replace an object."""
        ...


def bootstrap(registry: Writer, address: str, api_endpoint: tuple[str, int] | None) -> None:
    """Make what is missing; after a restart on another port the Service is brought up to date."""
    for name in SYSTEM_NAMESPACES:
        if registry.store.get(Ref(resource="namespaces", namespace="", name=name)) is None:
            registry.create("namespaces", {"metadata": {"name": name}})
    port = api_endpoint[1] if api_endpoint else _API_PORT
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service: Obj = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"clusterIP": address, "ports": [{"name": "https", "port": 443, "targetPort": port}]},
    }
    _ensure(registry, "services", service)
    if api_endpoint is None:
        return
    slice_labels = {"kubernetes.io/service-name": "kubernetes"}
    slice_: Obj = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": slice_labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [api_endpoint[0]], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port}],
    }
    _ensure(registry, "endpointslices.discovery.k8s.io", slice_)


def _ensure(registry: Writer, resource: str, obj: Obj) -> None:
    if registry.store.get(Ref(resource=resource, namespace=namespace_of(obj), name=name_of(obj))) is None:
        registry.create(resource, obj)
    else:
        registry.update(resource, obj)
