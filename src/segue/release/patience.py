"""How long a release waits, and what it says when it waits no longer.

Rule: a wait that has taken too long ends the run, never what serves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.model.workloads import Pod
from segue.release.actions import DropLease
from segue.release.decision import Decision, Done, stop
from segue.release.memory import Memory
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot

OTHERS_PATIENCE_S = 60.0  # for controllers and kubelets to do what follows the last action
_STUCK = re.compile(r"Err|Unschedulable|InvalidImageName|\w+BackOff|Create\w+Error")


def late(plan: Plan, snapshot: Snapshot, memory: Memory, decision: Decision) -> Decision:
    """A wait that has taken too long says so and ends; what serves keeps serving."""
    grace_s = float(plan.target.template.get("spec", {}).get("terminationGracePeriodSeconds") or 30)
    patience_s = plan.policy.cap_s + grace_s + OTHERS_PATIENCE_S if memory.serving == "new" else 0.0
    new = snapshot.newest
    # Pods that came up late have their own time: what waits for them says so itself when it is over.
    newest_s = _newest_s(snapshot.alive_of(new.pod_hash)) if new is not None and new.name != memory.old_set else 0.0
    due_s = max(plan.deadline_s, memory.switched_s + memory.keep_s, newest_s + plan.timeout_s)
    if decision.holds or snapshot.now_s <= due_s + patience_s:
        return decision
    return stop(
        "unfinished",
        f"still waiting after {plan.timeout_s + patience_s:g} s: {decision.because}",
        "what serves keeps serving; the same command goes on from here",
    )


def old_set_is_gone(memory: Memory) -> Decision:
    """The end where there is nothing left to go on from."""
    return stop(
        "unfinished",
        f"ReplicaSet {memory.old_set}, which served, has been deleted by somebody",
        "segue abort takes segue's settings off; then release again",
    )


def out_of_time(plan: Plan, snapshot: Snapshot, pods: Sequence[Pod]) -> bool:
    """Whether pods have had their time to become Ready, this run's and their own: some begin long after it."""
    return snapshot.now_s > max(plan.deadline_s, _newest_s(pods) + plan.timeout_s)


def _newest_s(pods: Sequence[Pod]) -> float:
    return max((pod.created_s for pod in pods), default=0.0)


def held(plan: Plan, snapshot: Snapshot, because: str, command: str) -> Decision:
    """It goes on when somebody says so: wait for that, or leave it to whoever says it."""
    said = f"{because}; segue {command} {plan.deployment} goes on, segue abort {plan.deployment} goes back"
    if plan.waits:
        return Decision(because=said, wake_in_s=0.5, holds=True)
    drop = (DropLease(lease=snapshot.lease),) if snapshot.lease is not None else ()
    return Decision(actions=drop, because=said, end=Done(message=said, held=True))


def stuck(pods: Sequence[Pod]) -> str:
    """What keeps pods from starting that seldom passes by itself, to be told while one still waits; "" for nothing."""
    found = troubles_of([pod for pod in pods if _STUCK.match(pod.trouble())])
    return f": {found}" if found else ""


def troubles_of(pods: Sequence[Pod]) -> str:
    """Why pods are not Ready, equal reasons told once."""
    by_reason: dict[str, list[str]] = {}
    for pod in pods:
        by_reason.setdefault(pod.trouble(), []).append(pod.name)
    return "; ".join(
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {reason}"
        for reason, names in by_reason.items()
    )
