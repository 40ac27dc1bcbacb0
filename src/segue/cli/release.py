"""`segue release` and `segue abort`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from segue.cli.approach import USUAL, MannerOptions, NoWait
from segue.cli.beside import ALONE, SideBySideOptions
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
    workload_named,
)
from segue.cli.documents import read_documents
from segue.cli.keeping import USUAL as KEPT_USUALLY
from segue.cli.keeping import KeepingOptions
from segue.cli.output import Output, note
from segue.cli.page_beside import WithPage, first_workload, page_beside
from segue.cli.reporting import Options, run_and_report
from segue.drive.command import abort_group as abort_flow
from segue.drive.command import release as release_flow
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.native_observe import native_named
from segue.drive.natives import abort_native, document_of_native
from segue.drive.running import document_of_running
from segue.drive.side_by_side import prepare_either as prepare
from segue.host.client import KubeClient
from segue.host.releasing import driver
from segue.model.errors import UsageError
from segue.model.manifest import Document
from segue.model.objects import Obj

Files = Annotated[
    list[str] | None, Parameter(name=["--filename", "-f"], metavar="FILE", help='manifest: file, directory or "-"')
]
Running = Annotated[str, Parameter(help="a workload that runs, where there is no manifest", converter=workload_named)]
Images = Annotated[
    list[str] | None, Parameter(metavar="NAME=TAG", help="or NAME=IMAGE: another one for this container or image")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to release: manifests that were read, or a Deployment that runs."""

    deployment: str
    read: tuple[Document, ...]
    images: tuple[str, ...]
    words: str  # of the command line that says this

    @staticmethod
    def of(deployment: str, filename: list[str], image: list[str], command: str) -> Wanted:
        """Read it; UsageError where neither is named, or both are."""
        if bool(deployment) == bool(filename):
            said = "names both a Deployment and a manifest" if deployment else "is told nothing to release"
            remedy = f"either segue {command} -f FILE, or segue {command} DEPLOYMENT --image NAME=TAG"
            raise UsageError(f"{command} {said}", remedy=remedy)
        words = [deployment] if deployment else [f"-f {name}" for name in filename]
        return Wanted(
            deployment=deployment,
            read=read_documents(filename, image) if filename else (),
            images=tuple(image),
            words=" ".join([*words, *(f"--image {one}" for one in image)]),
        )

    @property
    def became(self) -> tuple[str, ...]:
        """What is to be said of manifests of other times."""
        return tuple(said for document in self.read for said in document.became)

    def documents(self, namespace: str, driving: Driver) -> Flow[tuple[Document, ...]]:
        """The documents; of what runs only the cluster can tell."""
        if not self.deployment:
            return self.read
        native = yield from native_named(namespace, self.deployment, driving.me, driving.holder_is_gone)
        if native is not None:
            return ((yield from document_of_native(native, self.images)),)
        document = yield from document_of_running(driving.observer(namespace, self.deployment), self.images)
        return (document,)


def release(  # noqa: PLR0913 - one parameter per option
    deployment: Running = "",
    /,
    *,
    filename: Files = None,
    image: Images = None,
    manner: MannerOptions = USUAL,
    beside: SideBySideOptions = ALONE,
    no_wait: NoWait = False,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    drain_outbound: Outbound = False,
    sampler_image: Sampler = "",
    keeping: KeepingOptions = KEPT_USUALLY,
    web: WithPage = False,
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
    segue release web --image web=v2                 # what runs, with another image
    segue release -f deploy.yaml --strategy ramped   # pod by pod, only unused ones
    segue release -f deploy.yaml --strategy canary --stop 1,50%
    segue release -f deploy.yaml --report release.html --junit release.xml
    segue release -f shop/ --together                # several workloads: all switch, or none
    segue release -f deploy.yaml --side-by-side      # Deployment web-v2 beside web-v1
    segue release -f db.yaml                         # a StatefulSet: one ordinal after the other
    segue release -f dc.yaml                         # a DeploymentConfig, as a Deployment
    """
    approach = beside.of(manner.approach(no_wait=no_wait), from_manifest=not deployment)
    wanted = Wanted.of(deployment, filename or [], image or [], "release")
    for said in wanted.became:
        note(said)
    driving = driver(
        cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, approach=approach, outbound=drain_outbound
    )

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        where = namespace or client.namespace
        preparation = yield from prepare((yield from wanted.documents(where, driving)), where, driving)
        plans = [*(one.plan for one in preparation.natives), *(one.plan for one in preparation.deployments)]
        for warning in (said for one in plans if one is not None for said in one.warnings):
            note(f"warning: {warning}")
        return (yield from release_flow(preparation, driving))

    asked: Obj = {
        "command": "release",
        "files": filename or [],
        "images": image or [],
        "strategy": manner.strategy or "all-first",
    }
    if deployment:
        asked["deployment"] = deployment
    options = Options(kubeconfig=kubeconfig, context=context, keeping=keeping, output=output)
    shown = (deployment or first_workload(wanted.read)) if web else ""
    with page_beside(shown, [("--namespace", namespace), ("--kubeconfig", kubeconfig), ("--context", context)]):
        return run_and_report(make, asked, again=f"segue release {wanted.words}{beside.words}", options=options)


def abort(  # noqa: PLR0913 - one parameter per option
    deployment: WorkloadName,
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
    """Take a release back that has not ended: the old pods serve again, the new ones end when they are quiet.

    Examples
    --------
    segue abort web
    """
    driving = driver(cap_s=drain_cap, timeout_s=timeout, sampler_image=sampler_image, outbound=drain_outbound)

    def make(client: KubeClient) -> Flow[tuple[Outcome, ...]]:
        where = namespace or client.namespace
        native = yield from native_named(where, deployment, driving.me, driving.holder_is_gone)
        if native is not None:
            return ((yield from abort_native(native, driving)),)
        return (yield from abort_flow(where, deployment, driving))

    asked: Obj = {"command": "abort", "deployment": deployment}
    return run_and_report(
        make,
        asked,
        again=f"segue abort {deployment}",
        options=Options(kubeconfig=kubeconfig, context=context, keeping=keeping, output=output),
    )
