"""A pod's status as a kubelet writes it, from the machines of its containers. Reads machines, changes nothing.

Conditions that are not the kubelet's own (readiness gates, PodScheduled) are kept as they stand (G1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.cluster.node.container import ContainerMachine, Exit, Life
from segue.model.objects import Obj, condition_of, rfc3339

_OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
SCHEME = "segue"  # of container ids, as "containerd" is on a real node


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """What a status is made of."""

    pod: Obj
    node_ip: str
    ip: str
    admitted_s: float
    inits: Sequence[ContainerMachine]
    mains: Sequence[ContainerMachine]
    has_ended: bool  # nothing runs any more, and nothing will
    failure: tuple[str, str] | None  # reason and message of a pod that the node ended by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    kind: str
    holds: bool
    reason: str = ""
    message: str = ""


def status_of(view: PodView, now_s: float) -> Obj:
    """The whole status; equal to the present one where nothing has changed."""
    status: Obj = dict(view.pod.get("status") or {})
    phase = phase_of(view)
    status["phase"] = phase
    status["hostIP"] = view.node_ip
    status["hostIPs"] = [{"ip": view.node_ip}]
    if view.ip:
        status["podIP"] = view.ip
        status["podIPs"] = [{"ip": view.ip}]
    status["startTime"] = status.get("startTime") or rfc3339(view.admitted_s)
    if view.failure is not None and view.has_ended:
        status["reason"], status["message"] = view.failure
    waits = not all(machine.is_completed or machine.is_started for machine in view.inits)
    if view.inits:
        status["initContainerStatuses"] = [_container_status(machine, False) for machine in view.inits]
    status["containerStatuses"] = [_container_status(machine, waits) for machine in view.mains]
    status["conditions"] = _conditions(view, phase, now_s)
    return status


def phase_of(view: PodView) -> str:
    """Pending, Running, Succeeded or Failed."""
    if view.has_ended:
        fine = view.failure is None and all(machine.is_completed for machine in view.mains)
        return "Succeeded" if fine else "Failed"
    for machine in view.inits:
        if machine.is_sidecar:
            if not machine.is_started and machine.exit is None:
                return "Pending"
        elif not machine.is_completed:
            failed = machine.is_finished and machine.exit is not None and machine.exit.exit_code != 0
            return "Failed" if failed else "Pending"
    if any(not machine.is_running and machine.exit is None for machine in view.mains):
        return "Pending"
    return "Running"


def _container_status(machine: ContainerMachine, pod_initializing: bool) -> Obj:
    state, last = _states(machine, pod_initializing)
    image = str(machine.spec.get("image") or "")
    shown = machine.container_id or (machine.exit.container_id if machine.exit else "")
    status: Obj = {
        "name": machine.name,
        "state": state,
        "lastState": last,
        "ready": machine.is_ready,
        "restartCount": _restarts_of(machine),
        "image": image,
        "imageID": f"{SCHEME}://{image}" if shown else "",
        "started": machine.is_started,
    }
    if shown:
        status["containerID"] = f"{SCHEME}://{shown}"
    return status


def _restarts_of(machine: ContainerMachine) -> int:
    return max(0, machine.attempts - 1)


def _states(machine: ContainerMachine, pod_initializing: bool) -> tuple[Obj, Obj]:
    if machine.is_running:
        running: Obj = {"running": {"startedAt": rfc3339(machine.started_at_s)}}
        return running, _terminated(machine.exit)
    if machine.exit is not None and machine.life in {Life.EXITED, Life.STARTING}:
        return _terminated(machine.exit), _terminated(machine.exit_before)
    reason = "PodInitializing" if pod_initializing and machine.exit is None and not machine.is_init else machine.reason
    if not machine.is_init and reason == "PodInitializing" and not pod_initializing:
        reason = "ContainerCreating"
    waiting: Obj = {"reason": reason or "ContainerCreating"}
    if machine.message:
        waiting["message"] = machine.message
    return {"waiting": waiting}, _terminated(machine.exit)


def _terminated(ended: Exit | None) -> Obj:
    if ended is None:
        return {}
    terminated: Obj = {
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": rfc3339(ended.started_at_s),
        "finishedAt": rfc3339(ended.finished_at_s),
        "containerID": f"{SCHEME}://{ended.container_id}",
    }
    if ended.message:
        terminated["message"] = ended.message
    return {"terminated": terminated}


def _conditions(view: PodView, phase: str, now_s: float) -> list[Obj]:
    kept = [one for one in view.pod.get("status", {}).get("conditions") or [] if one.get("type") not in _OWN]
    own = [
        _sandbox(view),
        _initialized(view, phase),
        *_readiness(view, phase),
    ]
    return [_written(view.pod, condition, now_s) for condition in own] + kept


def _sandbox(view: PodView) -> _Condition:
    kind = "PodReadyToStartContainers"
    if view.ip and not view.has_ended:
        return _Condition(kind=kind, holds=True)
    message = "pod sandbox is not ready" if view.ip else "no pod sandbox exists"
    return _Condition(kind=kind, holds=False, reason="PodSandboxNotReady", message=message)


def _initialized(view: PodView, phase: str) -> _Condition:
    waiting = [machine.name for machine in view.inits if not (machine.is_completed or machine.is_started)]
    if not waiting or phase == "Succeeded" or view.has_ended:
        return _Condition(kind="Initialized", holds=True, reason="PodCompleted" if phase == "Succeeded" else "")
    return _Condition(
        kind="Initialized",
        holds=False,
        reason="ContainersNotInitialized",
        message=f"containers with incomplete status: [{' '.join(waiting)}]",
    )


def _readiness(view: PodView, phase: str) -> tuple[_Condition, _Condition]:
    """Ready and ContainersReady (E6)."""
    if phase in {"Succeeded", "Failed"}:
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        return (
            _Condition(kind="Ready", holds=False, reason=reason),
            _Condition(kind="ContainersReady", holds=False, reason=reason),
        )
    counted = [machine for machine in view.inits if machine.is_sidecar] + list(view.mains)
    unready = [machine.name for machine in counted if not machine.is_ready]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return (
            _Condition(kind="Ready", holds=False, reason="ContainersNotReady", message=message),
            _Condition(kind="ContainersReady", holds=False, reason="ContainersNotReady", message=message),
        )
    complaints = [text for gate in view.pod["spec"].get("readinessGates") or [] if (text := _gate(view.pod, gate))]
    if complaints:
        ready = _Condition(kind="Ready", holds=False, reason="ReadinessGatesNotReady", message=", ".join(complaints))
        return ready, _Condition(kind="ContainersReady", holds=True)
    return _Condition(kind="Ready", holds=True), _Condition(kind="ContainersReady", holds=True)


def _gate(pod: Obj, gate: Obj) -> str:
    kind = str(gate["conditionType"])
    condition = condition_of(pod, kind)
    if condition is None:
        return f'corresponding condition of pod readiness gate "{kind}" does not exist.'
    if condition.get("status") != "True":
        return f'the status of pod readiness gate "{kind}" is not "True", but {condition.get("status")}'
    return ""


def _written(pod: Obj, condition: _Condition, now_s: float) -> Obj:
    status = "True" if condition.holds else "False"
    present = condition_of(pod, condition.kind)
    same = present is not None and present.get("status") == status
    written: Obj = {
        "type": condition.kind,
        "status": status,
        "lastTransitionTime": present["lastTransitionTime"] if same and present else rfc3339(now_s),
    }
    if condition.reason:
        written["reason"] = condition.reason
    if condition.message:
        written["message"] = condition.message
    return written
