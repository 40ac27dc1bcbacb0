"""Which UDP flows must end after a sync (K7): TCP flows are never touched (K6), UDP ones know no end of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segue.cluster.dataplane.rules import RuleTable

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpFlow:
    """One tracked flow: who sends, to which address it sends, and who answers."""

    client: Address
    frontend: Address
    backend: Address


def has_udp(table: RuleTable) -> bool:
    """Whether looking at flows can be of any use."""
    return any(rule.protocol == "udp" for rule in table.rules)


def stale_flows(table: RuleTable, node_ips: Iterable[str], flows: Iterable[UdpFlow]) -> list[UdpFlow]:
    """Flows towards a Service whose backend does not serve any more; terminating backends that serve keep theirs.

    Where nobody serves, flows to the ClusterIP end but those to a node port stay (kube-proxy 1.37).
    """
    serving: dict[Address, frozenset[Address]] = {}
    for rule in table.rules:
        if rule.protocol != "udp":
            continue
        serving[rule.cluster_ip, rule.port] = rule.serving
        if rule.node_port and rule.serving:
            serving.update({(ip, rule.node_port): rule.serving for ip in node_ips})
    return [flow for flow in flows if flow.frontend in serving and flow.backend not in serving[flow.frontend]]
