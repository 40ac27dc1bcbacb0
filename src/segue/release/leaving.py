"""How a release ends: old pods proved quiet, the old ReplicaSet home again, nothing of segue's left behind.

Rule: what ends serving pods is decided on the snapshot at hand, in which pin and endpoints have just been seen.
"""

from __future__ import annotations

from segue.drain.judge import NOTHING_SEEN, ended
from segue.model.objects import labels_of
from segue.model.services import PREVIEW_OF
from segue.model.workloads import ReplicaSet
from segue.release.actions import Attach, Clean, DropLease, EndPreview, Forget, Point
from segue.release.decision import Decision, Done, PodDrained, act, wait
from segue.release.memory import ANNOTATION, Memory
from segue.release.orphans import drain_orphans, end_surplus, orphans_of
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


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


def finish(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    """The old ReplicaSet is at 0: attach it again, unpin, wait for the last old pod, leave no trace."""
    deployment = snapshot.deployment
    old = snapshot.set_named(memory.old_set)
    alive = snapshot.alive_of(memory.old_hash)
    if alive:
        return wait(f"{len(alive)} old pods have not begun to end yet", wake_in_s=0.05)
    if old is not None and not snapshot.owns(old):
        if is_restored(old, memory):
            return wait("the Deployment has not adopted the old ReplicaSet yet", wake_in_s=0.05)
        return act(
            attach(snapshot, memory, old), because="it is at 0 replicas", barrier="every old pod is ending or gone"
        )
    pinned = unpin(snapshot, memory)
    if pinned:
        return act(*pinned, because="only the new version is left", barrier="the old ReplicaSet is at 0 and attached")
    surplus = end_surplus(snapshot)
    if surplus is not None:
        return surplus
    if plan.hands_over:
        return act(Forget(deployment=deployment), because="a newer release takes over what still drains")
    draining = drain_orphans(plan, snapshot, orphans_of(snapshot))
    if draining is not None:
        return draining
    leaving = [
        pod
        for pod in snapshot.pods_of(memory.old_hash)
        if not pod.ended
        and not pod.never_served
        and (not pod.terminating or pod.deletion_began_s >= int(memory.begun_s))
    ]
    if leaving:
        return wait(f"{len(leaving)} old pods are ending, within their own grace")
    return act(Forget(deployment=deployment), because="the last old pod has ended")


def unpin(snapshot: Snapshot, memory: Memory) -> tuple[Point | EndPreview, ...]:
    """All Services select every version again; one that was made for this release goes."""
    made = tuple(EndPreview(service=one) for one in snapshot.services if PREVIEW_OF in labels_of(one.obj))
    named = {*memory.services, memory.preview}
    return (
        *(
            Point(service=one, pod_hash="")
            for one in snapshot.services
            if one.name in named and one.pinned_to and PREVIEW_OF not in labels_of(one.obj)
        ),
        *made,
    )


def leave(snapshot: Snapshot, message: str) -> Decision:
    """The memory is off the Deployment: take its copies off the ReplicaSets, drop the Lease, done."""
    copies = tuple(Clean(replica_set=one) for one in snapshot.owned if ANNOTATION in one.annotations)
    if copies:
        return act(*copies, because="nothing of segue's stays")
    drop = (DropLease(lease=snapshot.lease),) if snapshot.lease is not None and not snapshot.held_by else ()
    return Decision(actions=drop, because=message, end=Done(message=message))


def is_restored(old: ReplicaSet, memory: Memory) -> bool:
    """Whether the old ReplicaSet has its own labels, so that the Deployment owns it or is about to."""
    return all(old.labels.get(key) == value for key, value in memory.labels.items())


def attach(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Attach:
    """The old ReplicaSet comes home; its counts say what the controller would write itself (B2)."""
    replicas = snapshot.deployment.replicas
    return Attach(replica_set=old, labels=memory.labels, desired=replicas, most=2 * replicas)
