"""A newer target while a release is on its last stretch: its version serves, only old pods are still to end.

What is under way is brought to where nothing of it but draining pods is left; these are handed over to what comes next,
with their cap and what counts as live for them. Nobody has to wait for old connections before the next release.

Rule: only what serves its new version is superseded. What has not switched yet is taken back instead.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.release.memory import RAMPED, Memory
from segue.release.plan import Approach, Target, resume_plan
from segue.release.snapshot import Snapshot
from segue.release.strategies import decide

NOTE = "the one under way serves its new version: its last old pods are handed over to this one"


def is_superseded(snapshot: Snapshot, target: Target) -> bool:
    """Whether something else is under way that needs nothing but its drains, with nobody at it."""
    memory = snapshot.memory
    if memory is None or snapshot.held_by or memory.keeps_version or memory.aborting or memory.failed:
        return False
    if memory.kind == target.kind and memory.digest == target.digest:
        return False
    if memory.beside:  # of another Deployment's pods it knows nothing
        return False
    return memory.serving == "new" and memory.strategy not in {*RAMPED, "recreate"}


def hand_over(snapshot: Snapshot, driver: Driver) -> Flow[Outcome]:
    """Bring what is under way to where only draining pods are left, and forget it."""
    memory, deployment = snapshot.memory, snapshot.deployment
    assert memory is not None, "it is superseded"
    target = Target(kind=memory.kind, template=deployment.template, after=memory.after, metadata=memory.metadata)
    plan = replace(resume_plan(target, snapshot, memory, driver.approach), hands_over=True)
    observer = driver.observer(deployment.namespace, deployment.name)
    return (yield from driver.drive(observer, partial(decide, plan), plan.policy))


def inheriting(approach: Approach, memory: Memory) -> Approach:
    """The approach of what comes next: no pod that it takes over is ended sooner than it was promised."""
    policy = approach.policy
    cap_s = max(policy.cap_s, memory.cap_s)
    keeps_idle = policy.keeps_idle or memory.keeps_idle
    outgoing = policy.outgoing or memory.outgoing
    return replace(approach, policy=replace(policy, cap_s=cap_s, keeps_idle=keeps_idle, outgoing=outgoing))
