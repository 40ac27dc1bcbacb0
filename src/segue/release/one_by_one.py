"""The way of a DaemonSet without surge, and the way back of a StatefulSet: under OnDelete one pod after the other ends.

There a controller makes the next pod of the present template when one has gone, and ends none (W14, W24).

Rule: a pod that serves is ended only while fewer than a step of the others are away.
"""

from __future__ import annotations

from segue.model.objects import Obj
from segue.model.workloads import Pod
from segue.release.actions import EndPod
from segue.release.entry import UNHEALTHY_PATIENCE_S
from segue.release.memory import Memory
from segue.release.native_actions import Amend
from segue.release.native_snapshot import NativeSnapshot
from segue.release.native_waiting import room, stand_still
from segue.release.natives import NativeDecision, NativePlan, do, is_stateful, pause

ON_DELETE: Obj = {"type": "OnDelete"}


def decide_one_by_one(plan: NativePlan, seen: NativeSnapshot, memory: Memory) -> NativeDecision | None:
    """The next step; None when every pod is of the present template and serves."""
    newest, native = seen.newest, seen.native
    assert newest is not None, "its controller has made it"
    if native.strategy.get("type") != "OnDelete":
        return do(
            Amend(native=native, says="let pods be replaced when they are ended", spec=_on_delete(), memory=memory),
            because="somebody changed the updateStrategy",
        )
    others = [pod for pod in seen.pods if pod.alive and not newest.bears(pod)]
    waiting = _waiting(plan, seen, memory)
    if not others:
        return pause(waiting[0]) if waiting else None
    held = stand_still(plan, seen, memory)
    if held is not None:
        return held
    going = _in_order(seen, others, memory)[: max(0, room(plan, seen, memory) - len(waiting))]
    if not going:
        return pause(waiting[0])
    return do(
        Amend(
            native=native,
            says=f"note that {', '.join(_said(seen, pod) for pod in going)} goes next",
            memory=memory.but(switched_s=round(seen.now_s, 3)),
        ),
        *(EndPod(pod=pod) for pod in going),
        because=seen.away(going[0]) if not going[0].ready else "every other pod serves",
        barrier=f"{sum(pod.ready for pod in seen.pods)} of {native.desired} pods are Ready",
    )


def _on_delete() -> Obj:
    return {"updateStrategy": ON_DELETE}


def _waiting(plan: NativePlan, seen: NativeSnapshot, memory: Memory) -> list[str]:
    """Why pods are away that the next step waits for: not those that this very step is to repair."""
    newest = seen.newest
    assert newest is not None, "asked after its caller"
    found = []
    for pod in seen.pods:
        because = seen.away(pod)
        is_old = pod.alive and not newest.bears(pod)
        patience_s = 0.0 if memory.aborting else UNHEALTHY_PATIENCE_S
        if because and not (is_old and seen.is_long_broken(pod, patience_s)):
            found.append(because)
    missing = seen.native.desired - len({_seat(seen, pod) for pod in seen.pods})
    return found + [f"{missing} of {seen.native.desired} pods are being made"] * max(0, missing)


def _seat(seen: NativeSnapshot, pod: Pod) -> object:
    return seen.place(pod) if is_stateful(seen.native) else (pod.node or pod.name)


def _in_order(seen: NativeSnapshot, pods: list[Pod], memory: Memory) -> list[Pod]:
    """Forward: what serves first, by node. Back: what is broken first, then the last one that was replaced."""
    if memory.aborting and is_stateful(seen.native):
        return sorted(pods, key=lambda pod: (pod.ready, seen.place(pod)))
    if memory.aborting:
        return sorted(pods, key=lambda pod: (pod.ready, -pod.created_s, pod.node))
    return sorted(pods, key=lambda pod: (not pod.ready, pod.node, pod.name))


def _said(seen: NativeSnapshot, pod: Pod) -> str:
    return f"pod {pod.name}" + ("" if is_stateful(seen.native) else f" of node {pod.node}")
