"""`segue status`."""

from __future__ import annotations

from segue.cli.connection import Context, DeploymentName, Kubeconfig, Lines, Namespace, OutputOption
from segue.cli.output import Output, emit, say, table
from segue.drive.flow import Flow
from segue.drive.standing import Standing, standing, standings
from segue.host.client import KubeClient
from segue.host.performing import holder_is_gone, identity, perform
from segue.model.objects import Obj


def status(
    deployment: DeploymentName = "",
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Show where Deployments stand: versions, pods, Services, and a release that is under way.

    Examples
    --------
    segue status          # all Deployments of the namespace
    segue status web
    """

    def make(client: KubeClient) -> Flow[tuple[Standing, ...]]:
        where = namespace or client.namespace
        if deployment:
            one = yield from standing(where, deployment, identity(), holder_is_gone)
            return (one,)
        return (yield from standings(where, identity(), holder_is_gone))

    found = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())
    if output is not Output.TABLE:
        rows: list[Obj] = [one.as_obj() for one in found]
        emit(rows[0] if deployment else rows, output)
        return 0
    if not deployment:
        if not found:
            say("no Deployments in this namespace")
            return 0
        rows_of = [[one.name, f"{one.ready}/{one.replicas}", one.version or "-", one.state] for one in found]
        table(["DEPLOYMENT", "READY", "VERSION", "RELEASE"], rows_of)
        return 0
    one = found[0]
    say(f"Deployment {one.name}: {one.ready} of {one.replicas} Ready, version {one.version or '-'}")
    say(f"  release: {one.state}")
    for line in one.versions:
        say(f"  {line}")
    for line in one.services:
        say(f"  {line}")
    return 0
