"""The EndpointSlice controller: which addresses stand behind a Service (E1-E6).

Rule 1: a pod stays in its slice, terminating or not, until its phase is terminal or it is gone (E3).
Rule 2: the selector is evaluated live: a relabelled pod is simply absent, never "terminating" (E5).
Rule 3: a phase alone calls for no sync: what has ended without a deletion leaves with the next one, unready till then.
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers.contract import NOTHING, Later, Refusal
from segue.cluster.controllers.endpoints import Ports, endpoint_of, is_included, ports_of
from segue.cluster.controllers.owners import owner_reference
from segue.cluster.controllers.slices import Filled, fill
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Create, Delete, Outcome, Update, Write
from segue.model.objects import Obj, Ref, is_terminating, labels_of, name_of, namespace_of, selects, uid_of
from segue.ports import Chance

RESOURCE = "endpointslices.discovery.k8s.io"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
LONGEST_PREFIX = 58
FOREIGN_WRITE_S = 1.0  # so long somebody else's write of a slice stands (E4)


class EndpointSliceController:
    """Keeps the slices of every Service that has a selector."""

    name = "endpointslice"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref | Later]:
        """The Service itself, that of a slice, and those that select a pod now or did before."""
        namespace = event.ref.namespace
        if event.ref.resource == "services":
            return [event.ref]
        if event.ref.resource == RESOURCE:
            name = labels_of(event.obj).get(SERVICE_LABEL) or labels_of(event.before or {}).get(SERVICE_LABEL)
            if not name:
                return []
            return [Later(ref=Ref(resource="services", namespace=namespace, name=name), after_s=FOREIGN_WRITE_S)]
        if event.ref.resource != "pods" or not _concerns_traffic(event):
            return []
        states = [labels_of(state) for state in (event.obj, event.before) if state is not None]
        return [
            Ref(resource="services", namespace=namespace, name=name_of(service))
            for service in view.all_of("services", namespace)
            if any(selects(service["spec"].get("selector") or {}, labels) for labels in states)
        ]

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Bring the slices to what the pods say, with as few writes as possible."""
        service = view.get(ref)
        if service is None or is_terminating(service):
            return NOTHING  # its slices go with it: they name it as their owner
        selector = service["spec"].get("selector") or {}
        if not selector or service["spec"].get("type") == "ExternalName":
            return NOTHING
        pods = [pod for pod in view.selected(ref.namespace, selector) if is_included(pod)]
        mine = [item for item in view.all_of(RESOURCE, ref.namespace) if _is_of(service, item)]
        writes: list[Write] = []
        for family in service["spec"].get("ipFamilies") or ["IPv4"]:
            existing = [item for item in mine if item.get("addressType") == family]
            writes += self._family(view, service, family, pods, existing)
        families = service["spec"].get("ipFamilies") or ["IPv4"]
        writes += [_delete(item) for item in mine if item.get("addressType") not in families]
        return Outcome(writes=tuple(writes), because=f"{len(pods)} pods behind it")

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()

    def _family(self, view: View, service: Obj, family: str, pods: list[Obj], existing: list[Obj]) -> list[Write]:
        wanted: dict[Ports, list[Obj]] = {}
        for pod in pods:
            endpoint = endpoint_of(service, pod, family)
            if endpoint is not None:
                wanted.setdefault(ports_of(service, pod), []).append(endpoint)
        writes: list[Write] = []
        kept = 0
        for ports in sorted({*wanted, *(_ports_in(item) for item in existing)}):
            same = [item for item in existing if _ports_in(item) == ports]
            result: Filled = fill(
                [(name_of(item), item.get("endpoints") or []) for item in same], wanted.get(ports, [])
            )
            kept += len(result.slices) + len(result.more)
            for item in same:
                endpoints = result.slices.get(name_of(item))
                if endpoints is None:
                    writes.append(_delete(item))
                else:
                    writes += _changed(service, item, endpoints)
            writes += [self._create(view, service, family, ports, endpoints) for endpoints in result.more]
        if kept:
            return writes
        # Without any endpoint one empty slice stays, so that "none" can be told from "not looked yet".
        return self._placeholder(view, service, family, existing)

    def _placeholder(self, view: View, service: Obj, family: str, existing: list[Obj]) -> list[Write]:
        if not existing:
            return [self._create(view, service, family, (), [])]
        first, rest = existing[0], existing[1:]
        emptied = {**first, "endpoints": [], "ports": []}
        writes: list[Write] = [_delete(item) for item in rest]
        if first.get("endpoints") or first.get("ports"):
            writes.append(Update(resource=RESOURCE, obj=_labelled(service, emptied)))
        else:
            writes += _changed(service, first, [])
        return writes

    def _create(self, view: View, service: Obj, family: str, ports: Ports, endpoints: list[Obj]) -> Create:
        prefix = f"{name_of(service)}-"
        while True:
            name = prefix[:LONGEST_PREFIX] + self._chance.suffix(5)
            if view.get(Ref(resource=RESOURCE, namespace=namespace_of(service), name=name)) is None:
                break
        metadata: Obj = {
            "name": name,
            "generateName": prefix,
            "namespace": namespace_of(service),
            "ownerReferences": [owner_reference(service)],
        }
        obj: Obj = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata,
            "addressType": family,
            "endpoints": endpoints,
            "ports": [dict(port) for port in ports],
        }
        return Create(resource=RESOURCE, obj=_labelled(service, obj))


def _is_of(service: Obj, item: Obj) -> bool:
    labels = labels_of(item)
    mine = labels.get(SERVICE_LABEL) == name_of(service) and labels.get(MANAGED_BY) == MANAGER
    owner = uid_of(service)
    # A slice of an earlier Service of this name is not ours: it is being collected.
    owners = [ref.get("uid") for ref in item["metadata"].get("ownerReferences") or []]
    return mine and not is_terminating(item) and (not owners or owner in owners)


def _ports_in(item: Obj) -> Ports:
    return tuple(sorted(tuple(sorted(port.items())) for port in item.get("ports") or []))


def _changed(service: Obj, item: Obj, endpoints: list[Obj]) -> list[Write]:
    after = _labelled(service, {**item, "endpoints": endpoints})
    before = {**item, "endpoints": item.get("endpoints") or []}
    return [] if after == before else [Update(resource=RESOURCE, obj=after)]


def _labelled(service: Obj, item: Obj) -> Obj:
    """The slice with the Service's labels and the controller's own."""
    labels = {key: text for key, text in labels_of(service).items() if key not in (SERVICE_LABEL, MANAGED_BY, HEADLESS)}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    labels |= {SERVICE_LABEL: name_of(service), MANAGED_BY: MANAGER}
    return {**item, "metadata": {**item["metadata"], "labels": labels}}


def _delete(item: Obj) -> Delete:
    ref = Ref(resource=RESOURCE, namespace=namespace_of(item), name=name_of(item))
    return Delete(ref=ref, uid=uid_of(item))


def _concerns_traffic(event: StoreEvent) -> bool:
    """Whether an endpoint may look different after this event; most writes of a pod's status change none."""
    if event.kind == "DELETED" or event.before is None or is_terminating(event.obj):
        return True
    return _traffic_side(event.obj) != _traffic_side(event.before)


def _traffic_side(pod: Obj) -> tuple[object, ...]:
    status = pod.get("status", {})
    ready = [item.get("status") for item in status.get("conditions") or [] if item.get("type") == "Ready"]
    spec = pod["spec"]
    return (
        labels_of(pod),
        status.get("podIP"),
        status.get("podIPs"),
        ready,
        spec.get("nodeName"),
    )
