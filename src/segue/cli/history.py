"""`segue history`."""

from __future__ import annotations

from segue.cli.connection import Context, DeploymentName, Kubeconfig, Lines, Namespace, OutputOption
from segue.cli.output import Output, emit, table
from segue.drive.flow import Flow
from segue.drive.standing import revisions
from segue.host.client import KubeClient
from segue.host.performing import holder_is_gone, identity, perform
from segue.model.objects import Obj


def history(
    deployment: DeploymentName,
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """List the revisions of a Deployment, which its ReplicaSets hold.

    Examples
    --------
    segue history web
    """

    def make(client: KubeClient) -> Flow[list[Obj]]:
        return (yield from revisions(namespace or client.namespace, deployment, identity(), holder_is_gone))

    rows = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())
    if output is not Output.TABLE:
        emit(rows, output)
        return 0
    table(
        ["REVISION", "VERSION", "PODS", "IMAGES", "CAUSE"],
        [
            [
                f"{row['revision']}{' (now)' if row['current'] else ''}",
                row["version"],
                str(row["replicas"]),
                ",".join(row["images"]),
                row["cause"] or "-",
            ]
            for row in rows
        ],
    )
    return 0
