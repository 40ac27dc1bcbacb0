"""A release, an undo, a restart and an abort of a StatefulSet or a DaemonSet: the beginning, the ways, the end.

Rule 1: level-triggered, as all strategies: each look asks the objects, so a run goes on from where another one died.
Rule 2: template, the updateStrategy of the way and the memory come in one patch: nothing of it is ever there alone.
Rule 3: the last patch gives the user's own settings back and forgets; after it nothing of segue's is on any object.
"""

from __future__ import annotations

from segue.model.natives import plain
from segue.model.objects import Obj
from segue.release.actions import DropLease, TakeLease
from segue.release.decision import Done
from segue.release.entry import LEASE_LASTS_S, UNHEALTHY_PATIENCE_S
from segue.release.memory import ANNOTATION, Memory
from segue.release.native_actions import Amend, CleanRevision
from segue.release.native_snapshot import NODES, ORDINALS, SURGE, NativeSnapshot
from segue.release.native_waiting import late
from segue.release.natives import NativeDecision, NativePlan, do, halt, is_stateful, pause, settings_of_native
from segue.release.one_by_one import ON_DELETE, decide_one_by_one
from segue.release.ordinal import decide_ordinals, rolling
from segue.release.plan import replaced_metadata
from segue.release.surging import decide_surge, surging

WAYS = {ORDINALS: decide_ordinals, NODES: decide_one_by_one, SURGE: decide_surge}


def decide_native(plan: NativePlan, seen: NativeSnapshot, memory: Memory | None) -> NativeDecision:
    """The next step of a release."""
    if seen.held_by:
        return _driven_by_another(plan, seen)
    if memory is None:
        return _begin(plan, seen)
    if memory.digest != plan.target.digest:
        return halt(
            "conflict",
            f"another {memory.kind} of {plan.said} is under way (begun as {memory.id})",
            "finish it with its own command, or take it back with segue abort",
        )
    if memory.aborting:
        return halt("conflict", "this release is being aborted", "finish that with segue abort, then release again")
    if not seen.mine:
        return do(take_lease(seen), because="nobody else drives this release")
    decision = (
        _foreign(plan, seen, plan.target.template) or _wait_for_revision(seen) or WAYS[plan.way](plan, seen, memory)
    )
    if decision is not None:
        return late(plan, seen, memory, decision)
    ready = seen.new_and_ready()
    return _finish(seen, memory.after, memory.metadata, because=f"{ready} pods are of the new version and serve")


def decide_native_abort(plan: NativePlan, seen: NativeSnapshot, memory: Memory | None) -> NativeDecision:
    """The next step back: the old template first, then what is broken, then the others in reverse order."""
    if seen.held_by:
        return _driven_by_another(plan, seen)
    if memory is None:
        return _leave(plan, seen)
    if not seen.mine:
        return do(take_lease(seen), because="nobody else drives this release")
    old = seen.revision_named(memory.old_set)
    if old is None:
        return halt(
            "unfinished",
            f"ControllerRevision {memory.old_set}, which has the old template, has been deleted by somebody",
            "release the old version by its manifest",
        )
    if not memory.aborting:
        back = memory.but(aborting=True, paused=False, stops=(), passed=0, switched_s=round(seen.now_s, 3))
        put = Amend(
            native=seen.native,
            says=f"put the old template of {plan.said} back: what is new goes, one after the other",
            spec={"template": old.template, **_way_back(plan, memory)},
            memory=back,
        )
        return do(put, because="this release is to be taken back", barrier=f"{old.name} has the old template")
    decide = decide_surge if plan.way == SURGE else decide_one_by_one
    decision = _foreign(plan, seen, old.template) or _wait_for_revision(seen) or decide(plan, seen, memory)
    if decision is not None:
        return late(plan, seen, memory, decision)
    return _finish(seen, memory.before, memory.metadata_before, because="every pod is of the old version and serves")


def decide_settled(plan: NativePlan, seen: NativeSnapshot, memory: Memory | None) -> NativeDecision:
    """Nothing is under way: wait until all pods are there and Ready, and leave."""
    if seen.held_by:
        return _driven_by_another(plan, seen)
    if memory is not None:
        return halt("conflict", f"a {memory.kind} of {plan.said} has begun meanwhile", f"segue status {plan.name}")
    newest = seen.newest
    ready = sum(pod.ready for pod in seen.pods)
    if newest is None or ready < seen.native.desired or len(seen.pods) > max(ready, seen.native.desired):
        if seen.now_s > plan.deadline_s:
            bad = next((seen.away(pod) for pod in seen.pods if not pod.ready), "its controller does nothing")
            message = f"{ready} of {seen.native.desired} pods are Ready after {plan.timeout_s:g} s: {bad}"
            return halt("unfinished", message, "kubectl describe tells more; the same command waits again")
        return pause(f"{ready} of {seen.native.desired} pods are Ready")
    return _leave(plan, seen)


def _leave(plan: NativePlan, seen: NativeSnapshot) -> NativeDecision:
    said = f"{plan.said} is at version {seen.newest.short if seen.newest is not None else '?'}"
    drop = (DropLease(lease=seen.lease),) if seen.lease is not None else ()
    return NativeDecision(actions=drop, because=said, end=Done(message=said))


def take_lease(seen: NativeSnapshot, purpose: str = "") -> TakeLease:
    """Become, or stay, the one who drives."""
    return TakeLease(
        namespace=seen.native.namespace,
        deployment=seen.native.lease,
        me=seen.me,
        now_s=seen.now_s,
        lasts_s=LEASE_LASTS_S,
        lease=seen.lease,
        purpose=purpose,
    )


def is_at(plan: NativePlan, seen: NativeSnapshot) -> bool:
    """Whether all pods that the release is to change are of its template."""
    newest = seen.newest
    if newest is None or plain(seen.native.template) != plain(plan.target.template):
        return False
    low = plan.partition if is_stateful(seen.native) else 0
    return all(newest.bears(pod) for pod in seen.pods if not is_stateful(seen.native) or seen.place(pod) >= low)


def _begin(plan: NativePlan, seen: NativeSnapshot) -> NativeDecision:
    native = seen.native
    if not native.observed or seen.newest is None:
        return pause(f"the controller has not seen the newest spec of {plan.said} yet")
    if is_at(plan, seen):
        return decide_settled(plan, seen, None)
    for pod in seen.pods:
        because = seen.away(pod)
        if because and not seen.is_long_broken(pod, UNHEALTHY_PATIENCE_S):
            return pause(because)
    old = seen.revision_named(plan.old_revision)
    if old is None:
        return halt("conflict", f"ControllerRevision {plan.old_revision} is gone", "look at it, then release again")
    memory = Memory(
        id=plan.target.id,
        kind=plan.target.kind,
        digest=plan.target.digest,
        begun_s=round(seen.now_s, 3),
        switched_s=round(seen.now_s, 3),
        old_set=old.name,
        old_hash=old.short,
        services=plan.services,
        patched=True,
        before=settings_of_native(native.spec),
        after=plan.target.after,
        metadata=plan.target.metadata,
        metadata_before=replaced_metadata(native.obj, plan.target.metadata),
        strategy=plan.way,
        step=plan.step,
        stops=plan.stops,
    )
    nothing = "the partition above all ordinals" if plan.way == ORDINALS else "OnDelete"
    moves = "one node begins" if plan.way == SURGE else f"{nothing}: nothing moves"
    template = Amend(
        native=native,
        says=f"change the template of {plan.said}; {moves}",
        spec={"template": plan.target.template, **_way_there(plan, native.desired, native.min_ready_s)},
        memory=memory,
    )
    ready = sum(pod.ready for pod in seen.pods)
    return do(
        take_lease(seen, memory.id),
        template,
        because=f"this {plan.target.kind} begins",
        barrier=f"{ready} of {native.desired} pods serve",
    )


def _way_there(plan: NativePlan, desired: int, min_ready_s: int) -> Obj:
    if plan.way == SURGE:
        return surging(plan.step, min_ready_s)
    return {"updateStrategy": rolling(desired, plan.step) if plan.way == ORDINALS else ON_DELETE}


def _way_back(plan: NativePlan, memory: Memory) -> Obj:
    if plan.way == SURGE:
        return surging(plan.step, int(memory.before.get("minReadySeconds") or 0))
    return {"updateStrategy": ON_DELETE}


def _foreign(plan: NativePlan, seen: NativeSnapshot, template: Obj) -> NativeDecision | None:
    if plain(seen.native.template) == plain(template):
        return None
    return halt(
        "unfinished",
        f"somebody changed the template of {plan.said} during this {plan.target.kind}",
        f"no other pod goes by segue's hand; segue abort {plan.name} goes back, then release what is wanted",
    )


def _wait_for_revision(seen: NativeSnapshot) -> NativeDecision | None:
    return pause("its controller has not seen the template yet") if seen.newest is None else None


def _finish(seen: NativeSnapshot, spec: Obj, metadata: Obj, *, because: str) -> NativeDecision:
    marked = [one for one in seen.revisions if ANNOTATION in one.annotations]
    if marked:
        return do(*(CleanRevision(revision=one) for one in marked), because=because)
    end = Amend(
        native=seen.native,
        says=f"the spec of {seen.native.said} is yours again",
        spec=spec,
        memory=None,
        metadata=metadata,
    )
    return do(end, because=because)


def _driven_by_another(plan: NativePlan, seen: NativeSnapshot) -> NativeDecision:
    return halt(
        "conflict",
        f"another segue drives {plan.said} now: {seen.held_by}",
        "wait until it has ended; segue status shows what it does",
    )
