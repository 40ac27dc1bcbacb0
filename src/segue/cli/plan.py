"""`segue plan`."""

from __future__ import annotations

from segue.cli.approach import USUAL, MannerOptions
from segue.cli.beside import ALONE, SideBySideOptions
from segue.cli.connection import Cap, Context, Kubeconfig, Lines, Namespace, OutputOption, Timeout
from segue.cli.native_plans import native_as_obj, show_native
from segue.cli.output import Output, emit, say
from segue.cli.release import Files, Images, Running, Wanted
from segue.drive.flow import Flow
from segue.drive.proposing import Preparation, Proposal
from segue.drive.side_by_side import prepare_either as prepare
from segue.host.client import KubeClient
from segue.host.performing import perform
from segue.host.releasing import driver
from segue.model.objects import Obj, annotations_of
from segue.release.config_pins import PINNED_FROM
from segue.release.outline import steps_of, time_of


def plan(  # noqa: PLR0913 - one parameter per option
    deployment: Running = "",
    /,
    *,
    filename: Files = None,
    image: Images = None,
    manner: MannerOptions = USUAL,
    beside: SideBySideOptions = ALONE,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Timeout = None,
    drain_cap: Cap = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Say what a release would do and what stands in its way. Changes nothing.

    Examples
    --------
    segue plan -f deploy.yaml
    segue plan web --image web=v2
    segue plan -f deploy.yaml --strategy ramped --step 2
    """
    approach = beside.of(manner.approach(), from_manifest=not deployment)
    wanted = Wanted.of(deployment, filename or [], image or [], "plan")
    driving = driver(cap_s=drain_cap, timeout_s=timeout, approach=approach)

    def make(client: KubeClient) -> Flow[Preparation]:
        where = namespace or client.namespace
        return (yield from prepare((yield from wanted.documents(where, driving)), where, driving))

    preparation = perform(make, kubeconfig=kubeconfig, context=context, show=Lines())
    if output is not Output.TABLE:
        rows = [_as_obj(proposal, _pins(preparation)) for proposal in preparation.deployments]
        emit([*map(native_as_obj, preparation.natives), *rows], output)
        return 0
    for said in wanted.became:
        say(said)
    for kind, name, copy in _pins(preparation):
        say(f"{kind} {name} is pinned as {copy}: this version reads that copy, which goes with its ReplicaSet")
    for native in preparation.natives:
        show_native(native)
    for proposal in preparation.deployments:
        _show(proposal)
    return 0


def _pins(preparation: Preparation) -> list[tuple[str, str, str]]:
    """Kind, name and copy of each piece of configuration that is pinned."""
    return [
        (placed.document.kind, annotations_of(placed.document.obj)[PINNED_FROM], placed.document.name)
        for placed, _, _ in preparation.others
        if PINNED_FROM in annotations_of(placed.document.obj)
    ]


def _as_obj(proposal: Proposal, pins: list[tuple[str, str, str]]) -> Obj:
    found: Obj = {"deployment": proposal.placed.document.name, "namespace": proposal.placed.namespace}
    if pins:
        found["pinned"] = [{"kind": kind, "name": name, "copy": copy} for kind, name, copy in pins]
    if became := proposal.placed.document.became:
        found["converted"] = list(became)
    plan = proposal.plan
    if plan is None:
        return {**found, "note": proposal.note}
    return {
        **found,
        "strategy": plan.strategy,
        "resumes": proposal.resumes,
        "services": list(plan.services),
        "from": plan.old_hash,
        "replicas": plan.replicas,
        "wanted": plan.wanted,
        "peakPods": plan.peak,
        "floorPods": plan.floor,
        "timeoutSeconds": plan.timeout_s,
        "drainSeconds": {"least": plan.policy.quiet_min_s, "quietAir": plan.policy.timer_s, "most": plan.policy.cap_s},
        "steps": list(steps_of(plan)),
        "warnings": list(plan.warnings),
    }


def _show(proposal: Proposal) -> None:
    plan = proposal.plan
    name = f"Deployment {proposal.placed.namespace}/{proposal.placed.document.name}"
    if plan is None:
        say(f"{name}: {proposal.note}")
        return
    say(f"{name}: {plan.strategy}" + (" (goes on with a release under way)" if proposal.resumes else ""))
    say(f"  pods: {plan.replicas} now, {plan.wanted} at the end, at most {plan.peak}, at least {plan.floor} serving")
    say(f"  time: {time_of(plan)}")
    for number, step in enumerate(steps_of(plan), 1):
        say(f"  {number}. {step}")
    for warning in plan.warnings:
        say(f"  warning: {warning}")
