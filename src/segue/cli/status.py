"""`segue status`."""

from __future__ import annotations

import re
import sys
from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption, WorkloadName
from segue.cli.output import Output, emit, say, table
from segue.drive.flow import Flow, Sleep
from segue.drive.native_observe import native_named
from segue.drive.native_standing import native_standing, native_standings
from segue.drive.standing import Standing, standing, standings
from segue.host.client import KubeClient
from segue.host.performing import holder_is_gone, identity, perform
from segue.model.errors import UsageError

LOOK_EVERY_S = 0.5
Watch = Annotated[bool, Parameter(name=["--watch", "-w"], help="again at each change, until nothing is under way")]


def status(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName = "",
    /,
    *,
    watch: Watch = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Show where workloads stand: versions, pods, Services, and a release that is under way.

    Examples
    --------
    segue status          # all workloads of the namespace
    segue status web
    segue status web --watch    # until nothing is under way
    """
    if watch and not deployment:
        raise UsageError("--watch needs the name of a workload", remedy="segue status NAME --watch")

    def make(client: KubeClient) -> Flow[tuple[Standing, ...]]:
        where = namespace or client.namespace
        if deployment:
            native = yield from native_named(where, deployment, identity(), holder_is_gone)

            def look() -> Flow[Standing]:
                if native is not None:
                    return native_standing(native)
                return standing(where, deployment, identity(), holder_is_gone)

            one = yield from look()
            while watch and one.since_s is not None:
                _tell(one, output)
                sys.stdout.flush()  # also into a pipe: somebody waits for it
                before = _what_counts(one)
                while _what_counts(one) == before:
                    yield Sleep(for_s=LOOK_EVERY_S)
                    one = yield from look()
            return (one,)
        found = yield from standings(where, identity(), holder_is_gone)
        return (*found, *(yield from native_standings(where, identity(), holder_is_gone)))

    found = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())
    if deployment:
        _tell(found[0], output)
        return 0
    if output is not Output.TABLE:
        emit([one.as_obj() for one in found], output)
        return 0
    if not found:
        say("no Deployments, StatefulSets or DaemonSets in this namespace")
        return 0
    rows_of = [[_name(one), f"{one.ready}/{one.replicas}", one.version or "-", one.state] for one in found]
    table(["DEPLOYMENT", "READY", "VERSION", "RELEASE"], rows_of)
    return 0


def _name(one: Standing) -> str:
    return one.name if one.kind == "Deployment" else f"{one.kind.lower()}/{one.name}"


def _what_counts(one: Standing) -> tuple[object, ...]:
    """All but how long it has taken so far."""
    return one.ready, one.replicas, one.version, re.sub(r"for \d+ s", "", one.state), one.versions, one.services


def _tell(one: Standing, output: Output) -> None:
    if output is not Output.TABLE:
        emit(one.as_obj(), output)
        return
    say(f"{one.kind} {one.name}: {one.ready} of {one.replicas} Ready, version {one.version or '-'}")
    say(f"  release: {one.state}")
    for line in (*one.versions, *one.services):
        say(f"  {line}")
