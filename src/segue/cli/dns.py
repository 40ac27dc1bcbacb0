"""`segue dns`: what lookups cost, by rule and measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption
from segue.cli.output import Output, emit, say, table
from segue.dns.explaining import Explained, explained, world_of
from segue.dns.lookup import Family, Libc, Question
from segue.dns.resolver import NDOTS_MAX, NODE_LOCAL, ClusterDns, Resolver, of_namespace, parsed
from segue.dns.zone import NAMESPACES, SERVICES, Zone
from segue.drive.flow import Flow
from segue.drive.names import Names, read_names
from segue.host.client import KubeClient
from segue.host.performing import perform
from segue.model.errors import UsageError

LibcOption = Annotated[Libc, Parameter(help="whose getaddrinfo: glibc (Debian, UBI) or musl (Alpine)")]
FamilyOption = Annotated[Family, Parameter(help="what the program asks for: any (A and AAAA), ipv4 or ipv6")]


def explain(  # noqa: PLR0913 - one parameter per option
    name: Annotated[str, Parameter(help="the name as the program has it")],
    /,
    *,
    pod: Annotated[str, Parameter(metavar="POD", help="whose resolv.conf, hosts and namespace hold")] = "",
    libc: LibcOption = Libc.GLIBC,
    family: FamilyOption = Family.ANY,
    ndots: Annotated[int | None, Parameter(metavar="N", help="as if dnsConfig said so")] = None,
    autopath: Annotated[bool, Parameter(help="as if CoreDNS walked the search list")] = False,
    node_local: Annotated[bool, Parameter(help=f"as if NodeLocal DNSCache at {NODE_LOCAL} were asked")] = False,
    node_search: Annotated[
        tuple[str, ...], Parameter(metavar="DOMAIN", help="a search domain of the nodes' own resolv.conf; repeat it")
    ] = (),
    resolv_conf: Annotated[str, Parameter(metavar="FILE", help="this resolv.conf instead of a pod's")] = "",
    offline: Annotated[bool, Parameter(help="ask no cluster; --service says what there is")] = False,
    service: Annotated[
        tuple[str, ...], Parameter(metavar="NAME.NAMESPACE", help="as if this Service were there; repeat it")
    ] = (),
    cluster_domain: Annotated[str, Parameter(metavar="DOMAIN", help="the cluster's domain")] = "cluster.local",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Say which queries one lookup of a name sends, in order, why, and what would save how many of them.

    Nothing is asked: the walk follows the rules of the C library, the pod's resolv.conf and the cluster's Services.

    Examples
    --------
    segue dns explain api.example.com
    segue dns explain api.example.com --pod web-5d9c7b8f6-x2x7k --libc musl
    segue dns explain pay.bank.svc --ndots 2 --libc musl -o json  # what does musl make of it?
    segue dns explain web --offline -n shop --service web.shop
    """
    if ndots is not None and not 0 <= ndots <= NDOTS_MAX:
        raise UsageError(f"--ndots {ndots}: must be 0 to {NDOTS_MAX}, as both libraries read it")
    dns = ClusterDns(domain=cluster_domain, node=Resolver(search=node_search))
    question = Question(name=name, libc=libc, family=family)
    if offline:
        if pod:
            raise UsageError("--pod needs the cluster that --offline leaves alone", remedy="leave one of them out")
        names = Names(zone=Zone(domain=cluster_domain), dns=dns, namespace=namespace or "default")
    else:

        def read(client: KubeClient) -> Flow[Names]:
            return (yield from read_names(namespace or client.namespace, pod, dns))

        names = perform(read, kubeconfig=kubeconfig, context=context, show=Lines())
    for one in service:
        _add_service(names.zone, one)
    resolver = _read(resolv_conf) if resolv_conf else names.resolver
    if ndots is not None:
        resolver = resolver.with_options(ndots=str(ndots))
    if node_local:
        resolver = replace(resolver, nameservers=(NODE_LOCAL,))
    world, assumed = world_of(names.zone.listed(), question, cluster_domain)
    if autopath:
        world = replace(world, autopath=of_namespace(names.namespace, names.dns).search)
    found = explained(question, resolver, world, assumed)
    if output is Output.TABLE:
        _show(found)
    else:
        emit(found.as_obj(), output)
    return 0


def _add_service(zone: Zone, said: str) -> None:
    name, dot, namespace = said.partition(".")
    if not (name and dot and namespace) or "." in namespace:
        raise UsageError(f"--service {said}: is not NAME.NAMESPACE")
    zone.put(NAMESPACES, {"metadata": {"name": namespace}})
    spec = {"clusterIP": "192.0.2.1", "ports": [{"port": 80}]}
    zone.put(SERVICES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


def _read(file: str) -> Resolver:
    try:
        return parsed(Path(file).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--resolv-conf {file}: cannot be read: {error}") from error


def _show(found: Explained) -> None:
    total = len(found.lookup.queries)
    asked = found.question
    where = f" as {found.lookup.found_as}" if found.lookup.found_as else ""
    ended = found.lookup.outcome.name.lower().replace("_", " ")
    kinds = {"hosts": " (hosts file)", "address": " (an address already)", "nobody": " (no query can hold it)"}
    say(f"{asked.name} by {asked.libc}: {total} queries, {ended}{where}{kinds.get(found.lookup.source, '')}")
    for line in found.assumed:
        say(f"assumed: {line}")
    if total:
        say()
        rows = [
            [str(n), q.name, q.type, q.nameserver, q.said.value, q.because]
            for n, q in enumerate(found.lookup.queries, 1)
        ]
        table(["", "NAME", "TYPE", "SERVER", "ANSWER", "BECAUSE"], rows)
    if found.savings:
        say()
        table(
            ["INSTEAD", "QUERIES", "ANSWER", "HOW"],
            [
                [one.setting, str(len(one.lookup.queries)), "the same" if one.same_answer else "ANOTHER", one.how]
                for one in found.savings
            ],
        )
