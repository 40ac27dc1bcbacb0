"""What a proxy is to do for one Gateway, in nobody's language: ports, hosts, rules in their order, backends.

Rule 1: the order is the specification's: exact paths, longer prefixes, a method, more headers, more query parameters,
the older route, its name, its earlier rule.
Rule 2: a backend that a rule shares with others has a name of its own, by its route: what it is sent can be counted,
and pinned requests, whose rule has one backend only, are not counted with it.
Rule 3: a backend that cannot be used keeps its weight, and answers 500 (as the specification says).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from segue.cluster.controllers.endpointslice import RESOURCE as SLICES
from segue.cluster.controllers.endpointslice import SERVICE_LABEL
from segue.cluster.gateway.attaching import Attached, Served, fault_of
from segue.cluster.view import View
from segue.model.objects import Obj, Ref, labels_of, name_of, namespace_of
from segue.model.services import endpoints_of

H2C = "kubernetes.io/h2c"
_DURATION = re.compile(r"(\d+)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests a rule is for."""

    path_type: str = "PathPrefix"
    path: str = "/"
    method: str = ""
    headers: tuple[tuple[str, str, str], ...] = ()  # name, Exact or RegularExpression, value
    queries: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where a rule leads with this weight; `cluster` "" cannot be used."""

    cluster: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One match of one rule."""

    match: Match
    backends: tuple[Backend, ...]
    filters: tuple[Obj, ...] = ()
    mirrors: tuple[tuple[str, float], ...] = ()  # cluster, share of the requests
    timeout_s: float | None = None
    try_s: float | None = None
    retry: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Ready addresses of one port of one Service."""

    name: str
    addresses: tuple[tuple[str, int], ...]
    http2: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of one Gateway."""

    ports: dict[int, dict[str, tuple[Entry, ...]]]  # port, hostname ("" for any), entries
    clusters: dict[str, Cluster]


def config_of(view: View, served: Served) -> Config:
    """The configuration of one Gateway."""
    maker = _Maker(view)
    ports: dict[int, dict[str, list[tuple[tuple[object, ...], Entry]]]] = {}
    for door in served.doors:
        if not door.is_open:
            continue
        hosts = ports.setdefault(door.listener["port"], {})
        for attached in door.attached:
            entries = maker.entries(attached)
            for hostname in attached.hostnames:
                hosts.setdefault(hostname, []).extend(entries)
    ordered = {
        port: {
            hostname: tuple(entry for _, entry in sorted(entries, key=lambda row: row[0]))
            for hostname, entries in sorted(hosts.items())
        }
        for port, hosts in sorted(ports.items())
    }
    return Config(ports=ordered, clusters=maker.clusters)


def shared_cluster(kind: str, namespace: str, route: str, service: str, port: object) -> str:
    """The name of a backend in the rules of a route that have several."""
    return f"{kind.lower()}/{namespace}/{route}/{service}/{port}"


class _Maker:
    """Entries of routes, and the clusters they name."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.clusters: dict[str, Cluster] = {}

    def entries(self, attached: Attached) -> list[tuple[tuple[object, ...], Entry]]:
        """Each match of each rule, with what it is ordered by."""
        route = attached.route
        found = []
        for index, rule in enumerate(route["spec"].get("rules") or []):
            for match in rule.get("matches") or [{}]:
                read = _grpc_match(match) if attached.kind == "GRPCRoute" else _http_match(match)
                age = str(route["metadata"].get("creationTimestamp"))
                key = (*_precedence(read), age, namespace_of(route), name_of(route), index)
                found.append((key, self._entry(attached, rule, read)))
        return found

    def _entry(self, attached: Attached, rule: Obj, match: Match) -> Entry:
        refs = rule.get("backendRefs") or []
        backends = tuple(
            Backend(cluster=self._cluster(attached, ref, len(refs) > 1), weight=int(ref.get("weight", 1)))
            for ref in refs
        )
        filters = tuple(rule.get("filters") or ())
        mirrors = []
        for one in filters:
            if one["type"] != "RequestMirror":
                continue
            mirror = one["requestMirror"]
            cluster = self._cluster(attached, mirror["backendRef"], shared=False, role="mirror/")
            if cluster:
                mirrors.append((cluster, _fraction(mirror)))
        timeouts = rule.get("timeouts") or {}
        return Entry(
            match=match,
            backends=backends,
            filters=filters,
            mirrors=tuple(mirrors),
            timeout_s=seconds_in(timeouts.get("request")),
            try_s=seconds_in(timeouts.get("backendRequest")),
            retry=rule.get("retry") or {},
        )

    def _cluster(self, attached: Attached, ref: Obj, shared: bool, role: str = "") -> str:
        """The cluster's name; "" where the backend cannot be used."""
        route = attached.route
        namespace = namespace_of(route)
        if fault_of(self._view, ref, namespace, attached.kind) is not None:
            return ""
        where = str(ref.get("namespace") or namespace)
        service = self._view.get(Ref(resource="services", namespace=where, name=str(ref["name"])))
        assert service is not None, "a backend without a fault is there"
        port = next(one for one in service["spec"]["ports"] if one["port"] == ref["port"])
        http2 = attached.kind == "GRPCRoute" or port.get("appProtocol") == H2C
        name = f"{role}{where}/{ref['name']}/{ref['port']}" + ("/h2" if http2 else "")
        if shared:
            name = shared_cluster(attached.kind, namespace, name_of(route), str(ref["name"]), ref["port"])
        addresses = _addresses(self._view, where, str(ref["name"]), port)
        self.clusters[name] = Cluster(name=name, addresses=addresses, http2=http2)
        return name


def _addresses(view: View, namespace: str, service: str, port: Obj) -> tuple[tuple[str, int], ...]:
    found: set[tuple[str, int]] = set()
    for one in view.all_of(SLICES, namespace):
        if labels_of(one).get(SERVICE_LABEL) != service:
            continue
        numbers = [row["port"] for row in one.get("ports") or [] if (row.get("name") or "") == (port.get("name") or "")]
        ready = [endpoint.address for endpoint in endpoints_of([one]) if endpoint.ready]
        found.update((address, number) for address in ready for number in numbers)
    return tuple(sorted(found))


def _http_match(match: Obj) -> Match:
    path = match.get("path") or {}
    return Match(
        path_type=str(path.get("type", "PathPrefix")),
        path=str(path.get("value", "/")),
        method=str(match.get("method") or ""),
        headers=_named(match.get("headers")),
        queries=_named(match.get("queryParams")),
    )


def _grpc_match(match: Obj) -> Match:
    """A call is a POST to /SERVICE/METHOD."""
    method = match.get("method") or {}
    service, name = str(method.get("service") or ""), str(method.get("method") or "")
    headers = _named(match.get("headers"))
    if method.get("type") == "RegularExpression":
        path = f"/{service or '[^/]+'}/{name or '[^/]+'}"
        return Match(path_type="RegularExpression", path=path, headers=headers)
    if service and name:
        return Match(path_type="Exact", path=f"/{service}/{name}", headers=headers)
    if name:
        return Match(path_type="RegularExpression", path=f"/[^/]+/{re.escape(name)}", headers=headers)
    return Match(path=f"/{service}" if service else "/", headers=headers)


def _named(rows: list[Obj] | None) -> tuple[tuple[str, str, str], ...]:
    """Names with type and value; of one name the first counts, whatever its case."""
    found: dict[str, tuple[str, str, str]] = {}
    for row in rows or []:
        name = str(row["name"])
        found.setdefault(name.lower(), (name, str(row.get("type", "Exact")), str(row["value"])))
    return tuple(found.values())


def _precedence(match: Match) -> tuple[object, ...]:
    return (
        match.path_type != "Exact",
        -len(match.path),
        not match.method,
        -len(match.headers),
        -len(match.queries),
    )


def _fraction(mirror: Obj) -> float:
    if "percent" in mirror:
        return int(mirror["percent"]) / 100
    fraction = mirror.get("fraction")
    return int(fraction["numerator"]) / int(fraction.get("denominator", 100)) if fraction else 1.0


def seconds_in(duration: object) -> float | None:
    """A Gateway API duration ("1h30m", "500ms") in seconds; None where there is none."""
    return sum(int(n) * _SECONDS[unit] for n, unit in _DURATION.findall(str(duration))) if duration else None
