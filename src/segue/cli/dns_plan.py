"""`segue dns plan`: what CoreDNS was told, what of it is off, and what it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption
from segue.cli.output import Output, emit, say, table
from segue.dns.corechecks import AUTOPATH, judged, repaired
from segue.dns.corefile import parsed, written
from segue.dns.memory import CACHE_MB
from segue.dns.proposals import Proposal, proposals
from segue.dns.sizing import sized
from segue.drive.flow import Flow
from segue.drive.names import DNS_CONFIG, DNS_NAMESPACE, Corefile, read_corefile
from segue.host.client import KubeClient
from segue.host.performing import perform
from segue.model.errors import SegueError, UsageError
from segue.model.objects import Obj


def plan(  # noqa: PLR0913 - one parameter per option
    file: Annotated[str, Parameter(help="a Corefile, - for standard input; else the cluster's")] = "",
    /,
    *,
    queries: Annotated[float, Parameter(metavar="N", help="queries a second that must be served")] = 0.0,
    pods: Annotated[int | None, Parameter(metavar="N", help="so many; else the cluster's are counted")] = None,
    services: Annotated[int | None, Parameter(metavar="N", help="likewise")] = None,
    cluster_domain: Annotated[str, Parameter(metavar="DOMAIN", help="the cluster's domain")] = "cluster.local",
    manifest: Annotated[bool, Parameter(help="print the repaired ConfigMap, to be applied, and nothing else")] = False,
    write: Annotated[
        str, Parameter(metavar="DIR", help="write what goes with it there: autoscalers, alerts, a cache per node")
    ] = "",
    dns_ip: Annotated[str, Parameter(name="--dns-ip", metavar="IP", help="of the Service kube-dns")] = "10.96.0.10",
    namespace: Namespace = DNS_NAMESPACE,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Judge a Corefile, repair what needs no answer of yours, and say how much memory and how many replicas it takes.

    Memory is told by the published formulas, by a fit of the table behind them (both are of CoreDNS 1.2.5), and by a
    law that was measured on a current one, with its interval. Nothing is changed: what to apply is printed.

    Examples
    --------
    segue dns plan
    segue dns plan --queries 5000
    segue dns plan Corefile --pods 4000 --services 300 -o json
    segue dns plan --manifest | kubectl apply -f -
    segue dns plan --write dns/            # autoscaler-by-cpu.yaml, alerts.yaml, node-local.yaml, ...
    """
    if min(queries, pods or 0, services or 0) < 0:
        raise UsageError("--queries, --pods and --services must not be negative")
    found = Corefile(text=text_of(file) if file else "", pods=pods or 0, services=services or 0)
    if not file or (pods is None or services is None):

        def read(client: KubeClient) -> Flow[Corefile]:
            return (yield from read_corefile(namespace))

        there = perform(read, kubeconfig=kubeconfig, context=context, show=Lines())
        found = Corefile(
            text=found.text if file else there.text,
            pods=there.pods if pods is None else pods,
            services=there.services if services is None else services,
        )
    if not found.text.strip():
        where = file or f"ConfigMap {DNS_CONFIG} in namespace {namespace}"
        raise SegueError(f"{where} holds no Corefile", remedy="name a file, or -n where CoreDNS runs")
    blocks = parsed(found.text, file or DNS_CONFIG)
    findings = judged(blocks, cluster_domain)
    mended = repaired(blocks, cluster_domain)
    better = written(mended)
    if manifest:
        emit(_config_map(better, namespace), Output.YAML)
        return 0
    autopath = any(block.plugin(AUTOPATH) for block in mended)
    size = sized(pods=found.pods, services=found.services, queries_per_s=queries, autopath=autopath)
    proposed = proposals(namespace=namespace, replicas=size["replicas"], dns_ip=dns_ip, domain=cluster_domain)
    if write:
        _write(Path(write), proposed)
    if output is not Output.TABLE:
        emit({"findings": [one.as_obj() for one in findings], "size": size, "corefile": better}, output)
        return 0
    rows = [[str(one.line), one.message, "repaired" if one.repaired else "yours", one.why] for one in findings]
    if rows:
        table(["LINE", "FOUND", "BY --manifest", "WHY"], rows)
    say(f"Corefile: {len(findings)} findings" if findings else "Corefile: nothing is off")
    _show_size(size)
    _show_written(write, proposed)
    return 0


def _show_written(folder: str, proposed: Sequence[Proposal]) -> None:
    if folder:
        table(["FILE", "GAINS"], [[f"{folder.rstrip('/')}/{one.file}", one.gains] for one in proposed])


def _write(folder: Path, proposed: Sequence[Proposal]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in proposed:
            (folder / one.file).write_text(yaml.safe_dump_all(one.objects, sort_keys=False))
    except OSError as error:
        raise UsageError(f"--write {folder}: cannot be written: {error.strerror}") from error


def text_of(file: str) -> str:
    """What a file holds, or standard input."""
    try:
        return sys.stdin.read() if file in ("-", "/dev/stdin") else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error


def _config_map(corefile: str, namespace: str) -> Obj:
    metadata = {"name": DNS_CONFIG, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": corefile}}


def _show_size(size: Obj) -> None:
    objects = f"{size['pods']} Pods and {size['services']} Services"
    how, other = ("with autopath", "without") if size["autopath"] else ("without autopath", "with it")
    say(
        f"memory for {objects}, {how}: {size['memory_mb_published']} MB published, {size['memory_mb_fitted']} MB fitted"
        f" ({other}: {size['memory_mb_other']} MB)"
    )
    law = size["memory_law"]
    steady, peak = (f"{law[one]['mb']} MB ({law[one]['from_mb']} to {law[one]['to_mb']})" for one in ("rss", "peak"))
    say(f"measured on {law['measured_on']}: steady {steady}, while it starts {peak}, and {CACHE_MB:g} MB of cache")
    say(f"so resources.requests.memory: {size['memory_request_mb']}M, limits.memory: {size['memory_limit_mb']}M")
    if size["queries_per_s"]:
        needed = f"{size['cores']} cores, {size['replicas']} replicas of one core, one to spare"
        say(f"{size['queries_per_s']:g} queries/s: {needed}")
