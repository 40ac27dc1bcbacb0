"""From Services and EndpointSlices to one node's rule table: which endpoints a new connection may be given to.

It must never look at pods: a data plane knows EndpointSlices only, and that late (K5) knowledge is what drills show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from segue.model.objects import Obj, labels_of, name_of, namespace_of

SERVICE_NAME = "kubernetes.io/service-name"
OTHER_PROXY = "service.kubernetes.io/service-proxy-name"  # such a Service is somebody else's to serve
AFFINITY_DEFAULT_S = 10_800  # K9


class Verdict(StrEnum):
    """What a new connection meets."""

    FORWARD = "forward"
    REJECT = "reject"  # no usable endpoint anywhere: refused at once (K4)
    DROP = "drop"  # Local policy with endpoints elsewhere only: silence until the client gives up (K4)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Endpoint:
    """Where connections may go; `pod` is "namespace/name" where the slice says it."""

    ip: str
    port: int
    pod: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A verdict and, where it is FORWARD, the endpoints among which each new connection chooses evenly."""

    verdict: Verdict
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRule:
    """One port of one Service as this node treats it."""

    service: str  # "namespace/name"
    port_name: str
    protocol: str  # "tcp" | "udp"
    cluster_ip: str
    port: int
    node_port: int = 0
    affinity_s: int = 0  # 0: none
    internal: Way  # what is sent to the ClusterIP
    external: Way  # what is sent to the node port
    cluster: Way  # what pods get at the node port where it is local to the node for others
    external_local: bool = False  # keeps the client's address; without it the node's is put in its place
    serving: frozenset[tuple[str, int]] = frozenset()  # backends whose UDP flows may live on (K7)

    @property
    def key(self) -> tuple[str, str, str]:
        """What names this rule over time."""
        return (self.service, self.port_name, self.protocol)

    def endpoints(self) -> frozenset[Endpoint]:
        """Every endpoint to which this node may send a new connection of this port."""
        ways = (self.internal, self.external, self.cluster) if self.node_port else (self.internal,)
        return frozenset(endpoint for way in ways for endpoint in way.endpoints)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTable:
    """All rules of one node, ordered by key."""

    node: str
    rules: tuple[ServiceRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    endpoint: Endpoint
    ready: bool
    serving: bool
    terminating: bool
    local: bool

    @property
    def lingering(self) -> bool:
        return self.serving and self.terminating


def plan(services: Iterable[Obj], slices: Iterable[Obj], node: str) -> RuleTable:
    """The rules of `node` for these Services and their EndpointSlices."""
    by_service: dict[str, list[Obj]] = defaultdict(list)
    for piece in slices:
        owner = labels_of(piece).get(SERVICE_NAME)
        if owner and piece.get("addressType", "IPv4") == "IPv4":
            by_service[f"{namespace_of(piece)}/{owner}"].append(piece)
    rules = [
        _rule(service, port, by_service[_full_name(service)], node)
        for service in services
        if _is_ours(service)
        for port in service["spec"].get("ports") or []
        if port.get("protocol", "TCP") in ("TCP", "UDP")
    ]
    return RuleTable(node=node, rules=tuple(sorted(rules, key=lambda rule: rule.key)))


def _full_name(service: Obj) -> str:
    return f"{namespace_of(service)}/{name_of(service)}"


def _is_ours(service: Obj) -> bool:
    ip = service.get("spec", {}).get("clusterIP")
    headless = not ip or ip == "None" or ":" in ip
    return not headless and service["spec"].get("type") != "ExternalName" and OTHER_PROXY not in labels_of(service)


def _rule(service: Obj, port: Obj, slices: Sequence[Obj], node: str) -> ServiceRule:
    spec = service["spec"]
    candidates = _candidates(slices, port.get("name") or "", port.get("protocol", "TCP"), node)
    cluster, local = _cluster_way(candidates), _local_way(candidates)
    internal_local = spec.get("internalTrafficPolicy") == "Local"
    external_local = spec.get("externalTrafficPolicy") == "Local"
    return ServiceRule(
        service=_full_name(service),
        port_name=port.get("name") or "",
        protocol=port.get("protocol", "TCP").lower(),
        cluster_ip=spec["clusterIP"],
        port=port["port"],
        node_port=port.get("nodePort") or 0,
        affinity_s=_affinity_s(spec),
        internal=local if internal_local else cluster,
        external=local if external_local else cluster,
        cluster=cluster,
        external_local=external_local,
        serving=frozenset((c.endpoint.ip, c.endpoint.port) for c in candidates if c.serving),
    )


def _cluster_way(candidates: Sequence[_Candidate]) -> Way:
    """All ready endpoints (K1), else those that serve while they terminate (K3), else nobody (K4)."""
    used = [c.endpoint for c in candidates if c.ready] or [c.endpoint for c in candidates if c.lingering]
    return Way(verdict=Verdict.FORWARD if used else Verdict.REJECT, endpoints=tuple(used))


def _local_way(candidates: Sequence[_Candidate]) -> Way:
    """The same among this node's endpoints (K2, K3); silence where only others have some (K4)."""
    here = [c for c in candidates if c.local]
    way = _cluster_way(here)
    if way.verdict is Verdict.REJECT and any(c.ready or c.lingering for c in candidates):
        return Way(verdict=Verdict.DROP)
    return way


def _candidates(slices: Sequence[Obj], port_name: str, protocol: str, node: str) -> list[_Candidate]:
    """The endpoints of one Service port, ordered; one address is one endpoint, and a ready entry of it wins."""
    found: dict[tuple[str, int], _Candidate] = {}
    for piece in slices:
        for port in piece.get("ports") or []:
            number = port.get("port")
            if (port.get("name") or "") != port_name or port.get("protocol", "TCP") != protocol or not number:
                continue
            for entry in piece.get("endpoints") or []:
                for ip in entry.get("addresses") or []:
                    candidate = _candidate(entry, ip, number, node)
                    known = found.get((ip, number))
                    if known is None or (candidate.ready and not known.ready):
                        found[ip, number] = candidate
    return [found[key] for key in sorted(found)]


def _candidate(entry: Obj, ip: str, port: int, node: str) -> _Candidate:
    conditions = entry.get("conditions") or {}
    target = entry.get("targetRef") or {}
    pod = f"{target.get('namespace', '')}/{target['name']}" if target.get("kind") == "Pod" else ""
    return _Candidate(
        endpoint=Endpoint(ip=ip, port=port, pod=pod),
        ready=conditions.get("ready") is not False,  # nil reads as true (E2)
        serving=conditions.get("serving") is not False,
        terminating=conditions.get("terminating") is True,
        local=entry.get("nodeName") == node,
    )


def _affinity_s(spec: Obj) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return cast("int", config.get("timeoutSeconds") or AFFINITY_DEFAULT_S)
