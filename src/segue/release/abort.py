"""Back to the old version without losing a request, in the one order that works (B2).

Old version serves again, new pods are proved quiet; brake on and in effect; old ReplicaSet attached; old template and
the user's settings in one patch (the new pods, being unavailable, go first); unpin.

Rule 1: attached only under the brake: before it the Deployment would end the old pods at once.
Rule 2: the old template only with its ReplicaSet attached: else a second one of the same version comes up.
Rule 3: past the point where the old ReplicaSet is at 0 there is no way back but a release of the old version (undo).
"""

from __future__ import annotations

from dataclasses import replace

from segue.model.objects import seconds_of
from segue.model.workloads import ReplicaSet
from segue.release.actions import (
    BRAKE_S,
    Brake,
    BrakeSet,
    EndPod,
    EndSet,
    Forget,
    HoldBack,
    PutBack,
    Remember,
    Replace,
    Resize,
    ScaleTo,
    Settle,
)
from segue.release.all_first import point_services
from segue.release.beside_back import back_beside
from segue.release.decision import Decision, act, stop, wait
from segue.release.entry import take_lease
from segue.release.leaving import attach, drain, finish, is_restored, leave, unpin
from segue.release.memory import RAMPED, Memory
from segue.release.orphans import drain_orphans, orphans_of
from segue.release.patience import late
from segue.release.plan import Plan, digest_of
from segue.release.ramped import back
from segue.release.scaling import down_or_done
from segue.release.snapshot import Snapshot
from segue.release.weighing import put_back


def decide_abort(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step of an abort."""
    if snapshot.held_by:
        return stop(
            "conflict",
            f"another segue drives Deployment {plan.deployment} now: {snapshot.held_by}",
            "end that one first (Ctrl-C leaves everything serving), then abort",
        )
    if memory is None:
        newest = snapshot.newest
        version = f" is at version {newest.pod_hash}:" if newest else ":"
        return leave(snapshot, f"Deployment {plan.deployment}{version} nothing is left to take back")
    if not snapshot.mine:
        return act(take_lease(plan.deployment, snapshot), because="nobody else drives this release")
    decision = _back(plan, snapshot, memory)
    if decision.actions or decision.end is not None:
        return decision
    return late(plan, snapshot, memory, decision)


def _back(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    if memory.kind == "scale":
        return _leave(snapshot, memory, "the scale-down goes no further")
    if memory.kind == "retire":
        return down_or_done(replace(plan, wanted=memory.target), snapshot)
    if memory.beside:
        return back_beside(plan, snapshot, memory)
    old = snapshot.set_named(memory.old_set)
    if old is None or is_past_return(snapshot):
        return finish(plan, snapshot, memory)  # nothing to go back to: the way out is forward (and then segue undo)
    if not memory.aborting:
        return act(
            Remember(deployment=snapshot.deployment, memory=memory.but(aborting=True)), because="the way back begins"
        )
    if not memory.patched:
        return _leave(snapshot, memory, "nothing had been changed yet")
    if memory.strategy == "recreate":
        return _recreate_old(plan, snapshot, memory, old)
    if memory.strategy in RAMPED:
        return back(plan, snapshot, memory, old) or _end_new(plan, snapshot, memory, old)
    gated = [pod for pod in snapshot.pods if pod.held_back and pod.alive and pod.owner_uid == old.uid]
    if old.held_back or gated:
        opened = (HoldBack(replica_set=old, held=False),) if old.held_back else ()
        return act(
            *opened, *(EndPod(pod=pod) for pod in gated), because="the old version is to have all its pods again"
        )
    if memory.serving == "new":
        return _serve_old(snapshot, memory, old)
    pin = point_services(snapshot, memory, memory.old_hash, because="the old version serves")
    if memory.route:
        returning = pin or put_back(snapshot, memory)
        if returning is not None:
            return returning
    if snapshot.deployment.template == old.template:
        return _end_new(plan, snapshot, memory, old)
    if pin is not None:
        return pin
    return _put_back(plan, snapshot, memory, old)


def is_past_return(snapshot: Snapshot) -> bool:
    """Whether the new version serves and the old pods have left traffic: there is nothing warm to go back to."""
    memory = snapshot.memory
    if memory is None or memory.keeps_version or memory.serving != "new":
        return False
    old = snapshot.set_named(memory.old_set)
    return old is not None and old.replicas == 0


def _recreate_old(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    deployment = snapshot.deployment
    if deployment.template != old.template:
        new = snapshot.newest
        known = memory.but(new_set=new.name, new_hash=new.pod_hash) if new is not None else memory
        return act(
            Replace(deployment=deployment, template=old.template, memory=known),
            because="all new pods are to end before an old one begins",
        )
    ready = len(snapshot.ready_of(old.pod_hash))
    if ready < deployment.replicas or not deployment.observed:
        return wait(f"{ready} of {deployment.replicas} old pods are Ready")
    if deployment.strategy != memory.before.get("strategy"):
        return act(Settle(deployment=deployment, memory=memory), because="all old pods are Ready again")
    return _end_new(plan, snapshot, memory, old)


def _serve_old(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    """Enough old pods Ready, then the memory says which side serves, then the Services follow."""
    wanted = _size(snapshot, memory, old)
    if old.replicas < wanted:
        return act(Resize(replica_set=old, replicas=wanted), because="the old version serves all traffic again")
    ready = len(snapshot.ready_of(old.pod_hash))
    if ready < wanted:
        return wait(f"{ready} of {wanted} old pods are Ready")
    return act(
        Remember(deployment=snapshot.deployment, memory=memory.but(serving="old")),
        because="all old pods are Ready",
        barrier=f"{ready} of {wanted} old pods Ready",
    )


def _put_back(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    deployment = snapshot.deployment
    new = snapshot.newest
    if memory.switched and memory.new_hash:
        quiet = drain(plan, snapshot, memory.new_hash)
        if isinstance(quiet, Decision):
            return quiet
    if deployment.min_ready_s != BRAKE_S:
        return act(Brake(deployment=deployment, memory=memory), because="the new pods carry no traffic")
    # Of a rollout that somebody began meanwhile there are more versions, which the Deployment's brake does not reach.
    others = [one for one in snapshot.owned if one.name != old.name and one.replicas > 0]
    loose = [one for one in others if one.min_ready_s != BRAKE_S and (new is None or one.name != new.name)]
    if loose:
        return act(*(BrakeSet(replica_set=one) for one in loose), because="its pods must not count as available either")
    if not deployment.observed or any(not one.observed or one.available for one in (*others, *([new] if new else []))):
        return wait("the brake is not in effect yet", wake_in_s=0.05)
    # By its labels, not by its owner: just after the detachment the Deployment has not let it go yet, but will.
    restored = is_restored(old, memory)
    if not snapshot.owns(old) or not restored:
        if restored:
            return wait("the Deployment has not adopted the old ReplicaSet yet", wake_in_s=0.05)
        # A size that differs is a scaling event, in which the controller ends old pods undrained (B2): both sides get
        # one size first. The new pods, which the Deployment scales now, carry no traffic.
        size = _size(snapshot, memory, old)
        if deployment.replicas != size:
            return act(ScaleTo(deployment=deployment, replicas=size), because="both versions get one size")
        if old.replicas != size:
            return act(Resize(replica_set=old, replicas=size), because="both versions get one size")
        return act(
            attach(snapshot, memory, old),
            because="the brake holds the new pods unavailable",
            barrier=f"ReplicaSet {new.name if new else '-'} shows 0 available",
        )
    if not memory.new_set and new is not None and digest_of(new.template) == memory.digest:
        memory = memory.but(new_set=new.name, new_hash=new.pod_hash)
    return act(
        PutBack(deployment=deployment, template=old.template, memory=memory),
        because="the old ReplicaSet is attached and the brake is on",
        barrier="0 new pods available, the old ones serve",
    )


def _size(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> int:
    """Replicas to go back to: as before, unless somebody has scaled meanwhile; never fewer than serve now."""
    replicas = snapshot.deployment.replicas
    if replicas == memory.after.get("replicas"):
        replicas = int(memory.before.get("replicas") or replicas)
    return max(replicas, old.replicas)


def _end_new(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    new = snapshot.set_named(memory.new_set) if memory.new_set else None
    others = [one for one in snapshot.owned if one.name != old.name and one.replicas > 0]
    if not snapshot.deployment.observed or others or (new is not None and new.replicas > 0):
        return wait("the new pods are being ended")
    # Of any other version: a third one may have come and be on its way out.
    alive = [pod for pod in snapshot.pods if pod.alive and not pod.orphaned and pod.pod_hash not in {"", old.pod_hash}]
    if alive:
        return wait(f"{len(alive)} new pods have not begun to end yet", wake_in_s=0.05)
    draining = drain_orphans(plan, snapshot, orphans_of(snapshot))
    if draining is not None:
        return draining
    return _leave(snapshot, memory, f"Deployment {snapshot.deployment.name} is at version {old.pod_hash} again")


def _made_by(snapshot: Snapshot, memory: Memory) -> tuple[EndSet, ...]:
    """The ReplicaSet that exists because of this release: left there, an undo (kubectl's, too) would go to what has
    just been given up. One that is older has served before, and stays."""
    new = snapshot.set_named(memory.new_set) if memory.new_set else None
    if new is None or new.replicas or new.template == snapshot.deployment.template:
        return ()
    made_s = seconds_of(new.obj["metadata"]["creationTimestamp"])
    return (EndSet(replica_set=new),) if made_s >= int(memory.begun_s) else ()


def _leave(snapshot: Snapshot, memory: Memory, message: str) -> Decision:
    pinned = unpin(snapshot, memory)
    if pinned:
        return act(*pinned, because=message)
    return act(*_made_by(snapshot, memory), Forget(deployment=snapshot.deployment), because=message)
