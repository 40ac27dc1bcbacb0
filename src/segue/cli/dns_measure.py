"""`segue dns measure`: what lookups cost in a pod, in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Namespace, OutputOption
from segue.cli.dns import FamilyOption
from segue.cli.output import Output, emit, say, table
from segue.dns.coremetrics import Counted, between, counted
from segue.dns.lookup import Family
from segue.dns.timing import QUANTILES, Cause, timed, watched
from segue.host.client import KubeClient
from segue.host.dns.probing import probe
from segue.model.errors import SegueError, UsageError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, name_of

RATE_MAX = 1_000.0
METRICS_PORT, METRICS_LIMIT_S = 9153, 5.0


def measure(  # noqa: PLR0913 - one parameter per option
    *names: Annotated[str, Parameter(help="names as programs have them; none: watch what the pod asks for")],
    pod: Annotated[str, Parameter(metavar="POD", help="the pod to look up from")],
    container: Annotated[str, Parameter(metavar="NAME", help="of the pod; else the first")] = "",
    rate: Annotated[float, Parameter(metavar="N", help="lookups per second, all names together")] = 20.0,
    duration: Annotated[float, Parameter(name="--for", metavar="SECONDS", help="how long")] = 10.0,
    family: FamilyOption = Family.ANY,
    http_port: Annotated[
        int, Parameter(metavar="PORT", help="ask each name over HTTP, too, each time by a new connection")
    ] = 0,
    path: Annotated[str, Parameter(help="of that request")] = "/",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Measure lookups from within a pod: through its C library and on the wire, and what the slow ones waited for.

    Lookups begin when planned, whatever became of the ones before. Without names the pod's own lookups are watched. The
    container needs python3; packets are seen where it has NET_RAW, as containers do by default.

    Examples
    --------
    segue dns measure api.example.com web --pod web-5d9c7b8f6-x2x7k
    segue dns measure pay.bank --pod web-5d9c7b8f6-x2x7k --rate 200 --for 30 --http-port 8080 -o json
    segue dns measure --pod web-5d9c7b8f6-x2x7k --for 60     # what do its programs look up?
    """
    if not 0 < rate <= RATE_MAX:
        raise UsageError(f"--rate {rate:g}: must be above 0 and at most {RATE_MAX:g} a second")
    if not 0.1 <= duration <= 3600:
        raise UsageError(f"--for {duration:g}: must be 0.1 to 3600 s")
    order: Obj = {"do": "measure", "names": list(names), "rate": rate, "for_s": duration, "family": family.value}
    order |= {"port": http_port, "path": path} if names else {"do": "watch"}
    where = _Where(namespace=namespace, pod=pod, container=container)
    told, servers = asyncio.run(_run(order, where, (kubeconfig, context)))
    found = (timed(told) if names else watched(told)) | {"coredns": servers}
    if output is not Output.TABLE:
        emit(found, output)
    elif names:
        _show(found)
    else:
        _show_watched(found)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    namespace: str
    pod: str
    container: str


async def _run(order: Obj, where: _Where, way: tuple[str, str]) -> tuple[Obj, Obj]:
    async with KubeClient.find(*way) as client:
        namespace = where.namespace or client.namespace
        answer = await client.request(ApiRequest(method="GET", path=f"/api/v1/namespaces/{namespace}/pods/{where.pod}"))
        if answer.code != 200:
            raise SegueError(f"reading pod {where.pod}: {answer.body.get('message') or answer.code}")
        containers = [str(one["name"]) for one in answer.body["spec"]["containers"]]
        if where.container and where.container not in containers:
            raise UsageError(f"--container {where.container}: the pod has {', '.join(containers)}")
        before = await _counters(client)
        told = await probe(client, namespace, where.pod, where.container or containers[0], order)
        after = await _counters(client)
        return told, between(before, after) if before and after else {}


async def _counters(client: KubeClient) -> Counted:
    """CoreDNS' counters; nothing where no CoreDNS serves any."""
    pods = "/api/v1/namespaces/kube-system/pods"
    listed = await client.request(ApiRequest(method="GET", path=pods, query={"labelSelector": "k8s-app=kube-dns"}))
    texts = []
    for pod in listed.body.get("items") or []:
        code, text = await client.raw(f"{pods}/{name_of(pod)}:{METRICS_PORT}/proxy/metrics", limit_s=METRICS_LIMIT_S)
        if code == 200:
            texts.append(text)
    return counted(texts) if texts else {}


def _show(found: Obj) -> None:
    head = [f"{name} ms" for name in QUANTILES]
    rows = []
    for one in found["names"]:
        for how in ("libc", "wire"):
            times = [f"{one[f'{how}_ms'].get(name, 0):.2f}" for name in QUANTILES]
            counts = (
                [str(one["lookups"]), str(one["failed"]), f"{one['queries_per_lookup']:g}"]
                if how == "libc"
                else [""] * 3
            )
            rows.append([one["name"] if how == "libc" else "", how, *times, *counts])
    table(["NAME", "", *head, "LOOKUPS", "FAILED", "QUERIES EACH"], rows)
    for one in found["names"]:
        for cause, count in one["slow_because"].items():
            say(f"{one['name']}: {count} slow ones: {Cause[cause].value}")
    request = found["request"]
    for error, count in request.get("errors", {}).items():
        say(f"{count} requests failed: {error}")
    if request.get("requests"):
        say()
        with_, without = request["with_lookup_ms"], request["without_lookup_ms"]
        rows = [
            [label, *(f"{times[name]:.2f}" for name in QUANTILES)]
            for label, times in (("with", with_), ("without", without))
        ]
        table(["REQUEST, LOOKUP", *head], rows)
        say(f"share of DNS in a request: {request['dns_share']:.1%}")
    _show_servers(found)


def _show_watched(found: Obj) -> None:
    if not found["asked"]:
        say("the pod asked for nothing")
        return
    rows = [
        [
            one["name"],
            str(one["queries"]),
            str(one["nonexistent"]),
            str(one["unanswered"]),
            f"{one['wire_ms'].get('p50', 0):.2f}",
        ]
        for one in found["asked"]
    ]
    table(["NAME", "QUERIES", "NONEXISTENT", "UNANSWERED", "p50 ms"], rows)
    _show_servers(found)


def _show_servers(found: Obj) -> None:
    told = found["coredns"]
    if told:
        hits = "" if told["cache_hit_share"] is None else f", {told['cache_hit_share']:.0%} from the cache"
        counts = f"{told['forwarded']} forwarded, {told['failed']} failed"
        say(f"CoreDNS meanwhile: {told['requests']} requests{hits}, {counts}")
