"""Which routes attach to which listeners, and what both are told about it: the Gateway API's conditions.

Rule 1: a condition says what the specification gives its reason for; what is not supported here is not silently taken.
Rule 2: only Gateways of a class whose controller is `segue.dev/gateway` are looked at; others belong to others.
Rule 3: whether a proxy has taken its configuration over is not known here: `Programmed` is added by who knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segue.cluster.gateway.objects import GROUP
from segue.cluster.view import View
from segue.model.objects import Obj, Ref, labels_of, name_of, namespace_of

CONTROLLER = "segue.dev/gateway"
CLASSES = f"gatewayclasses.{GROUP}"
GATEWAYS = f"gateways.{GROUP}"
HTTP_ROUTES = f"httproutes.{GROUP}"
GRPC_ROUTES = f"grpcroutes.{GROUP}"
GRANTS = f"referencegrants.{GROUP}"
ROUTES = {HTTP_ROUTES: "HTTPRoute", GRPC_ROUTES: "GRPCRoute"}
PROTOCOL = "HTTP"  # what listeners may speak; gRPC is HTTP, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One condition without its time."""

    type: str
    ok: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A route that reaches clients through a listener, under these hostnames ("" for any)."""

    route: Obj
    kind: str
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One listener of a Gateway: what is said of it, and what is attached."""

    listener: Obj
    said: tuple[Said, ...]
    attached: tuple[Attached, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it can be served."""
        return all(one.ok for one in self.said if one.type == "Accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A Gateway of ours, with its listeners."""

    gateway: Obj
    doors: tuple[Door, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentSaid:
    """What one of our Gateways says to one parentRef of a route."""

    parent: Obj
    gateway: Ref
    said: tuple[Said, ...]


def our_classes(view: View) -> list[Obj]:
    """The GatewayClasses of this controller."""
    return [one for one in view.all_of(CLASSES) if one["spec"].get("controllerName") == CONTROLLER]


def our_gateways(view: View) -> list[Obj]:
    """The Gateways of those classes, the oldest first: it keeps a port that two want."""
    names = {name_of(one) for one in our_classes(view)}
    found = [one for one in view.all_of(GATEWAYS) if one["spec"].get("gatewayClassName") in names]
    return sorted(found, key=_age)


def serve(view: View) -> list[Served]:
    """All Gateways of ours, and what they serve."""
    taken: dict[int, Ref] = {}
    served = []
    for gateway in our_gateways(view):
        doors = [_door(gateway, listener, taken) for listener in gateway["spec"]["listeners"]]
        for door in doors:
            if door.is_open:
                taken.setdefault(door.listener["port"], _ref(gateway))
        served.append(Served(gateway=gateway, doors=tuple(_filled(view, gateway, door) for door in doors)))
    return served


def parents_of(view: View, route: Obj, kind: str) -> list[ParentSaid]:
    """What is to be said to each parentRef of a route that names a Gateway of ours."""
    gateways = {(namespace_of(one), name_of(one)): one for one in our_gateways(view)}
    found = []
    for parent in route["spec"].get("parentRefs") or []:
        gateway = gateways.get((parent.get("namespace") or namespace_of(route), parent.get("name")))
        if gateway is None or parent.get("kind") != "Gateway" or parent.get("group") != GROUP:
            continue
        accepted = _accepted(view, gateway, route, kind, parent)
        said = (accepted, resolved(view, route, kind))
        found.append(ParentSaid(parent=parent, gateway=_ref(gateway), said=said))
    return found


def resolved(view: View, route: Obj, kind: str) -> Said:
    """Whether every backend a route names is there and may be named."""
    for rule in route["spec"].get("rules") or []:
        mirrored = [one["requestMirror"]["backendRef"] for one in rule.get("filters") or [] if "requestMirror" in one]
        for ref in [*(rule.get("backendRefs") or []), *mirrored]:
            fault = fault_of(view, ref, namespace_of(route), kind)
            if fault is not None:
                return fault
    return Said(type="ResolvedRefs", ok=True, reason="ResolvedRefs", message="all backends are there")


def fault_of(view: View, ref: Obj, namespace: str, kind: str) -> Said | None:
    """Why a backend cannot be used, None where it can."""
    where = ref.get("namespace") or namespace
    if ref.get("group") or ref.get("kind", "Service") != "Service":
        said = f"{ref.get('kind')} is no kind of backend here; only Service is"
        return Said(type="ResolvedRefs", ok=False, reason="InvalidKind", message=said)
    if where != namespace and not _granted(view, kind, namespace, where, str(ref["name"])):
        said = f"no ReferenceGrant in namespace {where} lets {kind}s of {namespace} name Service {ref['name']}"
        return Said(type="ResolvedRefs", ok=False, reason="RefNotPermitted", message=said)
    service = view.get(Ref(resource="services", namespace=where, name=str(ref["name"])))
    if service is None:
        said = f"there is no Service {ref['name']} in namespace {where}"
        return Said(type="ResolvedRefs", ok=False, reason="BackendNotFound", message=said)
    ports = [one["port"] for one in service["spec"].get("ports") or []]
    if ref.get("port") not in ports:
        said = f"Service {ref['name']} has no port {ref.get('port')} (it has {', '.join(map(str, ports))})"
        return Said(type="ResolvedRefs", ok=False, reason="BackendNotFound", message=said)
    return None


def _granted(view: View, kind: str, namespace: str, where: str, service: str) -> bool:
    for grant in view.all_of(GRANTS, where):
        spec = grant["spec"]
        comes = any(
            (one.get("group"), one.get("kind"), one.get("namespace")) == (GROUP, kind, namespace)
            for one in spec.get("from") or []
        )
        goes = any(
            not one.get("group") and one.get("kind") == "Service" and one.get("name", service) == service
            for one in spec.get("to") or []
        )
        if comes and goes:
            return True
    return False


# -- listeners ---------------------------------------------------------------------------------------------------------


def _door(gateway: Obj, listener: Obj, taken: dict[int, Ref]) -> Door:
    conflicts = Said(type="Conflicted", ok=False, reason="NoConflicts")
    refs = Said(type="ResolvedRefs", ok=True, reason="ResolvedRefs")
    accepted = Said(type="Accepted", ok=True, reason="Accepted")
    kinds = {one.get("kind") for one in (listener.get("allowedRoutes") or {}).get("kinds") or []}
    if kinds - set(ROUTES.values()):
        named = ", ".join(sorted(str(kind) for kind in kinds - set(ROUTES.values())))
        refs = Said(type="ResolvedRefs", ok=False, reason="InvalidRouteKinds", message=f"{named} is not served here")
    if listener["protocol"] != PROTOCOL:
        said = f"protocol {listener['protocol']} is not served here; {PROTOCOL} is"
        accepted = Said(type="Accepted", ok=False, reason="UnsupportedProtocol", message=said)
    elif taken.get(listener["port"], _ref(gateway)) != _ref(gateway):
        other = taken[listener["port"]]
        said = f"port {listener['port']} of the node belongs to Gateway {other.namespace}/{other.name}"
        accepted = Said(type="Accepted", ok=False, reason="PortUnavailable", message=said)
    elif any(_clashes(listener, one) for one in gateway["spec"]["listeners"]):
        said = "another listener has its port and hostname"
        conflicts = Said(type="Conflicted", ok=True, reason="HostnameConflict", message=said)
        accepted = Said(type="Accepted", ok=False, reason="PortUnavailable", message=said)
    return Door(listener=listener, said=(accepted, conflicts, refs))


def _clashes(one: Obj, other: Obj) -> bool:
    same = one["port"] == other["port"] and one.get("hostname") == other.get("hostname")
    return same and one["name"] != other["name"]


def _filled(view: View, gateway: Obj, door: Door) -> Door:
    attached = []
    for resource, kind in ROUTES.items():
        for route in view.all_of(resource):
            hostnames = _through(view, gateway, door, route, kind)
            if hostnames:
                attached.append(Attached(route=route, kind=kind, hostnames=hostnames))
    return Door(listener=door.listener, said=door.said, attached=tuple(attached))


def _through(view: View, gateway: Obj, door: Door, route: Obj, kind: str) -> tuple[str, ...]:
    for parent in route["spec"].get("parentRefs") or []:
        where = (parent.get("namespace") or namespace_of(route), parent.get("name"))
        if where != (namespace_of(gateway), name_of(gateway)) or not _names(parent, door.listener):
            continue
        if door.is_open and not unsupported_in(route) and _allows(view, gateway, door.listener, route, kind):
            return common_hostnames(door.listener, route)
    return ()


def _accepted(view: View, gateway: Obj, route: Obj, kind: str, parent: Obj) -> Said:
    """The condition Accepted of one parentRef."""

    def no(reason: str, message: str) -> Said:
        return Said(type="Accepted", ok=False, reason=reason, message=message)

    unsupported = unsupported_in(route)
    if unsupported:
        return no("UnsupportedValue", unsupported)
    listeners = [one for one in gateway["spec"]["listeners"] if _names(parent, one)]
    if not listeners:
        return no("NoMatchingParent", f"Gateway {name_of(gateway)} has no such listener")
    allowed = [one for one in listeners if _allows(view, gateway, one, route, kind)]
    if not allowed:
        return no("NotAllowedByListeners", f"no listener takes a {kind} of namespace {namespace_of(route)}")
    if not any(common_hostnames(one, route) for one in allowed):
        return no("NoMatchingListenerHostname", "no listener has a hostname in common with it")
    return Said(type="Accepted", ok=True, reason="Accepted", message="it is attached")


def unsupported_in(route: Obj) -> str:
    """What a route asks for that is not done here, "" for nothing."""
    for rule in route["spec"].get("rules") or []:
        for one in rule.get("filters") or []:
            if one["type"] == "ExtensionRef":
                return "filters of type ExtensionRef are not served here"
        if rule.get("sessionPersistence"):
            return "sessionPersistence is not served here"
        if any(ref.get("filters") for ref in rule.get("backendRefs") or []):
            return "filters of a single backend are not served here"
    return ""


def _names(parent: Obj, listener: Obj) -> bool:
    section, port = parent.get("sectionName"), parent.get("port")
    return section in {None, listener["name"]} and port in {None, listener["port"]}


def _allows(view: View, gateway: Obj, listener: Obj, route: Obj, kind: str) -> bool:
    allowed = listener.get("allowedRoutes") or {}
    kinds = {one.get("kind") for one in allowed.get("kinds") or []}
    if kinds and kind not in kinds:
        return False
    spaces = allowed.get("namespaces") or {}
    match spaces.get("from", "Same"):
        case "All":
            return True
        case "Same":
            return namespace_of(route) == namespace_of(gateway)
        case "Selector":
            found = view.get(Ref(resource="namespaces", namespace="", name=namespace_of(route)))
            wanted = (spaces.get("selector") or {}).get("matchLabels") or {}
            labels = labels_of(found or {})
            return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())
        case _:
            return False


def common_hostnames(listener: Obj, route: Obj) -> tuple[str, ...]:
    """The hostnames that a listener and a route have in common; ("",) for any, () for none."""
    mine = str(listener.get("hostname") or "")
    theirs = [str(one) for one in route["spec"].get("hostnames") or []]
    if not theirs:
        return (mine,)
    return tuple(found for one in theirs for found in _meet(mine, one))


def _meet(one: str, other: str) -> Iterator[str]:
    if not one or one == other or (one.startswith("*.") and _within(other, one)):
        yield other
    elif other.startswith("*.") and _within(one, other):
        yield one


def _within(name: str, wildcard: str) -> bool:
    return name.endswith(wildcard[1:]) and name != wildcard[1:]


def _age(obj: Obj) -> tuple[str, str, str]:
    return str(obj["metadata"].get("creationTimestamp")), namespace_of(obj), name_of(obj)


def _ref(gateway: Obj) -> Ref:
    return Ref(resource=GATEWAYS, namespace=namespace_of(gateway), name=name_of(gateway))
