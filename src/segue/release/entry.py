"""How every run begins: who may drive, what is in its way, and the barrier before the first action.

Rule: nothing is written while somebody else drives, or where something else is under way.
"""

from __future__ import annotations

from segue.model.workloads import Pod
from segue.release.actions import Remember, TakeLease, detach_key
from segue.release.decision import Decision, act, stop, wait
from segue.release.leaving import leave
from segue.release.memory import Memory
from segue.release.plan import Plan, replaced_metadata, settings_of
from segue.release.snapshot import SETTLE_S, Snapshot

LEASE_LASTS_S = 10
UNHEALTHY_PATIENCE_S = 20.0  # how long pods of the present version may take to be Ready before we go on without them


def driven_by_another(plan: Plan, snapshot: Snapshot) -> Decision | None:
    """The end where somebody else drives; else None."""
    if not snapshot.held_by:
        return None
    return stop(
        "conflict",
        f"another segue drives Deployment {plan.deployment} now: {snapshot.held_by}",
        "wait until it has ended; segue status shows what it does",
    )


def conflict_of(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision | None:
    """The end where somebody else drives, or where what is under way is not this release; else None."""
    if memory is None or snapshot.held_by:
        return driven_by_another(plan, snapshot)
    if memory.keeps_version or memory.digest != plan.target.digest:
        return stop(
            "conflict",
            f"another {memory.kind} of Deployment {plan.deployment} is under way (begun as {memory.id})",
            "finish it with its own command, or take it back with segue abort",
        )
    if memory.aborting:
        return stop("conflict", "this release is being aborted", "finish that with segue abort, then release again")
    return None


def opening(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision | None:
    """What comes before any strategy's own steps: who may drive, the beginning, the Lease; None when that is done."""
    refusal = conflict_of(plan, snapshot, memory)
    if refusal is not None:
        return refusal
    if memory is None:
        return _in_time(plan, snapshot, begin(plan, snapshot))
    if not snapshot.mine:
        return act(take_lease(plan.deployment, snapshot), because="nobody else drives this release")
    return None


def _in_time(plan: Plan, snapshot: Snapshot, decision: Decision) -> Decision:
    """What stands in the way of the beginning is waited for as long as new pods would be."""
    if decision.actions or decision.end is not None or snapshot.now_s <= plan.deadline_s:
        return decision
    return stop(
        "unfinished",
        f"not begun after {plan.timeout_s:g} s: {decision.because}",
        f"nothing has been changed; segue status {plan.deployment} shows what there is",
    )


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


def begin(plan: Plan, snapshot: Snapshot) -> Decision:
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
    for service in (one for one in snapshot.services if one.name in plan.services):
        if service.pinned_to and service.pinned_to != old.pod_hash:
            return stop(
                "refused",
                f"Service {service.name} is pinned to version {service.pinned_to}, which is not the serving one",
                f"remove pod-template-hash from its selector: kubectl edit service {service.name}",
            )
        if not snapshot.reaches(service, selected(snapshot, ready, service.name)):
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
        after=plan.after,
        metadata=plan.target.metadata,
        metadata_before=replaced_metadata(deployment.obj, plan.target.metadata),
        labels={key: old.labels[key] for key in (detach_key(deployment.selector),)},
        strategy=plan.strategy,
        step=plan.step,
        stops=plan.stops,
        preview=plan.preview,
        keep_s=plan.keep_s,
        route=plan.route,
        cap_s=plan.policy.cap_s,
        keeps_labels=bool(plan.keeps_labels),
        keeps_idle=plan.policy.keeps_idle,
        outgoing=plan.policy.outgoing,
        group=plan.group,
    )
    return act(
        take_lease(plan.deployment, snapshot, memory.id),
        Remember(deployment=deployment, memory=memory),
        because="this release begins",
        barrier=f"all {len(ready)} Ready pods are endpoints of {', '.join(plan.services)}",
    )


def selected(snapshot: Snapshot, pods: tuple[Pod, ...], name: str) -> tuple[Pod, ...]:
    """Those of the pods that a Service selects, pin included."""
    service = next(one for one in snapshot.services if one.name == name)
    return tuple(pod for pod in pods if service.selects_version(pod.labels))
