"""`segue history`."""

from __future__ import annotations

from segue.cli.connection import Context, Kubeconfig, Lines, Namespace, OutputOption, WorkloadName
from segue.cli.output import Output, emit, table
from segue.drive.flow import Flow
from segue.drive.native_observe import native_named
from segue.drive.native_standing import native_revisions
from segue.drive.standing import revisions
from segue.drive.standing_beside import versions_of
from segue.host.client import KubeClient
from segue.host.performing import holder_is_gone, identity, perform
from segue.model.objects import Obj


def history(
    deployment: WorkloadName,
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """List the revisions of a Deployment, which its ReplicaSets hold; of versions side by side their Deployments.

    Examples
    --------
    segue history web
    """

    def make(client: KubeClient) -> Flow[list[Obj]]:
        where = namespace or client.namespace
        native = yield from native_named(where, deployment, identity(), holder_is_gone)
        if native is not None:
            return (yield from native_revisions(native))
        found = yield from versions_of(where, deployment)
        return found or (yield from revisions(where, deployment, identity(), holder_is_gone))

    rows = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())
    if output is not Output.TABLE:
        emit(rows, output)
        return 0
    table(
        ["DEPLOYMENT" if rows and "deployment" in rows[0] else "REVISION", "VERSION", "PODS", "IMAGES", "CAUSE"],
        [
            [
                f"{row.get('deployment') or row['revision']}{' (now)' if row['current'] else ''}",
                row["version"] or "-",
                str(row["replicas"]),
                ",".join(row["images"]),
                row["cause"] or "-",
            ]
            for row in rows
        ],
    )
    return 0
