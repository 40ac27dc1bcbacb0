"""The commands as flows: what `segue release`, `undo`, `restart`, `scale`, `abort` and `plan` do, for any body to run.

Rule: everything is looked at and tried out before the first write.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from segue.drive import superseding
from segue.drive.around import with_conflicts
from segue.drive.driver import Driver
from segue.drive.flow import Flow, Progress, ask, body_of
from segue.drive.groups import Member, group_of, release_together
from segue.drive.lanes import all_of
from segue.drive.loop import Outcome
from segue.drive.natives import release_natives
from segue.drive.observe import Observer
from segue.drive.owner import owner_of_pod
from segue.drive.pinned_config import drop_copies
from segue.drive.prepare import Placed, creation, manifest_fault, merging, target_of, try_out
from segue.drive.proposing import Preparation, Proposal, check_free, plain, propose
from segue.drive.superseding import hand_over, inheriting, is_superseded
from segue.model.errors import Refused
from segue.model.objects import Obj, copy_of, rfc3339
from segue.model.workloads import RESTARTED_AT, Deployment, ReplicaSet
from segue.release.abort import decide_abort, is_past_return
from segue.release.actions import PURPOSE
from segue.release.config_pins import copies_read
from segue.release.decision import Done, Stopped
from segue.release.first import decide_first
from segue.release.memory import RAMPED, Memory
from segue.release.plan import Plan, Target, digest_of, make_plan, resume_plan
from segue.release.promised import promised
from segue.release.requests import patch_deployment
from segue.release.retiring import decide_retire
from segue.release.scaling import decide_scale
from segue.release.snapshot import Snapshot
from segue.release.strategies import decide


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
            proposal = yield from propose(placed, live, wanted, driving)  # noqa: PLW2901 - what is there now counts
        outcomes.append((yield from _release_one(proposal, driving)))
    return tuple(outcomes)


def _member(placed: Placed) -> Member:
    """One of a group: what there is is looked at anew each time, for it goes on from wherever it stands."""
    name = placed.document.name

    def again(driver: Driver) -> Flow[Outcome]:
        live, wanted = yield from try_out(placed)
        proposal = yield from propose(placed, live, wanted, driver)
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
    if live is not None and plain(live) == plain(wanted):
        return
    what = f"{placed.document.kind} {placed.document.name}"
    yield Progress(because="the manifest brings it", action=f"{'create' if live is None else 'update'} {what}")
    request = creation(placed, dry_run=False) if live is None else merging(placed, dry_run=False)
    _, (answer,) = yield from ask(request)
    if answer.code >= 400:
        raise manifest_fault(placed.document, answer)


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
    """The copies of configuration of a version that was taken back. Costs nothing where it reads none."""
    if not copies_read(template):
        return
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
        policy=promised(driver.approach.policy, snapshot.memory, deployment, cap_said=driver.approach.cap_said),
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
    names = yield from group_of(namespace, name)
    if len(names) == 1:
        return ((yield from abort(namespace, name, driver)),)
    return (yield from all_of({one: abort(namespace, one, driver) for one in names}))
