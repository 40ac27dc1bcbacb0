"""A rule table as nftables text, the way kube-proxy's nftables mode lays it out.

    services --vmap--> service-<port> --numgen vmap--> endpoint-<port>-<address>  (dnat)
                       external-<port> marks for masquerade, then goes to service-<port>

A ruleset is a value (chains, sets, elements); a change is the difference of two values, so that a sync touches only
the chains of Services that changed (K6). Established connections are never touched: NAT is decided by a
connection's first packet, and the no-endpoint checks look at new connections only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from segue.cluster.dataplane.rules import Endpoint, RuleTable, ServiceRule, Verdict, Way

TABLE = "ip segue"
_NAME_CHARACTERS_MAX = 110  # nftables allows 127
_MASQUERADE = "0x4000"  # kube-proxy's own mark

# Deleting the last rule that needs conntrack, or the last NAT chain, unregisters conntrack (or NAT) in the namespace,
# and established DNATed connections are reset (N12). This table is loaded once and never touched again.
KEEPER = """add table ip segue-keeper
add chain ip segue-keeper track { type filter hook prerouting priority filter ; }
add chain ip segue-keeper translate { type nat hook prerouting priority dstnat ; }
flush chain ip segue-keeper track
add rule ip segue-keeper track ct state new
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the rules must know of the node's surroundings."""

    node_ips: tuple[str, ...] = ("10.10.0.1",)
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/12"


@dataclass(slots=True, kw_only=True)
class Ruleset:
    """Chains with their rules, sets with their declaration, elements with their verdict, all by name."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    elements: dict[tuple[str, str], str] = field(default_factory=dict)  # (map, key) -> verdict, "" in a plain set


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """`apply` is the transaction that makes the change; `tidy`, run afterwards, deletes what nothing refers to now.

    Two, because older kernels refuse to delete a chain in the transaction that drops the last reference to it.
    """

    apply: str
    tidy: str


def render(table: RuleTable, frame: Frame) -> str:
    """The whole ruleset, replacing whatever of ours is loaded."""
    start = [f"add table {TABLE}", f"delete table {TABLE}", *_frame_lines(frame)]
    return "\n".join(start) + "\n" + render_change(RuleTable(node=table.node), table, frame).apply


def render_change(before: RuleTable, after: RuleTable, frame: Frame) -> Texts:
    """What leads from one table to the next; empty texts where nothing changes."""
    old, new = _ruleset(before, frame), _ruleset(after, frame)
    apply = [f"add set {TABLE} {name} {{ {new.sets[name]} }}" for name in new.sets if name not in old.sets]
    changed = [name for name, rules in new.chains.items() if old.chains.get(name) != rules]
    apply += [f"add chain {TABLE} {name}" for name in changed if name not in old.chains]
    apply += [f"flush chain {TABLE} {name}" for name in changed if name in old.chains]
    apply += [f"add rule {TABLE} {name} {rule}" for name in changed for rule in new.chains[name]]
    apply += [
        f"delete element {TABLE} {home} {{ {key} }}"
        for (home, key), verdict in old.elements.items()
        if new.elements.get((home, key)) != verdict
    ]
    apply += [
        f"add element {TABLE} {home} {{ {key}{f' : {verdict}' if verdict else ''} }}"
        for (home, key), verdict in new.elements.items()
        if old.elements.get((home, key)) != verdict
    ]
    stale = [name for name in old.chains if name not in new.chains]
    tidy = [f"flush chain {TABLE} {name}" for name in stale]
    tidy += [f"delete chain {TABLE} {name}" for name in stale]
    tidy += [f"delete set {TABLE} {name}" for name in old.sets if name not in new.sets]
    return Texts(apply=_text(apply), tidy=_text(tidy))


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _frame_lines(frame: Frame) -> Iterator[str]:
    """Base chains and maps: they never change while the node lives."""
    yield f"add table {TABLE}"
    yield f"add set {TABLE} node-ips {{ type ipv4_addr ; elements = {{ {', '.join(frame.node_ips)} }} ; }}"
    yield f"add set {TABLE} cluster-ips {{ type ipv4_addr ; }}"
    for name in ("service-ips", "no-endpoint-services"):
        yield f"add map {TABLE} {name} {{ type ipv4_addr . inet_proto . inet_service : verdict ; }}"
    for name in ("service-nodeports", "no-endpoint-nodeports"):
        yield f"add map {TABLE} {name} {{ type inet_proto . inet_service : verdict ; }}"
    plain: dict[str, tuple[str, ...]] = {
        "reject-new": ("reject",),
        "mark-for-masquerade": (f"meta mark set meta mark or {_MASQUERADE}",),
        # The port is kept where it is free, so that what a pod sees can still be told apart by port.
        "masquerading": (
            f"meta mark and {_MASQUERADE} == 0 return",
            f"meta mark set meta mark xor {_MASQUERADE}",
            "masquerade",
        ),
        "services": (
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            "ip daddr @node-ips meta l4proto . th dport vmap @service-nodeports",
        ),
        "service-endpoints-check": ("ip daddr . meta l4proto . th dport vmap @no-endpoint-services",),
        "nodeport-endpoints-check": ("ip daddr @node-ips meta l4proto . th dport vmap @no-endpoint-nodeports",),
        "cluster-ips-check": ("ip daddr @cluster-ips reject", f"ip daddr {frame.service_cidr} drop"),
    }
    hooked: dict[str, tuple[str, tuple[str, ...]]] = {
        "filter-input": (
            "filter hook input priority -110",
            ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"),
        ),
        "filter-forward": (
            "filter hook forward priority -110",
            ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
        ),
        "filter-output": ("filter hook output priority -110", ("ct state new jump service-endpoints-check",)),
        "filter-output-post-dnat": ("filter hook output priority -90", ("ct state new jump cluster-ips-check",)),
        "nat-prerouting": ("nat hook prerouting priority dstnat", ("jump services",)),
        "nat-output": ("nat hook output priority -100", ("jump services",)),
        "nat-postrouting": ("nat hook postrouting priority srcnat", ("jump masquerading",)),
    }
    for name in plain:
        yield f"add chain {TABLE} {name}"
    for name, (hook, _) in hooked.items():
        yield f"add chain {TABLE} {name} {{ type {hook} ; }}"
    for name, rules in plain.items():
        yield from (f"add rule {TABLE} {name} {rule}" for rule in rules)
    for name, (_, rules) in hooked.items():
        yield from (f"add rule {TABLE} {name} {rule}" for rule in rules)


def _ruleset(table: RuleTable, frame: Frame) -> Ruleset:
    ruleset = Ruleset()
    for rule in table.rules:
        _add_frontends(ruleset, rule)
        for endpoint in sorted(rule.endpoints()):
            _add_endpoint(ruleset, rule, endpoint)
        used: dict[str, Way] = {}
        if rule.node_port or rule.internal == rule.cluster:
            used["service"] = rule.cluster
        if rule.internal != rule.cluster:
            used["local"] = rule.internal
        if rule.external_local and rule.node_port:
            used["local"] = rule.external
        for kind, way in used.items():
            if way.verdict is Verdict.FORWARD:
                ruleset.chains[_name(kind, rule)] = tuple(_choice(rule, way))
        if rule.node_port and Verdict.FORWARD in (rule.external.verdict, rule.cluster.verdict):
            ruleset.chains[_name("external", rule)] = tuple(_external(rule, frame))
    return ruleset


def _add_frontends(ruleset: Ruleset, rule: ServiceRule) -> None:
    ruleset.elements["cluster-ips", rule.cluster_ip] = ""
    frontend = f"{rule.cluster_ip} . {rule.protocol} . {rule.port}"
    if rule.internal.verdict is Verdict.FORWARD:
        kind = "service" if rule.internal == rule.cluster else "local"
        ruleset.elements["service-ips", frontend] = f"goto {_name(kind, rule)}"
    else:
        ruleset.elements["no-endpoint-services", frontend] = _refusal(rule.internal)
    if not rule.node_port:
        return
    frontend = f"{rule.protocol} . {rule.node_port}"
    if Verdict.FORWARD in (rule.external.verdict, rule.cluster.verdict):
        ruleset.elements["service-nodeports", frontend] = f"goto {_name('external', rule)}"
    if rule.external.verdict is not Verdict.FORWARD:
        ruleset.elements["no-endpoint-nodeports", frontend] = _refusal(rule.external)


def _refusal(way: Way) -> str:
    return "drop" if way.verdict is Verdict.DROP else "goto reject-new"


def _add_endpoint(ruleset: Ruleset, rule: ServiceRule, endpoint: Endpoint) -> None:
    name = _endpoint_name(rule, endpoint)
    rules = [f"ip saddr {endpoint.ip} jump mark-for-masquerade"]  # a pod that reaches itself through its Service
    if rule.affinity_s:
        known = _affinity(rule, name)
        ruleset.sets[known] = f"type ipv4_addr ; flags dynamic,timeout ; timeout {rule.affinity_s}s ;"
        rules.append(f"update @{known} {{ ip saddr }}")
    rules.append(f"meta l4proto {rule.protocol} dnat to {endpoint.ip}:{endpoint.port}")
    ruleset.chains[name] = tuple(rules)


def _choice(rule: ServiceRule, way: Way) -> Iterator[str]:
    """Known clients go where they went (K9), new connections anywhere with equal chance."""
    names = [_endpoint_name(rule, endpoint) for endpoint in way.endpoints]
    if rule.affinity_s:
        yield from (f"ip saddr @{_affinity(rule, name)} goto {name}" for name in names)
    verdicts = ", ".join(f"{number} : goto {name}" for number, name in enumerate(names))
    yield f"numgen random mod {len(names)} vmap {{ {verdicts} }}"


def _external(rule: ServiceRule, frame: Frame) -> Iterator[str]:
    """A node port: with Cluster policy the node's address replaces the client's; pods may use all endpoints always."""
    service = f"goto {_name('service', rule)}"
    if not rule.external_local:
        yield "jump mark-for-masquerade"
        yield service
        return
    if rule.cluster.verdict is Verdict.FORWARD:
        yield f"ip saddr {frame.pod_cidr} {service}"
    if rule.external.verdict is Verdict.FORWARD:
        yield f"goto {_name('local', rule)}"


def _name(kind: str, rule: ServiceRule) -> str:
    """A legal chain name that a person can read; the hash keeps two long ones apart."""
    full = f"{rule.service}/{rule.protocol}/{rule.port_name}"
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{kind}-{digest}-{full}"[:_NAME_CHARACTERS_MAX].rstrip("/")


def _endpoint_name(rule: ServiceRule, endpoint: Endpoint) -> str:
    return f"{_name('endpoint', rule)[: _NAME_CHARACTERS_MAX - 30]}__{endpoint.ip}/{endpoint.port}"


def _affinity(rule: ServiceRule, endpoint_name: str) -> str:
    """The set of an endpoint's clients; a set's timeout cannot be changed, so another timeout is another set."""
    return f"affinity-{rule.affinity_s}s{endpoint_name.removeprefix('endpoint')}"
