"""Which module decides a release of which strategy. Strategies do not know each other."""

from __future__ import annotations

from segue.release import all_first, ramped, recreate, shifting, side_by_side
from segue.release.abort import decide_abort
from segue.release.actions import Remember
from segue.release.analysing import failure
from segue.release.decision import Decision, Done, act, stop
from segue.release.memory import RAMPED, Memory
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


def decide(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step by the strategy of the plan; the way back where a check or the analysis has failed."""
    why = failure(plan, snapshot, memory)
    if why or (memory is not None and memory.failed and memory.digest == plan.target.digest):
        return _take_back(plan, snapshot, memory, why)
    if plan.beside is not None:
        choose = shifting.decide_shift if plan.strategy in RAMPED else side_by_side.decide_beside
        return choose(plan, snapshot, memory)
    if plan.strategy in RAMPED:
        return ramped.decide_ramped(plan, snapshot, memory)
    if plan.strategy == "recreate":
        return recreate.decide_recreate(plan, snapshot, memory)
    return all_first.decide(plan, snapshot, memory)


def _take_back(plan: Plan, snapshot: Snapshot, memory: Memory | None, why: str) -> Decision:
    """Abort by the release itself; its end says why."""
    why = why or (memory.failed if memory is not None else "")
    if memory is not None and not memory.failed:
        marked = memory.but(failed=why, aborting=True, passed=0)
        return act(Remember(deployment=snapshot.deployment, memory=marked), because=why)
    decision = decide_abort(plan, snapshot, memory)
    if isinstance(decision.end, Done):
        newest = snapshot.newest
        version = newest.pod_hash if newest is not None else "?"
        said = f"{why}; Deployment {plan.deployment} is at version {version}, as before"
        ended = stop("unfinished", said, "repair what it found, then release again")
        return Decision(because=ended.because, actions=decision.actions, end=ended.end)
    return decision
