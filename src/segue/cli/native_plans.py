"""How `segue plan` says what a release of a StatefulSet or a DaemonSet would do."""

from __future__ import annotations

from segue.cli.output import say
from segue.drive.natives import NativeProposal
from segue.model.objects import Obj
from segue.release.native_plan import native_steps


def native_as_obj(proposal: NativeProposal) -> Obj:
    """For machines."""
    document, plan = proposal.placed.document, proposal.plan
    found: Obj = {document.kind.lower(): document.name, "namespace": proposal.placed.namespace}
    if plan is None:
        return {**found, "note": proposal.note}
    return {
        **found,
        "strategy": plan.way,
        "resumes": proposal.resumes,
        "services": list(plan.services),
        "from": plan.old_revision.rpartition("-")[2],
        "replicas": plan.desired,
        "wanted": plan.wanted,
        "peakPods": plan.peak,
        "floorPods": plan.floor,
        "timeoutSeconds": plan.timeout_s,
        "steps": list(native_steps(plan)),
        "warnings": list(plan.warnings),
    }


def show_native(proposal: NativeProposal) -> None:
    """For people."""
    plan = proposal.plan
    name = f"{proposal.placed.document.kind} {proposal.placed.namespace}/{proposal.placed.document.name}"
    if plan is None:
        say(f"{name}: {proposal.note}")
        return
    say(f"{name}: {plan.way}" + (" (goes on with a release under way)" if proposal.resumes else ""))
    say(f"  pods: {plan.desired} now, {plan.wanted} at the end, at most {plan.peak}, at least {plan.floor} serving")
    say(f"  time: at most {plan.timeout_s:g} s and one grace for each pod")
    for number, step in enumerate(native_steps(plan), 1):
        say(f"  {number}. {step}")
    for warning in plan.warnings:
        say(f"  warning: {warning}")
