"""The commands as flows: what `segue release`, `undo`, `restart`, `scale`, `abort` and `plan` do, for any body to run.

Rule: everything is looked at and tried out before the first write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from segue.drain.judge import Policy
from segue.drive import superseding
from segue.drive.around import with_conflicts
from segue.drive.flow import Flow, Progress, ask, body_of, get
from segue.drive.groups import Member, abort_together, as_member, group_of, release_together
from segue.drive.loop import Decide, Drive, Outcome
from segue.drive.natives import NativeProposal, propose_natives, release_natives
from segue.drive.observe import Observer
from segue.drive.owner import owner_of_pod
from segue.drive.pinned_config import drop_copies, own_copies
from segue.drive.prepare import Placed, check_service, creation, locate, manifest_fault, merging, target_of, try_out
from segue.drive.superseding import hand_over, inheriting, is_superseded
from segue.model.errors import Conflict, ManifestError, Refused
from segue.model.manifest import Document
from segue.model.natives import RELEASED
from segue.model.objects import Obj, copy_of, rfc3339
from segue.model.workloads import RESTARTED_AT, Deployment, ReplicaSet
from segue.release import config_pins
from segue.release.abort import decide_abort, is_past_return
from segue.release.actions import PURPOSE
from segue.release.beside import Beside
from segue.release.decision import Done, Stopped
from segue.release.first import decide_first
from segue.release.memory import RAMPED, Memory
from segue.release.plan import Approach, Plan, Target, digest_of, make_plan, resume_plan
from segue.release.requests import patch_deployment
from segue.release.retiring import decide_retire
from segue.release.scaling import decide_scale
from segue.release.snapshot import Snapshot
from segue.release.strategies import decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Who drives and how: this run's identity, and what the user asked for."""

    me: str
    holder_is_gone: Callable[[str], bool]
    approach: Approach = field(default_factory=Approach)
    sampler_image: str = ""  # what looks into old pods that have no shell

    def observer(self, namespace: str, name: str, beside: Beside | None = None) -> Observer:
        """Eyes on one Deployment, or on two side by side."""
        return Observer(namespace=namespace, name=name, me=self.me, holder_is_gone=self.holder_is_gone, beside=beside)

    def drive(self, observer: Observer, decide: Decide, policy: Policy) -> Flow[Outcome]:
        """One run over one Deployment. `policy` says what counts as a live connection: the plan's, where there is
        one, for a release that another command began may keep idle connections although this one's user did not ask."""
        run = Drive(observer=observer, decide=decide, policy=policy, sampler_image=self.sampler_image)
        outcome = yield from run.run()
        if outcome.goes_on and outcome.newest is not None:
            yield from own_copies(observer.namespace, outcome.newest)
        return outcome


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
        if live is not None and one.document.kind in config_pins.KINDS and _plain(live) != _plain(wanted)
    }
    proposals = []
    for one, live, wanted in tried:
        if one.document.kind == "Deployment":
            proposal = yield from _propose(one, live, wanted, driver)
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


def _propose(placed: Placed, live: Obj | None, wanted: Obj, driver: Driver) -> Flow[Proposal]:
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


def release(preparation: Preparation, driver: Driver) -> Flow[tuple[Outcome, ...]]:
    """Perform what was prepared: other objects first, then one Deployment after the other, or all together."""
    for placed, live, wanted in preparation.others:
        yield from _put_other(placed, live, wanted)
    if driver.approach.together and len(preparation.deployments) > 1:
        members = [_member(proposal.placed) for proposal in preparation.deployments]
        return (yield from release_together(members, driver))
    outcomes = list((yield from release_natives(preparation.natives, driver)))
    for proposal in preparation.deployments if all(one.goes_on for one in outcomes) else ():
        driving = driver
        if proposal.takes_back or proposal.supersedes:
            placed = proposal.placed
            cleared, driving = yield from _make_way(proposal, driver)
            outcomes.append(cleared)
            if isinstance(cleared.end, Stopped):
                break
            live, wanted = yield from try_out(placed)
            proposal = yield from _propose(placed, live, wanted, driving)  # noqa: PLW2901 - what is there now counts
        outcomes.append((yield from _release_one(proposal, driving)))
    return tuple(outcomes)


def _member(placed: Placed) -> Member:
    """One of a group: what there is is looked at anew each time, for it goes on from wherever it stands."""
    name = placed.document.name

    def again(driver: Driver) -> Flow[Outcome]:
        live, wanted = yield from try_out(placed)
        proposal = yield from _propose(placed, live, wanted, driver)
        outcomes = yield from release(Preparation(deployments=(proposal,), others=()), driver)
        return outcomes[-1]

    return Member(namespace=placed.namespace, name=name, release=again, abort=partial(abort, placed.namespace, name))


def _make_way(proposal: Proposal, driver: Driver) -> Flow[tuple[Outcome, Driver]]:
    """End what is under way: back where it has not switched, else forward; and who drives what comes next."""
    namespace, name = proposal.placed.namespace, proposal.placed.document.name
    if proposal.takes_back:
        return (yield from abort(namespace, name, driver)), driver
    snapshot = yield from driver.observer(namespace, name).observe()
    return (yield from _superseded(snapshot, driver))


def _superseded(snapshot: Snapshot, driver: Driver) -> Flow[tuple[Outcome, Driver]]:
    assert snapshot.memory is not None, "there is something to supersede"
    yield Progress(because=superseding.NOTE)
    outcome = yield from hand_over(snapshot, driver)
    return outcome, replace(driver, approach=inheriting(driver.approach, snapshot.memory))


def _put_other(placed: Placed, live: Obj | None, wanted: Obj) -> Flow[None]:
    if live is not None and _plain(live) == _plain(wanted):
        return
    what = f"{placed.document.kind} {placed.document.name}"
    yield Progress(because="the manifest brings it", action=f"{'create' if live is None else 'update'} {what}")
    request = creation(placed, dry_run=False) if live is None else merging(placed, dry_run=False)
    _, (answer,) = yield from ask(request)
    if answer.code >= 400:
        raise manifest_fault(placed.document, answer)


def _plain(obj: Obj) -> Obj:
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in {"resourceVersion", "managedFields", "generation", "creationTimestamp"}
    }
    return {**obj, "metadata": metadata}


def _release_one(proposal: Proposal, driver: Driver) -> Flow[Outcome]:
    placed = proposal.placed
    observer = driver.observer(placed.namespace, placed.document.name, proposal.beside)
    if proposal.plan is not None:
        outcome = yield from driver.drive(observer, partial(decide, proposal.plan), proposal.plan.policy)
        if isinstance(outcome.end, Stopped):
            yield from _drop_given_up(observer, proposal.plan.target.template)
        return (yield from _then_shrink(proposal, outcome, driver))
    if proposal.live is None:
        yield Progress(because=proposal.note, action=f"create Deployment {placed.document.name}")
        _, (answer,) = yield from ask(creation(placed, dry_run=False))
        if answer.code >= 400:
            raise manifest_fault(placed.document, answer)
        return (yield from _until_ready(observer, driver))
    deployment = Deployment(obj=proposal.live)
    target = target_of(placed.document, deployment, proposal.wanted)
    replicas = int(target.after.get("replicas", deployment.replicas))
    empty = deployment.replicas == 0
    spec = dict(target.after) if empty else {k: v for k, v in target.after.items() if k != "replicas"}
    if empty:
        spec["template"] = target.template
    if any(deployment.spec.get(key) != value for key, value in spec.items()):
        yield Progress(because=proposal.note, action=f"update Deployment {deployment.name}")
        labels, annotations = target.metadata["labels"], target.metadata["annotations"]
        _, (answer,) = yield from ask(patch_deployment(deployment, spec, labels=labels, annotations=annotations))
        body_of(answer, f"Deployment {deployment.name}")
    if not empty and replicas != deployment.replicas:
        return (yield from scale(placed.namespace, deployment.name, replicas, driver))
    return (yield from _until_ready(observer, driver))


def _drop_given_up(observer: Observer, template: Obj) -> Flow[None]:
    """The copies of configuration of a version that was taken back."""
    snapshot = yield from observer.observe()
    if snapshot.memory is None and snapshot.deployment.template != template:
        yield from drop_copies(observer.namespace, template, snapshot.deployment.template)


def _then_shrink(proposal: Proposal, outcome: Outcome, driver: Driver) -> Flow[Outcome]:
    """What mixes versions keeps the number of pods; a smaller one comes after it, by a scale-down."""
    document = proposal.placed.document
    assert proposal.plan is not None, "it was driven"
    if proposal.plan.strategy not in RAMPED or not outcome.goes_on:
        return outcome
    wanted = (document.obj.get("spec") or {}).get("replicas")
    if wanted is None or int(wanted) >= proposal.plan.replicas:
        return outcome
    return (yield from scale(proposal.placed.namespace, document.name, int(wanted), driver))


def _until_ready(observer: Observer, driver: Driver) -> Flow[Outcome]:
    timeout_s = driver.approach.timeout_s or 600.0
    snapshot = yield from observer.observe()
    decide_ready = partial(decide_first, snapshot.now_s + timeout_s, timeout_s)
    return (yield from driver.drive(observer, decide_ready, driver.approach.policy))


def undo(namespace: str, name: str, revision: int | None, driver: Driver) -> Flow[Outcome]:
    """Release the template of an earlier revision, with the same care."""
    observer = driver.observer(namespace, name)
    snapshot = yield from observer.observe()
    memory = snapshot.memory
    template = _earlier(snapshot, memory, revision)
    target = Target(kind="undo", template=template, after=_settings(snapshot.deployment), metadata={})
    if memory is not None and memory.kind == "undo":
        target = Target(kind="undo", template=template, after=memory.after, metadata={})
    if is_superseded(snapshot, target):
        handed_over, driver = yield from _superseded(snapshot, driver)
        if isinstance(handed_over.end, Stopped):
            return handed_over
        snapshot = yield from observer.observe()
        memory = snapshot.memory
    check_free(snapshot, memory, target, driver.approach)
    if memory is not None:
        plan = resume_plan(target, snapshot, memory, driver.approach)
    else:
        plan = yield from with_conflicts(make_plan(target, snapshot, driver.approach), snapshot)
    return (yield from driver.drive(observer, partial(decide, plan), plan.policy))


def restart(namespace: str, name: str, driver: Driver) -> Flow[Outcome]:
    """Other pods of the same version, with the care of a release. What tells them apart is kubectl's own annotation."""
    observer = driver.observer(namespace, name)
    snapshot = yield from observer.observe()
    memory = snapshot.memory
    if memory is not None and memory.kind == "restart" and not snapshot.held_by and not memory.patched:
        # When it was to be stamped is known to nobody any more; nothing of it has begun to run.
        taken_back = yield from abort(namespace, name, driver)
        if isinstance(taken_back.end, Stopped):
            return taken_back
        snapshot = yield from observer.observe()
        memory = snapshot.memory
    deployment = snapshot.deployment
    after = memory.after if memory is not None and memory.kind == "restart" else _settings(deployment)
    target = Target(kind="restart", template=_restarted(snapshot, memory), after=after, metadata={})
    check_free(snapshot, memory, target, driver.approach)
    if memory is not None:
        plan = resume_plan(target, snapshot, memory, driver.approach)
    elif deployment.replicas == 0:
        raise Refused(f"Deployment {name} has no pods to restart", remedy=f"segue scale {name} N brings some")
    else:
        plan = yield from with_conflicts(make_plan(target, snapshot, driver.approach), snapshot)
    return (yield from driver.drive(observer, partial(decide, plan), plan.policy))


def _restarted(snapshot: Snapshot, memory: Memory | None) -> Obj:
    here = Target(kind="restart", template=snapshot.deployment.template, after={}, metadata={})
    if memory is not None:
        known = [one.template for one in snapshot.sets if digest_of(one.template) == memory.digest]
        return known[0] if known else here.template
    if snapshot.lease is not None and snapshot.lease.annotations.get(PURPOSE) == here.id:
        return here.template  # a restart that died between its last two writes: it has arrived
    template = copy_of(here.template)
    metadata = template.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), RESTARTED_AT: rfc3339(snapshot.now_s)}
    return template


def _settings(deployment: Deployment) -> Obj:
    return {key: deployment.spec.get(key) for key in ("strategy", "minReadySeconds", "progressDeadlineSeconds")}


def _earlier(snapshot: Snapshot, memory: Memory | None, revision: int | None) -> Obj:
    sets = sorted(snapshot.sets, key=lambda one: one.revision)
    if memory is not None and memory.kind == "undo":
        found = [one for one in sets if digest_of(one.template) == memory.digest]
        if found:
            return found[0].template
    newest = snapshot.newest
    name = snapshot.deployment.name
    here = Target(kind="undo", template=snapshot.deployment.template, after={}, metadata={})
    if memory is None and snapshot.lease is not None and snapshot.lease.annotations.get(PURPOSE) == here.id:
        return here.template  # an undo that died between its last two writes: it has arrived
    if revision is not None:
        named = [one for one in sets if one.revision == revision]
        if not named:
            known = ", ".join(str(one.revision) for one in sets) or "none"
            raise Refused(f"Deployment {name} has no revision {revision} (there are {known})", remedy="segue history")
        return named[0].template
    earlier: list[ReplicaSet] = [one for one in sets if newest is None or one.revision < newest.revision]
    if not earlier:
        raise Refused(
            f"Deployment {name} has no earlier revision to go back to",
            remedy="its ReplicaSets are its history; revisionHistoryLimit says how many are kept",
        )
    return earlier[-1].template


def scale(namespace: str, name: str, replicas: int, driver: Driver) -> Flow[Outcome]:
    """To another number of pods; on the way down each of them leaves traffic first."""
    observer = driver.observer(namespace, name)
    snapshot = yield from observer.observe()
    deployment = snapshot.deployment
    timeout_s = driver.approach.timeout_s or float(deployment.progress_deadline_s)
    plan = _plan_of_sizes("scale", snapshot, replicas, driver, timeout_s)
    return (yield from driver.drive(observer, partial(decide_scale, plan), plan.policy))


def _plan_of_sizes(kind: str, snapshot: Snapshot, wanted: int, driver: Driver, timeout_s: float) -> Plan:
    deployment = snapshot.deployment
    return Plan(
        target=Target(kind=kind, template=deployment.template, after={}, metadata={}),
        namespace=deployment.namespace,
        deployment=deployment.name,
        services=tuple(service.name for service in snapshot.services),
        replicas=deployment.replicas,
        wanted=wanted,
        old_set="",
        old_hash="",
        policy=driver.approach.policy,
        timeout_s=timeout_s,
        deadline_s=snapshot.now_s + timeout_s,
    )


def retire(namespace: str, pod: str, driver: Driver) -> Flow[Outcome]:
    """Take one pod out of traffic, wait until it is quiet, end it; another one is Ready first."""
    name = yield from owner_of_pod(namespace, pod)
    observer = driver.observer(namespace, name)
    snapshot = yield from observer.observe()
    timeout_s = driver.approach.timeout_s or float(snapshot.deployment.progress_deadline_s)
    plan = _plan_of_sizes("retire", snapshot, snapshot.deployment.replicas, driver, timeout_s)
    return (yield from driver.drive(observer, partial(decide_retire, pod, plan), plan.policy))


def abort(namespace: str, name: str, driver: Driver) -> Flow[Outcome]:
    """Back to what served before."""
    observer = driver.observer(namespace, name)
    snapshot = yield from observer.observe()
    memory = snapshot.memory or Memory(id="", kind="release", digest="", begun_s=0.0)
    target = Target(kind=memory.kind, template=snapshot.deployment.template, after=memory.after, metadata={})
    plan = resume_plan(target, snapshot, memory, driver.approach)
    outcome = yield from driver.drive(observer, partial(decide_abort, plan), plan.policy)
    yield from _drop_given_up(observer, snapshot.deployment.template)
    if is_past_return(snapshot) and isinstance(outcome.end, Done):
        said = f"Deployment {name} stays at its new version: the old pods had left traffic; segue undo {name} goes back"
        return replace(outcome, end=Done(message=said))
    return outcome


def abort_group(namespace: str, name: str, driver: Driver) -> Flow[tuple[Outcome, ...]]:
    """Take back a release with all that is released together with it."""
    names = yield from group_of(namespace, name, driver)
    if len(names) == 1:
        return ((yield from abort(namespace, name, driver)),)
    ways = [partial(abort, namespace, one) for one in names]
    members = [
        Member(namespace=namespace, name=one, release=way, abort=way) for one, way in zip(names, ways, strict=True)
    ]
    return (yield from abort_together(members, driver))
