"""`segue restart`."""

from __future__ import annotations

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
from segue.drive.command import restart as restart_flow
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.native_observe import native_named
from segue.drive.natives import restart_native
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.objects import Obj


def restart(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName,
    /,
    *,
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
    """Replace all pods by others of the same version without losing a request, as after a change of a ConfigMap.

    The template gets the annotation that `kubectl rollout restart` sets. segue undo goes back to the pods' revision
    before it.

    Examples
    --------
    segue restart web
    segue restart web --strategy ramped --step 2
    """
    approach = manner.approach(no_wait=no_wait)
    driving = driver(
        cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, approach=approach, outbound=drain_outbound
    )

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        where = namespace or client.namespace
        native = yield from native_named(where, deployment, driving.me, driving.holder_is_gone)
        if native is not None:
            return ((yield from restart_native(native, driving)),)
        outcome = yield from restart_flow(where, deployment, driving)
        return (outcome,)

    asked: Obj = {"command": "restart", "deployment": deployment}
    options = Options(kubeconfig=kubeconfig, context=context, keeping=keeping, output=output)
    return run_and_report(make, asked, again=f"segue restart {deployment}", options=options)
