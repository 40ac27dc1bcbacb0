"""Scale without losing a request: up is the API's own; down takes the idlest pods out of traffic first.

Down, one pod at a time: the victim is orphaned (its own labels change: it leaves ReplicaSet and Services alive), then
the Deployment shrinks by one at once, which ends the replacement that is not Ready yet (R1, A3). Victims drain side
by side and are ended one by one when quiet.

Rule: the Deployment shrinks only while it has fewer Ready pods than replicas: what a ReplicaSet ends then is never a
pod that serves. A run that died between the two writes is therefore harmless.
"""

from __future__ import annotations

from segue.model.workloads import Pod
from segue.release.actions import Forget, Remember, ScaleTo
from segue.release.decision import Decision, act, stop, wait
from segue.release.entry import driven_by_another, take_lease
from segue.release.leaving import leave
from segue.release.memory import Memory
from segue.release.orphans import ORPHANS, drain_orphans, end_surplus, idleness, orphan, orphans_of
from segue.release.patience import troubles_of
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


def decide_scale(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step towards `plan.wanted` replicas."""
    deployment = snapshot.deployment
    refusal = in_the_way(plan, snapshot, memory, "scale")
    if refusal is not None:
        return refusal
    if memory is None and _reached(plan, snapshot):
        return leave(snapshot, f"Deployment {plan.deployment} has {plan.wanted} Ready pods")
    if memory is None or not snapshot.mine or memory.target != plan.wanted:
        fresh = Memory(
            id=f"scale-{plan.wanted}",
            kind="scale",
            digest="",
            begun_s=round(snapshot.now_s, 3),
            services=plan.services,
            outgoing=plan.policy.outgoing,
            target=plan.wanted,
        )
        return act(
            take_lease(plan.deployment, snapshot),
            Remember(deployment=deployment, memory=fresh),
            because=f"from {deployment.replicas} to {plan.wanted} replicas",
        )
    if deployment.replicas < plan.wanted:
        return act(ScaleTo(deployment=deployment, replicas=plan.wanted), because="more pods lose nothing")
    return down_or_done(plan, snapshot)


def in_the_way(plan: Plan, snapshot: Snapshot, memory: Memory | None, kind: str) -> Decision | None:
    """The end where somebody else drives, or where something of another kind is under way."""
    if snapshot.held_by:
        return driven_by_another(plan, snapshot)
    if memory is not None and memory.kind != kind:
        return stop(
            "conflict",
            f"a {memory.kind} of Deployment {plan.deployment} is under way",
            "finish it with its own command, or take it back with segue abort",
        )
    return None


def _reached(plan: Plan, snapshot: Snapshot) -> bool:
    owned = owned_pods(snapshot)
    orphans = orphans_of(snapshot)
    ready = sum(pod.ready for pod in owned)
    return snapshot.deployment.replicas == plan.wanted == ready == len(owned) and not orphans


def down_or_done(plan: Plan, snapshot: Snapshot) -> Decision:
    """Towards `plan.wanted` replicas from above, orphans drained, and the memory off when all are Ready."""
    deployment = snapshot.deployment
    orphans = orphans_of(snapshot)
    owned = owned_pods(snapshot)
    ready = [pod for pod in owned if pod.ready]
    if deployment.replicas > plan.wanted:
        shrink = _shrink(plan, snapshot, owned, orphans)
        if shrink is not None:
            return shrink
    surplus = end_surplus(snapshot)
    if surplus is not None:
        return surplus
    drained = drain_orphans(plan, snapshot, orphans)
    if drained is not None:
        return drained
    if deployment.replicas == plan.wanted and not orphans:
        if deployment.observed and len(ready) == plan.wanted == len(owned):
            return act(Forget(deployment=deployment), because=f"all {plan.wanted} pods are Ready")
        if snapshot.now_s > plan.deadline_s:
            return give_up(plan, owned)
    return wait(f"{len(ready)} of {plan.wanted} pods are Ready, {len(orphans)} are leaving", drains=ORPHANS)


def owned_pods(snapshot: Snapshot) -> list[Pod]:
    """The Deployment's own pods that do not leave."""
    uids = {one.uid for one in snapshot.owned}
    return [pod for pod in snapshot.pods if pod.owner_uid in uids and pod.alive]


def _shrink(plan: Plan, snapshot: Snapshot, owned: list[Pod], orphans: tuple[Pod, ...]) -> Decision | None:
    deployment = snapshot.deployment
    settled = all(not pod.owner_uid for pod in orphans) and deployment.observed
    ready = [pod for pod in owned if pod.ready]
    active = [one for one in snapshot.owned if one.replicas > 0]
    if not settled or len(active) != 1 or active[0].replicas != deployment.replicas:
        return wait("the controllers have not caught up yet", wake_in_s=0.02, drains=ORPHANS)
    if len(ready) < deployment.replicas:
        return act(
            ScaleTo(deployment=deployment, replicas=deployment.replicas - 1),
            because="one place is held by no Ready pod",
            barrier=f"{len(ready)} Ready pods, {deployment.replicas} wanted: no serving pod can be chosen",
        )
    victim = min(ready, key=lambda pod: idleness(snapshot, pod))
    return act(
        orphan(plan, snapshot, victim),
        because="it has the fewest connections",
        barrier=f"{len(ready)} Ready pods serve",
    )


def give_up(plan: Plan, owned: list[Pod]) -> Decision:
    """The end where pods are not Ready in time."""
    reasons = troubles_of([pod for pod in owned if not pod.ready])
    return stop(
        "unfinished",
        f"not all of {plan.wanted} pods are Ready after {plan.timeout_s:g} s ({reasons})",
        "repair what keeps them from being Ready; the same command goes on",
    )
