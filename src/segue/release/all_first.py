"""all-first: all new pods are up and proved before any old one loses traffic; then the old ones drain and end.

The order (each step only when its barrier holds): pin the Service to the old version; template, surge and brake in
one patch; detach the old ReplicaSet once the new one exists; brake off; all new pods Ready; switch; old pods out of
traffic, alive; old ReplicaSet to 0; attach it again; unpin; each old pod ends when it is quiet.

Rule 1: level-triggered. Each step asks the objects whether its goal holds and acts only where it does not, so a run
that begins in the middle of somebody's dead run goes on from there.
Rule 2: never switched and braked at once (A2); never detached unless another ReplicaSet matches the template (A1).
Rule 3: what ends serving pods is decided on the snapshot at hand, in which pin and endpoints have just been seen.
"""

from __future__ import annotations

from segue.model.workloads import ReplicaSet
from segue.release.actions import BRAKE_S, Detach, Point, Release, Remember, Resize, Surge
from segue.release.decision import Decision, act, stop, wait
from segue.release.entry import opening, selected
from segue.release.gate import before_switch
from segue.release.leaving import finish
from segue.release.letting_go import let_go
from segue.release.memory import Memory
from segue.release.patience import held, late, old_set_is_gone, out_of_time, stuck, troubles_of
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot
from segue.release.weighing import put_back


def decide(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step of a release (or an undo, which is a release of an older template)."""
    decision = _next(plan, snapshot, memory)
    if decision.actions or decision.end is not None or memory is None:
        return decision
    return late(plan, snapshot, memory, decision)


def _next(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    opened = opening(plan, snapshot, memory)
    if opened is not None:
        return opened
    assert memory is not None, "without one it has just begun"
    if memory.serving == "new":
        old = snapshot.set_named(memory.old_set)
        if old is None or old.replicas == 0:
            return put_back(snapshot, memory) or finish(plan, snapshot, memory)
        moved = _switched(plan, snapshot, memory, old) or put_back(snapshot, memory)
        return moved or let_go(plan, snapshot, memory, old)
    return _raise_new(plan, snapshot, memory)


def _raise_new(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    """While the old version serves: pin, surge and brake, detach, brake off, all new pods Ready."""
    old = snapshot.set_named(memory.old_set)
    if old is None:
        return old_set_is_gone(memory)
    pin = point_services(snapshot, memory, memory.old_hash, because="pinned, nothing that comes up gets traffic")
    # Once the new pods come up only a lost pin matters: old pods that flap must not stop the way to safety (A1).
    if pin is not None and (pin.actions or not memory.patched):
        return pin
    deployment = snapshot.deployment
    if not memory.patched:
        if memory.paused:
            return held(plan, snapshot, "paused before its first step", "resume")
        surge = Surge(deployment=deployment, template=plan.target.template, memory=memory.but(patched=True))
        return act(surge, because="the Services are pinned to the old version", barrier=_pinned_to(memory))
    if deployment.template != plan.target.template:
        return stop(
            "unfinished",
            f"somebody changed the template of Deployment {plan.deployment} during this release",
            "the old pods keep serving; segue abort goes back to them, then release what is wanted",
        )
    new = snapshot.newest
    if new is None or new.name == old.name:
        return wait("the new ReplicaSet does not exist yet", wake_in_s=0.05)
    if snapshot.owns(old):
        detach = Detach(replica_set=old, deployment=plan.deployment, labels=memory.labels)
        if old.labels.get(next(iter(memory.labels))) != next(iter(memory.labels.values())):
            return wait("the Deployment has not let the old ReplicaSet go yet", wake_in_s=0.05)
        return act(
            detach,
            because="the new ReplicaSet exists",
            barrier=f"ReplicaSet {new.name} matches the Deployment's template",
        )
    if deployment.min_ready_s == BRAKE_S:
        memory = memory.but(new_set=new.name, new_hash=new.pod_hash)
        return act(
            Release(deployment=deployment, memory=memory),
            because="the old ReplicaSet is out of the Deployment's hands",
            barrier=f"ReplicaSet {old.name} has no owner",
        )
    if deployment.replicas > max(old.replicas, int(memory.after.get("replicas") or 0)):
        return act(
            Resize(replica_set=old, replicas=deployment.replicas),
            because=f"somebody scaled the Deployment to {deployment.replicas}: the serving pods follow",
        )
    return _await_ready(plan, snapshot, memory, new)


def _await_ready(plan: Plan, snapshot: Snapshot, memory: Memory, new: ReplicaSet) -> Decision:
    deployment = snapshot.deployment
    ready = snapshot.ready_of(new.pod_hash)
    if deployment.observed and new.replicas == deployment.replicas and len(ready) >= deployment.replicas:
        like = next((one for one in snapshot.services if one.name in memory.services), None)
        gate = before_switch(plan, snapshot, memory, new, like)
        if gate is not None:
            return gate
        memory = memory.but(
            serving="new", switched=True, new_set=new.name, new_hash=new.pod_hash, switched_s=round(snapshot.now_s, 3)
        )
        # Side and switch in one go: whoever dies between the two leaves old pods that serve and a memory that knows.
        return act(
            Remember(deployment=deployment, memory=memory),
            *_points(snapshot, memory, new.pod_hash),
            because=f"all {len(ready)} new pods are Ready",
            barrier=f"{len(ready)} of {deployment.replicas} Ready, the old pods serve",
        )
    if out_of_time(plan, snapshot, snapshot.alive_of(new.pod_hash)):
        return _give_up(plan, snapshot, new, len(ready))
    # The last ones are waited for more closely: each look costs the cluster ten answers, and it has pods to start.
    few = deployment.replicas - len(ready) <= max(2, deployment.replicas // 5)
    said = f"{len(ready)} of {deployment.replicas} new pods are Ready" + stuck(snapshot.alive_of(new.pod_hash))
    return wait(said, wake_in_s=0.1 if few else 0.3)


def _give_up(plan: Plan, snapshot: Snapshot, new: ReplicaSet, ready: int) -> Decision:
    late = [pod for pod in snapshot.alive_of(new.pod_hash) if not pod.ready]
    reasons = troubles_of(late)
    return stop(
        "unfinished",
        f"{ready} of {snapshot.deployment.replicas} new pods are Ready after {plan.timeout_s:g} s"
        + (f" ({reasons})" if reasons else "")
        + f"; the {len(snapshot.ready_of(plan.old_hash))} old pods keep serving",
        "repair and run the same command again, or go back with segue abort",
    )


def point_services(snapshot: Snapshot, memory: Memory, pod_hash: str, *, because: str) -> Decision | None:
    """Every Service at one version, and their endpoints exactly its Ready pods; None where that is so."""
    points = _points(snapshot, memory, pod_hash)
    if points:
        ready = len(snapshot.ready_of(pod_hash))
        if not ready:
            return wait(f"no pod of version {pod_hash} is Ready: the Services stay where they are")
        return act(*points, because=because, barrier=f"{ready} pods of version {pod_hash} are Ready")
    for service in snapshot.services:
        if service.name in memory.services and not snapshot.reaches(
            service, selected(snapshot, snapshot.ready_of(pod_hash), service.name)
        ):
            return wait(
                f"the endpoints of Service {service.name} are not yet the Ready pods of {pod_hash}", wake_in_s=0.05
            )
    return None


def _points(snapshot: Snapshot, memory: Memory, pod_hash: str) -> tuple[Point, ...]:
    return tuple(
        Point(service=service, pod_hash=pod_hash)
        for service in snapshot.services
        if service.name in memory.services and service.pinned_to != pod_hash
    )


def _pinned_to(memory: Memory) -> str:
    return f"endpoints of {', '.join(memory.services)} are exactly the Ready pods of {memory.old_hash}"


def _switched(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision | None:
    """The new version serves: switch where that has not happened; None when the old pods may go."""
    switch = point_services(snapshot, memory, memory.new_hash, because="all new pods are Ready")
    if switch is not None:
        return switch
    ready = len(snapshot.ready_of(memory.new_hash))
    if ready < min(plan.floor, snapshot.deployment.replicas):
        return wait(f"only {ready} new pods are Ready now: the old ones stay", drains=old.pod_hash)
    return None
