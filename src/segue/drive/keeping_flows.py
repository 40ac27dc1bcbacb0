"""Keeps UDP flows of old pods over a switch: an EndpointSlice of our own says that they serve on while they leave.

A data plane ends the flows of an endpoint that is gone, and an answer that is under way then never arrives: the client
asks again after 5 s. Flows of an endpoint that is terminating but serving live on, and it gets no new ones (K7). The
API says so of pods in deletion only; a slice of ours says it of pods that are merely out of the selector.

Rule 1: it is taken away some seconds after the switch, so that clients that keep their port move on, too.
Rule 2: the old pods own it: whatever becomes of us, it goes with the last of them.
Rule 3: who may not write slices has a release as before, with flows that are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.drive.flow import Flow, Progress, Sleep, ask, get
from segue.model.http import ApiRequest
from segue.model.objects import Obj, labels_of, name_of, selects, uid_of

HOLD_S = 3.0  # after the switch: longer than a sync of the data plane, and than a query upstream may take
LOOK_EVERY_S = 0.2
MANAGER = "segue-keeps-flows"  # a label's value
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


def keep_flows(namespace: str, template: Obj, ended: Callable[[], bool]) -> Flow[None]:
    """For the pods of a template and the UDP Services that select them, until a switch has left them behind.

    `ended` tells whether whoever switches has come to an end, with a switch or without.
    """
    core = f"/api/v1/namespaces/{namespace}"
    _, (told, listed) = yield from ask(get(f"{core}/services"), get(f"{core}/pods"))
    labels = template["metadata"].get("labels") or {}
    services = [one for one in told.body.get("items") or [] if _is_meant(one, labels)]
    pods = [pod for pod in listed.body.get("items") or [] if _is_old(pod, labels)]
    made = []
    for service in services if pods else []:
        request = ApiRequest(method="POST", path=_SLICES.format(namespace), body=leaving_slice(service, pods))
        _, (answer,) = yield from ask(request)
        if answer.code >= 400 and answer.code != 409:
            yield Progress(because=f"UDP flows will be cut at the switch: {answer.body.get('message') or answer.code}")
            continue
        made.append(service)
    if made:
        yield Progress(because="UDP flows of old pods live on over the switch (K7)", action="keep the old pods' flows")
        yield from _until_left(namespace, [name_of(one) for one in made], {_ip(pod) for pod in pods}, ended)
    for service in made:
        path = f"{_SLICES.format(namespace)}/{_name(service)}"
        yield from ask(ApiRequest(method="DELETE", path=path))


def _until_left(namespace: str, services: Sequence[str], old: set[str], ended: Callable[[], bool]) -> Flow[None]:
    """Until no slice but ours has an old pod any more, and some seconds on."""
    left_s: float | None = None
    while not ended():
        now_s, answers = yield from ask(
            *(
                get(_SLICES.format(namespace), labelSelector=f"kubernetes.io/service-name={service}")
                for service in services
            )
        )
        slices = [one for answer in answers for one in answer.body.get("items") or [] if not _is_ours(one)]
        there = {ip for one in slices for end in one.get("endpoints") or [] for ip in end["addresses"]}
        if not there or there & old:
            left_s = None
        elif left_s is None:
            left_s = now_s
        elif now_s - left_s >= HOLD_S:
            return
        yield Sleep(for_s=LOOK_EVERY_S)


def _is_meant(service: Obj, labels: Obj) -> bool:
    spec = service["spec"]
    udp = any(port.get("protocol") == "UDP" for port in spec.get("ports") or [])
    # While a release goes on its selector has the version, too
    wanted = {key: value for key, value in (spec.get("selector") or {}).items() if key in labels}
    return udp and spec.get("clusterIP") != "None" and bool(wanted) and selects(wanted, labels)


def _is_old(pod: Obj, labels: Obj) -> bool:
    return labels.items() <= labels_of(pod).items() and bool(_ip(pod)) and "deletionTimestamp" not in pod["metadata"]


def _is_ours(one: Obj) -> bool:
    return labels_of(one).get("endpointslice.kubernetes.io/managed-by") == MANAGER


def _ip(pod: Obj) -> str:
    return str(pod.get("status", {}).get("podIP") or "")


def _name(service: Obj) -> str:
    return f"{name_of(service)}-leaving"


def leaving_slice(service: Obj, pods: Sequence[Obj]) -> Obj:
    """What says of these pods that they serve on while they leave; the pods own it."""
    labels = {"kubernetes.io/service-name": name_of(service), "endpointslice.kubernetes.io/managed-by": MANAGER}
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)} for pod in pods]
    conditions = {"ready": False, "serving": True, "terminating": True}
    ends = [
        {"addresses": [_ip(pod)], "conditions": dict(conditions), "nodeName": pod["spec"].get("nodeName")}
        for pod in pods
    ]
    ports = [
        {"name": port.get("name") or "", "protocol": "UDP", "port": _target(port, pods[0])}
        for port in service["spec"]["ports"]
        if port.get("protocol") == "UDP"
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": _name(service), "labels": labels, "ownerReferences": owners},
        "addressType": "IPv4",
        "endpoints": ends,
        "ports": ports,
    }


def _target(port: Obj, pod: Obj) -> int:
    """The number of a target port, which may be a name of the container's."""
    wanted = port.get("targetPort") or port["port"]
    named = (
        int(one["containerPort"])
        for container in pod["spec"]["containers"]
        for one in container.get("ports") or []
        if one.get("name") == wanted and one.get("protocol", "TCP") == "UDP"
    )
    return wanted if isinstance(wanted, int) else next(named, int(port["port"]))
