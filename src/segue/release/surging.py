"""The way of a DaemonSet whose pods may overlap: its controller makes each node's next pod beside the one before.

The user's own maxSurge has said that two pods of a node get along. The controller goes from node to node by itself,
when a new pod has been Ready for minReadySeconds; these are raised while it goes, so that each new pod has reached the
data plane before the one before it ends (W3, W23).

Rule: it can be held only by OnDelete, which lets the controller take back a new pod whose old one is still there.
"""

from __future__ import annotations

from segue.model.objects import Obj
from segue.model.workloads import Pod
from segue.release.memory import Memory
from segue.release.native_actions import Amend
from segue.release.native_snapshot import NativeSnapshot
from segue.release.native_waiting import stand_still
from segue.release.natives import NativeDecision, NativePlan, do, pause
from segue.release.one_by_one import ON_DELETE

WAKE_S = 3.0  # after which a controller that has not ended an old pod gets a sign, once for each new pod
REACHED_S = 3  # the settling time, and one more second because Ready's moment is told in whole ones


def surging(step: int, min_ready_s: int) -> Obj:
    """Spec fields while a release drives."""
    numbers: Obj = {"maxSurge": step, "maxUnavailable": 0}
    return {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": numbers},
        "minReadySeconds": max(min_ready_s, REACHED_S),
    }


def decide_surge(plan: NativePlan, seen: NativeSnapshot, memory: Memory) -> NativeDecision | None:
    """The next step; None when every pod is of the present template and serves."""
    newest, native = seen.newest, seen.native
    assert newest is not None, "its controller has made it"
    old = [pod for pod in seen.pods if pod.alive and not newest.bears(pod)]
    away = [because for pod in seen.pods if newest.bears(pod) for because in (seen.away(pod),) if because]
    missing = native.desired - sum(pod.alive and newest.bears(pod) for pod in seen.pods)
    if not old and not away and missing <= 0:
        return None
    held = stand_still(plan, seen, memory)
    if held is not None and native.strategy.get("type") != "OnDelete":
        stop = Amend(native=native, says="let no further node begin", spec={"updateStrategy": ON_DELETE}, memory=memory)
        return do(stop, because=held.because)
    if held is not None:
        return held
    wanted = surging(plan.step, int(memory.before.get("minReadySeconds") or 0))
    if native.strategy != wanted["updateStrategy"]:
        go = Amend(native=native, says="let node after node begin", spec=wanted, memory=memory)
        return do(go, because="nothing holds it")
    if away:
        return pause(away[0])
    slept = _overslept(seen, memory)
    if slept is not None:
        noted = memory.but(switched_s=round(seen.now_s, 3))
        wake = Amend(native=native, says=f"wake the controller of {native.said}", memory=noted)
        return do(wake, because=f"pod {slept.name} has had its time, and the pod before it is still there")
    if old:
        return pause(f"{len(old)} nodes have their old pod; {old[0].name} of node {old[0].node} is one of them")
    return pause(f"{missing} of {native.desired} pods are being made")


def _overslept(seen: NativeSnapshot, memory: Memory) -> Pod | None:
    """A new pod that is available beside an old one, which its controller has not noticed.

    Upstream it looks again when minReadySeconds are over, but only once at a time: where the pod before was young, too,
    that look comes too early for the new one, and no other follows. Any write to the object makes it look.
    """
    newest = seen.newest
    assert newest is not None, "asked after its caller"
    nodes = {pod.node for pod in seen.pods if pod.alive and not newest.bears(pod)}
    for pod in seen.pods:
        due_s = pod.ready_since_s + seen.native.min_ready_s + WAKE_S
        if newest.bears(pod) and pod.ready and pod.node in nodes and memory.switched_s < due_s <= seen.now_s:
            return pod
    return None
