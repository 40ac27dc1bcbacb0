"""Writes of the store, read as happenings: what the API itself says of pods and endpoints.

Pure: one store event in, happenings out. What the node and the data plane measure themselves is recorded there.
"""

from __future__ import annotations

from segue.cluster.store import StoreEvent
from segue.model.objects import Obj, is_terminating, labels_of, name_of, namespace_of
from segue.model.timeline import Happening, What


def happenings_of(event: StoreEvent, at_s: float) -> list[Happening]:
    """The happenings that one write means; [] for most."""
    match event.ref.resource:
        case "pods":
            return _of_pod(event, at_s)
        case "endpointslices.discovery.k8s.io":
            return _of_slice(event, at_s)
        case _:
            return []


def _of_pod(event: StoreEvent, at_s: float) -> list[Happening]:
    pod = f"{event.ref.namespace}/{event.ref.name}"
    version = _version(event.obj)
    if event.kind == "ADDED":
        return [Happening(at_s=at_s, what=What.POD_CREATED, pod=pod, data={"image": version})]
    if event.kind == "DELETED":
        return [Happening(at_s=at_s, what=What.POD_REMOVED, pod=pod)]
    before = event.before or {}
    if is_terminating(event.obj) and not is_terminating(before):
        grace_s = event.obj["metadata"].get("deletionGracePeriodSeconds")
        return [Happening(at_s=at_s, what=What.POD_DELETION_SET, pod=pod, data={"grace_s": grace_s})]
    return []


def _version(pod: Obj) -> str:
    containers = pod.get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _of_slice(event: StoreEvent, at_s: float) -> list[Happening]:
    service = f"{event.ref.namespace}/{labels_of(event.obj).get('kubernetes.io/service-name', '')}"
    before = _ready_addresses(event.before) if event.before else {}
    after = {} if event.kind == "DELETED" else _ready_addresses(event.obj)
    found = [
        Happening(at_s=at_s, what=What.ENDPOINT_ADDED, pod=pod, data={"service": service, "ip": ip})
        for ip, pod in after.items()
        if ip not in before
    ]
    found += [
        Happening(at_s=at_s, what=What.ENDPOINT_REMOVED, pod=pod, data={"service": service, "ip": ip})
        for ip, pod in before.items()
        if ip not in after
    ]
    return found


def _ready_addresses(endpoint_slice: Obj) -> dict[str, str]:
    """Ready addresses with the pod behind each; a missing `ready` reads as true (E2)."""
    namespace = namespace_of(endpoint_slice)
    assert name_of(endpoint_slice)
    ready: dict[str, str] = {}
    for endpoint in endpoint_slice.get("endpoints") or []:
        if (endpoint.get("conditions") or {}).get("ready") in (None, True):
            target = endpoint.get("targetRef") or {}
            for address in endpoint.get("addresses") or []:
                ready[address] = f"{target.get('namespace', namespace)}/{target.get('name', '')}"
    return ready
