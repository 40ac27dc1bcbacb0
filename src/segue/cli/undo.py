"""`segue undo`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.approach import USUAL, MannerOptions, NoWait
from segue.cli.connection import (
    Cap,
    Context,
    Kubeconfig,
    Namespace,
    Outbound,
    OutputOption,
    Sampler,
    Timeout,
    WorkloadName,
)
from segue.cli.keeping import USUAL as KEPT_USUALLY
from segue.cli.keeping import KeepingOptions
from segue.cli.output import Output
from segue.cli.reporting import Options, run_and_report
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.native_observe import native_named
from segue.drive.natives import undo_native
from segue.drive.side_by_side import undo_either as undo_flow
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.objects import Obj


def undo(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName,
    /,
    *,
    to_revision: Annotated[
        int | None,
        Parameter(name=["--to-revision", "--to"], metavar="N", help="revision; else the one before"),
    ] = None,
    manner: MannerOptions = USUAL,
    no_wait: NoWait = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    drain_outbound: Outbound = False,
    sampler_image: Sampler = "",
    keeping: KeepingOptions = KEPT_USUALLY,
    output: OutputOption = Output.TABLE,
) -> int:
    """Go back to an earlier revision, with the care of a release.

    Examples
    --------
    segue undo web
    segue undo web --to-revision 3
    segue undo web --strategy ramped
    """
    approach = manner.approach(no_wait=no_wait)
    driving = driver(
        cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, approach=approach, outbound=drain_outbound
    )

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        where = namespace or client.namespace
        native = yield from native_named(where, deployment, driving.me, driving.holder_is_gone)
        if native is not None:
            return ((yield from undo_native(native, to_revision, driving)),)
        outcome = yield from undo_flow(where, deployment, to_revision, driving)
        return (outcome,)

    asked: Obj = {"command": "undo", "deployment": deployment, "revision": to_revision}
    again = f"segue undo {deployment}" + (f" --to-revision {to_revision}" if to_revision else "")
    options = Options(kubeconfig=kubeconfig, context=context, keeping=keeping, output=output)
    return run_and_report(make, asked, again=again, options=options)
