"""What a release under way does and waits for, told by somebody who only looks on.

The engine is asked what it would do with the snapshot at hand if it were the one who drives: the same decision that who
drives comes to. So whoever drives, from wherever, is told of, and nothing needs to be sent by them.
Rule 1: nothing is performed. A step counts as done when it was due and is not any more.
Rule 2: what an onlooker cannot know (a check, an analysis of the command that drives) is not guessed: no decision then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from segue.drain.judge import Evidence
from segue.model.errors import SegueError
from segue.release.abort import decide_abort
from segue.release.actions import TakeLease
from segue.release.decision import Decision, Stopped
from segue.release.outline import steps_of
from segue.release.plan import Approach, Plan, Target, resume_plan
from segue.release.snapshot import Snapshot
from segue.release.strategies import decide
from segue.release.telling import describe

STEPS_KEPT_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action that was due and then was done, with its reason and with what was verified before it."""

    at_s: float
    action: str
    because: str
    barrier: str


@dataclass(slots=True, kw_only=True)
class Onlooker:
    """Looks at one release after the other."""

    began: str = ""  # id of the release that the steps are of
    steps: list[Step] = field(default_factory=list)
    due: tuple[Step, ...] = ()
    waits: str = ""
    outline: tuple[str, ...] = ()
    drain_began_s: float | None = None
    draining: frozenset[str] = frozenset()  # pods that were out of traffic, alive

    def see(self, snapshot: Snapshot, evidence: Mapping[str, Evidence]) -> None:
        """Take note of a snapshot."""
        memory = snapshot.memory
        if memory is not None and memory.id != self.began:
            self.began, self.steps, self.due, self.outline = memory.id, [], (), ()
            self.drain_began_s = None
        if memory is not None and memory.switched and self.drain_began_s is None:
            self.drain_began_s = snapshot.now_s
        seen = replace(snapshot, evidence=evidence, drain_began_s=self.drain_began_s)
        decision = self._decision(seen)
        fresh: tuple[Step, ...] = ()
        if decision is not None:
            fresh = tuple(
                Step(at_s=snapshot.now_s, action=text, because=decision.because, barrier=decision.barrier)
                for action in decision.actions
                if not isinstance(action, TakeLease) and (text := describe(action))
            )
        first = {step.action: step for step in self.due}  # with the reason it was first due for, as who drives has it
        due = tuple(first.get(step.action, step) for step in fresh)
        wanted = {step.action for step in due}
        if memory is None or not memory.aborting or self.waits:
            done = [replace(step, at_s=snapshot.now_s) for step in self.due if step.action not in wanted]
            self.steps = [*self.steps, *done, *self._ended(snapshot, evidence, done)][-STEPS_KEPT_MAX:]
        self.draining = frozenset(pod.name for pod in snapshot.pods if pod.orphaned and pod.alive)
        self.due = due
        self.waits = decision.because if decision is not None else ""

    def _ended(self, snapshot: Snapshot, evidence: Mapping[str, Evidence], done: list[Step]) -> list[Step]:
        """Pods whose end was never seen due: who drives looks at their connections more often than an onlooker does."""
        alive = {pod.name for pod in snapshot.pods if pod.alive}
        told = {step.action for step in (*self.steps, *done)}
        return [
            Step(at_s=snapshot.now_s, action=f"end pod {name}", because=_why(evidence.get(name)), barrier="")
            for name in sorted(self.draining - alive)
            if f"end pod {name}" not in told
        ]

    def _decision(self, snapshot: Snapshot) -> Decision | None:
        """What is due now; None where nothing is under way, or nobody but who drives can know."""
        memory = snapshot.memory
        if memory is None or memory.keeps_version or not (memory.patched or memory.aborting):
            return None
        lease = snapshot.lease
        driven = replace(snapshot, me=lease.holder) if lease is not None and lease.holder else snapshot
        target = Target(
            kind=memory.kind, template=snapshot.deployment.template, after=memory.after, metadata=memory.metadata
        )
        try:
            plan = resume_plan(target, driven, memory, Approach())
            if not self.outline and not memory.aborting:
                self.outline = _outline(plan)
            back = memory.aborting and not memory.failed
            decision = decide_abort(plan, driven, memory) if back else decide(plan, driven, memory)
        except SegueError:
            return None
        return None if isinstance(decision.end, Stopped) and decision.end.error == "conflict" else decision


def _why(evidence: Evidence | None) -> str:
    return f"its drain is over; last seen: {evidence.because}" if evidence is not None else "its drain is over"


def _outline(plan: Plan) -> tuple[str, ...]:
    return tuple(text[:1].upper() + text[1:] for text in steps_of(plan))
