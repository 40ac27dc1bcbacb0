"""ramped: step by step, the idlest old pods make room for new ones; a canary by pods is the same with stops on the way.

A step: the Deployment, under the brake, has room for a few more pods, which come up with the new template; when they
are Ready the idlest old ones leave traffic alive, the Deployment's room is closed, the old ReplicaSet shrinks by as
many (what it ends are their replacements, which were never Ready: R1, A3); when they are quiet they are ended, and
the room is opened again. The way back is the same with the versions exchanged.

Rule 1: never fewer Ready pods than the Deployment's replicas by anything done here, and never more pods than that and
one step's, leaving ones counted too (but for replacements that live for a moment).
Rule 2: closed room has one pod of "unavailable" in it, which the new version's pods use up: under the brake they all
count as unavailable, so the controller ends nothing (D4). It is therefore closed only after an old pod has left.
Rule 3: the old template comes back only when its ReplicaSet shows 0 available: else the controller would end the
other version's pods in the same moment (B1).
"""

from __future__ import annotations

from segue.model.workloads import Pod, ReplicaSet
from segue.release.actions import BRAKE_S, BrakeSet, Ramp, Release, Resize, Settle
from segue.release.analysing import at_stop
from segue.release.decision import Decision, act, counted, stop, wait
from segue.release.entry import opening
from segue.release.leaving import finish
from segue.release.memory import Memory
from segue.release.orphans import drain_orphans, end_surplus, idleness, orphan, orphans_of
from segue.release.patience import held, late, old_set_is_gone, out_of_time, stuck, troubles_of
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


def decide_ramped(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step of a release (or an undo, which is a release of an older template)."""
    opened = opening(plan, snapshot, memory)
    if opened is not None:
        return opened
    assert memory is not None, "without one it has just begun"
    if memory.serving == "new":
        decision = finish(plan, snapshot, memory)
        return decision if decision.actions else late(plan, snapshot, memory, decision)
    return _forward(plan, snapshot, memory)


def _forward(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    deployment = snapshot.deployment
    old = snapshot.set_named(memory.old_set)
    if old is None:
        return old_set_is_gone(memory)
    if not memory.patched:
        if memory.paused:
            return held(plan, snapshot, "it is paused before its first step", "resume")
        room = _room(memory, old, deployment.replicas)
        return act(
            Ramp(deployment=deployment, surge=room, template=plan.target.template, memory=memory.but(patched=True)),
            because=f"{counted(room, 'new pod')} first, beside the {old.replicas} old ones",
            barrier=f"{len(_ready(snapshot, old))} old pods are Ready",
        )
    if deployment.template != plan.target.template:
        return stop(
            "unfinished",
            f"somebody changed the template of Deployment {plan.deployment} during this release",
            "both versions keep serving; segue abort goes back to the old one, then release what is wanted",
        )
    new = snapshot.newest
    if new is None or new.name == old.name:
        return wait("the new ReplicaSet does not exist yet", wake_in_s=0.05)
    if deployment.min_ready_s != BRAKE_S:
        surge = _room(memory, old, deployment.replicas)
        return act(Ramp(deployment=deployment, surge=surge), because="somebody took the brake off")
    shift = _shift(plan, snapshot, memory, leaving=old, coming=new)
    if shift is not None:
        return shift
    memory = memory.but(serving="new", switched=True, new_set=new.name, new_hash=new.pod_hash)
    ready = len(_ready(snapshot, new))
    return act(
        Release(deployment=deployment, memory=memory),
        because="no old pod is left",
        barrier=f"{ready} of {deployment.replicas} new pods are Ready",
    )


def back(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision | None:
    """The next step of an abort of a ramped release; None when the old version alone is there and settled."""
    deployment = snapshot.deployment
    if deployment.template != old.template:
        return _turn_round(snapshot, memory, old)
    new = snapshot.set_named(memory.new_set)
    if deployment.min_ready_s != BRAKE_S:
        return None
    if new is not None:
        shift = _shift(plan, snapshot, memory, leaving=new, coming=old)
        if shift is not None:
            return shift
    return act(Settle(deployment=deployment, memory=memory), because="no new pod is left")


def _turn_round(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    deployment = snapshot.deployment
    new = snapshot.newest
    if new is None:
        return wait("the new ReplicaSet does not exist yet", wake_in_s=0.05)
    if deployment.min_ready_s != BRAKE_S or not snapshot.deployment.surge:
        return act(Ramp(deployment=deployment, surge=1), because="under the brake with room nothing is ended")
    if not deployment.observed:
        return wait("the brake is not in effect yet", wake_in_s=0.05)
    if old.min_ready_s != BRAKE_S:
        return act(BrakeSet(replica_set=old), because="before its template comes back its pods count as unavailable")
    if not old.observed or old.available or new.available:
        return wait("the brake is not in effect yet", wake_in_s=0.05)
    memory = memory.but(new_set=new.name, new_hash=new.pod_hash)
    return act(
        Ramp(deployment=deployment, surge=1, template=old.template, memory=memory),
        because="the way back is a release of the old template",
        barrier=f"ReplicaSets {old.name} and {new.name} show 0 available",
    )


def _shift(
    plan: Plan, snapshot: Snapshot, memory: Memory, *, leaving: ReplicaSet, coming: ReplicaSet
) -> Decision | None:
    """The next step from one version to the other; None when all pods of the coming one are Ready and alone."""
    surplus = end_surplus(snapshot)
    if surplus is not None:
        return surplus
    if not snapshot.deployment.surge:
        return _while_closed(plan, snapshot, memory, leaving=leaving, coming=coming)
    out = orphans_of(snapshot)
    if out and len(_ready(snapshot, leaving)) < leaving.replicas:
        return act(Ramp(deployment=snapshot.deployment, surge=0), because="old pods have left traffic")
    if out:  # a run died between taking them out and closing the room: they have been replaced, and are too many
        return drain_orphans(plan, snapshot, out)
    return _while_open(plan, snapshot, memory, leaving=leaving, coming=coming)


def _while_closed(
    plan: Plan, snapshot: Snapshot, memory: Memory, *, leaving: ReplicaSet, coming: ReplicaSet
) -> Decision | None:
    deployment = snapshot.deployment
    keeps = max(0, deployment.replicas - coming.replicas)
    if not deployment.observed:
        return wait("the controllers have not caught up yet", wake_in_s=0.02)
    if leaving.replicas > keeps:
        ready = _ready(snapshot, leaving)
        if len(ready) > keeps:  # replacements became Ready while nobody drove
            if len(_ready(snapshot, coming)) < coming.replicas:
                return wait(_not_ready(snapshot, coming))
            idlest = sorted(ready, key=lambda pod: idleness(snapshot, pod))[: len(ready) - keeps]
            return act(*(orphan(plan, snapshot, pod) for pod in idlest), because="as many new pods are Ready")
        return act(
            Resize(replica_set=leaving, replicas=keeps),
            because="those that left traffic are not to be replaced",
            barrier=f"{len(ready)} Ready pods of it, {keeps} wanted: no serving pod can be chosen",
        )
    drained = drain_orphans(plan, snapshot, orphans_of(snapshot))
    if drained is not None:
        return drained
    if leaving.replicas == 0 and len(_ready(snapshot, coming)) == coming.replicas >= deployment.replicas:
        return None
    room = _room(memory, leaving, deployment.replicas)
    return act(Ramp(deployment=deployment, surge=room), because="the pods that left traffic have ended")


def _while_open(
    plan: Plan, snapshot: Snapshot, memory: Memory, *, leaving: ReplicaSet, coming: ReplicaSet
) -> Decision | None:
    deployment = snapshot.deployment
    wanted = deployment.replicas
    expected = max(coming.replicas, min(wanted, wanted + snapshot.deployment.surge - leaving.replicas))
    coming_ready = _ready(snapshot, coming)
    if not deployment.observed or coming.replicas < expected or len(coming_ready) < coming.replicas:
        return _await_ready(plan, snapshot, coming, expected)
    if leaving.replicas == 0:
        return None
    limit = None if memory.aborting else memory.next_stop
    if limit is not None and coming.replicas >= limit:
        here = f"{counted(coming.replicas, 'new pod')} beside {leaving.replicas} old"
        return at_stop(plan, snapshot, memory, here)
    if memory.paused and not memory.aborting:
        return held(
            plan, snapshot, f"it is paused with {coming.replicas} new and {leaving.replicas} old pods", "resume"
        )
    room = _room(memory, leaving, wanted)
    if room > snapshot.deployment.surge and coming.replicas < wanted:
        return act(Ramp(deployment=deployment, surge=room), because="more at once are allowed now")
    victims = _victims(
        snapshot, leaving=leaving, spare=leaving.replicas + coming.replicas - wanted, coming=coming_ready
    )
    if not victims:
        return wait("the controllers have not caught up yet", wake_in_s=0.05)
    ready = len(_ready(snapshot, leaving)) + len(coming_ready)
    return act(
        *(orphan(plan, snapshot, pod) for pod in victims),
        Ramp(deployment=deployment, surge=0),
        because=f"all {counted(coming.replicas, 'pod')} of version {coming.pod_hash} are Ready",
        barrier=f"{ready} Ready pods, {wanted} wanted",
    )


def _victims(snapshot: Snapshot, *, leaving: ReplicaSet, spare: int, coming: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Which pods leave now: those that are not Ready, then the idlest, as long as enough Ready ones stay."""
    own = [pod for pod in snapshot.pods if pod.owner_uid == leaving.uid and pod.alive and not pod.orphaned]
    unready = [pod for pod in own if not pod.ready][:spare]
    ready = sorted((pod for pod in own if pod.ready), key=lambda pod: idleness(snapshot, pod))
    free = min(spare - len(unready), len(ready) + len(coming) - snapshot.deployment.replicas)
    return (*unready, *ready[: max(0, free)])


def _await_ready(plan: Plan, snapshot: Snapshot, coming: ReplicaSet, expected: int) -> Decision:
    if out_of_time(plan, snapshot, snapshot.alive_of(coming.pod_hash)):
        late_ones = [pod for pod in snapshot.alive_of(coming.pod_hash) if not pod.ready]
        return stop(
            "unfinished",
            f"{len(_ready(snapshot, coming))} of {expected} new pods are Ready after {plan.timeout_s:g} s "
            f"({troubles_of(late_ones)}); what serves keeps serving",
            "repair and run the same command again, or go back with segue abort",
        )
    return wait(_not_ready(snapshot, coming), wake_in_s=0.1)


def _not_ready(snapshot: Snapshot, coming: ReplicaSet) -> str:
    ready = len(_ready(snapshot, coming))
    return f"{ready} of {coming.replicas} new pods are Ready{stuck(snapshot.alive_of(coming.pod_hash))}"


def _ready(snapshot: Snapshot, one: ReplicaSet) -> tuple[Pod, ...]:
    """Its own Ready pods: orphans are nobody's, although a slow controller has not let go of them yet."""
    return tuple(pod for pod in snapshot.pods if pod.owner_uid == one.uid and pod.ready and not pod.orphaned)


def _room(memory: Memory, leaving: ReplicaSet, wanted: int) -> int:
    """How many more pods there may be: a step's, and no more than up to the next stop."""
    limit = None if memory.aborting else memory.next_stop
    step = min(max(1, memory.step), wanted)
    return step if limit is None else max(1, min(step, limit - (wanted - leaving.replicas)))
