"""`segue scale`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import (
    Cap,
    Context,
    DeploymentName,
    Kubeconfig,
    Namespace,
    Outbound,
    OutputOption,
    Sampler,
    Timeout,
)
from segue.cli.keeping import USUAL as KEPT_USUALLY
from segue.cli.keeping import KeepingOptions
from segue.cli.output import Output
from segue.cli.reporting import Options, run_and_report
from segue.drive.command import scale as scale_flow
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.errors import UsageError
from segue.model.objects import Obj


def scale(  # noqa: PLR0913 - one parameter per option
    deployment: DeploymentName,
    replicas: Annotated[int, Parameter(help="how many pods")],
    /,
    *,
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
    """Change the number of pods without losing a request: on the way down each pod leaves traffic before it ends.

    Examples
    --------
    segue scale web 4
    """
    if replicas < 0:
        raise UsageError(f"{replicas} replicas: must be 0 or more")
    driving = driver(cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, outbound=drain_outbound)

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        outcome = yield from scale_flow(namespace or client.namespace, deployment, replicas, driving)
        return (outcome,)

    asked: Obj = {"command": "scale", "deployment": deployment, "replicas": replicas}
    options = Options(kubeconfig=kubeconfig, context=context, keeping=keeping, output=output)
    return run_and_report(make, asked, again=f"segue scale {deployment} {replicas}", options=options)
