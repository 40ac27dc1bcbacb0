"""`segue dns`: what lookups cost, by rule and measured."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption
from segue.cli.output import Output, emit, say, table
from segue.dns.captured import compared
from segue.dns.explaining import Explained, explained, world_of
from segue.dns.lookup import Family, Libc, Question
from segue.dns.resolver import NDOTS_MAX, NODE_LOCAL, ClusterDns, Resolver, of_namespace, parsed
from segue.dns.zone import NAMESPACES, SERVICES, Zone
from segue.drive.flow import Flow
from segue.drive.names import Names, read_names
from segue.host.client import KubeClient
from segue.host.dns.probing import probe
from segue.host.performing import perform
from segue.model.errors import UsageError
from segue.model.objects import Obj, name_of, namespace_of

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
    measure: Annotated[bool, Parameter(help="look it up in the pod, too, and compare packet by packet")] = False,
    container: Annotated[str, Parameter(metavar="NAME", help="of the pod, to look up from; else the first")] = "",
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

    Without --measure nothing is asked: the walk follows the rules of the C library, the pod's resolv.conf and the
    cluster's Services.

    Examples
    --------
    segue dns explain api.example.com
    segue dns explain api.example.com --pod web-5d9c7b8f6-x2x7k --libc musl
    segue dns explain api.example.com --pod web-5d9c7b8f6-x2x7k --measure
    segue dns explain pay.bank.svc --ndots 2 --libc musl -o json  # what does musl make of it?
    segue dns explain web --offline -n shop --service web.shop
    """
    if ndots is not None and not 0 <= ndots <= NDOTS_MAX:
        raise UsageError(f"--ndots {ndots}: must be 0 to {NDOTS_MAX}, as both libraries read it")
    if measure and not pod:
        raise UsageError("--measure looks up in a pod: name it with --pod")
    dns = ClusterDns(domain=cluster_domain, node=Resolver(search=node_search))
    question = Question(name=name, libc=libc, family=family)
    if offline:
        if pod:
            raise UsageError("--pod needs the cluster that --offline leaves alone", remedy="leave one of them out")
        names = Names(zone=Zone(domain=cluster_domain), dns=dns, namespace=namespace or "default")
    else:
        names = names_in((namespace, pod), dns, (kubeconfig, context))
    for one in service:
        _add_service(names.zone, one)
    resolver = _read(resolv_conf) if resolv_conf else names.resolver
    resolver = resolver if ndots is None else resolver.with_options(ndots=str(ndots))
    resolver = replace(resolver, nameservers=(NODE_LOCAL,)) if node_local else resolver
    world, assumed = world_of(names.zone.listed(), question, cluster_domain)
    world = replace(world, autopath=of_namespace(names.namespace, names.dns).search) if autopath else world
    told: Obj = {}
    if measure:
        told = in_pod(names, {"do": "capture", "name": name, "family": family.value}, (container, kubeconfig, context))
        question = replace(question, libc=Libc(told["libc"]))
    found = explained(question, resolver, world, assumed)
    found = replace(found, measured=compared(question, told)) if told else found
    if output is Output.TABLE:
        _show(found)
    else:
        emit(found.as_obj(), output)
    return 0


def names_in(at: tuple[str, str], dns: ClusterDns, way: tuple[str, str]) -> Names:
    """What the cluster says of a namespace and a pod ("" for none); `way` is kubeconfig and context."""

    def read(client: KubeClient) -> Flow[Names]:
        return (yield from read_names(at[0] or client.namespace, at[1], dns))

    return perform(read, kubeconfig=way[0], context=way[1], show=Lines())


def in_pod(names: Names, order: Obj, way: tuple[str, str, str]) -> Obj:
    """What a pod told of an order; `way` is container, kubeconfig and context."""
    container, kubeconfig, context = way
    names_of = [str(one["name"]) for one in names.pod["spec"]["containers"]]
    if container and container not in names_of:
        raise UsageError(f"--container {container}: the pod has {', '.join(names_of)}")

    async def run() -> Obj:
        async with KubeClient.find(kubeconfig, context) as client:
            return await probe(client, namespace_of(names.pod), name_of(names.pod), container or names_of[0], order)

    return asyncio.run(run())


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
    if found.measured:
        say()
        _show_measured(found.measured)
    if found.savings:
        say()
        table(
            ["INSTEAD", "QUERIES", "ANSWER", "HOW"],
            [
                [one.setting, str(len(one.lookup.queries)), "the same" if one.same_answer else "ANOTHER", one.how]
                for one in found.savings
            ],
        )


def _show_measured(told: Mapping[str, object]) -> None:
    total, libc = told["queries_total"], told["libc"]
    if told["how"] != "capture":
        say(f"in the pod ({libc}): {total} datagrams left it meanwhile; by rule at most {told['most_by_rule']}")
        say("packets could not be seen there: that needs python3 in the container and NET_RAW")
        return
    verdict = "as the rule says" if told["agrees"] else f"but the rule says {told['by_rule']}"
    say(f"in the pod ({libc}): {total} queries in {told['milliseconds']} ms, {verdict}")
    for key, what in (("only_seen", "seen, not by rule"), ("only_by_rule", "by rule, not seen")):
        lines = told[key]
        assert isinstance(lines, list)
        for line in lines:
            say(f"  {what}: {line}")
