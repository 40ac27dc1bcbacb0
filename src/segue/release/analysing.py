"""What decides where a release stops by itself: checks, run once, and the analysis of what is measured there.

At each stop the checks are run one after the other, then is measured until there is a verdict: `pass` promotes the
stop, `fail` takes the release back. `Not enough evidence` goes on measuring; when its time is over the stop is held as
any other, and only somebody's word promotes it.
Rule: what has not been shown is never promoted.
"""

from __future__ import annotations

from segue.analysis.judge import judge
from segue.analysis.values import Hook, Kind, Verdict
from segue.release.actions import Remember
from segue.release.decision import Decision, act
from segue.release.memory import Memory
from segue.release.patience import held
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot

LOOK_S = 0.5  # at what the sources have said meanwhile


def at_stop(plan: Plan, snapshot: Snapshot, memory: Memory, here: str) -> Decision:
    """What happens at the next stop, where nobody has promoted it."""
    tried = trial(plan, snapshot, memory, here)
    if tried is not None:
        return tried
    if plan.metrics:
        said = f"the analysis has passed ({_verdict(plan, snapshot, memory).because})"
    elif plan.hooks:
        said = "the check has passed"
    else:
        return held(plan, snapshot, here, "promote")
    promoted = memory.but(passed=memory.passed + 1)
    return act(Remember(deployment=snapshot.deployment, memory=promoted), because=said, barrier=here)


def trial(plan: Plan, snapshot: Snapshot, memory: Memory, here: str) -> Decision | None:
    """What is still to be tried where the release stands; None when all of it has passed, or nothing was asked for."""
    hook = _unrun_hook(plan, snapshot, memory)
    if hook is not None:
        return Decision(because=f"the check runs: {hook.said}", barrier=here, check=hook, holds=True)
    if not plan.metrics:
        return None
    verdict = _verdict(plan, snapshot, memory)
    if verdict.kind is Kind.PASS:
        return None
    most_s = plan.analysis.most_s
    if _passed_s(snapshot, memory) >= most_s:
        said = f"{here}; not enough evidence after {most_s:g} s ({verdict.because})"
        return held(plan, snapshot, said, "promote")
    return Decision(
        because=f"{here}; {verdict.kind}: {verdict.because}", measures=plan.analysis, wake_in_s=LOOK_S, holds=True
    )


def _unrun_hook(plan: Plan, snapshot: Snapshot, memory: Memory) -> Hook | None:
    """The check that is to be run next where the release stands now."""
    checked = snapshot.checked
    number = checked.number + 1 if checked is not None and checked.stage == memory.passed else 0
    return plan.hooks[number] if number < len(plan.hooks) else None


def failure(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> str:
    """Why the release is to be taken back, "" where nothing has failed."""
    if snapshot.checked is not None and not snapshot.checked.passed:
        return f"the check failed ({snapshot.checked.said})"
    if not plan.metrics or (memory is not None and (memory.aborting or not _is_measured(snapshot, memory))):
        return ""
    # Without a memory it has not begun, or has been taken back to its end: then what failed is still why.
    verdict = _verdict(plan, snapshot, memory)
    return f"the analysis failed ({verdict.because})" if verdict.kind is Kind.FAIL else ""


def _verdict(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Verdict:
    """The verdict on what has been measured at this stop, open where that has not begun."""
    measured = snapshot.measured if memory is None or _is_measured(snapshot, memory) else None
    samples = measured.samples if measured is not None else {}
    passed_s = snapshot.now_s - measured.began_s if measured is not None else 0.0
    return judge(plan.analysis, samples, passed_s=passed_s, stops=max(1, len(plan.stops)))


def _is_measured(snapshot: Snapshot, memory: Memory) -> bool:
    return snapshot.measured is not None and snapshot.measured.stage == memory.passed and memory.serving == "old"


def _passed_s(snapshot: Snapshot, memory: Memory) -> float:
    if snapshot.measured is None or not _is_measured(snapshot, memory):
        return 0.0
    return snapshot.now_s - snapshot.measured.began_s
