"""`segue release` and `segue abort`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.connection import Cap, Context, DeploymentName, Kubeconfig, Namespace, OutputOption, Sampler, Timeout
from segue.cli.documents import read_documents
from segue.cli.output import Output, note
from segue.cli.reporting import Options, run_and_report
from segue.drive.command import abort as abort_flow
from segue.drive.command import prepare
from segue.drive.command import release as release_flow
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.objects import Obj

Files = Annotated[
    list[str], Parameter(name=["--filename", "-f"], metavar="FILE", help='manifest: file, directory or "-"')
]
Images = Annotated[
    list[str] | None, Parameter(metavar="NAME=TAG", help="or NAME=IMAGE: another one for this container or image")
]


def release(  # noqa: PLR0913 - one parameter per option
    *,
    filename: Files,
    image: Images = None,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = 30.0,
    sampler_image: Sampler = "",
    receipt: Annotated[str, Parameter(metavar="FILE", help="write the receipt to this file")] = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Move a Deployment to the version of a manifest without losing a request.

    All new pods are up before any old one loses traffic; the old ones end when they are proved quiet. Can be stopped
    at any moment: what runs keeps serving, and the same command goes on.

    Examples
    --------
    segue release -f deploy.yaml
    segue release -f deploy.yaml --image web=v2      # another tag than the file's
    segue release -f deploy/ --timeout 120 -o json
    """
    documents = read_documents(filename, image or [])
    driving = driver(cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image)

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(documents, namespace or client.namespace, driving)
        for proposal in preparation.deployments:
            for warning in proposal.plan.warnings if proposal.plan else ():
                note(f"warning: {warning}")
        return (yield from release_flow(preparation, driving))

    names = " ".join(f"-f {name}" for name in filename)
    asked: Obj = {"command": "release", "files": filename, "images": image or [], "strategy": "all-first"}
    return run_and_report(
        make,
        asked,
        again=f"segue release {names}",
        options=Options(kubeconfig=kubeconfig, context=context, receipt=receipt, output=output),
    )


def abort(  # noqa: PLR0913 - one parameter per option
    deployment: DeploymentName,
    /,
    *,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = 30.0,
    sampler_image: Sampler = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """Take a release back that has not ended: the old pods serve again, the new ones end when they are quiet.

    Examples
    --------
    segue abort web
    """
    driving = driver(cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image)

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        outcome = yield from abort_flow(namespace or client.namespace, deployment, driving)
        return (outcome,)

    asked: Obj = {"command": "abort", "deployment": deployment}
    return run_and_report(
        make,
        asked,
        again=f"segue abort {deployment}",
        options=Options(kubeconfig=kubeconfig, context=context, output=output),
    )
