"""What a command would do, tried out: the server's own answers to the manifest, and a plan for each workload in it.

Rule: nothing is written here. What is wrong is raised before anything has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from segue.drive import superseding
from segue.drive.around import with_conflicts
from segue.drive.driver import Driver
from segue.drive.flow import Flow, ask, body_of, get
from segue.drive.groups import as_member
from segue.drive.natives import NativeProposal, propose_natives
from segue.drive.prepare import Placed, check_service, locate, target_of, try_out
from segue.drive.superseding import is_superseded
from segue.model.errors import Conflict, ManifestError
from segue.model.manifest import Document
from segue.model.natives import RELEASED
from segue.model.objects import Obj
from segue.model.workloads import Deployment
from segue.release import config_pins
from segue.release.beside import Beside
from segue.release.memory import Memory
from segue.release.plan import Approach, Plan, Target, make_plan, resume_plan
from segue.release.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a release of one Deployment would do: `plan` None where there is nothing to lose or nothing to do."""

    placed: Placed
    live: Obj | None
    wanted: Obj
    plan: Plan | None
    note: str = ""
    resumes: bool = False
    supersedes: bool = False  # another one serves its new version and has only drains left: this one takes them over
    beside: Beside | None = None  # it is a Deployment of its own for each version
    takes_back: bool = False  # a release of another template stopped before it served: that is taken back first


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """All documents, tried out."""

    deployments: tuple[Proposal, ...]
    others: tuple[tuple[Placed, Obj | None, Obj], ...]
    natives: tuple[NativeProposal, ...] = ()


def prepare(documents: tuple[Document, ...], namespace: str, driver: Driver) -> Flow[Preparation]:
    """Try everything out and plan; raises what is wrong before anything is changed."""
    documents = config_pins.pinned(documents) if driver.approach.pins_config else documents
    placed = yield from locate(documents, namespace)
    if not any(document.kind in RELEASED for document in documents):
        kinds = ", ".join(sorted({document.kind for document in documents}))
        *most, last = RELEASED
        raise ManifestError(
            f"there is no {', '.join(most)} or {last} in it (only {kinds})",
            place=documents[0].place("kind"),
            remedy="segue releases these; give it the file that has one",
        )
    tried: list[tuple[Placed, Obj | None, Obj]] = []
    for one in placed:
        live, wanted = yield from try_out(one)
        tried.append((one, live, wanted))
    templates = [wanted["spec"]["template"] for one, _, wanted in tried if one.document.kind in RELEASED]
    for one, live, _ in tried:
        if one.document.kind == "Service":
            _, (pods,) = yield from ask(get(f"/api/v1/namespaces/{one.namespace}/pods"))
            check_service(one, live, templates, list(body_of(pods, "listing pods").get("items") or []))
    natives = yield from propose_natives(tried, driver)
    if driver.approach.together:
        names = tuple(one.document.name for one, _, _ in tried if one.document.kind == "Deployment")
        driver = as_member(driver, names)
    changed = {
        (one.document.kind, one.document.name)
        for one, live, wanted in tried
        if live is not None and one.document.kind in config_pins.KINDS and plain(live) != plain(wanted)
    }
    proposals = []
    for one, live, wanted in tried:
        if one.document.kind == "Deployment":
            proposal = yield from propose(one, live, wanted, driver)
            proposals.append(_warned(proposal, changed))
    others = tuple(row for row in tried if row[0].document.kind not in RELEASED)
    return Preparation(deployments=tuple(proposals), others=others, natives=natives)


def _warned(proposal: Proposal, changed: set[tuple[str, str]]) -> Proposal:
    """With a warning of configuration that changes under the pods of both versions."""
    plan = proposal.plan
    if plan is None or proposal.resumes:
        return proposal
    old = Deployment(obj=proposal.live or {}).template
    read = sorted(changed & config_pins.references(old))
    said = tuple(
        f"{kind} {name} changes in place: pods of both versions see it, and no undo brings it back; --pin-config "
        "gives each version its own copy"
        for kind, name in read
    )
    return replace(proposal, plan=replace(plan, warnings=(*plan.warnings, *said)))


def propose(placed: Placed, live: Obj | None, wanted: Obj, driver: Driver) -> Flow[Proposal]:
    """What is to be done with one Deployment that is as `live` and shall be as `wanted`."""
    if live is None:
        return Proposal(placed=placed, live=None, wanted=wanted, plan=None, note="it is new: nothing can be lost")
    deployment = Deployment(obj=live)
    snapshot = yield from driver.observer(placed.namespace, deployment.name).observe()
    target = target_of(placed.document, deployment, wanted)
    memory = snapshot.memory
    if _is_stranded(snapshot, memory, target):
        note = "the release that stopped there is taken back first: its pods never served"
        return Proposal(placed=placed, live=live, wanted=wanted, plan=None, note=note, takes_back=True)
    if is_superseded(snapshot, target):
        return Proposal(placed=placed, live=live, wanted=wanted, plan=None, note=superseding.NOTE, supersedes=True)
    check_free(snapshot, memory, target, driver.approach)
    if memory is not None:
        plan = resume_plan(target, snapshot, memory, driver.approach)
        return Proposal(placed=placed, live=live, wanted=wanted, plan=plan, note="it goes on", resumes=True)
    if target.template == deployment.template:
        return Proposal(placed=placed, live=live, wanted=wanted, plan=None, note=_same_template(deployment, target))
    if deployment.replicas == 0:
        return Proposal(placed=placed, live=live, wanted=wanted, plan=None, note="no pod serves: nothing can be lost")
    plan = yield from with_conflicts(make_plan(target, snapshot, driver.approach), snapshot)
    return Proposal(placed=placed, live=live, wanted=wanted, plan=plan)


def _same_template(deployment: Deployment, target: Target) -> str:
    changed = [key for key, value in target.after.items() if deployment.spec.get(key) != value]
    return f"the pods stay as they are; {', '.join(changed)} changes" if changed else "already at this version"


def _is_stranded(snapshot: Snapshot, memory: Memory | None, target: Target) -> bool:
    """Whether a release of something else stopped, with nobody at it, before its pods had any traffic."""
    if memory is None or snapshot.held_by or memory.keeps_version or memory.digest == target.digest:
        return False
    return memory.serving == "old" and not memory.switched


def check_free(snapshot: Snapshot, memory: Memory | None, target: Target, approach: Approach) -> None:
    """Nobody else drives, and what is under way is this very release."""
    name = snapshot.deployment.name
    if snapshot.held_by:
        raise Conflict(
            f"another segue drives Deployment {name} now: {snapshot.held_by}",
            remedy=f"wait until it has ended; segue status {name} shows what it does",
        )
    if memory is None:
        return
    said = approach.strategy
    if said and said != memory.strategy and memory.kind == target.kind:
        raise Conflict(
            f"the {memory.kind} of Deployment {name} that is under way is {memory.strategy}, not {said}",
            remedy=f"finish it without --strategy, or take it back: segue abort {name}",
        )
    if memory.aborting:
        raise Conflict(
            f"the {memory.kind} of Deployment {name} is being aborted",
            remedy=f"finish that with: segue abort {name}",
        )
    if memory.kind != target.kind or memory.digest != target.digest:
        command = {
            "scale": f"segue scale {name} {memory.target}",
            "undo": f"segue undo {name}",
            "restart": f"segue restart {name}",
            "retire": f"segue retire {memory.pod}",
        }
        again = command.get(memory.kind, "segue release with its own manifest")
        raise Conflict(
            f"another {memory.kind} of Deployment {name} is under way",
            remedy=f"finish it ({again}), or take it back: segue abort {name}",
        )


def plain(obj: Obj) -> Obj:
    """An object without what only says who wrote it when."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in {"resourceVersion", "managedFields", "generation", "creationTimestamp"}
    }
    return {**obj, "metadata": metadata}
