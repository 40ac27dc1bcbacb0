"""all-first: all new pods are up and proved before any old one loses traffic; then the old ones drain and end.

The order (each step only when its barrier holds): pin the Service to the old version; template, surge and brake in
one patch; detach the old ReplicaSet once the new one exists; brake off; all new pods Ready; switch; drain; old
ReplicaSet to 0; attach it again; unpin.

Rule 1: level-triggered. Each step asks the objects whether its goal holds and acts only where it does not, so a run
that begins in the middle of somebody's dead run goes on from there.
Rule 2: never switched and braked at once (A2); never detached unless another ReplicaSet matches the template (A1).
Rule 3: what ends serving pods is decided on the snapshot at hand, in which pin and endpoints have just been seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.drain.judge import NOTHING_SEEN, ended
from segue.model.workloads import Pod, ReplicaSet
from segue.release.actions import (
    BRAKE_S,
    Attach,
    Clean,
    Detach,
    DropLease,
    Forget,
    Point,
    Release,
    Remember,
    Resize,
    Surge,
    TakeLease,
    detach_key,
)
from segue.release.decision import Decision, Done, PodDrained, act, stop, wait
from segue.release.memory import ANNOTATION, Memory
from segue.release.plan import SETTLE_S, Plan, replaced_metadata, settings_of
from segue.release.snapshot import Snapshot

LEASE_LASTS_S = 10
OTHERS_PATIENCE_S = 60.0  # for controllers and kubelets to do what follows the last action
_STUCK = re.compile(r"Err|Unschedulable|InvalidImageName|\w+BackOff|Create\w+Error")
UNHEALTHY_PATIENCE_S = 20.0  # how long pods of the present version may take to be Ready before we go on without them


def decide(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step of a release (or an undo, which is a release of an older template)."""
    decision = _next(plan, snapshot, memory)
    if decision.actions or decision.end is not None or memory is None:
        return decision
    return late(plan, snapshot, memory, decision)


def late(plan: Plan, snapshot: Snapshot, memory: Memory, decision: Decision) -> Decision:
    """A wait that has taken too long says so and ends; what serves keeps serving."""
    grace_s = float(plan.target.template.get("spec", {}).get("terminationGracePeriodSeconds") or 30)
    patience_s = plan.policy.cap_s + grace_s + OTHERS_PATIENCE_S if memory.serving == "new" else 0.0
    if snapshot.now_s <= plan.deadline_s + patience_s:
        return decision
    return stop(
        "unfinished",
        f"still waiting after {plan.timeout_s + patience_s:g} s: {decision.because}",
        "what serves keeps serving; the same command goes on from here",
    )


def _next(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    if snapshot.held_by:
        return stop(
            "conflict",
            f"another segue drives Deployment {plan.deployment} now: {snapshot.held_by}",
            "wait until it has ended; segue status shows what it does",
        )
    if memory is None:
        return _begin(plan, snapshot)
    if memory.keeps_version or memory.digest != plan.target.digest:
        return stop(
            "conflict",
            f"another {memory.kind} of Deployment {plan.deployment} is under way (begun as {memory.id})",
            "finish it with its own command, or take it back with segue abort",
        )
    if memory.aborting:
        return stop("conflict", "this release is being aborted", "finish that with segue abort, then release again")
    if not snapshot.mine:
        return act(take_lease(plan.deployment, snapshot), because="nobody else drives this release")
    if memory.serving == "new":
        old = snapshot.set_named(memory.old_set)
        if old is None or old.replicas == 0:
            return finish(snapshot, memory)
        return _switch_and_drain(plan, snapshot, memory, old)
    return _raise_new(plan, snapshot, memory)


def take_lease(deployment: str, snapshot: Snapshot, purpose: str = "") -> TakeLease:
    """Become the one who drives."""
    return TakeLease(
        namespace=snapshot.deployment.namespace,
        deployment=deployment,
        me=snapshot.me,
        now_s=snapshot.now_s,
        lasts_s=LEASE_LASTS_S,
        lease=snapshot.lease,
        purpose=purpose,
    )


def _begin(plan: Plan, snapshot: Snapshot) -> Decision:
    """The barrier before the first action: what the cluster shows has reached the data plane (M7)."""
    deployment = snapshot.deployment
    if deployment.template == plan.target.template:
        newest = snapshot.newest
        return leave(snapshot, f"Deployment {plan.deployment} is at version {newest.pod_hash if newest else '?'}")
    old = snapshot.set_named(plan.old_set)
    if old is None or not snapshot.owns(old):
        return stop("conflict", f"ReplicaSet {plan.old_set} is gone", "look at the Deployment, then release again")
    if not deployment.observed:
        return wait("the Deployment controller has not seen the newest spec yet")
    age_s = snapshot.now_s - deployment.changed_at_s()
    ready = snapshot.ready_of(old.pod_hash)
    if len(ready) < old.replicas and age_s < UNHEALTHY_PATIENCE_S:
        return wait(f"{len(ready)} of {old.replicas} present pods are Ready")
    if age_s < SETTLE_S:
        return wait("the Deployment has just changed; its pods must have reached the data plane first")
    for service in snapshot.services:
        if service.pinned_to and service.pinned_to != old.pod_hash:
            return stop(
                "refused",
                f"Service {service.name} is pinned to version {service.pinned_to}, which is not the serving one",
                f"remove pod-template-hash from its selector: kubectl edit service {service.name}",
            )
        if not snapshot.reaches(service, _selected(snapshot, ready, service.name)):
            return wait(f"the endpoints of Service {service.name} are not yet the Ready pods")
    memory = Memory(
        id=plan.target.id,
        kind=plan.target.kind,
        digest=plan.target.digest,
        begun_s=round(snapshot.now_s, 3),
        old_set=old.name,
        old_hash=old.pod_hash,
        services=plan.services,
        before=settings_of(deployment.spec),
        after=plan.target.after,
        metadata=plan.target.metadata,
        metadata_before=replaced_metadata(deployment.obj, plan.target.metadata),
        labels={key: old.labels[key] for key in (detach_key(deployment.selector),)},
    )
    return act(
        take_lease(plan.deployment, snapshot, memory.id),
        Remember(deployment=deployment, memory=memory),
        because="this release begins",
        barrier=f"all {len(ready)} Ready pods are endpoints of {', '.join(plan.services)}",
    )


def _selected(snapshot: Snapshot, pods: tuple[Pod, ...], name: str) -> tuple[Pod, ...]:
    service = next(one for one in snapshot.services if one.name == name)
    return tuple(pod for pod in pods if service.selects_version(pod.labels))


def _raise_new(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    """While the old version serves: pin, surge and brake, detach, brake off, all new pods Ready."""
    old = snapshot.set_named(memory.old_set)
    if old is None:
        return stop(
            "unfinished",
            f"ReplicaSet {memory.old_set}, which served, has been deleted by somebody",
            "segue abort takes segue's settings off; then release again",
        )
    pin = point_services(snapshot, memory, memory.old_hash, because="pinned, nothing that comes up gets traffic")
    # Once the new pods come up only a lost pin matters: old pods that flap must not stop the way to safety (A1).
    if pin is not None and (pin.actions or not memory.patched):
        return pin
    deployment = snapshot.deployment
    if not memory.patched:
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
        memory = memory.but(serving="new", switched=True, new_set=new.name, new_hash=new.pod_hash)
        # Side and switch in one go: whoever dies between the two leaves old pods that serve and a memory that knows.
        return act(
            Remember(deployment=deployment, memory=memory),
            *_points(snapshot, memory, new.pod_hash),
            because=f"all {len(ready)} new pods are Ready",
            barrier=f"{len(ready)} of {deployment.replicas} Ready, the old pods serve",
        )
    if snapshot.now_s > plan.deadline_s:
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


def stuck(pods: Sequence[Pod]) -> str:
    """What keeps pods from starting that seldom passes by itself, to be told while one still waits; "" for nothing."""
    found = troubles_of([pod for pod in pods if _STUCK.match(pod.trouble())])
    return f": {found}" if found else ""


def troubles_of(pods: Sequence[Pod]) -> str:
    """Why pods are not Ready, equal reasons told once."""
    by_reason: dict[str, list[str]] = {}
    for pod in pods:
        by_reason.setdefault(pod.trouble(), []).append(pod.name)
    return "; ".join(
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {reason}"
        for reason, names in by_reason.items()
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
            service, _selected(snapshot, snapshot.ready_of(pod_hash), service.name)
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


def _switch_and_drain(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    """The new version serves: switch where that has not happened, then wait until the old pods are proved quiet."""
    switch = point_services(snapshot, memory, memory.new_hash, because="all new pods are Ready")
    if switch is not None:
        return switch
    ready = len(snapshot.ready_of(memory.new_hash))
    if ready < min(plan.floor, snapshot.deployment.replicas):
        return wait(f"only {ready} new pods are Ready now: the old ones stay", drains=old.pod_hash)
    drained = drain(plan, snapshot, old.pod_hash)
    if isinstance(drained, Decision):
        return drained
    return Decision(
        actions=(Resize(replica_set=old, replicas=0),),
        because=f"all {len(drained)} old pods are drained ({_reasons(drained)})",
        barrier=f"endpoints of {', '.join(memory.services)} are exactly the {ready} Ready new pods",
        drained=drained,
        wake_in_s=0.0,
    )


def drain(plan: Plan, snapshot: Snapshot, pod_hash: str) -> tuple[PodDrained, ...] | Decision:
    """How each pod's drain ended, or what is still waited for."""
    found = []
    since_s = snapshot.drain_began_s if snapshot.drain_began_s is not None else snapshot.now_s
    waiting = ""
    for pod in snapshot.alive_of(pod_hash):
        evidence = snapshot.evidence.get(pod.name, NOTHING_SEEN)
        end = ended(evidence, now_s=snapshot.now_s, since_s=since_s, policy=plan.policy)
        if end is None:
            seen = evidence.because if pod.name in snapshot.evidence else "nobody has looked yet"
            waiting = waiting or f"{pod.name}: {seen}"
            continue
        found.append(
            PodDrained(pod=pod.name, version=pod_hash, reason=end.reason, because=end.because, source=evidence.source)
        )
    if waiting:
        alive = len(snapshot.alive_of(pod_hash))
        return wait(f"{len(found)} of {alive} pods are quiet; {waiting}", wake_in_s=0.1, drains=pod_hash)
    return tuple(found)


def _reasons(drained: tuple[PodDrained, ...]) -> str:
    kinds = sorted({one.reason for one in drained})
    return ", ".join(f"{sum(one.reason == kind for one in drained)} {kind}" for kind in kinds)


def finish(snapshot: Snapshot, memory: Memory) -> Decision:
    """The old ReplicaSet is at 0: attach it again, unpin, wait for the last old pod, leave no trace."""
    deployment = snapshot.deployment
    old = snapshot.set_named(memory.old_set)
    alive = snapshot.alive_of(memory.old_hash)
    if alive:
        return wait(f"{len(alive)} old pods have not begun to end yet", wake_in_s=0.05)
    if old is not None and not snapshot.owns(old):
        if all(old.labels.get(key) == value for key, value in memory.labels.items()):
            return wait("the Deployment has not adopted the old ReplicaSet yet", wake_in_s=0.05)
        return act(
            attach(snapshot, memory, old), because="it is at 0 replicas", barrier="every old pod is ending or gone"
        )
    pinned = tuple(
        Point(service=service, pod_hash="")
        for service in snapshot.services
        if service.name in memory.services and service.pinned_to
    )
    if pinned:
        return act(*pinned, because="only the new version is left", barrier="the old ReplicaSet is at 0 and attached")
    leaving = [
        pod
        for pod in snapshot.pods_of(memory.old_hash)
        if not pod.ended and (not pod.terminating or pod.deletion_began_s >= int(memory.begun_s))
    ]
    if leaving:
        return wait(f"{len(leaving)} old pods are ending, within their own grace")
    return act(Forget(deployment=deployment), because="the last old pod has ended")


def leave(snapshot: Snapshot, message: str) -> Decision:
    """The memory is off the Deployment: take its copies off the ReplicaSets, drop the Lease, done."""
    copies = tuple(Clean(replica_set=one) for one in snapshot.owned if ANNOTATION in one.annotations)
    if copies:
        return act(*copies, because="nothing of segue's stays")
    drop = (DropLease(lease=snapshot.lease),) if snapshot.lease is not None and not snapshot.held_by else ()
    return Decision(actions=drop, because=message, end=Done(message=message))


def attach(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Attach:
    """The old ReplicaSet comes home; its counts say what the controller would write itself (B2)."""
    replicas = snapshot.deployment.replicas
    return Attach(replica_set=old, labels=memory.labels, desired=replicas, most=2 * replicas)
