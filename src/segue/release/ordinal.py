"""The way of a StatefulSet: the partition goes down, one ordinal (or one step of them) at a time.

The new template comes in together with a partition above all ordinals, so that nothing moves. What lies below the
partition stays as it is and comes back as it was (W1): where this stops, what serves keeps serving.

Rule: the partition is lowered only while every pod serves, but for those that go next.
"""

from __future__ import annotations

from segue.model.natives import partition_of
from segue.model.objects import Obj
from segue.model.workloads import Pod
from segue.release.actions import EndPod
from segue.release.entry import UNHEALTHY_PATIENCE_S
from segue.release.memory import Memory
from segue.release.native_actions import Amend
from segue.release.native_snapshot import NativeSnapshot
from segue.release.native_waiting import room, stand_still
from segue.release.natives import NativeDecision, NativePlan, do, pause


def rolling(partition: int, step: int) -> Obj:
    """The updateStrategy while a release drives: only a step of more than one needs more than one unavailable."""
    numbers: Obj = {"partition": partition} | ({"maxUnavailable": step} if step > 1 else {})
    return {"type": "RollingUpdate", "rollingUpdate": numbers}


def decide_ordinals(plan: NativePlan, seen: NativeSnapshot, memory: Memory) -> NativeDecision | None:
    """The next step; None when all ordinals that are to be new are new, and serve."""
    newest, native = seen.newest, seen.native
    assert newest is not None, "its controller has made it"
    by_place = {seen.place(pod): pod for pod in seen.pods}
    count = native.desired
    rolls = native.strategy.get("type") == "RollingUpdate"
    partition = min(partition_of(native.strategy), count) if rolls else count
    for place in range(count - 1, partition - 1, -1):
        waiting = _replaced(seen, by_place.get(place), place)
        if waiting is not None:
            return waiting
    todo = [place for place in range(partition - 1, plan.partition - 1, -1) if _is_old(seen, by_place.get(place))]
    if not todo:
        return None
    held = stand_still(plan, seen, memory)
    if held is not None:
        return held
    going = todo[: room(plan, seen, memory)]
    for place in sorted(set(range(partition)) - set(going)):
        pod = by_place.get(place)
        if pod is not None and seen.is_long_broken(pod, UNHEALTHY_PATIENCE_S):
            continue
        because = seen.away(pod) if pod is not None else f"pod {_name(seen, place)} is being made"
        if because:
            return pause(because)
    names = ", ".join(_name(seen, place) for place in going)
    lower = Amend(
        native=native,
        says=f"lower the partition to {going[-1]}: {names} {'go' if len(going) > 1 else 'goes'} next",
        spec={"updateStrategy": rolling(going[-1], plan.step)},
        memory=memory.but(switched_s=round(seen.now_s, 3)),
    )
    ready = sum(pod.ready for pod in seen.pods)
    return do(lower, because=f"{ready} of {count} pods are Ready", barrier="every other pod serves")


def _name(seen: NativeSnapshot, place: int) -> str:
    return f"{seen.native.name}-{seen.native.start + place}"


def _is_old(seen: NativeSnapshot, pod: Pod | None) -> bool:
    return pod is None or seen.newest is None or not seen.newest.bears(pod)


def _replaced(seen: NativeSnapshot, pod: Pod | None, place: int) -> NativeDecision | None:
    """What an ordinal above the partition still needs; None when its new pod serves."""
    if pod is None:
        return pause(f"pod {_name(seen, place)} is being made")
    if not _is_old(seen, pod):
        because = seen.away(pod)
        return pause(because) if because else None
    if pod.terminating:
        return pause(f"pod {pod.name} ends")
    if not pod.ready and seen.native.spec.get("podManagementPolicy") != "Parallel":
        # OrderedReady waits for it to be Ready before it would replace it: for ever, where it is broken.
        return do(EndPod(pod=pod), because=f"{seen.away(pod)}, and its controller waits for that")
    return pause(f"pod {pod.name} has not begun to end yet")
