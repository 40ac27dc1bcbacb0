"""What Services and EndpointSlices must hold. Addresses and node ports are `addresses`' matter."""

from __future__ import annotations

import ipaddress

from segue.cluster.refusals import Cause, duplicate, forbidden_field, invalid_value, required, unsupported
from segue.cluster.validation.metadata import dns_label_causes, label_causes
from segue.model.objects import Obj

_PORT_RANGE = "must be between 1 and 65535, inclusive"
_TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]


def service_causes(service: Obj) -> list[Cause]:
    """What is off in a Service."""
    spec = service.get("spec") or {}
    causes: list[Cause] = []
    ports = spec.get("ports") or []
    if spec.get("type") not in _TYPES:
        causes.append(unsupported("spec.type", spec.get("type", ""), _TYPES))
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and spec.get("type") != "ExternalName":
        causes.append(required("spec.ports"))
    if headless and spec.get("type") in {"NodePort", "LoadBalancer"}:
        detail = f"may not be set to 'None' for {spec['type']} services"
        causes.append(invalid_value("spec.clusterIPs[0]", "None", detail))
    if spec.get("type") == "ExternalName" and not spec.get("externalName"):
        causes.append(required("spec.externalName"))
    causes += _ports_causes(ports)
    causes += label_causes(spec.get("selector") or {}, "spec.selector")
    if spec.get("sessionAffinity") not in {"ClientIP", "None"}:
        causes.append(unsupported("spec.sessionAffinity", spec.get("sessionAffinity", ""), ["ClientIP", "None"]))
    for key in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if spec.get(key) not in {None, "Cluster", "Local"}:
            causes.append(unsupported(f"spec.{key}", spec[key], ["Cluster", "Local"]))
    if spec.get("externalTrafficPolicy") and spec.get("type") not in {"NodePort", "LoadBalancer"}:
        detail = "may only be set for externally-accessible services"
        causes.append(invalid_value("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], detail))
    return causes


def _ports_causes(ports: list[Obj]) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        where = f"spec.ports[{index}]"
        name: str = port.get("name") or ""
        if not name and len(ports) > 1:
            causes.append(required(f"{where}.name"))
        elif name:
            causes += dns_label_causes(name, f"{where}.name")
            if any(other.get("name") == name for other in ports[:index]):
                causes.append(duplicate(f"{where}.name", name))
        number = port.get("port", 0)
        if not 1 <= number <= 65535:
            causes.append(invalid_value(f"{where}.port", number, _PORT_RANGE))
        target = port.get("targetPort")
        if isinstance(target, int) and not 1 <= target <= 65535:
            causes.append(invalid_value(f"{where}.targetPort", target, _PORT_RANGE))
        protocol = port.get("protocol", "TCP")
        if protocol not in {"TCP", "UDP", "SCTP"}:
            causes.append(unsupported(f"{where}.protocol", protocol, ["SCTP", "TCP", "UDP"]))
        if (number, protocol) in seen:
            causes.append(duplicate(where, {"port": number, "protocol": protocol}))
        seen.add((number, protocol))
    return causes


def endpoint_slice_causes(obj: Obj) -> list[Cause]:
    """What is off in an EndpointSlice."""
    causes: list[Cause] = []
    family = obj.get("addressType")
    if not family:
        causes.append(required("addressType"))
    elif family not in {"IPv4", "IPv6", "FQDN"}:
        causes.append(unsupported("addressType", family, ["FQDN", "IPv4", "IPv6"]))
    endpoints = obj.get("endpoints") or []
    if len(endpoints) > 1000:
        message = "Too many: must have at most 1000 items"
        causes.append(Cause(reason="FieldValueTooMany", field="endpoints", message=message))
    for index, endpoint in enumerate(endpoints):
        addresses = endpoint.get("addresses") or []
        if not addresses:
            causes.append(required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
        for number, address in enumerate(addresses):
            if family in {"IPv4", "IPv6"} and not _is_ip(address):
                where = f"endpoints[{index}].addresses[{number}]"
                causes.append(invalid_value(where, address, "must be a valid IP address, (e.g. 10.9.8.7)"))
    names = [port.get("name") or "" for port in obj.get("ports") or []]
    causes += [duplicate("ports", name) for index, name in enumerate(names) if name in names[:index]]
    if obj.get("addressType") == "FQDN" and any(endpoint.get("nodeName") for endpoint in endpoints):
        causes.append(forbidden_field("endpoints", "nodeName may not be set with FQDN"))
    return causes


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
