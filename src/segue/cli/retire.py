"""`segue retire`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Cap, Context, Kubeconfig, Namespace, Outbound, OutputOption, Sampler, Timeout
from segue.cli.output import Output
from segue.cli.reporting import Options, run_and_report
from segue.drive.command import retire as retire_flow
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.objects import Obj


def retire(  # noqa: PLR0913 - one parameter per option
    pod: Annotated[str, Parameter(help="name of a pod of a Deployment")],
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    drain_outbound: Outbound = False,
    sampler_image: Sampler = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Replace one pod without losing a request: another one is Ready before it leaves traffic; quiet, it ends.

    Examples
    --------
    segue retire web-5d9c7b8f6-x2x7k
    """
    pod = pod.removeprefix("pod/")
    driving = driver(cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, outbound=drain_outbound)

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        outcome = yield from retire_flow(namespace or client.namespace, pod, driving)
        return (outcome,)

    asked: Obj = {"command": "retire", "pod": pod}
    options = Options(kubeconfig=kubeconfig, context=context, output=output)
    return run_and_report(make, asked, again=f"segue retire {pod}", options=options)
