"""all-first with a Deployment of its own for each version: the Service goes from one to the other by the version label.

The order: the new Deployment is made without pods; Services that would select its pods are pinned to the old ones; it
grows to the old one's size; all new pods Ready; switch; the old pods, out of traffic by the selector, are proved
quiet; the old Deployment goes to 0 and stays for an undo, or is deleted. Those that were left at 0 before it go.

Rule 1: the new Deployment has pods only while every Service is known to pass them by, until the switch.
Rule 2: pin and version label change places in one write: a selector never has both, and never neither.
Rule 3: what ends old pods is decided on the snapshot at hand, in which the endpoints are exactly the new ones.
"""

from __future__ import annotations

from segue.model.objects import is_terminating, labels_of, selects
from segue.model.services import PREVIEW_OF, Service
from segue.model.workloads import Deployment, Pod, ReplicaSet
from segue.release.actions import (
    AddDeployment,
    EndDeployment,
    EndPreview,
    Forget,
    Point,
    Remember,
    ScaleTo,
    Select,
)
from segue.release.beside import Beside, Pair
from segue.release.decision import Decision, PodDrained, act, stop, wait
from segue.release.entry import conflict_of, take_lease
from segue.release.gate import before_switch
from segue.release.leaving import drain, leave
from segue.release.memory import Memory, memory_of
from segue.release.patience import held, late, out_of_time, stuck, troubles_of
from segue.release.plan import Plan
from segue.release.snapshot import SETTLE_S, Snapshot

CHANGED = "somebody changed the template of Deployment {} during this release"


def narrowed(snapshot: Snapshot) -> Pair:
    """The snapshot as what looks at two Deployments makes it."""
    assert isinstance(snapshot, Pair), "whoever plans for two Deployments looks at both"
    return snapshot


def decide_beside(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step of a release from one Deployment to the one beside it."""
    pair = narrowed(snapshot)
    opened = open_beside(plan, pair, memory)
    if opened is not None:
        return opened
    assert memory is not None, "without one it has just begun"
    decision = _after_switch(plan, pair, memory) if memory.serving == "new" else _raise_new(plan, pair, memory)
    if decision.actions or decision.end is not None:
        return decision
    return late(plan, pair, memory, decision)


# -- how it begins -----------------------------------------------------------------------------------------------------


def open_beside(plan: Plan, pair: Pair, memory: Memory | None) -> Decision | None:
    """Who may drive, the beginning, the Lease; None when that is done."""
    refusal = conflict_of(plan, pair, memory)
    if refusal is not None:
        return refusal
    if memory is None:
        return _begin(plan, pair)
    if not pair.mine:
        return act(take_lease(plan.deployment, pair), because="nobody else drives this release")
    if pair.deployment.template != plan.target.template:
        return stop(
            "unfinished",
            CHANGED.format(pair.deployment.name),
            f"the old pods keep serving; segue abort {plan.deployment} goes back to them",
        )
    return None


def _begin(plan: Plan, pair: Pair) -> Decision:
    """The barrier before the first action: what is seen of the old version has reached the data plane (M7)."""
    beside, old = pair.beside, pair.old
    if has_arrived(plan, pair):
        return leave(pair, f"Deployment {beside.new} serves app {beside.app}" + _what_is_left(pair))
    if old is not None and old.name != pair.deployment.name and memory_of(old.annotations) is not None:
        return stop("conflict", f"something else is under way on Deployment {old.name}", "finish it, then release")
    serving = pair.current(old) if old is not None else None
    if old is None or serving is None or serving.name != plan.old_set:
        return stop("conflict", f"Deployment {beside.old} has changed", "look at it, then release again")
    ready = pair.ready_in(old)
    waits = _unsettled(pair, old, ready)
    if waits:
        return wait(waits)
    for service in pair.served(plan.services):
        if service.pinned_to and service.pinned_to != plan.old_hash:
            return stop(
                "refused",
                f"Service {service.name} is pinned to version {service.pinned_to}, which is not the serving one",
                f"remove pod-template-hash from its selector: kubectl edit service {service.name}",
            )
        if not pair.reaches(service, tuple(pod for pod in ready if service.selects_pod(pod.labels))):
            return wait(f"the endpoints of Service {service.name} are not yet the Ready pods")
    return act(
        take_lease(plan.deployment, pair, plan.target.id),
        *_first_write(plan, pair, old),
        because="this release begins",
        barrier=f"all {len(ready)} Ready pods of {old.name} are endpoints of {', '.join(plan.services)}",
    )


def _unsettled(pair: Pair, old: Deployment, ready: tuple[Pod, ...]) -> str:
    if not old.observed:
        return "the Deployment controller has not seen the newest spec yet"
    if len(ready) < old.replicas:
        return f"{len(ready)} of {old.replicas} present pods are Ready"
    if pair.now_s - old.changed_at_s() < SETTLE_S:
        return "the Deployment has just changed; its pods must have reached the data plane first"
    return ""


def _first_write(plan: Plan, pair: Pair, old: Deployment) -> tuple[EndDeployment | AddDeployment | Remember, ...]:
    """The memory, on a Deployment that has no pods: one of the same template is taken again, else it is made."""
    kept = pair.new is not None and _is_wanted(plan, pair.new)
    assert plan.beside is not None
    beside = Beside.of({**plan.beside.as_obj(), "made": not kept, "noted": old.replicas})
    memory = Memory(
        id=plan.target.id,
        kind=plan.target.kind,
        digest=plan.target.digest,
        begun_s=round(pair.now_s, 3),
        old_set=plan.old_set,
        old_hash=plan.old_hash,
        services=plan.services,
        before={"replicas": old.replicas},
        after={"replicas": plan.wanted, "progressDeadlineSeconds": plan.target.after.get("progressDeadlineSeconds")},
        strategy=plan.strategy,
        step=plan.step,
        stops=plan.stops,
        preview=plan.preview,
        keep_s=plan.keep_s,
        cap_s=plan.policy.cap_s,
        outgoing=plan.policy.outgoing,
        patched=True,
        beside=beside.as_obj(),
    )
    if kept and pair.new is not None:
        return (Remember(deployment=pair.new, memory=memory),)
    added = AddDeployment(body=dict(plan.body), memory=memory)
    # One of this name that was left at 0 with another template: nothing runs of it.
    return (EndDeployment(deployment=pair.new), added) if pair.new is not None else (added,)


def _is_wanted(plan: Plan, kept: Deployment) -> bool:
    target = plan.target
    same = all(kept.spec.get(key) == value for key, value in target.after.items() if key != "replicas")
    return same and kept.template == target.template


def has_arrived(plan: Plan, pair: Pair) -> bool:
    """Whether the new Deployment serves alone: then what looks for a beginning has found the end."""
    new = pair.new
    if new is None or new.replicas == 0 or new.template != plan.target.template:
        return False
    passed = all(selects(service.selector, new.pod_labels) for service in pair.served(plan.services))
    return passed and (pair.old is None or pair.old.replicas == 0)


def _what_is_left(pair: Pair) -> str:
    return f"; {pair.old.name} is kept at 0 for segue undo {pair.beside.app}" if pair.old is not None else ""


# -- until the switch --------------------------------------------------------------------------------------------------


def _raise_new(plan: Plan, pair: Pair, memory: Memory) -> Decision:
    """While the old version serves: hide the new one, let it grow, all Ready, the gate, the switch."""
    old, new = pair.old, pair.new
    assert new is not None, "the memory lies on it"
    if old is None:
        return without_old(pair, memory)
    if old.template != _old_template(pair, memory):
        # A pin would hold the Services to pods that a rollout is ending: this one makes way at once.
        why = CHANGED.format(old.name)
        marked = memory.but(failed=why, aborting=True, passed=0)
        return act(Remember(deployment=new, memory=marked), because=why)
    hidden = hide(pair, memory, new)
    if hidden is not None and (hidden.actions or not new.replicas):
        return hidden
    current = pair.current(new)
    if current is None:
        return wait("the new ReplicaSet does not exist yet", wake_in_s=0.05)
    goal = _goal(old, memory)
    if new.replicas < goal:
        if memory.paused and not new.replicas:
            return held(plan, pair, "paused before its first step", "resume")
        known = memory.but(new_set=current.name, new_hash=current.pod_hash)
        because = f"Deployment {old.name} has {old.replicas}" if new.replicas else "no Service reaches its pods"
        return act(
            ScaleTo(deployment=new, replicas=goal, memory=known), because=because, barrier=_passed_by(pair, memory)
        )
    return _await_ready(plan, pair, memory, current)


def _old_template(pair: Pair, memory: Memory) -> object:
    found = pair.set_named(memory.old_set)
    return found.template if found is not None else None


def without_old(pair: Pair, memory: Memory) -> Decision:
    """Somebody deleted the old Deployment while it served: the new one takes its place as soon as it can."""
    new = pair.new
    assert new is not None, "the memory lies on it"
    because = "somebody deleted the old Deployment"
    if memory.serving == "new":
        return finish_beside(pair, delete_old=True)
    if new.replicas < int(memory.after["replicas"]):
        return act(ScaleTo(deployment=new, replicas=int(memory.after["replicas"])), because=because)
    current = pair.current(new)
    if current is None or not pair.ready_in(new):
        return wait("no new pod is Ready, and nothing else is there to serve", wake_in_s=0.05)
    known = memory.but(serving="new", switched=True, new_hash=current.pod_hash, switched_s=round(pair.now_s, 3))
    return act(Remember(deployment=new, memory=known), *switches_to_new(pair, known), because=because)


def hide(pair: Pair, memory: Memory, new: Deployment) -> Decision | None:
    """Every Service passes the new pods by, and its endpoints are the Ready old ones; None where that is so."""
    open_to_new = tuple(one for one in pair.served(memory.services) if selects(one.selector, new.pod_labels))
    ready = pair.ready_in(pair.old)
    if open_to_new:
        if not ready:
            return wait(f"no pod of version {memory.old_hash} is Ready: the Services stay where they are")
        return act(
            *(_away_from(pair, memory, service) for service in open_to_new),
            because="new pods are to get no traffic when they are Ready",
            barrier=f"{len(ready)} pods of version {memory.old_hash} are Ready",
        )
    for service in pair.served(memory.services):
        if not pair.reaches(service, tuple(pod for pod in ready if service.selects_pod(pod.labels))):
            return wait(f"the endpoints of Service {service.name} are not yet the old Ready pods", wake_in_s=0.05)
    return None


def _away_from(pair: Pair, memory: Memory, service: Service) -> Select:
    """As it was before the release, with a pin where that alone would let the new pods in."""
    selector = dict(Beside.of(memory.beside).selectors.get(service.name) or pair.beside.common(service.selector))
    if pair.new is not None and selects(selector, pair.new.pod_labels):
        selector["pod-template-hash"] = memory.old_hash
    return Select(service=service, selector=selector, says=f"version {memory.old_hash} alone")


def _passed_by(pair: Pair, memory: Memory) -> str:
    return f"endpoints of {', '.join(memory.services)} are exactly the Ready pods of Deployment {pair.beside.old}"


def _goal(old: Deployment, memory: Memory) -> int:
    """How many new pods: as the manifest says, or as somebody has scaled the old ones to meanwhile."""
    before, wanted = int(memory.before["replicas"]), int(memory.after["replicas"])
    return wanted if old.replicas in {before, 0} else old.replicas


def _await_ready(plan: Plan, pair: Pair, memory: Memory, current: ReplicaSet) -> Decision:
    new = pair.new
    assert new is not None
    ready = pair.ready_in(new)
    if new.observed and current.replicas == new.replicas and len(ready) >= new.replicas:
        gate = before_switch(plan, pair, memory, current, _like(pair, memory))
        if gate is not None:
            return gate
        known = memory.but(
            serving="new",
            switched=True,
            new_set=current.name,
            new_hash=current.pod_hash,
            switched_s=round(pair.now_s, 3),
        )
        # Side and switch in one go: whoever dies between the two leaves old pods that serve and a memory that knows.
        return act(
            Remember(deployment=new, memory=known),
            *switches_to_new(pair, known),
            because=f"all {len(ready)} new pods are Ready",
            barrier=f"{len(ready)} of {new.replicas} Ready, the old pods serve",
        )
    if out_of_time(plan, pair, pair.alive_in(new)):
        return _give_up(plan, pair, len(ready))
    said = f"{len(ready)} of {new.replicas} new pods are Ready" + stuck(pair.alive_in(new))
    return wait(said, wake_in_s=0.1 if new.replicas - len(ready) <= max(2, new.replicas // 5) else 0.3)


def _like(pair: Pair, memory: Memory) -> Service | None:
    """What a preview Service is made after, without what keeps the new pods out of it."""
    for service in pair.served(memory.services):
        spec = {**service.obj["spec"], "selector": pair.beside.common(service.selector)}
        return Service(obj={**service.obj, "spec": spec})
    return None


def _give_up(plan: Plan, pair: Pair, ready: int) -> Decision:
    late_ones = [pod for pod in pair.alive_in(pair.new) if not pod.ready]
    new = pair.new
    assert new is not None
    return stop(
        "unfinished",
        f"{ready} of {new.replicas} new pods are Ready after {plan.timeout_s:g} s ({troubles_of(late_ones)}); the "
        f"{len(pair.ready_in(pair.old))} old pods keep serving",
        f"repair and run the same command again, or go back with segue abort {plan.deployment}",
    )


# -- from the switch to the end ----------------------------------------------------------------------------------------


def switches_to_new(pair: Pair, memory: Memory) -> tuple[Select, ...]:
    """What makes each Service select the new version alone."""
    beside = pair.beside
    both = pair.old is not None and (pair.old.replicas or pair.alive_in(pair.old))
    pod_hash = memory.new_hash if both else ""
    return tuple(
        Select(service=one, selector=wanted, says=f"version {beside.version or memory.new_hash}")
        for one in pair.served(memory.services)
        if one.selector != (wanted := beside.selects_new(one.selector, pod_hash))
    )


def _after_switch(plan: Plan, pair: Pair, memory: Memory) -> Decision:
    """The new version serves: the old pods become quiet, their Deployment goes to 0, what is old goes."""
    switches = switches_to_new(pair, memory)
    if switches:
        if not pair.ready_in(pair.new):
            return wait("no new pod is Ready: the Services stay where they are")
        return act(*switches, because="all new pods are Ready", barrier=f"{len(pair.ready_in(pair.new))} are Ready")
    for service in pair.served(memory.services):
        if not pair.reaches(service, pair.ready_in(pair.new)):
            return wait(f"the endpoints of Service {service.name} are not yet the Ready new pods", wake_in_s=0.05)
    if pair.old is not None and pair.old.replicas:
        return _let_go(plan, pair, memory, pair.old)
    return finish_beside(pair, delete_old=Beside.of(memory.beside).delete_old)


def _let_go(plan: Plan, pair: Pair, memory: Memory, old: Deployment) -> Decision:
    ready = len(pair.ready_in(pair.new))
    floor = min(int(memory.before["replicas"]), int(memory.after["replicas"]))
    if ready < floor:
        return wait(f"only {ready} new pods are Ready now: the old ones stay", drains=memory.old_hash)
    if pair.now_s < memory.switched_s + memory.keep_s:
        said = f"the old pods stand by for {memory.keep_s:g} s: segue abort {plan.deployment} goes back at once"
        return Decision(because=said, wake_in_s=0.5, holds=True)
    if memory.paused:
        return held(plan, pair, "paused while the old pods stand by", "resume")
    drained = drained_under(plan, pair, old)
    if isinstance(drained, Decision):
        return drained
    return Decision(
        actions=(ScaleTo(deployment=old, replicas=0),),
        because=f"all {len(drained)} pods of Deployment {old.name} are drained",
        barrier=f"endpoints of {', '.join(memory.services)} are exactly the {ready} Ready new pods",
        drained=drained,
        wake_in_s=0.0,
    )


def drained_under(plan: Plan, pair: Pair, deployment: Deployment) -> tuple[PodDrained, ...] | Decision:
    """How the drain of each of its pods ended, or what is waited for; a version of it after the other."""
    found: list[PodDrained] = []
    for pod_hash in sorted({pod.pod_hash for pod in pair.alive_in(deployment)}):
        one = drain(plan, pair, pod_hash)
        if isinstance(one, Decision):
            return one
        found.extend(one)
    return tuple(found)


def finish_beside(pair: Pair, *, delete_old: bool) -> Decision:
    """The old Deployment is at 0: wait for its last pod, delete what is not kept, forget."""
    new, old = pair.new, pair.old
    assert new is not None, "the memory lies on it"
    if pair.alive_in(old):
        return wait(f"{len(pair.alive_in(old))} old pods have not begun to end yet", wake_in_s=0.05)
    ending = [pod for pod in pair.pods_under(old) if is_terminating(pod.obj) and not pod.ended and not pod.never_served]
    if ending:
        return wait(f"{len(ending)} old pods are ending, within their own grace")
    gone = (*((old,) if old is not None and delete_old else ()), *pair.spare)
    if gone or previews(pair):
        because = "the new version serves alone"
        return act(*previews(pair), *(EndDeployment(deployment=one) for one in gone), because=because)
    return act(Forget(deployment=new), because="the last old pod has ended")


def previews(pair: Pair) -> tuple[EndPreview | Point, ...]:
    """The preview Service: one that was made for this release goes, any other is itself again."""
    memory = pair.memory
    name = memory.preview if memory is not None else ""
    made = tuple(EndPreview(service=one) for one in pair.services if PREVIEW_OF in labels_of(one.obj))
    own = tuple(
        Point(service=one, pod_hash="")
        for one in pair.services
        if one.name == name and one.pinned_to and PREVIEW_OF not in labels_of(one.obj)
    )
    return (*own, *made)
