"""One pod on its node: a place in the network, its containers in order, its status, and its end.

The end (T4): every container down, then the network, then the final status, then the API object; nothing here waits
for an endpoint to disappear, for nothing in Kubernetes does (T3).
"""

from __future__ import annotations

import math
from enum import StrEnum

from segue.cluster.node.container import ContainerMachine, Exit, Life
from segue.cluster.node.effects import (
    Attached,
    AttachFailed,
    AttachNetwork,
    Detached,
    DetachNetwork,
    RemovePod,
    Result,
    WatchListeners,
    WriteRefused,
    WriteStatus,
    Written,
)
from segue.cluster.node.handlers import hook_of
from segue.cluster.node.status import PodView, phase_of, status_of
from segue.cluster.node.surroundings import Surroundings
from segue.cluster.writes import Delete, Update
from segue.model.objects import (
    Obj,
    Ref,
    copy_of,
    is_ready,
    is_terminating,
    name_of,
    namespace_of,
    seconds_of,
    version_of,
)
from segue.model.timeline import What

WATCH_STARTING_FOR_S = 10.0  # a server that has not listened by then is no longer looked at every few milliseconds
FORCED_GRACE_S = 1  # a pod whose object is gone is still ended with one second (T13)
_LOST_EXIT = 255  # what a runtime reports of a container that was gone when it came back


class Place(StrEnum):
    """The pod's network."""

    NONE = "none"
    COMING = "coming"
    THERE = "there"
    GOING = "going"
    GONE = "gone"


class PodMachine:
    """The machine of one pod, from its binding to this node until its object is gone."""

    def __init__(self, around: Surroundings, now_s: float) -> None:
        self.around = around
        around.workers_since_s = now_s
        spec = around.obj["spec"]
        self.inits = [ContainerMachine(one, around, is_init=True) for one in spec.get("initContainers") or []]
        self.mains = [ContainerMachine(one, around, is_init=False) for one in spec.get("containers") or []]
        self.place = Place.NONE
        self.done = False  # nothing of it is left, here or in the API
        self._admitted_s = now_s
        self._object_gone = False
        self._failure: tuple[str, str] | None = None
        self._retry_place_s = 0.0
        self._writing: tuple[int, Obj] | None = None
        self._removing = 0
        self._dirty_since_s: float | None = None
        self._retry_write_s = 0.0
        self._watch_every_s = 0.0
        self._running_watched = 0
        self._settled: tuple[Obj, str] = ({}, "")  # the status last written, and the version that this made
        self._was_ready = is_ready(around.obj)
        self._take_up(now_s)

    def _take_up(self, now_s: float) -> None:
        """A pod that an earlier agent ran: its processes died with that agent and start again."""
        status = self.around.obj.get("status") or {}
        if status.get("startTime"):
            self._admitted_s = seconds_of(status["startTime"])
        for machines, key in ((self.inits, "initContainerStatuses"), (self.mains, "containerStatuses")):
            known = {one["name"]: one for one in status.get(key) or []}
            for machine in machines:
                if (one := known.get(machine.name)) and one.get("containerID"):
                    machine.resume(int(one.get("restartCount") or 0) + 1, _last_exit(one, now_s))

    @property
    def containers(self) -> list[ContainerMachine]:
        """All machines, init containers first."""
        return self.inits + self.mains

    # --- what the API says ------------------------------------------------------------------------------------------

    def on_object(self, obj: Obj, now_s: float) -> None:
        """A newer version of the object."""
        if self._object_gone or int(version_of(obj) or 0) < int(version_of(self.around.obj) or 0):
            return
        self.around.obj = obj
        if is_terminating(obj):
            grace_s = obj["metadata"].get("deletionGracePeriodSeconds")
            self._end(self.around.pod_grace_s if grace_s is None else int(grace_s), now_s)

    def on_gone(self, now_s: float) -> None:
        """The object is gone; what still runs is ended (T13)."""
        self._object_gone = True
        self._end(FORCED_GRACE_S, now_s)

    def _end(self, grace_s: int, now_s: float) -> None:
        around = self.around
        known_s = around.deletion_grace_s
        if around.terminating and known_s is not None and grace_s >= known_s:
            return
        around.terminating = True
        around.deletion_grace_s = max(FORCED_GRACE_S, grace_s)
        for machine in self.containers:
            machine.end(around.deletion_grace_s, now_s)

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, now_s: float) -> None:
        """Do what is due."""
        if self.done:
            return
        self._step_deadline(now_s)
        self._step_place(now_s)
        if self.place is Place.THERE:
            self._step_order()
        self.around.exited = {
            machine.name: machine.is_down for machine in self.containers if not _is_plain_init(machine)
        }
        for machine in self.containers:
            machine.step(now_s)
        self._step_watch(now_s)
        self._step_status(now_s)
        self._step_removal()

    def wake_s(self) -> float:
        """When to step again if nothing happens."""
        if self.done:
            return math.inf
        times = [machine.wake_s() for machine in self.containers]
        if self.place is Place.NONE and not self._has_ended():
            times.append(self._retry_place_s)
        if self._dirty_since_s is not None and self._may_write():
            times.append(max(self._dirty_since_s + self.around.settings.status_delay_s, self._retry_write_s))
        deadline_s = self._deadline_s()
        if not self.around.terminating:
            times.append(deadline_s)
        if self._is_watched_closely():
            times.append(self._watch_until_s())
        return min(times)

    def _deadline_s(self) -> float:
        limit = self.around.obj["spec"].get("activeDeadlineSeconds")
        return math.inf if limit is None else self._admitted_s + int(limit)

    def _step_deadline(self, now_s: float) -> None:
        if self.around.terminating or now_s < self._deadline_s():
            return
        message = "Pod was active on the node longer than the specified deadline"
        self._failure = ("DeadlineExceeded", message)
        self.around.say("DeadlineExceeded", message)
        self._end(self.around.pod_grace_s, now_s)

    def _is_resting(self) -> bool:
        """Whether every container has exited for good, without anybody ending the pod."""
        if any(_is_plain_init(one) and one.is_finished and not one.is_completed for one in self.inits):
            return all(one.is_down for one in self.containers)
        return bool(self.mains) and all(machine.is_finished for machine in self.mains)

    def _step_place(self, now_s: float) -> None:
        around = self.around
        if not around.terminating and self._is_resting():
            around.terminating = True  # sidecars are all that may still run
            around.deletion_grace_s = None
            for machine in self.containers:
                machine.end(around.pod_grace_s, now_s)
        if around.terminating:
            if self.place is Place.NONE:
                self.place = Place.GONE
            elif self.place is Place.THERE and all(machine.is_down for machine in self.containers):
                self.place = Place.GOING
                effect_id = around.outbox.new_id(around.uid)
                around.outbox.effects.append(DetachNetwork(effect_id=effect_id, pod_uid=around.uid))
        elif self.place is Place.NONE and now_s >= self._retry_place_s:
            self.place = Place.COMING
            effect_id = around.outbox.new_id(around.uid)
            around.outbox.effects.append(AttachNetwork(effect_id=effect_id, pod_uid=around.uid, pod=around.pod))

    def _step_order(self) -> None:
        """Init containers one after the other, a sidecar until it has started, then all others."""
        if self.around.terminating:
            return
        for machine in self.inits:
            machine.wanted = True
            if not (machine.is_started if machine.is_sidecar else machine.is_completed):
                return
        for machine in self.mains:
            machine.wanted = True
            if hook_of(machine.spec, "postStart") and not machine.is_running and machine.exit is None:
                return  # the next one starts when this one's hook has ended

    def _has_ended(self) -> bool:
        return self.place is Place.GONE

    # --- listeners --------------------------------------------------------------------------------------------------

    def _watch_until_s(self) -> float:
        return max((one.started_at_s for one in self.containers), default=0.0) + WATCH_STARTING_FOR_S

    def _is_watched_closely(self) -> bool:
        if any(one.life is Life.STARTING for one in self.containers):
            return False  # what comes next is a result, not a moment
        return self._watch_every_s == self.around.settings.watch_starting_s

    def _step_watch(self, now_s: float) -> None:
        """How closely the pod's listeners are looked at: most closely while it ends."""
        settings = self.around.settings
        every_s = 0.0
        if self.place in {Place.THERE, Place.GOING}:
            every_s = settings.watch_idle_s
            if self.around.terminating or any(one.ending is not None for one in self.containers):
                every_s = settings.watch_ending_s
            elif any(one.life is Life.STARTING for one in self.containers) or (
                any(one.is_running for one in self.mains) and now_s < self._watch_until_s()
            ):
                every_s = settings.watch_starting_s
        running = sum(one.is_running for one in self.containers)
        if every_s != self._watch_every_s or running != self._running_watched:
            # an exit closes listeners, so it is a moment to look, whatever the pace
            self._watch_every_s, self._running_watched = every_s, running
            then_s = settings.watch_idle_s if every_s == settings.watch_starting_s else every_s
            watch = WatchListeners(pod_uid=self.around.uid, pod=self.around.pod, every_s=every_s, then_s=then_s)
            self.around.outbox.effects.append(watch)

    # --- status -----------------------------------------------------------------------------------------------------

    def _view(self) -> PodView:
        return PodView(
            pod=self.around.obj,
            node_ip=self.around.settings.node_ip,
            ip=self.around.ip,
            admitted_s=self._admitted_s,
            inits=self.inits,
            mains=self.mains,
            has_ended=self._has_ended(),
            failure=self._failure,
        )

    def _may_write(self) -> bool:
        if self._object_gone or self._writing is not None or self._removing:
            return False
        return self.place is not Place.GOING  # then the next status is the final one, once the network is gone (T4)

    def _step_status(self, now_s: float) -> None:
        if not self._may_write():
            return
        status = status_of(self._view(), now_s)
        if status == self.around.obj.get("status") or (status, version_of(self.around.obj)) == self._settled:
            self._dirty_since_s = None
            return
        if self._dirty_since_s is None:
            self._dirty_since_s = now_s
        if now_s < max(self._dirty_since_s + self.around.settings.status_delay_s, self._retry_write_s):
            return
        self._dirty_since_s = None
        obj = {**self.around.obj, "status": copy_of(status)}
        effect_id = self.around.outbox.new_id(self.around.uid)
        self._writing = (effect_id, obj)
        write = Update(resource="pods", obj=obj, status=True)
        self.around.outbox.effects.append(WriteStatus(effect_id=effect_id, pod_uid=self.around.uid, write=write))

    def _step_removal(self) -> None:
        if not self._has_ended() or self._writing is not None:
            return
        if self._object_gone:
            self.done = True
        elif is_terminating(self.around.obj) and not self._removing and self._dirty_since_s is None:
            obj = self.around.obj
            ref = Ref(resource="pods", namespace=namespace_of(obj), name=name_of(obj))
            self._removing = self.around.outbox.new_id(self.around.uid)
            write = Delete(ref=ref, uid=self.around.uid, grace_s=0)
            removal = RemovePod(effect_id=self._removing, pod_uid=self.around.uid, write=write)
            self.around.outbox.effects.append(removal)

    # --- results ----------------------------------------------------------------------------------------------------

    def on_result(self, effect_id: int, container: str, result: Result) -> None:
        """Take the result of an effect of the pod's own or of one of its containers."""
        if container:
            next(one for one in self.containers if one.name == container).on_result(effect_id, result)
            return
        around = self.around
        match result:
            case Attached():
                self.place = Place.THERE
                around.ip = result.ip
                around.record(result.at_s, What.SANDBOX_CREATED, ip=result.ip)
            case AttachFailed():
                self.place = Place.NONE
                self._retry_place_s = result.at_s + around.settings.retry_s
                around.say("FailedCreatePodSandBox", f"Failed to create pod sandbox: {result.message}", warning=True)
            case Detached():
                self.place = Place.GONE
                around.record(result.at_s, What.SANDBOX_REMOVED)
            case Written():
                self._written(effect_id, result)
            case WriteRefused():
                self._refused(effect_id, result)
            case _:
                raise AssertionError(f"not a pod's result: {result}")

    def _written(self, effect_id: int, result: Written) -> None:
        if effect_id == self._removing:
            self._object_gone = True
            return
        assert self._writing is not None
        # what is stored may be spelt differently from what was written: that is no reason to write it again
        self._settled = (self._writing[1]["status"], version_of(result.obj))
        self._writing = None
        self.on_object(result.obj, result.at_s)
        ready = is_ready(result.obj)
        if ready != self._was_ready:
            self._was_ready = ready
            self.around.record(result.at_s, What.POD_READY if ready else What.POD_UNREADY, ip=self.around.ip)

    def _refused(self, effect_id: int, result: WriteRefused) -> None:
        """Somebody else wrote in between: the newer object is taken, the next step decides again from it."""
        if effect_id == self._removing:
            self._removing = 0
        else:
            self._writing = None
        if result.current is None:
            self.on_gone(result.at_s)
            return
        self.on_object(result.current, result.at_s)
        if result.code != 409:
            self._retry_write_s = result.at_s + self.around.settings.retry_s

    @property
    def phase(self) -> str:
        """The phase as the machines stand now."""
        return phase_of(self._view())


def _is_plain_init(machine: ContainerMachine) -> bool:
    return machine.is_init and not machine.is_sidecar


def _last_exit(status: Obj, now_s: float) -> Exit:
    """How the last run of a container ended that this agent did not see end."""
    shown = str(status["containerID"]).partition("://")[2]
    state = status.get("state") or {}
    terminated: Obj | None = state.get("terminated")
    if terminated is None and "running" not in state:
        terminated = (status.get("lastState") or {}).get("terminated")
    if terminated is not None:
        return Exit(
            container_id=shown,
            exit_code=int(terminated.get("exitCode") or 0),
            reason=str(terminated.get("reason") or "Error"),
            message=str(terminated.get("message") or ""),
            started_at_s=_seconds(terminated.get("startedAt")),
            finished_at_s=_seconds(terminated.get("finishedAt")),
        )
    since_s = _seconds((state.get("running") or {}).get("startedAt"))
    return Exit(
        container_id=shown,
        exit_code=_LOST_EXIT,
        reason="Unknown",
        message="the node agent ended, and its containers with it",
        started_at_s=since_s,
        finished_at_s=now_s,
    )


def _seconds(text: str | None) -> float:
    return seconds_of(text) if text else 0.0
