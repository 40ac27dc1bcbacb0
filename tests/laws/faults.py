"""Faults to plant in the release engine, one at a time: mistakes as programmers make them, and who must notice each.

The table at the end is what is worth reading: a mistake, how it is planted, the scenario in which it matters (of
`test_planted_faults.py`), and the laws of which at least one must be broken there. Above it are the mistakes
themselves: functions that stand in for those of the engine, wrong in one point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from segue.drain.arrivals import Arrived
from segue.drain.judge import Drained, Evidence, Policy, Watch, ended
from segue.drive.evidence import Collector
from segue.drive.flow import Flow
from segue.drive.loop import Drive
from segue.model.http import ApiRequest
from segue.model.objects import Obj
from segue.model.workloads import Pod, ReplicaSet
from segue.release import abort, all_first, leaving, letting_go, ramped, requests
from segue.release.actions import (
    BRAKE_S,
    SURGE,
    Action,
    Attach,
    Detach,
    DropLease,
    EndPreview,
    Forget,
    HoldBack,
    Orphan,
    Point,
    PutBack,
    Ramp,
    Remember,
    Resize,
    ScaleTo,
)
from segue.release.decision import Decision, Done, PodDrained, act
from segue.release.memory import Memory
from segue.release.orphans import orphan, orphans_of
from segue.release.plan import Plan
from segue.release.snapshot import Checked, Snapshot

Plant = Callable[[pytest.MonkeyPatch], None]

# Laws of segue.release.laws, then those that only a run as a whole can show.
FLOOR, CEILING, SERVED = "floor", "ceiling", "served"
A2, ALONE, LIVE, TRACES = "never switched and braked", "detached alone", "no live connection ended", "no traces"
LOST, SILENT, ONE, ENDS = "nothing lost", "silent before its end", "one version at a time", "it ends"
ORPHANS, LEASE, STATE, HOLDS, DRIVER, LABELS = (
    "orphans end by themselves",
    "the Lease lives",
    "end state",
    "holds where it is told to",
    "one drives",
    "a policy holds",
)
LAWS = frozenset(
    {FLOOR, CEILING, SERVED, A2, ALONE, LIVE, TRACES, LOST, SILENT, ONE, ENDS}
    | {ORPHANS, LEASE, STATE, HOLDS, DRIVER, LABELS}
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One mistake: what it is, how it gets into the engine, where it matters, and which laws are to tell."""

    name: str
    plant: Plant
    scenario: str
    noticed_by: frozenset[str]


def fault(name: str, scenario: str, *noticed_by: str, plant: Plant) -> Fault:
    """One row of the table."""
    return Fault(name=name, scenario=scenario, plant=plant, noticed_by=frozenset(noticed_by))


def swap(path: str, wrong: object) -> Plant:
    """`wrong` in the place of what bears this name in segue."""
    return lambda monkeypatch: monkeypatch.setattr(f"segue.{path}", wrong)


def without(decision: Decision, kind: type) -> Decision:
    """The decision without its actions of one kind."""
    return replace(decision, actions=tuple(one for one in decision.actions if not isinstance(one, kind)))


# -- all-first ---------------------------------------------------------------------------------------------------------

_point_services, _raise_new, _await_ready = all_first.point_services, all_first._raise_new, all_first._await_ready
_switched, _finish = all_first._switched, leaving.finish
_unpin, _leave = leaving.unpin, leaving.leave


def points_to_new_only(snapshot: Snapshot, memory: Memory, pod_hash: str, *, because: str) -> Decision | None:
    return None if pod_hash == memory.old_hash else _point_services(snapshot, memory, pod_hash, because=because)


def points_to_the_newest(snapshot: Snapshot, memory: Memory, pod_hash: str, *, because: str) -> Decision | None:
    newest = snapshot.newest
    return _point_services(snapshot, memory, newest.pod_hash if newest else pod_hash, because=because)


def detaches_at_once(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    old = snapshot.set_named(memory.old_set)
    if old is not None and snapshot.owns(old) and not memory.patched:
        return act(Detach(replica_set=old, deployment=plan.deployment, labels=memory.labels), because="early")
    return _raise_new(plan, snapshot, memory)


def switches_at_the_first_ready(plan: Plan, snapshot: Snapshot, memory: Memory, new: ReplicaSet) -> Decision:
    if not snapshot.ready_of(new.pod_hash):
        return _await_ready(plan, snapshot, memory, new)
    known = memory.but(serving="new", switched=True, new_set=new.name, new_hash=new.pod_hash)
    points = all_first._points(snapshot, known, new.pod_hash)
    return act(Remember(deployment=snapshot.deployment, memory=known), *points, because="one is Ready")


def ends_old_before_the_switch(plan: Plan, snapshot: Snapshot, memory: Memory, new: ReplicaSet) -> Decision:
    decision, old = _await_ready(plan, snapshot, memory, new), snapshot.set_named(memory.old_set)
    if not decision.actions or old is None:
        return decision
    return replace(decision, actions=(Resize(replica_set=old, replicas=0), *decision.actions))


def switches_before_it_remembers(plan: Plan, snapshot: Snapshot, memory: Memory, new: ReplicaSet) -> Decision:
    decision = _await_ready(plan, snapshot, memory, new)
    return replace(decision, actions=decision.actions[::-1])


def attaches_before_it_is_at_0(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision | None:
    found = _switched(plan, snapshot, memory, old)
    if found is None and not snapshot.owns(old):
        return act(leaving.attach(snapshot, memory, old), because="the new version serves")
    return found


def finishes_without(kind: type) -> Callable[[Plan, Snapshot, Memory], Decision]:
    """Where this would be done, what comes after it is: everything is unpinned and forgotten."""

    def finish(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
        decision = _finish(plan, snapshot, memory)
        if not any(isinstance(one, kind) for one in decision.actions):
            return decision
        if kind is Forget:
            return Decision(because="done", end=Done(message="done"))
        rest: tuple[Action, ...] = (*_unpin(snapshot, memory), Forget(deployment=snapshot.deployment))
        return act(*(one for one in rest if not isinstance(one, kind)), because="only the new version is left")

    return finish


def leaves_copies(snapshot: Snapshot, message: str) -> Decision:
    drop = (DropLease(lease=snapshot.lease),) if snapshot.lease is not None else ()
    return Decision(actions=drop, because=message, end=Done(message=message))


def leaves_the_lease(snapshot: Snapshot, message: str) -> Decision:
    return without(_leave(snapshot, message), DropLease)


def keeps_the_preview(snapshot: Snapshot, memory: Memory) -> tuple[Point | EndPreview, ...]:
    return tuple(one for one in _unpin(snapshot, memory) if not isinstance(one, EndPreview))


def ends_all_at_once(plan: Plan, snapshot: Snapshot, pod_hash: str) -> tuple[PodDrained, ...]:
    return ()


def drains_by_the_first(plan: Plan, snapshot: Snapshot, pod_hash: str) -> tuple[PodDrained, ...] | Decision:
    first = min((pod.name for pod in snapshot.alive_of(pod_hash)), default="")
    same = dict.fromkeys(snapshot.evidence, snapshot.evidence[first]) if first in snapshot.evidence else {}
    return leaving.drain(plan, replace(snapshot, evidence=same), pod_hash)


# -- the way back ------------------------------------------------------------------------------------------------------


def serves_old_at_once(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    return act(Remember(deployment=snapshot.deployment, memory=memory.but(serving="old")), because="back")


def puts_back_without_the_brake(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    if not snapshot.owns(old):
        return act(leaving.attach(snapshot, memory, old), because="back")
    new = snapshot.newest
    known = memory.but(new_set=new.name, new_hash=new.pod_hash) if new is not None else memory
    return act(PutBack(deployment=snapshot.deployment, template=old.template, memory=known), because="back")


def leaves_new_pods_to_the_controller(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    return abort._leave(snapshot, memory, "the old template is back")


# -- ramped ------------------------------------------------------------------------------------------------------------

_shift, _while_open, _while_closed = ramped._shift, ramped._while_open, ramped._while_closed
_room, _victims, _turn_round, _orphan_request = ramped._room, ramped._victims, ramped._turn_round, requests._orphan


def makes_room_for_all(memory: Memory, leaving: ReplicaSet, wanted: int) -> int:
    return wanted


def shifts_without_closing(
    plan: Plan, snapshot: Snapshot, memory: Memory, *, leaving: ReplicaSet, coming: ReplicaSet
) -> Decision | None:
    way = _while_closed if orphans_of(snapshot) else _while_open
    decision = way(plan, snapshot, memory, leaving=leaving, coming=coming)
    if decision is None or not any(isinstance(one, Orphan) for one in decision.actions):
        return decision
    return without(decision, Ramp)


def never_shrinks(
    plan: Plan, snapshot: Snapshot, memory: Memory, *, leaving: ReplicaSet, coming: ReplicaSet
) -> Decision | None:
    shrunk = replace(leaving, obj={**leaving.obj, "spec": {**leaving.obj["spec"], "replicas": 0}})
    return _while_closed(plan, snapshot, memory, leaving=shrunk, coming=coming)


def one_victim_too_many(
    snapshot: Snapshot, *, leaving: ReplicaSet, spare: int, coming: tuple[Pod, ...]
) -> tuple[Pod, ...]:
    own = [pod for pod in snapshot.pods if pod.owner_uid == leaving.uid and pod.alive]
    return tuple(own[: spare + 1])


def is_drained_at_once(evidence: Evidence, *, now_s: float, since_s: float, policy: Policy) -> Drained:
    return Drained(reason="quiet", because="it has left traffic")


def has_waited_since_ever(evidence: Evidence, *, now_s: float, since_s: float, policy: Policy) -> Drained | None:
    return ended(evidence, now_s=now_s, since_s=0.0, policy=policy)


def changes_no_label(snapshot: Snapshot, pod: Pod) -> tuple[str, ...]:
    return ()


def orphans_for_ever(action: Orphan) -> ApiRequest:
    request = _orphan_request(action)
    assert isinstance(request.body, list)
    return replace(request, body=[one for one in request.body if "activeDeadlineSeconds" not in one["path"]])


def turns_round_under_one_brake(snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    spec, status = {**old.obj["spec"], "minReadySeconds": BRAKE_S}, {**old.obj["status"], "availableReplicas": 0}
    return _turn_round(snapshot, memory, replace(old, obj={**old.obj, "spec": spec, "status": status}))


# -- other strategies and commands -------------------------------------------------------------------------------------


_orphans_all = letting_go.let_go


def does_not_let_pods_go(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    decision = _orphans_all(plan, snapshot, memory, old)
    if not any(isinstance(one, Orphan) for one in decision.actions):
        return decision
    return act(Resize(replica_set=old, replicas=0), because="the new version serves")


def shrinks_first(plan: Plan, snapshot: Snapshot, owned: list[Pod], orphans: tuple[Pod, ...]) -> Decision | None:
    return act(ScaleTo(deployment=snapshot.deployment, replicas=plan.wanted), because="fewer are wanted")


def never_scales(plan: Plan, snapshot: Snapshot, owned: list[Pod], orphans: tuple[Pod, ...]) -> Decision | None:
    ready = [pod for pod in owned if pod.ready]
    return act(orphan(plan, snapshot, ready[0]), because="fewer are wanted") if ready else None


def needs_no_successor(plan: Plan, snapshot: Snapshot, victim: Pod) -> Decision:
    return act(orphan(plan, snapshot, victim), because="it is to go")


def goes_back_to_the_first(snapshot: Snapshot, memory: Memory | None, revision: int | None) -> Obj:
    return min(snapshot.sets, key=lambda one: one.revision).template


def takes_any_template_for_its_own(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    target = replace(plan.target, template=snapshot.deployment.template) if memory.patched else plan.target
    return _raise_new(replace(plan, target=target), snapshot, memory)


def knows_no_pause(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    return _raise_new(plan, snapshot, memory.but(paused=False))


def takes_nothing_back(plan: Plan, snapshot: Snapshot, memory: Memory | None, _why: str) -> Decision:
    return all_first.decide(plan, replace(snapshot, checked=Checked(passed=True, said="")), memory)


def settings_without_strategy(plan: Plan) -> Obj:
    return {key: value for key, value in plan.target.after.items() if key != "strategy"}


# -- the loop and the judge --------------------------------------------------------------------------------------------

_look, _window_s = Drive._look, Watch._window_s


def looks_seldom(self: Drive, before: Snapshot, collector: Collector) -> Flow[Snapshot]:
    """While it drains it reads the objects once a second only, and acts on what it has read."""
    if collector.draining and self.now_s - before.now_s < 1.0:
        return replace(before, evidence=self.observer.evidence, drain_began_s=self.observer.drain_began_s)
    return (yield from _look(self, before, collector))


def pools_all_senders(self: Watch, arrived: Sequence[Arrived], rate: float, since_s: float, policy: Policy) -> float:
    self.senders.clear()
    nobody = [replace(one, seen={}) for one in arrived]
    return _window_s(self, nobody, rate, since_s, policy)


def patches_without_a_guard(obj: Obj, api_version: str, plural: str, operations: list[Obj]) -> ApiRequest:
    request = _patch(obj, api_version, plural, operations)
    return replace(request, body=operations)


_patch = requests._patch
_gate = requests._gate


def gates_and_never_opens(action: Attach | HoldBack, *, held: bool) -> list[Obj]:
    """The gate goes into the template and nobody takes it out."""
    return _gate(action, held=held) if held else []


class Nothing:
    """No action is of this kind."""


# -- the table ---------------------------------------------------------------------------------------------------------

# A row of two lines: what it is, where it matters, and who is to tell; then how it is planted.
# fmt: off
FAULTS: tuple[Fault, ...] = (
    # all-first: what comes up, and what it waits for
    fault("the Services are not pinned", "release", ONE,
          plant=swap("release.all_first.point_services", points_to_new_only)),
    fault("pinned to the newest version, not to the serving one", "release", FLOOR,
          plant=swap("release.all_first.point_services", points_to_the_newest)),
    fault("switched when the first new pod is Ready", "release", FLOOR,
          plant=swap("release.all_first._await_ready", switches_at_the_first_ready)),
    fault("the template comes without the brake", "release, dies under the brake", LOST, SILENT,
          plant=swap("release.requests._BRAKED", {"strategy": SURGE})),
    fault("the brake is not taken off", "release behind a policy, an old pod in use", A2,
          plant=swap("release.all_first.BRAKE_S", -1)),
    fault("the old ReplicaSet comes home with the gate in its template", "release", TRACES,
          plant=swap("release.requests._gate", gates_and_never_opens)),
    fault("what is held back stays so on the way back", "abort, died while old pods leave", ENDS,
          plant=swap("model.workloads.is_held_back", lambda _: False)),
    fault("detached before the new ReplicaSet exists", "release", ALONE,
          plant=swap("release.all_first._raise_new", detaches_at_once)),
    fault("another's template is taken for its own", "release, another template", ENDS,
          plant=swap("release.all_first._raise_new", takes_any_template_for_its_own)),
    fault("a pause is not heard", "release, told to pause", HOLDS,
          plant=swap("release.all_first._raise_new", knows_no_pause)),
    # all-first: the switch, and the end of what served
    fault("the old ReplicaSet goes to 0 before the switch", "release", FLOOR, SERVED,
          plant=swap("release.all_first._await_ready", ends_old_before_the_switch)),
    fault("switched before it is remembered", "abort, died in the switch", LOST, SILENT,
          plant=swap("release.all_first._await_ready", switches_before_it_remembers)),
    fault("pods end before they are quiet", "release", LOST, LIVE, SILENT,
          plant=swap("release.orphans.ended", is_drained_at_once)),
    fault("pods that keep their labels end before they are quiet", "release behind a policy", LOST, LIVE, SILENT,
          plant=swap("release.letting_go.drain", ends_all_at_once)),
    fault("one pod's evidence is taken for all", "release behind a policy, an old pod in use", LIVE,
          plant=swap("release.letting_go.drain", drains_by_the_first)),
    fault("a NetworkPolicy is not looked at", "release behind a policy", LABELS,
          plant=swap("drive.around.keeps_labels", lambda *_: "")),
    fault("attached before it is at 0", "release", LOST, SILENT,
          plant=swap("release.all_first._switched", attaches_before_it_is_at_0)),
    # what is left behind
    fault("the old ReplicaSet stays detached", "release", TRACES,
          plant=swap("release.all_first.finish", finishes_without(Attach))),
    fault("the Service stays pinned", "release", TRACES,
          plant=swap("release.leaving.unpin", lambda *_: ())),
    fault("the memory is not forgotten", "release", TRACES,
          plant=swap("release.all_first.finish", finishes_without(Forget))),
    fault("its copies stay on the ReplicaSets", "release", TRACES,
          plant=swap("release.entry.leave", leaves_copies)),
    fault("the Lease is not dropped", "release", TRACES,
          plant=swap("release.entry.leave", leaves_the_lease)),
    fault("the preview stays", "blue-green, check passes", TRACES, STATE,
          plant=swap("release.leaving.unpin", keeps_the_preview)),
    fault("recreate leaves its own strategy behind", "recreate", STATE,
          plant=swap("release.plan.Plan.after", property(settings_without_strategy))),
    # the way back
    fault("back before the old pods are Ready", "abort, an old pod missing", FLOOR,
          plant=swap("release.abort._serve_old", serves_old_at_once)),
    fault("put back without the brake", "abort after the switch", LOST, SILENT,
          plant=swap("release.abort._put_back", puts_back_without_the_brake)),
    fault("new pods that have served are not drained", "abort after the switch", LOST, LIVE, SILENT,
          plant=swap("release.abort.drain", ends_all_at_once)),
    fault("unpinned while new pods still run", "abort, Deployments slow", LOST, ONE,
          plant=swap("release.abort._end_new", leaves_new_pods_to_the_controller)),
    fault("the brake is not put back with the settings", "abort of pods that cannot start", A2,
          plant=swap("release.requests.SETTINGS", ("strategy",))),
    fault("the ReplicaSet that was made stays", "abort of pods that cannot start", STATE,
          plant=swap("release.abort._made_by", lambda *_: ())),
    fault("a failed check takes nothing back", "blue-green, check fails", HOLDS,
          plant=swap("release.strategies._take_back", takes_nothing_back)),
    fault("an undo goes to the oldest revision", "undo", STATE,
          plant=swap("drive.command._earlier", goes_back_to_the_first)),
    # ramped
    fault("room for more than one step", "ramped", CEILING,
          plant=swap("release.ramped._room", makes_room_for_all)),
    fault("the room stays open while old pods drain", "ramped", CEILING,
          plant=swap("release.ramped._shift", shifts_without_closing)),
    fault("one old pod too many leaves", "ramped", FLOOR,
          plant=swap("release.ramped._victims", one_victim_too_many)),
    fault("the old ReplicaSet does not shrink", "ramped", CEILING,
          plant=swap("release.ramped._while_closed", never_shrinks)),
    fault("an orphan ends before it is quiet", "ramped, an old pod in use", LIVE, SILENT,
          plant=swap("release.orphans.ended", is_drained_at_once)),
    fault("an orphan keeps its labels", "ramped", LOST, SILENT,
          plant=swap("release.orphans._labels_to_change", changes_no_label)),
    fault("an orphan has no deadline", "ramped", ORPHANS,
          plant=swap("release.requests._orphan", orphans_for_ever)),
    fault("the way back without the old ReplicaSet's brake", "ramped, aborted", LOST, SILENT,
          plant=swap("release.ramped._turn_round", turns_round_under_one_brake)),
    fault("a stop is not held", "canary", HOLDS,
          plant=swap("release.memory.Memory.next_stop", None)),
    # handover, scale, retire
    fault("handover ends pods instead of letting them go", "handover", LIVE,
          plant=swap("release.all_first.let_go", does_not_let_pods_go)),
    fault("the Deployment shrinks before a pod has left", "scale-down", LOST, SILENT,
          plant=swap("release.scaling._shrink", shrinks_first)),
    fault("pods leave and the Deployment does not shrink", "scale-down", CEILING,
          plant=swap("release.scaling._shrink", never_scales)),
    fault("a retired pod goes before its successor is there", "retirement", FLOOR,
          plant=swap("release.retiring._let_go", needs_no_successor)),
    # evidence, writes, and who may make them
    fault("a live connection does not count", "handover", LIVE,
          plant=swap("drain.judge._is_live", lambda *_: False)),
    fault("rates are pooled over all senders", "release beside a slow node", LOST,
          plant=swap("drain.judge.Watch._window_s", pools_all_senders)),
    fault("the wait without evidence began with the world", "release, nothing to see", LOST, LIVE, SILENT,
          plant=swap("release.orphans.ended", has_waited_since_ever)),
    fault("what was quiet before the pin was lost still counts", "release, its pin taken away", LOST,
          plant=swap("drive.loop.Point", Nothing)),
    fault("it acts on what it has read before", "release, its pin taken away", LOST,
          plant=swap("drive.loop.Drive._look", looks_seldom)),
    fault("a write goes through whatever has changed", "release, told to pause", HOLDS,
          plant=swap("release.requests._patch", patches_without_a_guard)),
    fault("the Lease is not renewed", "handover", LEASE,
          plant=swap("drive.loop.RENEW_AFTER_S", 1e9)),
    fault("another's Lease is not looked at", "release while another drives", DRIVER,
          plant=swap("release.snapshot.Snapshot.held_by", "")),
)
# fmt: on
