"""Defaults and checks that the Gateway API's CustomResourceDefinitions carry, for the kinds that are served here.

Rule: like the definitions themselves it looks at one object alone; what objects mean together is told by `attaching`.
"""

from __future__ import annotations

from segue.cluster.refusals import Cause, duplicate, invalid_value, required, unsupported
from segue.model.objects import Obj

GROUP = "gateway.networking.k8s.io"
MOST_WEIGHT = 1_000_000
MOST_RULES = 16
_UNKNOWN: Obj = {
    "status": "Unknown",
    "reason": "Pending",
    "message": "Waiting for controller",
    "lastTransitionTime": "1970-01-01T00:00:00Z",
}
_FILTERS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "ExtensionRef": "extensionRef",
}
_PROTOCOLS = ("HTTP", "HTTPS", "TLS", "TCP", "UDP")


def default_class(obj: Obj) -> None:
    """A GatewayClass that nobody has taken up waits."""
    obj.setdefault("status", {}).setdefault("conditions", [{"type": "Accepted", **_UNKNOWN}])


def default_gateway(obj: Obj) -> None:
    """Listeners take routes of their own namespace; the status waits."""
    for listener in (obj.get("spec") or {}).get("listeners") or []:
        allowed = listener.setdefault("allowedRoutes", {})
        allowed.setdefault("namespaces", {}).setdefault("from", "Same")
    conditions = [{"type": "Accepted", **_UNKNOWN}, {"type": "Programmed", **_UNKNOWN}]
    obj.setdefault("status", {}).setdefault("conditions", conditions)


def default_http_route(obj: Obj) -> None:
    """A rule without matches takes every path."""
    _default_route(obj)
    for rule in obj["spec"].setdefault("rules", [{}]):
        for match in rule.setdefault("matches", [{}]):
            path = match.setdefault("path", {})
            path.setdefault("type", "PathPrefix")
            path.setdefault("value", "/")
            _default_types(match.get("headers"), match.get("queryParams"))


def default_grpc_route(obj: Obj) -> None:
    """A rule without matches takes every call."""
    _default_route(obj)
    for rule in obj["spec"].get("rules") or []:
        for match in rule.get("matches") or []:
            if "method" in match:
                match["method"].setdefault("type", "Exact")
            _default_types(match.get("headers"))


def _default_route(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    for parent in spec.get("parentRefs") or []:
        parent.setdefault("group", GROUP)
        parent.setdefault("kind", "Gateway")
    for rule in spec.get("rules") or []:
        for ref in rule.get("backendRefs") or []:
            ref.setdefault("group", "")
            ref.setdefault("kind", "Service")
            ref.setdefault("weight", 1)
        for one in rule.get("filters") or []:
            mirrored = (one.get("requestMirror") or {}).get("backendRef")
            if mirrored:
                mirrored.setdefault("group", "")
                mirrored.setdefault("kind", "Service")


def _default_types(*lists: list[Obj] | None) -> None:
    for each in lists:
        for one in each or []:
            one.setdefault("type", "Exact")


def class_causes(obj: Obj) -> list[Cause]:
    """Why this GatewayClass may not be."""
    name = (obj.get("spec") or {}).get("controllerName")
    if not name:
        return [required("spec.controllerName")]
    return [] if "/" in name else [invalid_value("spec.controllerName", name, "must be a domain prefixed path")]


def gateway_causes(obj: Obj) -> list[Cause]:
    """Why this Gateway may not be."""
    spec = obj.get("spec") or {}
    causes = [] if spec.get("gatewayClassName") else [required("spec.gatewayClassName")]
    listeners = spec.get("listeners") or []
    if not listeners:
        causes.append(required("spec.listeners"))
    names: set[str] = set()
    for index, listener in enumerate(listeners):
        at = f"spec.listeners[{index}]"
        name = listener.get("name")
        if not name:
            causes.append(required(f"{at}.name"))
        elif name in names:
            causes.append(duplicate(f"{at}.name", name))
        names.add(str(name))
        causes += _port_causes(f"{at}.port", listener.get("port"))
        if listener.get("protocol") not in _PROTOCOLS and "/" not in str(listener.get("protocol")):
            causes.append(unsupported(f"{at}.protocol", listener.get("protocol"), list(_PROTOCOLS)))
    return causes


def route_causes(obj: Obj) -> list[Cause]:
    """Why this HTTPRoute or GRPCRoute may not be."""
    rules = (obj.get("spec") or {}).get("rules") or []
    causes: list[Cause] = []
    if len(rules) > MOST_RULES:
        causes.append(invalid_value("spec.rules", len(rules), f"must have at most {MOST_RULES} items"))
    for index, rule in enumerate(rules):
        at = f"spec.rules[{index}]"
        for number, ref in enumerate(rule.get("backendRefs") or []):
            causes += _backend_causes(f"{at}.backendRefs[{number}]", ref)
        for number, match in enumerate(rule.get("matches") or []):
            causes += _match_causes(f"{at}.matches[{number}]", match)
        for number, one in enumerate(rule.get("filters") or []):
            causes += _filter_causes(f"{at}.filters[{number}]", one)
    return causes


def grant_causes(obj: Obj) -> list[Cause]:
    """Why this ReferenceGrant may not be."""
    spec = obj.get("spec") or {}
    return [required(f"spec.{key}") for key in ("from", "to") if not spec.get(key)]


def _backend_causes(at: str, ref: Obj) -> list[Cause]:
    causes = [] if ref.get("name") else [required(f"{at}.name")]
    weight = ref.get("weight", 1)
    if not 0 <= weight <= MOST_WEIGHT:
        causes.append(invalid_value(f"{at}.weight", weight, f"must be between 0 and {MOST_WEIGHT}"))
    if ref.get("kind") == "Service" and not ref.get("group") and "port" not in ref:
        causes.append(invalid_value(at, "object", "Must have port for Service reference"))
    return causes + (_port_causes(f"{at}.port", ref["port"]) if "port" in ref else [])


def _match_causes(at: str, match: Obj) -> list[Cause]:
    path = match.get("path") or {}
    value = str(path.get("value") or "")
    causes: list[Cause] = []
    if path.get("type") in {"Exact", "PathPrefix"} and not value.startswith("/"):
        said = "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']"
        causes.append(invalid_value(f"{at}.path", "object", said))
    if path and path.get("type") not in {"Exact", "PathPrefix", "RegularExpression"}:
        known = ["Exact", "PathPrefix", "RegularExpression"]
        causes.append(unsupported(f"{at}.path.type", path.get("type"), known))
    for index, one in enumerate(match.get("headers") or []):
        causes += [required(f"{at}.headers[{index}].{key}") for key in ("name", "value") if not one.get(key)]
    return causes


def _filter_causes(at: str, one: Obj) -> list[Cause]:
    kind = one.get("type")
    if kind not in _FILTERS:
        return [unsupported(f"{at}.type", kind, list(_FILTERS))]
    wanted = _FILTERS[str(kind)]
    return [] if wanted in one else [required(f"{at}.{wanted}", f"must be specified for filter type {kind}")]


def _port_causes(at: str, port: object) -> list[Cause]:
    if port is None:
        return [required(at)]
    if isinstance(port, int) and 1 <= port <= 65535:
        return []
    return [invalid_value(at, port, "must be between 1 and 65535")]
