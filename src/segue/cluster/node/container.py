"""One container's life: waiting, starting, running, exited, and again; with its probes and its way out.

Rule 1: it decides alone what happens to its container; the pod says only `wanted`, and when the pod ends.
Rule 2: `ready` is what readiness says, never what liveness says (L3): a container being killed by its liveness probe
        stays ready until readiness itself fails or the exit is observed.
Rule 3: it is starting until its postStart hook has ended, and nobody ends it before, not even a deletion (T16).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from segue.cluster.node.effects import (
    Exited,
    HookDone,
    ProbeDone,
    Result,
    RunHook,
    RunProbe,
    Signal,
    Signalled,
    StartContainer,
    Started,
    StartFailed,
    StopSignal,
)
from segue.cluster.node.handlers import Slot, hook_of, ports_of, times_of
from segue.cluster.node.surroundings import Surroundings
from segue.lifecycle import backoff, probes, shutdown
from segue.lifecycle.probes import ProbeKind, Subject, Turn, Verdict, Worker
from segue.lifecycle.shutdown import Stage
from segue.model.objects import Obj
from segue.model.timeline import What

SEEN_AFTER_S = 0.5  # a kubelet relists its containers every second: a start is noticed half a second later on average


class Life(StrEnum):
    """Where a container is."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a run ended."""

    container_id: str
    exit_code: int
    reason: str
    message: str
    started_at_s: float
    finished_at_s: float


class ContainerMachine:
    """The machine of one container; `sidecar` is an init container that stays (restartPolicy Always)."""

    def __init__(self, spec: Obj, around: Surroundings, *, is_init: bool) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.is_init = is_init
        self.is_sidecar = is_init and spec.get("restartPolicy") == "Always"
        self.life = Life.WAITING
        self.reason = "PodInitializing" if around.obj["spec"].get("initContainers") else "ContainerCreating"
        self.message = ""
        self.container_id = ""
        self.started_at_s = 0.0
        self.attempts = 0
        self.exit: Exit | None = None  # of the newest run that has ended
        self.exit_before: Exit | None = None
        self.wanted = False
        self.ended = False  # the pod has ended it: it never starts again
        self.ending: shutdown.Shutdown | None = None
        self._around = around
        self._try_at_s: float | None = None
        self._pull_delay_s = 0.0
        self._backoff = backoff.Backoff()
        self._poke_at_s = math.inf
        self._probing: dict[int, tuple[ProbeKind, str]] = {}
        self._signals: dict[int, StopSignal] = {}
        self._hook: int | None = None  # the newest one that runs
        self._hooks: dict[int, Slot] = {}
        self.workers: dict[ProbeKind, Worker] = {}
        if not is_init or self.is_sidecar:
            for kind in ProbeKind:
                if probe := spec.get(f"{kind}Probe"):
                    self.workers[kind] = probes.new_worker(times_of(kind, probe), around.workers_since_s)

    # --- what others ask -----------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.life is Life.RUNNING

    @property
    def is_down(self) -> bool:
        """Whether no process is there and none is about to be."""
        return self.life in {Life.WAITING, Life.EXITED}

    @property
    def is_started(self) -> bool:
        """Running, and past its startup probe."""
        worker = self.workers.get(ProbeKind.STARTUP)
        return self.is_running and (worker is None or self._verdict(worker) is Verdict.SUCCESS)

    @property
    def is_ready(self) -> bool:
        """What readiness says of a started container (P3); a completed init container counts as ready."""
        if self.is_init and not self.is_sidecar:
            return self.is_completed
        worker = self.workers.get(ProbeKind.READINESS)
        if not self.is_started:
            return False
        return worker is None or self._around.settings.readiness_lies or self._verdict(worker) is Verdict.SUCCESS

    @property
    def is_completed(self) -> bool:
        """Whether the last run ended with 0 and none is to follow."""
        return self.life is Life.EXITED and self.exit is not None and self.exit.exit_code == 0

    @property
    def is_finished(self) -> bool:
        """Whether it has exited and its restart policy lets it rest."""
        return self.life is Life.EXITED and not self._restarts(self.exit)

    def _verdict(self, worker: Worker) -> Verdict:
        return probes.about(worker, self._subject()).verdict

    def _restarts(self, ended: Exit | None) -> bool:
        if self.ended:
            return False
        if self.is_sidecar:
            return True
        policy = self._around.restart_policy
        failed = ended is not None and ended.exit_code != 0
        if self.is_init:  # an init container that succeeded is done, whatever the policy
            return failed and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and failed)

    def resume(self, attempts: int, last: Exit | None) -> None:
        """Take up a container that an earlier agent ran: its process is gone with that agent."""
        self.attempts = attempts
        self.exit = last
        self.reason = "ContainerCreating"

    # --- time ----------------------------------------------------------------------------------------------------

    def step(self, now_s: float) -> None:
        """Do what is due."""
        if self.wanted and not self.ended and self.life in {Life.WAITING, Life.EXITED}:
            self._step_start(now_s)
        if self.ending is not None:
            self._step_ending(now_s)
        if self.is_running:
            if now_s >= self._poke_at_s:
                self._poke_at_s = math.inf
                self._poke_readiness()
            for kind in tuple(self.workers):
                self._step_worker(kind, now_s)

    def wake_s(self) -> float:
        """When to step again if nothing happens."""
        times = [math.inf]
        if self.wanted and not self.ended and self.is_down and not self.is_finished:
            times.append(0.0 if self._try_at_s is None else self._try_at_s)
        if self.is_running:
            times.append(self._poke_at_s)
            times.extend(probes.wake_s(worker) for worker in self.workers.values())
        if self.ending is not None:
            own_s = shutdown.wake_s(self.ending)
            waits = self.ending.signalled_s is None and not self._may_signal()
            times.append(max(own_s, self.ending.began_s + self.ending.grace_s) if waits else own_s)
        return min(times)

    def _step_start(self, now_s: float) -> None:
        if self.life is Life.EXITED and not self._restarts(self.exit):
            return
        if self._try_at_s is None:
            self._try_at_s = now_s + (self._around.settings.start_delay_s if self.attempts == 0 else 0.0)
        if now_s < self._try_at_s:
            return
        image = str(self.spec.get("image") or "")
        program = self._around.images.find(image)
        if program is None:
            self._pull_failed(image, now_s)
            return
        if self.exit is not None:
            rules = self._around.settings.backoff
            self._backoff = backoff.restarted(self._backoff, rules, exited_s=self.exit.finished_at_s, now_s=now_s)
        self._around.say(
            "Pulled", f'Container image "{image}" already present on machine and can be accessed by the pod'
        )
        self._around.say("Created", "Container created")
        self.life = Life.STARTING
        self.ending = None
        self._hook = None
        self.container_id = f"{self._around.uid}.{self.name}.{self.attempts}"
        self._around.outbox.effects.append(
            StartContainer(
                effect_id=self._new_id(),
                pod_uid=self._around.uid,
                pod=self._around.obj,
                container=self.spec,
                ip=self._around.ip,
                container_id=self.container_id,
                attempt=self.attempts,
                entrypoint=program.entrypoint,
                default_args=program.default_args,
                image_env=program.env,
            )
        )

    def _pull_failed(self, image: str, now_s: float) -> None:
        settings = self._around.settings
        complaint = self._around.images.complaint(image)
        if self._pull_delay_s == 0:
            self.reason, self.message = "ErrImagePull", complaint
            self._around.say("Failed", f'Failed to pull image "{image}": {complaint}', warning=True)
            self._around.say("Failed", "Error: ErrImagePull", warning=True)
            self._pull_delay_s = settings.pull_base_s
            self._try_at_s = now_s + settings.retry_s
            return
        self.reason, self.message = "ImagePullBackOff", f'Back-off pulling image "{image}": {complaint}'
        self._around.say("BackOff", f'Back-off pulling image "{image}"')
        self._try_at_s = now_s + self._pull_delay_s
        self._pull_delay_s = min(self._pull_delay_s * 2, settings.pull_cap_s)

    # --- probes --------------------------------------------------------------------------------------------------

    def _subject(self) -> Subject:
        worker = self.workers.get(ProbeKind.STARTUP)
        same = worker is not None and worker.container_id == self.container_id
        started = worker is None or (same and worker.verdict is Verdict.SUCCESS)
        return Subject(
            container_id=self.container_id,
            running=self.is_running,
            started_at_s=self.started_at_s,
            started=self.is_running and started,
            restarts=not self.is_finished,
            terminating=self._around.terminating,
        )

    def _poke_readiness(self) -> None:
        worker = self.workers.get(ProbeKind.READINESS)
        if worker is not None and self.is_started and self._verdict(worker) is not Verdict.SUCCESS:
            self.workers[ProbeKind.READINESS] = probes.poke(worker)

    def _step_worker(self, kind: ProbeKind, now_s: float) -> None:
        worker, turn = probes.turn(self.workers[kind], self._subject(), now_s)
        self.workers[kind] = worker
        if turn is not Turn.PROBE:
            return
        effect_id = self._new_id()
        self._probing[effect_id] = (kind, self.container_id)
        self._around.outbox.effects.append(
            RunProbe(
                effect_id=effect_id,
                pod_uid=self._around.uid,
                container_id=self.container_id,
                kind=kind,
                handler=self.spec[f"{kind}Probe"],
                ports=ports_of(self.spec),
                ip=self._around.ip,
                timeout_s=worker.times.timeout_s,
            )
        )

    def _probe_done(self, effect_id: int, result: ProbeDone) -> None:
        kind, container_id = self._probing.pop(effect_id)
        before = self.workers[kind]
        worker = self.workers[kind] = probes.after_probe(before, container_id, result.succeeded)
        if not self.is_running or container_id != self.container_id:
            return
        if result.succeeded is False:
            self._around.say("Unhealthy", f"{kind.capitalize()} probe failed: {result.message}", warning=True)
        elif result.succeeded and result.message:
            self._around.say("ProbeWarning", f"{kind.capitalize()} probe warning: {result.message}", warning=True)
        elif result.succeeded is None:
            self._around.say("Unhealthy", f"{kind.capitalize()} probe errored: {result.message}", warning=True)
        if worker.verdict is before.verdict:
            return
        if kind is ProbeKind.STARTUP and worker.verdict is Verdict.SUCCESS:
            self._poke_readiness()
        elif kind is not ProbeKind.READINESS and worker.verdict is Verdict.FAILURE:
            self._probe_kills(kind, result.at_s)

    def _probe_kills(self, kind: ProbeKind, now_s: float) -> None:
        if self.ending is not None or self._around.terminating:
            return
        self._around.record(now_s, What.LIVENESS_FAILED, container=self.name, probe=kind.value)
        own = self.spec[f"{kind}Probe"].get("terminationGracePeriodSeconds")
        grace_s = shutdown.grace_of(
            deletion_s=None, probe_s=None if own is None else int(own), pod_s=self._around.pod_grace_s
        )
        self._begin_ending(grace_s, f"Container {self.name} failed {kind} probe, will be restarted", now_s)

    # --- the way out ---------------------------------------------------------------------------------------------

    def end(self, grace_s: int, now_s: float) -> None:
        """The pod ends: stop with this grace and never start again. What is under way keeps the grace it began with."""
        self.ended = True
        if self.is_running and self.ending is None:
            self._begin_ending(grace_s, f"Stopping container {self.name}", now_s)

    def _begin_ending(self, grace_s: int, message: str, now_s: float) -> None:
        self._around.say("Killing", message)
        self.ending = shutdown.begin(
            grace_s=grace_s,
            has_hook=bool(hook_of(self.spec, "preStop")),
            now_s=now_s,
            signal_delay_s=self._around.settings.sigterm_delay_s,
        )

    def _may_signal(self) -> bool:
        """A sidecar's stop signal waits for the containers it serves and the sidecars declared after it (T21)."""
        if not self.is_sidecar or not self._around.terminating:
            return True
        names = list(self._around.exited)  # in the order of declaration, sidecars first
        return all(self._around.exited[name] for name in names[names.index(self.name) + 1 :])

    def _step_ending(self, now_s: float) -> None:
        ending = self.ending
        assert ending is not None
        stage = shutdown.stage(ending, now_s)
        if stage is Stage.RUN_HOOK:
            self._around.record(now_s, What.PRESTOP_STARTED, container=self.name)
            self._run_hook("preStop")
            self.ending = shutdown.hook_begun(ending, now_s)
        elif stage is Stage.SIGNAL and (self._may_signal() or now_s >= ending.began_s + ending.grace_s):
            self.ending = shutdown.signalled(ending, now_s, waited_for_turn=self.is_sidecar)
            self._send("TERM")
        elif stage is Stage.KILL:
            self.ending = shutdown.killed(ending)
            self._send("KILL")

    def _send(self, signal: StopSignal) -> None:
        effect_id = self._new_id()
        self._signals[effect_id] = signal
        self._around.outbox.effects.append(
            Signal(effect_id=effect_id, pod_uid=self._around.uid, container_id=self.container_id, signal=signal)
        )

    # --- results -------------------------------------------------------------------------------------------------

    def on_result(self, effect_id: int, result: Result) -> None:
        """Take a result of one of its effects."""
        match result:
            case Started():
                self._started(result.at_s)
            case StartFailed():
                self._start_failed(result)
            case Exited():
                self._exited(result)
            case ProbeDone():
                self._probe_done(effect_id, result)
            case HookDone():
                self._hook_done(effect_id, result)
            case Signalled():
                self._signalled(effect_id, result)
            case _:
                raise AssertionError(f"not a container's result: {result}")

    def _started(self, at_s: float) -> None:
        self.started_at_s = at_s
        self.attempts += 1
        self._around.say("Started", "Container started")
        self._around.record(at_s, What.CONTAINER_STARTED, container=self.name)
        if hook_of(self.spec, "postStart"):
            self._run_hook("postStart")
        else:
            self._runs(at_s)

    def _runs(self, at_s: float) -> None:
        self.life = Life.RUNNING
        self.reason = self.message = ""
        self._try_at_s = None
        self._pull_delay_s = 0.0
        self._poke_at_s = at_s + SEEN_AFTER_S
        self.workers = {kind: probes.caught_up(worker, at_s) for kind, worker in self.workers.items()}
        if self._around.terminating:  # the pod's end overtook the start
            self._begin_ending(self._grace_s(), f"Stopping container {self.name}", at_s)

    def _start_failed(self, result: StartFailed) -> None:
        settings = self._around.settings
        self._around.say("Failed", f"Error: {result.message}", warning=True)
        if result.reason != "RunContainerError":  # nothing was made yet: look again, this is no restart
            self.life = Life.WAITING
            self.container_id = self.exit.container_id if self.exit else ""
            self.reason, self.message = result.reason, result.message
            self._try_at_s = result.at_s + settings.retry_s
            return
        self.started_at_s = result.at_s
        self.attempts += 1
        self._ran_out(result.at_s, 128, "StartError", result.message)

    def _exited(self, result: Exited) -> None:
        self._around.record(
            result.at_s,
            What.CONTAINER_EXITED,
            container=self.name,
            exit_code=result.exit_code,
            signal=result.signal,
        )
        code = 128 + result.signal if result.signal else result.exit_code
        self._ran_out(result.at_s, code, "Error" if code else "Completed", "")

    def _ran_out(self, at_s: float, code: int, reason: str, message: str) -> None:
        self.exit_before = self.exit
        self.exit = Exit(
            container_id=self.container_id,
            exit_code=code,
            reason=reason,
            message=message,
            started_at_s=self.started_at_s,
            finished_at_s=at_s,
        )
        self.life = Life.EXITED
        self.ending = None
        self._poke_at_s = math.inf
        if not self._restarts(self.exit) or self._around.terminating:
            return
        rules = self._around.settings.backoff
        self._try_at_s = backoff.restart_at_s(self._backoff, rules, at_s)
        if self._try_at_s > at_s:
            delay_s = int(self._try_at_s - at_s)
            pod = self._around.pod.partition("/")[2]
            self.life, self.reason = Life.WAITING, "CrashLoopBackOff"
            self.message = f"back-off {delay_s}s restarting failed container={self.name} pod={pod}"
            self._around.say("BackOff", f"Back-off restarting failed container {self.name} in pod {pod}", warning=True)

    def _hook_done(self, effect_id: int, result: HookDone) -> None:
        if self._hooks.pop(effect_id) == "postStart":
            if effect_id == self._hook and self.life is Life.STARTING:
                self._post_start_done(result)
            return
        if not result.succeeded:
            self._around.say("FailedPreStopHook", f"PreStopHook failed: {result.message}", warning=True)
        if effect_id != self._hook:
            return
        self._hook = None
        self._around.record(result.at_s, What.PRESTOP_ENDED, container=self.name, succeeded=result.succeeded)
        if self.ending is not None:
            self.ending = shutdown.hook_ended(self.ending, result.at_s)

    def _post_start_done(self, result: HookDone) -> None:
        self._hook = None
        if result.succeeded:
            self._runs(result.at_s)
            return
        self._around.say("FailedPostStartHook", f"PostStartHook failed: {result.message}", warning=True)
        self._begin_ending(self._grace_s(), f"FailedPostStartHook: {self.name}", result.at_s)

    def _signalled(self, effect_id: int, result: Signalled) -> None:
        signal = self._signals.pop(effect_id)
        if result.sent:
            what = What.SIGTERM_SENT if signal == "TERM" else What.SIGKILL_SENT
            self._around.record(result.at_s, what, container=self.name)

    # --- small things --------------------------------------------------------------------------------------------

    def _run_hook(self, slot: Slot) -> None:
        self._hook = self._new_id()
        self._hooks[self._hook] = slot
        self._around.outbox.effects.append(
            RunHook(
                effect_id=self._hook,
                pod_uid=self._around.uid,
                container_id=self.container_id,
                handler=hook_of(self.spec, slot),
                ports=ports_of(self.spec),
                ip=self._around.ip,
            )
        )

    def _grace_s(self) -> int:
        known_s = self._around.deletion_grace_s
        return self._around.pod_grace_s if known_s is None else known_s

    def _new_id(self) -> int:
        return self._around.outbox.new_id(self._around.uid, self.name)
