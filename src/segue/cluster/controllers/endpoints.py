"""What one pod is to a Service: its endpoint and its ports (E1, E3)."""

from __future__ import annotations

from typing import TypeAlias, cast

from segue.cluster.view import TERMINAL_PHASES
from segue.model.objects import Obj, is_ready, is_terminating, name_of, namespace_of, uid_of

Port: TypeAlias = tuple[tuple[str, int | str], ...]  # the items of an EndpointPort, sorted: so it can be a key
Ports: TypeAlias = tuple[Port, ...]


def is_included(pod: Obj) -> bool:
    """Whether a pod has a place behind a Service: it has an address and has not ended (E3)."""
    status = pod.get("status", {})
    return bool(_addresses(pod)) and status.get("phase") not in TERMINAL_PHASES


def endpoint_of(service: Obj, pod: Obj, family: str) -> Obj | None:
    """The pod as an endpoint of this address family, None where it has no such address."""
    addresses = [ip for ip in _addresses(pod) if (":" in ip) == (family == "IPv6")]
    if not addresses:
        return None
    serving, terminating = is_ready(pod), is_terminating(pod)
    regardless = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Obj = {
        "addresses": addresses[:1],
        "conditions": {
            "ready": regardless or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)},
    }
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == name_of(service):
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


def ports_of(service: Obj, pod: Obj) -> Ports:
    """The Service's ports as numbers of this pod; a port whose name the pod does not know is left out."""
    found: list[Port] = []
    for port in service["spec"].get("ports") or []:
        number = _target(port, pod)
        if number is None:
            continue
        made: dict[str, int | str] = {
            "name": port.get("name") or "",
            "port": number,
            "protocol": port.get("protocol") or "TCP",
        }
        if port.get("appProtocol"):
            made["appProtocol"] = port["appProtocol"]
        found.append(tuple(sorted(made.items())))
    return tuple(sorted(found))


def _target(port: Obj, pod: Obj) -> int | None:
    target = port.get("targetPort") or port.get("port")
    if isinstance(target, int):
        return target
    protocol = port.get("protocol") or "TCP"
    sidecars = [item for item in pod["spec"].get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    for container in [*pod["spec"].get("containers", []), *sidecars]:
        for offered in container.get("ports") or []:
            if offered.get("name") == target and (offered.get("protocol") or "TCP") == protocol:
                return cast("int", offered["containerPort"])
    return None


def _addresses(pod: Obj) -> list[str]:
    status = pod.get("status", {})
    several = [item["ip"] for item in status.get("podIPs") or [] if item.get("ip")]
    return several or ([status["podIP"]] if status.get("podIP") else [])
