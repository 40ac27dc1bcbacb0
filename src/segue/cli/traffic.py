"""`segue traffic`: a `top` for connections."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter, Token

from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption, workload_named
from segue.cli.output import Output, emit, say, table
from segue.drain.judge import Policy
from segue.drain.sights import SeenPeer, Sight
from segue.drive.flow import Flow, Sleep
from segue.drive.traffic import LOOK_EVERY_S, Eyes, Traffic
from segue.host.client import KubeClient
from segue.host.performing import perform
from segue.model.errors import UsageError

PEERS_MAX = 10  # per pod in the table; machines get all
_HEAD = "\033[H\033[2J"  # the cursor to the top left corner, and nothing below it
_POD = {"pod", "pods", "po"}
_DEPLOYMENT = {"deployment", "deployments", "deploy"}


def subject_named(_type: object, tokens: Sequence[Token]) -> str:
    """KIND/NAME as the API writes the kind, or the bare name."""
    kind, slash, name = tokens[0].value.rpartition("/")
    if slash and name and kind.lower() in _POD:
        return f"Pod/{name}"
    found = workload_named(_type, tokens)
    of_deployment = slash and kind.lower().removesuffix(".apps") in _DEPLOYMENT
    return f"Deployment/{found}" if of_deployment else found


Subject = Annotated[
    str,
    Parameter(
        help="NAME, or deployment/, statefulset/, daemonset/ or pod/NAME; else all pods", converter=subject_named
    ),
]
Watch = Annotated[bool, Parameter(name=["--watch", "-w"], help="again and again, until Ctrl-C")]
Every = Annotated[float, Parameter(metavar="SECONDS", help="how long each look takes, before it is shown")]
Outbound = Annotated[bool, Parameter(help="connections that the pods open count, too")]


def traffic(  # noqa: PLR0913 - one parameter per option
    name: Subject = "",
    /,
    *,
    watch: Watch = False,
    every: Every = 2.0,
    outbound: Outbound = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Show who talks to pods now: connections, arrivals, peers, and whether a drain would call the pod quiet.

    It looks as a release does, and judges as it does; SOURCE says where each pod's numbers come from.

    Examples
    --------
    segue traffic               # all pods of the namespace
    segue traffic deploy/web
    segue traffic web --watch   # until Ctrl-C
    segue traffic pod/web-5d9c7b8f6-x2x7k -o json
    segue traffic worker --outbound
    """
    if not 0.1 <= every <= 3600:
        raise UsageError(f"--every {every:g}: must be between 0.1 and 3600 s")
    kind, _, plain = name.rpartition("/")
    policy = Policy(outgoing=outbound)

    def make(client: KubeClient) -> Flow[Traffic]:
        eyes = Eyes(namespace=namespace or client.namespace, kind=kind, name=plain, policy=policy)
        found = yield from eyes.watch(every)
        while watch:
            _tell(found, output, again=True)
            until_s = found.at_s + every
            while found.at_s < until_s:
                yield Sleep(for_s=min(LOOK_EVERY_S, max(0.02, until_s - found.at_s)))
                found = yield from eyes.look()
        return found

    _tell(perform(make, kubeconfig=kubeconfig, context=context, show=Lines()), output, again=False)
    return 0


def _tell(found: Traffic, output: Output, *, again: bool) -> None:
    if output is Output.JSON and again:
        say(msgspec.json.encode(found.as_obj()).decode())  # a line each, so that a program can read them one by one
    elif output is not Output.TABLE:
        emit(found.as_obj(), output)
        if again:
            say("---")
    else:
        if again and sys.stdout.isatty():
            sys.stdout.write(_HEAD)
        _tables(found)
        if again and not sys.stdout.isatty():
            say()
    sys.stdout.flush()


def _tables(found: Traffic) -> None:
    if not found.sights:
        say("no pods")
        return
    rows = [_row(sight) for sight in found.sights]
    table(["POD", "SOURCE", "OPEN", "LIVE", "ARRIVALS/S", "SILENT", "NOW IT WOULD BE"], rows)
    peers = [_peer(sight.pod, peer) for sight in found.sights for peer in sight.peers[:PEERS_MAX]]
    if peers:
        say()
        table(["POD", "PEER", "OPEN", "LIVE", "ARRIVED", "RECEIVED", "SENT", "OLDEST", "IDLE"], peers)
    hidden = sum(max(0, len(sight.peers) - PEERS_MAX) for sight in found.sights)
    if hidden:
        say(f"{hidden} more peers: -o json shows them")
    for sight in found.sights:
        if sight.evidence.trouble:
            say(f"{sight.pod}: {sight.evidence.trouble}")


def _row(sight: Sight) -> list[str]:
    evidence = sight.evidence
    if sight.rate is None:
        return [sight.pod, evidence.source, "-", "-", "-", "-", str(evidence.verdict)]
    silent = f"{evidence.silent_s:.1f} of {evidence.needed_s:.1f} s"
    rate = f"{sight.rate:.1f}" if sight.rate < 100 else f"{sight.rate:.0f}"
    return [sight.pod, evidence.source, str(sight.open), str(evidence.live), rate, silent, str(evidence.verdict)]


def _peer(pod: str, peer: SeenPeer) -> list[str]:
    return [
        pod,
        f"to {peer.peer}" if peer.outgoing else peer.peer,
        str(peer.open),
        str(peer.live),
        "-" if peer.outgoing else str(peer.arrived),
        _bytes(peer.bytes_received),
        _bytes(peer.bytes_sent),
        _time(peer.oldest_s),
        _time(peer.idle_s),
    ]


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"
