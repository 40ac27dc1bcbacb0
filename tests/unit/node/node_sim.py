"""A node for pure tests: one agent, virtual time, and containers that start, answer probes and die as they are told."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from segue.cluster.node.agent import NodeAgent
from segue.cluster.node.effects import (
    Attached,
    AttachNetwork,
    Detached,
    DetachNetwork,
    Effect,
    Exited,
    Forget,
    HookDone,
    ProbeDone,
    Record,
    RemovePod,
    Result,
    RunHook,
    RunProbe,
    SayEvent,
    Signal,
    Signalled,
    StartContainer,
    Started,
    StartFailed,
    WatchListeners,
    WriteRefused,
    WriteStatus,
    Written,
)
from segue.cluster.node.images import BUILT_IN, ImageMap
from segue.cluster.node.settings import NodeSettings
from segue.cluster.writes import Say
from segue.model.objects import Obj, copy_of, name_of, rfc3339, uid_of
from segue.model.timeline import Happening, What

START_S = 1_000_000.0
IMAGE = "host.org/images/grace:v0.1"


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """What containers do."""

    attach_s: float = 0.01
    start_s: float = 0.02
    detach_s: float = 0.01
    probe: Callable[[RunProbe, float], bool | None] = lambda _probe, _now_s: True
    probe_s: float = 0.005
    hook_s: float | None = 1.0  # None: it never ends
    hook_succeeds: bool = True
    stops_after_s: float | None = 0.5  # None: ignores SIGTERM
    exits_after_s: float | None = None
    exit_code: int = 0
    start_fails: str = ""


class NodeSim:
    """The world of one node agent."""

    def __init__(self, settings: NodeSettings | None = None, behaviour: Behaviour | None = None) -> None:
        self.settings = settings or NodeSettings()
        self.behaviour = behaviour or Behaviour()
        self.now_s = START_S
        self.pods: dict[str, Obj] = {}
        self.happenings: list[Happening] = []
        self.sayings: list[Say] = []
        self.effects: list[tuple[float, Effect]] = []
        self.forgotten: list[str] = []
        self.respell: Callable[[Obj], Obj] = copy_of  # what the API makes of a status it stores
        self._version = 1
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._runs: dict[str, int] = {}  # container id -> effect of its start
        self.agent = self.fresh_agent()

    def fresh_agent(self) -> NodeAgent:
        """An agent that knows nothing, as after a restart of the node."""
        images = ImageMap(entries=BUILT_IN, words={"python": "python", "app": "/app"})
        return NodeAgent("node-1", self.settings, images)

    def restart(self) -> None:
        """The node's process dies with all containers, and another one takes up what the API holds."""
        self._coming.clear()
        self._runs.clear()
        self.agent = self.fresh_agent()
        for pod in self.pods.values():
            self.agent.on_pod(pod, self.now_s)
        self._settle()

    # --- the API --------------------------------------------------------------------------------------------------

    def put(self, pod: Obj) -> Obj:
        """Write a pod as somebody else would."""
        self._version += 1
        stored: Obj = {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self._version)}}
        self.pods[name_of(pod)] = stored
        self.agent.on_pod(stored, self.now_s)
        self._settle()
        return stored

    def delete(self, name: str, grace_s: int | None = None) -> None:
        """What the API server does of a DELETE (T1); grace 0 removes at once (T13)."""
        pod = copy_of(self.pods[name])
        grace_s = int(pod["spec"]["terminationGracePeriodSeconds"]) if grace_s is None else grace_s
        if grace_s == 0:
            self._remove(name)
            return
        pod["metadata"]["deletionTimestamp"] = rfc3339(self.now_s + grace_s)
        pod["metadata"]["deletionGracePeriodSeconds"] = grace_s
        self.put(pod)

    def _remove(self, name: str) -> None:
        self.agent.on_pod(self.pods.pop(name), self.now_s, gone=True)
        self._settle()

    # --- time -----------------------------------------------------------------------------------------------------

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        end_s = self.now_s + seconds
        while True:
            due_s = min(self.agent.next_wake_s, self._coming[0][0] if self._coming else end_s + 1)
            if due_s > end_s:
                break
            self.now_s = max(self.now_s, due_s)
            while self._coming and self._coming[0][0] <= self.now_s:
                heapq.heappop(self._coming)[2]()
            self._settle()
        self.now_s = end_s

    def run_until(self, holds: Callable[[], bool], limit_s: float = 700.0) -> float:
        """Let time pass until it holds; the seconds since the beginning."""
        end_s = self.now_s + limit_s
        while not holds():
            assert self.now_s < end_s, "the condition did not come to hold"
            self.run_for(0.05)
        return self.now_s - START_S

    def after(self, delay_s: float, work: Callable[[], None]) -> None:
        """Do it when that much time has passed."""
        heapq.heappush(self._coming, (self.now_s + delay_s, next(self._order), work))

    def _settle(self) -> None:
        for _ in range(200):
            effects = self.agent.step(self.now_s)
            if not effects and self.agent.next_wake_s > self.now_s:
                return
            for effect in effects:
                self.effects.append((self.now_s, effect))
                self._do(effect)
        raise AssertionError("the agent does not come to rest")

    # --- effects --------------------------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        acts = self.behaviour
        match effect:
            case AttachNetwork(effect_id=number):
                self.after(acts.attach_s, lambda: self._tell(number, Attached(at_s=self.now_s, ip="10.1.0.7")))
            case DetachNetwork(effect_id=number):
                self.after(acts.detach_s, lambda: self._tell(number, Detached(at_s=self.now_s)))
            case StartContainer():
                self.after(acts.start_s, lambda: self._start(effect))
            case RunProbe(effect_id=number):
                succeeded = acts.probe(effect, self.now_s)
                message = "" if succeeded else "HTTP probe failed with statuscode: 500"
                self.after(
                    acts.probe_s,
                    lambda: self._tell(number, ProbeDone(at_s=self.now_s, succeeded=succeeded, message=message)),
                )
            case RunHook(effect_id=number):
                if acts.hook_s is not None:
                    done = acts.hook_succeeds
                    self.after(
                        acts.hook_s,
                        lambda: self._tell(
                            number, HookDone(at_s=self.now_s, succeeded=done, message="" if done else "refused")
                        ),
                    )
            case Signal():
                self._signal(effect)
            case WriteStatus(effect_id=number, write=write):
                self._write(number, write.obj)
            case RemovePod(effect_id=number, write=write):
                self.pods.pop(write.ref.name)
                self.agent.on_result(number, Written(at_s=self.now_s))
            case SayEvent(write=say):
                self.sayings.append(say)
            case Record(happening=happening):
                self.happenings.append(happening)
            case Forget(pod_uid=uid):
                self.forgotten.append(uid)
            case WatchListeners():
                pass

    def _tell(self, number: int, result: Result, *, last: bool = True) -> None:
        self.agent.on_result(number, result, last=last)

    def _start(self, effect: StartContainer) -> None:
        acts = self.behaviour
        if acts.start_fails:
            failed = StartFailed(at_s=self.now_s, reason=acts.start_fails, message="no such file")
            self._tell(effect.effect_id, failed)
            return
        self._runs[effect.container_id] = effect.effect_id
        self._tell(effect.effect_id, Started(at_s=self.now_s), last=False)
        if acts.exits_after_s is not None:
            code = acts.exit_code
            self.after(acts.exits_after_s, lambda: self.exit(effect.container_id, code))

    def exit(self, container_id: str, code: int, signal: int = 0) -> None:
        """The container's process is gone; said once."""
        number = self._runs.pop(container_id, None)
        if number is not None:
            self._tell(number, Exited(at_s=self.now_s, exit_code=code, signal=signal))

    def _signal(self, effect: Signal) -> None:
        there = effect.container_id in self._runs
        self._tell(effect.effect_id, Signalled(at_s=self.now_s, sent=there))
        if effect.signal == "KILL":
            self.after(0.001, lambda: self.exit(effect.container_id, 0, 9))
        elif self.behaviour.stops_after_s is not None:
            self.after(self.behaviour.stops_after_s, lambda: self.exit(effect.container_id, 0))

    def _write(self, number: int, obj: Obj) -> None:
        name = name_of(obj)
        current = self.pods.get(name)
        if current is None or uid_of(current) != uid_of(obj):
            self.agent.on_result(number, WriteRefused(at_s=self.now_s, code=404, message="gone", current=None))
            return
        if current["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            refused = WriteRefused(at_s=self.now_s, code=409, message="conflict", current=current)
            self.agent.on_result(number, refused)
            return
        self._version += 1
        metadata = {**current["metadata"], "resourceVersion": str(self._version)}
        stored: Obj = {**current, "metadata": metadata, "status": self.respell(obj["status"])}
        self.pods[name] = stored
        self.agent.on_pod(stored, self.now_s)
        self.agent.on_result(number, Written(at_s=self.now_s, obj=stored))

    # --- looking --------------------------------------------------------------------------------------------------

    def when(self, what: What, container: str = "") -> list[float]:
        """When it happened, in seconds since the beginning."""
        return [
            round(one.at_s - START_S, 3)
            for one in self.happenings
            if one.what is what and (not container or one.data.get("container") == container)
        ]

    def status(self, name: str = "web") -> Obj:
        """The pod's status."""
        found: Obj = self.pods[name]["status"]
        return found

    def container(self, at: int = 0, name: str = "web") -> Obj:
        """The status of one of its containers."""
        found: Obj = self.status(name)["containerStatuses"][at]
        return found

    def reasons(self) -> list[str]:
        """The events said so far."""
        return [say.reason for say in self.sayings]


def pod(name: str = "web", *, containers: list[Obj] | None = None, **spec: object) -> Obj:
    """A pod that was just bound to the node."""
    made: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": containers or [container()],
            **spec,
        },
        "status": {
            "phase": "Pending",
            "qosClass": "BestEffort",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(START_S)},
            ],
        },
    }
    return made


def container(name: str = "app", **fields: object) -> Obj:
    """A container of the example image."""
    made: Obj = {"name": name, "image": IMAGE, **fields}
    return made


def probe(**numbers: object) -> Obj:
    """An HTTP probe with the API's defaults."""
    made: Obj = {
        "httpGet": {"path": "/health", "port": 10002, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
        **numbers,
    }
    return made
