"""How long a release of a StatefulSet or a DaemonSet waits, where it holds, and how many pods may go at once.

Rule: a wait that has taken too long ends the run, never what serves.
"""

from __future__ import annotations

from segue.release.actions import DropLease
from segue.release.decision import Done, counted
from segue.release.memory import Memory
from segue.release.native_snapshot import NativeSnapshot
from segue.release.natives import NativeDecision, NativePlan, halt


def room(plan: NativePlan, seen: NativeSnapshot, memory: Memory) -> int:
    """How many pods may go now: a step, or as many as are missing to the next stop."""
    stop = memory.next_stop
    return plan.step if stop is None else max(1, min(plan.step, stop - seen.new_and_ready()))


def stand_still(plan: NativePlan, seen: NativeSnapshot, memory: Memory) -> NativeDecision | None:
    """Hold where somebody said so, or at a stop; else None. Nobody holds a way back."""
    if memory.aborting:
        return None
    if memory.paused:
        return _held(plan, seen, "paused", "resume")
    stop, ready = memory.next_stop, seen.new_and_ready()
    if stop is not None and ready >= stop:
        return _held(plan, seen, f"{counted(ready, 'new pod')} beside {len(seen.pods) - ready} old", "promote")
    return None


def _held(plan: NativePlan, seen: NativeSnapshot, because: str, command: str) -> NativeDecision:
    said = f"{because}; segue {command} {plan.name} goes on, segue abort {plan.name} goes back"
    if plan.waits:
        return NativeDecision(because=said, wake_in_s=0.5, holds=True)
    drop = (DropLease(lease=seen.lease),) if seen.lease is not None else ()
    return NativeDecision(actions=drop, because=said, end=Done(message=said, held=True))


def late(plan: NativePlan, seen: NativeSnapshot, memory: Memory, decision: NativeDecision) -> NativeDecision:
    """The decision, or the end where its wait has taken too long: since the last step, and for each new pod."""
    if decision.actions or decision.end is not None or decision.holds:
        return decision
    # A pod that ends has its own grace; the one that comes after it has its whole time all the same.
    since_s = [(pod.deletion_ends_s if pod.terminating else pod.created_s) for pod in seen.pods]
    due_s = max(plan.deadline_s, max([memory.switched_s, *since_s]) + plan.timeout_s)
    if seen.now_s <= due_s:
        return decision
    return halt(
        "unfinished",
        f"still waiting after {plan.timeout_s:g} s: {decision.because}; no other pod goes, what serves keeps serving",
        f"repair it and run the same command again, or go back with segue abort {plan.name}",
    )
