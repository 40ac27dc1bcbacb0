"""The way back of a release side by side: the old Deployment serves again, the new one leaves as it came.

Before the switch the new pods have had no traffic: their Deployment goes to 0. After it the old one grows again, is
Ready, gets the traffic, and the new pods are proved quiet. A canary goes back as it came, step by step. Then the
Services are what they were, and a Deployment that was made for this release is deleted.

Rule: the Services are given back only when no new pod is left: their old selectors may let new pods in.
"""

from __future__ import annotations

from dataclasses import replace

from segue.model.objects import Obj
from segue.model.workloads import Deployment
from segue.release.actions import Action, Clean, EndDeployment, Forget, Remember, ScaleTo, Select
from segue.release.beside import Beside, Pair
from segue.release.decision import Decision, Stopped, act, wait
from segue.release.memory import ANNOTATION, RAMPED, Memory
from segue.release.orphans import drain_orphans, orphans_of
from segue.release.plan import Plan
from segue.release.shifting import alone, trade
from segue.release.side_by_side import drained_under, hide, narrowed, previews, switches_to_new, without_old
from segue.release.snapshot import Snapshot


def back_beside(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision:
    """The next step of the way back. The caller holds the Lease."""
    pair = narrowed(snapshot)
    new, old = pair.new, pair.old
    assert new is not None, "the memory lies on it"
    if old is None:  # nothing to go back to: the way out is forward
        return alone(pair, memory, new) if memory.strategy in RAMPED else _forward(pair, memory)
    if not memory.aborting or not Beside.of(memory.beside).back:
        marked = memory.but(aborting=True, beside=_turned(memory, new))
        return act(Remember(deployment=new, memory=marked), because="the way back begins")
    if memory.strategy in RAMPED:
        shift = trade(plan, pair, memory, leaving=new, coming=old)
        if shift is not None:
            return shift
    elif memory.serving == "new":
        return _serve_old(plan, pair, memory, old)
    elif new.replicas or pair.alive_in(new):
        return _end_new(plan, pair, memory, new)
    return _leave(plan, pair, memory, old)


def _forward(pair: Pair, memory: Memory) -> Decision:
    switches = switches_to_new(pair, memory) if memory.serving == "new" else ()
    return act(*switches, because="it serves alone") if switches else without_old(pair, memory)


def _turned(memory: Memory, new: Deployment) -> Obj:
    return replace(Beside.of(memory.beside), noted=new.replicas, back=True).as_obj()


def _serve_old(plan: Plan, pair: Pair, memory: Memory, old: Deployment) -> Decision:
    """Enough old pods Ready, then the memory says which side serves, then the Services follow."""
    new = pair.new
    assert new is not None
    size = max(int(memory.before["replicas"]), old.replicas)
    if old.replicas < size:
        return act(ScaleTo(deployment=old, replicas=size), because="the old version is to serve again")
    ready = len(pair.ready_in(old))
    if ready < size:
        return wait(f"{ready} of {size} old pods are Ready", wake_in_s=0.1)
    known = memory.but(serving="old", switched_s=round(pair.now_s, 3))
    hidden = hide(pair, known, new)
    switches = hidden.actions if hidden is not None else ()
    return act(
        Remember(deployment=new, memory=known),
        *switches,
        because=f"all {ready} old pods are Ready",
        barrier=f"{ready} of {size} Ready, the new pods serve",
    )


def _end_new(plan: Plan, pair: Pair, memory: Memory, new: Deployment) -> Decision:
    hidden = hide(pair, memory, new)
    if hidden is not None and (hidden.actions or memory.switched):
        return hidden
    if not new.replicas:
        return wait(f"{len(pair.alive_in(new))} new pods have not begun to end yet", wake_in_s=0.05)
    drained = drained_under(plan, pair, new) if memory.switched else ()
    if isinstance(drained, Decision):
        return drained
    return Decision(
        actions=(ScaleTo(deployment=new, replicas=0),),
        because="its pods are drained" if memory.switched else "its pods have had no traffic",
        barrier=f"no endpoint of {', '.join(memory.services)} is one of them",
        drained=drained,
        wake_in_s=0.0,
    )


def _leave(plan: Plan, pair: Pair, memory: Memory, old: Deployment) -> Decision:
    """No new pod is left: everything is what it was."""
    new = pair.new
    assert new is not None
    draining = drain_orphans(plan, pair, orphans_of(pair))
    if draining is not None:
        return draining
    beside = Beside.of(memory.beside)
    mine = tuple(
        Select(service=one, selector=dict(beside.selectors[one.name]), says="what it did before")
        for one in pair.served(memory.services)
        if one.name in beside.selectors and one.selector != beside.selectors[one.name]
    )
    copies = tuple(Clean(replica_set=one) for one in pair.sets_of(new) if ANNOTATION in one.annotations)
    last: tuple[Action, ...] = (EndDeployment(deployment=new),) if beside.made else (Forget(deployment=new), *copies)
    decision = act(*mine, *previews(pair), *last, because=f"Deployment {old.name} serves as before")
    if pair.checked is not None or not memory.failed:
        return decision
    # What has ended it lies in the memory alone, which goes with this: so this is the end, and says why.
    said = f"{memory.failed}; Deployment {old.name} serves as before"
    end = Stopped(error="unfinished", message=said, remedy=f"look at Deployment {old.name}, then release again")
    return replace(decision, end=end)
