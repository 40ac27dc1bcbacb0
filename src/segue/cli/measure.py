"""`segue measure`: P of this cluster's data plane, and Q of a workload."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import segue.app
from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption
from segue.cli.output import Output, emit, note, say, table
from segue.cli.traffic import subject_named
from segue.drain.longest import BY_LIFE, Longest
from segue.drain.propagation import QUANTILES, summary
from segue.drive.flow import Flow
from segue.drive.propagating import WAYS, Measured, Wanted, clean, watched
from segue.drive.propagating import measure as measured_flow
from segue.host.client import KubeClient
from segue.host.performing import holder_is_gone, identity, perform
from segue.model.errors import UsageError
from segue.model.objects import Obj

Workload = Annotated[
    str,
    Parameter(help="watch this workload's requests, too: NAME, deployment/NAME or pod/NAME", converter=subject_named),
]
Image = Annotated[
    str,
    Parameter(
        name="--image",
        metavar="IMAGE",
        env_var="SEGUE_AGENT_IMAGE",
        help="image with python3 for its pods; else $SEGUE_AGENT_IMAGE",
    ),
]
_REMEDY = (
    "the agent's image will do (docs/how-to/drain-any-delete.md); the embedded cluster has host.org/segue/agent:v1"
)
_PROGRAM = Path(segue.app.__file__).parent / "propagating.py"


def measure(  # noqa: PLR0913 - one parameter per option
    workload: Workload = "",
    /,
    *,
    image: Image = "",
    repeats: Annotated[int, Parameter(metavar="N", help="of each way; 0: only watch the workload")] = 5,
    by: Annotated[list[str] | None, Parameter(metavar="WAY", help=f"{', '.join(WAYS)}; else all")] = None,
    rate: Annotated[float, Parameter(metavar="N", help="calls a second, from each node")] = 20.0,
    nodes: Annotated[int, Parameter(metavar="N", help="call from at most so many nodes")] = 8,
    limit: Annotated[float, Parameter(metavar="SECONDS", help="give up where a node has not heard by then")] = 120.0,
    duration: Annotated[
        float, Parameter(name="--for", metavar="SECONDS", help="how long to watch the workload")
    ] = 60.0,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Measure how long this cluster goes on sending to pods that are gone (P), and how long requests last (Q).

    For P it makes a Deployment of two pods, a Service and one caller per node in the namespace, takes a pod out by its
    label, its readiness, its deletion, and puts it back, again and again; all of it goes away afterwards. For Q it only
    watches. What it finds is what check and fix take with --measured; for releases, annotate the workload with it.

    Examples
    --------
    segue measure -n scratch --image host.org/segue/agent:v1
    segue measure -n scratch -o json > measured.json && segue check deploy/ --measured measured.json
    segue measure deploy/web --repeats 0 --for 300     # only how long web's requests last
    """
    ways = tuple(by or WAYS)
    _check(ways, repeats=repeats, rate=rate, nodes=nodes, limit=limit, duration=duration, workload=workload)
    if repeats and not image:
        raise UsageError("--image is missing", remedy=_REMEDY)
    run = f"segue-measure-{secrets.token_hex(3)}"
    found: Obj = {}
    if repeats:
        found |= _propagation(
            Wanted(
                namespace=namespace,
                run=run,
                holder=identity(),
                image=image,
                program=_PROGRAM.read_text(),
                ways=ways,
                repeats=repeats,
                rate=rate,
                nodes_max=nodes,
                limit_s=limit,
            ),
            (kubeconfig, context),
        )
    if workload:
        found["requests"] = _requests(workload, duration, namespace, (kubeconfig, context))
    found["check"] = _settings(found)
    if output is Output.TABLE:
        _show(found, workload)
    else:
        emit(found, output)
    return 0


def _check(ways: Sequence[str], *, workload: str, **numbers: float) -> None:
    """UsageError where something is off."""
    for one in ways:
        if one not in WAYS:
            raise UsageError(f"--by {one}: is none of {', '.join(WAYS)}")
    limits = {"repeats": (0, 100), "rate": (2, 200), "nodes": (1, 100), "limit": (5, 3600), "duration": (1, 86_400)}
    for name, (least, most) in limits.items():
        if not least <= numbers[name] <= most:
            option = "for" if name == "duration" else name
            raise UsageError(f"--{option} {numbers[name]:g}: must be between {least} and {most}")
    if not numbers["repeats"] and not workload:
        raise UsageError("nothing is measured", remedy="--repeats above 0, or a workload to watch")


def _propagation(wanted: Wanted, way: tuple[str, str]) -> Obj:
    """P, with what was made for it taken away again, whatever came of it."""
    kubeconfig, context = way
    where = ""

    def make(client: KubeClient) -> Flow[Measured]:
        nonlocal where
        where = wanted.namespace or client.namespace
        yield from clean(where, holder_is_gone)
        return (yield from measured_flow(wanted.at(where)))

    try:
        result = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())
    finally:
        if where:
            perform(
                lambda _: clean(where, holder_is_gone, wanted.run), kubeconfig=kubeconfig, context=context, show=Lines()
            )
    about = {
        "namespace": where,
        "nodesThere": result.nodes,
        "nodesMeasured": result.callers,
        "callsFailed": result.failed,
    }
    return {**summary(result.found), **about, "clockErrorSeconds": round(result.error_s, 4)}


def _requests(workload: str, for_s: float, namespace: str, way: tuple[str, str]) -> Obj:
    kind, _, name = workload.rpartition("/")
    note(f"watching {name} for {for_s:g} s")

    def make(client: KubeClient) -> Flow[Longest]:
        return watched(namespace or client.namespace, kind, name, for_s)

    return perform(make, kubeconfig=way[0], context=way[1], show=Lines()).as_obj(for_s)


def _settings(found: Obj) -> Obj:
    """What `segue check --measured` takes: the numbers, as settings have them."""
    made: Obj = {}
    if "propagationSeconds" in found:
        made["propagationSeconds"] = found["propagationSeconds"]
    longest = (found.get("requests") or {}).get("longestSeconds")
    if longest is not None:
        made["longestRequestSeconds"] = math.ceil(longest)
    return made


def _show(found: Obj, workload: str) -> None:
    if "propagationSeconds" in found:
        head = [*QUANTILES, "MAX"]
        rows = [
            [kind, one[key], how, *(f"{one[how][name]:.2f}" for name in (*QUANTILES, "max"))]
            for kind, key, all_ in (("node", "node", found["nodes"]), ("way", "way", found["ways"]))
            for one in all_
            for how in ("gone", "there")
        ]
        table(["BY", "NAME", "POD IS", *(name.upper() for name in head)], rows)
        say()
        _say_p(found)
    if requests := found.get("requests"):
        _say_q(requests, workload)


def _say_p(found: Obj) -> None:
    p_s = found["propagationSeconds"]
    few = found["nodesMeasured"] < found["nodesThere"]
    of_all = f" of {found['nodesThere']}" if few else ""
    count = found["nodesMeasured"]
    where = f"{count}{of_all} node{'s' if count > 1 else ''}"
    say(f"P = {p_s:g} s, the longest of {len(found['changes'])} changes on {where}")
    say(f"  for releases:  kubectl annotate deployment NAME segue.dev/propagation-seconds={p_s:g}")
    say("  for manifests: segue check --measured FILE, with the output of -o json in FILE")


def _say_q(requests: Obj, workload: str) -> None:
    if requests["longestSeconds"] is None:
        say(f"Q: nobody came to {workload} in {requests['watchedSeconds']:g} s")
        return
    first = requests["longest"][0]
    least = "at least " if first["underWay"] else ""
    at_most = " (its connection's life: this source sees no bytes)" if first["seenBy"] == BY_LIFE else ""
    watched_s = requests["watchedSeconds"]
    say(f"Q = {least}{first['seconds']:g} s, the longest of {requests['seen']} requests seen in {watched_s:g} s")
    say(f"  from {first['peer']} to {first['pod']}{at_most}")
