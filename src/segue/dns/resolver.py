"""A pod's resolv.conf and hosts file as values: parsed, written, and derived from dnsPolicy, dnsConfig and hostAliases.

The merging is the kubelet's: servers and searches of dnsConfig come after those of the policy, options replace those of
the same name. Which options count is each C library's own affair, so here they stay words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from segue.model.objects import Obj, name_of, namespace_of

NAMESERVERS_MAX = 3  # what glibc and musl read, and what the kubelet writes
SEARCHES_MAX = 32  # the API server's limits
SEARCH_CHARS_MAX = 2048
NDOTS_MAX = 15  # both libraries take more for this
NODE_LOCAL = "169.254.20.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsLine:
    """One line of a hosts file."""

    ip: str
    names: tuple[str, ...]

    @property
    def family(self) -> str:
        """`ipv6` or `ipv4`."""
        return "ipv6" if ":" in self.ip else "ipv4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """What a process reads before it asks anybody."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[HostsLine, ...] = ()

    @property
    def ndots(self) -> int:
        """From how many dots on a name is tried as it is before the search list."""
        return min(NDOTS_MAX, self.number("ndots", 1))

    def number(self, option: str, default: int) -> int:
        """A number among the options; what is no number does not count."""
        value = self.options.get(option, "")
        return int(value) if value.isdecimal() else default

    def with_options(self, **options: str) -> Resolver:
        """The same with other options; `_` stands for `-`."""
        return replace(
            self, options={**self.options, **{name.replace("_", "-"): said for name, said in options.items()}}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDns:
    """What a kubelet knows: the cluster's DNS address and domain, and the node's own resolv.conf."""

    address: str = "10.96.0.10"
    domain: str = "cluster.local"
    node: Resolver = field(default_factory=Resolver)


def parsed(text: str, hosts: str = "") -> Resolver:
    """Read resolv.conf (resolv.conf(5)): the last `search` counts, options add up."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: dict[str, str] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        match words:
            case ["nameserver", address, *_]:
                servers.append(address)
            case ["search", *domains]:
                search = tuple(domains)
            case ["domain", domain, *_]:
                search = (domain,)
            case ["options", *said]:
                options |= {name: value for name, _, value in (word.partition(":") for word in said)}
            case _:
                continue
    return Resolver(
        nameservers=tuple(servers[:NAMESERVERS_MAX]), search=search, options=options, hosts=parsed_hosts(hosts)
    )


def parsed_hosts(text: str) -> tuple[HostsLine, ...]:
    """Read a hosts file."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return tuple(HostsLine(ip=words[0], names=tuple(words[1:])) for words in lines if len(words) > 1)


def written(resolver: Resolver) -> str:
    """The resolv.conf."""
    lines = [f"search {' '.join(resolver.search)}"] if resolver.search else []
    lines += [f"nameserver {address}" for address in resolver.nameservers]
    if resolver.options:
        said = (f"{name}:{value}" if value else name for name, value in resolver.options.items())
        lines.append(f"options {' '.join(said)}")
    return "".join(f"{line}\n" for line in lines)


def written_hosts(lines: Iterable[HostsLine]) -> str:
    """The hosts file."""
    return "".join(f"{line.ip}\t{' '.join(line.names)}\n" for line in lines)


def of_pod(pod: Obj, cluster: ClusterDns) -> Resolver:
    """What the kubelet puts into a pod."""
    spec: Obj = pod.get("spec") or {}
    base = _of_policy(spec, cluster, namespace_of(pod) or "default")
    config: Obj = spec.get("dnsConfig") or {}
    options = {str(one["name"]): str(one.get("value") or "") for one in config.get("options") or []}
    return Resolver(
        nameservers=_once([*base.nameservers, *(config.get("nameservers") or [])])[:NAMESERVERS_MAX],
        search=_fitting(_once([*base.search, *(config.get("searches") or [])])),
        options={**base.options, **options},
        hosts=hosts_of_pod(pod, cluster),
    )


def hostname_of(pod: Obj) -> str:
    """What the pod calls itself."""
    return str((pod.get("spec") or {}).get("hostname") or name_of(pod))


def of_namespace(namespace: str, cluster: ClusterDns) -> Resolver:
    """What a pod has that says nothing about DNS: dnsPolicy ClusterFirst."""
    searches = [f"{namespace}.svc.{cluster.domain}", f"svc.{cluster.domain}", cluster.domain, *cluster.node.search]
    return Resolver(nameservers=(cluster.address,), search=_fitting(_once(searches)), options={"ndots": "5"})


def hosts_of_pod(pod: Obj, cluster: ClusterDns) -> tuple[HostsLine, ...]:
    """localhost, the pod's own name, hostAliases. A pod in the host's network has the node's hosts file instead."""
    spec: Obj = pod.get("spec") or {}
    lines = [
        HostsLine(ip="127.0.0.1", names=("localhost",)),
        HostsLine(ip="::1", names=("localhost", "ip6-localhost", "ip6-loopback")),
    ]
    ip = str((pod.get("status") or {}).get("podIP") or "")
    own = hostname_of(pod)
    if ip and not spec.get("hostNetwork"):
        subdomain = spec.get("subdomain")
        full = (f"{own}.{subdomain}.{namespace_of(pod)}.svc.{cluster.domain}",) if subdomain else ()
        lines.append(HostsLine(ip=ip, names=(*full, own)))
    aliases = spec.get("hostAliases") or []
    return (*lines, *(HostsLine(ip=str(one["ip"]), names=tuple(one.get("hostnames") or [])) for one in aliases))


def _of_policy(spec: Obj, cluster: ClusterDns, namespace: str) -> Resolver:
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "None":
        return Resolver()
    if policy == "Default" or (policy == "ClusterFirst" and spec.get("hostNetwork")):
        return cluster.node
    return of_namespace(namespace, cluster)


def _once(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _fitting(search: tuple[str, ...]) -> tuple[str, ...]:
    """What fits the limits; the rest is left out, as the kubelet does with a warning."""
    kept = search[:SEARCHES_MAX]
    while len(" ".join(kept)) > SEARCH_CHARS_MAX:
        kept = kept[:-1]
    return kept
