"""canary side by side: two Deployments with common labels behind one Service; the new one grows as the old one shrinks.

A step: the new Deployment gets a few more pods; when they are Ready the idlest old ones leave traffic alive, and the
old Deployment shrinks by as many (what it ends are their replacements, which were never Ready: R1, A3); when those
that left are quiet they are ended, and the next step begins. At the end the old Deployment is deleted. The way back
is the same with the Deployments exchanged.

Rule 1: never fewer Ready pods than the user has by anything done here, and never more than that and one step's.
Rule 2: a Deployment shrinks only while it has no more Ready pods than it keeps, and its controllers have followed:
what a ReplicaSet ends then is never a pod that serves. A run that died between the two writes is therefore harmless.
Rule 3: a size that is neither what was noted nor what follows from it is somebody's wish: the sum is what they want.
"""

from __future__ import annotations

from dataclasses import replace

from segue.model.objects import selects
from segue.model.workloads import Deployment
from segue.release.actions import Remember, ScaleTo, Select
from segue.release.analysing import at_stop
from segue.release.beside import Beside, Pair
from segue.release.decision import Decision, act, counted, stop, wait
from segue.release.memory import Memory
from segue.release.orphans import ORPHANS, drain_orphans, end_surplus, idleness, orphan, orphans_of
from segue.release.patience import held, late, out_of_time, stuck, troubles_of
from segue.release.plan import Plan
from segue.release.side_by_side import finish_beside, narrowed, open_beside
from segue.release.snapshot import Snapshot


def decide_shift(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step of a canary from one Deployment to the one beside it."""
    pair = narrowed(snapshot)
    opened = open_beside(plan, pair, memory)
    if opened is not None:
        return opened
    assert memory is not None, "without one it has just begun"
    decision = _forward(plan, pair, memory)
    if decision.actions or decision.end is not None:
        return decision
    return late(plan, pair, memory, decision)


def _forward(plan: Plan, pair: Pair, memory: Memory) -> Decision:
    new, old = pair.new, pair.old
    assert new is not None, "the memory lies on it"
    if old is None:
        return alone(pair, memory, new)
    opened = _open_services(pair, memory, old, new)
    if opened is not None:
        return opened
    shift = trade(plan, pair, memory, leaving=old, coming=new)
    if shift is not None:
        return shift
    wanted = int(memory.after["replicas"])
    grows = wanted > int(memory.before["replicas"]) and new.replicas < wanted
    if grows:
        return act(ScaleTo(deployment=new, replicas=wanted), because=f"the manifest wants {wanted} pods")
    return finish_beside(pair, delete_old=True)


def alone(pair: Pair, memory: Memory, new: Deployment) -> Decision:
    """The old Deployment is deleted: at the end, or by somebody on the way."""
    total = Beside.of(memory.beside).total
    if new.replicas < total:
        return act(ScaleTo(deployment=new, replicas=total), because="somebody deleted the old Deployment")
    return finish_beside(pair, delete_old=True)


def _open_services(pair: Pair, memory: Memory, old: Deployment, new: Deployment) -> Decision | None:
    """Every Service selects what both versions have in common; None where that is so, and reaches the old pods."""
    narrow = tuple(one for one in pair.served(memory.services) if not selects(one.selector, new.pod_labels))
    if narrow:
        return act(
            *(Select(service=one, selector=pair.beside.common(one.selector), says="both versions") for one in narrow),
            because="new pods are to share the traffic",
            barrier=f"{len(pair.ready_in(old))} old pods are Ready",
        )
    if new.replicas:
        return None
    for service in pair.served(memory.services):
        if not pair.reaches(service, pair.ready_in(old)):
            return wait(f"the endpoints of Service {service.name} are not yet the Ready old pods", wake_in_s=0.05)
    return None


# -- one step, in either direction -------------------------------------------------------------------------------------


def trade(plan: Plan, pair: Pair, memory: Memory, *, leaving: Deployment, coming: Deployment) -> Decision | None:
    """The next step from one Deployment to the other; None when all pods are the coming one's, Ready and alone."""
    surplus = end_surplus(pair)
    if surplus is not None:
        return surplus
    beside = Beside.of(memory.beside)
    scaled = _scaled_by_somebody(pair, memory, beside)
    if scaled is not None:
        return scaled
    keeps = max(0, beside.total - coming.replicas)
    unready = _unready(plan, pair, coming)
    if unready is not None:
        return unready
    if leaving.replicas > keeps:
        return _hold(plan, pair, memory, coming, leaving) or _shrink(
            plan, pair, leaving=leaving, coming=coming, total=beside.total
        )
    drained = drain_orphans(plan, pair, orphans_of(pair))
    if drained is not None:
        return drained
    if coming.replicas >= beside.total and not leaving.replicas:
        return None
    return _hold(plan, pair, memory, coming, leaving) or _grow(plan, pair, memory, coming)


def _scaled_by_somebody(pair: Pair, memory: Memory, beside: Beside) -> Decision | None:
    """A new sum to keep, where the old Deployment's size is neither the noted one nor what this release makes of it."""
    old, new = pair.old, pair.new
    assert old is not None and new is not None
    shrinks, grows = (new, old) if beside.back else (old, new)
    if shrinks.replicas in {beside.noted, max(0, beside.total - grows.replicas)}:
        return None
    fresh = replace(beside, total=max(1, old.replicas + new.replicas), noted=shrinks.replicas)
    kept = memory.but(beside=fresh.as_obj())
    return act(Remember(deployment=new, memory=kept), because=f"somebody scaled Deployment {shrinks.name}")


def _unready(plan: Plan, pair: Pair, coming: Deployment) -> Decision | None:
    ready = pair.ready_in(coming)
    if pair.is_followed(coming) and len(ready) >= coming.replicas:
        return None
    if out_of_time(plan, pair, pair.alive_in(coming)):
        late_ones = [pod for pod in pair.alive_in(coming) if not pod.ready]
        return stop(
            "unfinished",
            f"{len(ready)} of {coming.replicas} pods of Deployment {coming.name} are Ready after {plan.timeout_s:g} s "
            f"({troubles_of(late_ones)}); what serves keeps serving",
            f"repair and run the same command again, or go back with segue abort {plan.deployment}",
        )
    said = f"{len(ready)} of {coming.replicas} pods of Deployment {coming.name} are Ready"
    return wait(said + stuck(pair.alive_in(coming)), wake_in_s=0.1)


def _hold(plan: Plan, pair: Pair, memory: Memory, coming: Deployment, leaving: Deployment) -> Decision | None:
    """The stop where it stands, or the pause; None where it may go on."""
    if memory.aborting:
        return None
    limit = memory.next_stop
    here = f"{counted(coming.replicas, 'new pod')} beside {leaving.replicas} old"
    if limit is not None and coming.replicas >= limit:
        return at_stop(plan, pair, memory, here)
    return held(plan, pair, f"it is paused with {here}", "resume") if memory.paused else None


def _shrink(plan: Plan, pair: Pair, *, leaving: Deployment, coming: Deployment, total: int) -> Decision:
    keeps = max(0, total - coming.replicas)
    if not pair.is_settled(leaving):
        return wait("the controllers have not caught up yet", wake_in_s=0.02, drains=ORPHANS)
    ready = pair.ready_in(leaving)
    if len(ready) <= keeps:
        return act(
            ScaleTo(deployment=leaving, replicas=keeps),
            because="those that left traffic are not to be replaced",
            barrier=f"{len(ready)} Ready pods of it, {keeps} wanted: no serving pod can be chosen",
        )
    out = orphans_of(pair)
    if out:  # a run died after taking them out: they have been replaced, and are too many
        drained = drain_orphans(plan, pair, out)
        if drained is not None:
            return drained
    together = len(ready) + len(pair.ready_in(coming))
    idlest = sorted(ready, key=lambda pod: idleness(pair, pod))[: max(0, min(len(ready) - keeps, together - total))]
    if not idlest:
        return wait(f"{together} of {total} pods are Ready: none can leave")
    seen_from = replace(pair, deployment=leaving)
    return act(
        *(orphan(plan, seen_from, pod) for pod in idlest),
        because=f"all {counted(coming.replicas, 'pod')} of Deployment {coming.name} are Ready",
        barrier=f"{together} Ready pods, {total} wanted",
    )


def _grow(plan: Plan, pair: Pair, memory: Memory, coming: Deployment) -> Decision:
    beside = Beside.of(memory.beside)
    new, old = pair.new, pair.old
    assert new is not None and old is not None
    current = pair.current(new)
    if current is None:
        return wait("the new ReplicaSet does not exist yet", wake_in_s=0.05)
    limit = None if memory.aborting else memory.next_stop
    most = beside.total if limit is None else min(beside.total, limit)
    size = min(most, coming.replicas + max(1, memory.step))
    noted = new.replicas if beside.back else old.replicas
    known = memory.but(new_set=current.name, new_hash=current.pod_hash, beside=replace(beside, noted=noted).as_obj())
    because = "the pods that left traffic have ended" if coming.replicas else "the first of its pods"
    barrier = f"{len(pair.ready_in(old)) + len(pair.ready_in(new))} Ready pods"
    if coming.name == new.name:
        return act(ScaleTo(deployment=new, replicas=size, memory=known), because=because, barrier=barrier)
    if known != memory:
        return act(Remember(deployment=new, memory=known), because="from here on its size is known")
    return act(ScaleTo(deployment=old, replicas=size), because=because, barrier=barrier)
