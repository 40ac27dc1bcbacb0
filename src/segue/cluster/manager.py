"""The controller manager: turns store events into keys, and runs the controllers whose keys are due.

Rule 1: only here are the controllers' writes handed on, one by one, to whoever performs them.
Rule 2: a key waits at most once; what happened meanwhile is seen by the one reconcile that follows.
Rule 3: a step is bounded, so an event loop that calls it stays responsive.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Protocol

from segue.cluster.controllers.autoscaler.controller import HorizontalPodAutoscalerController
from segue.cluster.controllers.autoscaler.samples import PodUsages
from segue.cluster.controllers.contract import Controller, Later, Refusal
from segue.cluster.controllers.daemonset.controller import DaemonSetController
from segue.cluster.controllers.deployment.controller import DeploymentController
from segue.cluster.controllers.disruption import DisruptionController
from segue.cluster.controllers.endpointslice import EndpointSliceController
from segue.cluster.controllers.garbage import GarbageCollector
from segue.cluster.controllers.job.controller import JobController
from segue.cluster.controllers.namespaces import NamespaceController
from segue.cluster.controllers.nodelife import NodeLifecycleController
from segue.cluster.controllers.quota import QuotaController
from segue.cluster.controllers.replicaset import ReplicaSetController
from segue.cluster.controllers.scheduler import Scheduler
from segue.cluster.controllers.statefulset.controller import StatefulSetController
from segue.cluster.metrics.readings import Readings
from segue.cluster.store import Store, StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Outcome, Say, Write, signed
from segue.model.errors import StatusError
from segue.model.objects import Ref, name_of, namespace_of
from segue.ports import Chance

FIRST_BACK_OFF_S = 0.005  # client-go's exponential limiter starts here
LONGEST_BACK_OFF_S = 16.0
LOOK_AGAIN_AT_ONCE = frozenset({"Conflict", "NotFound", "AlreadyExists"})
RACES_IN_A_ROW = 3  # so often a key that lost a race looks again at once; then it backs off like any other


class Performer(Protocol):
    """Who performs writes: the registry."""

    def perform(self, write: Write) -> object:
        """Perform one write, or raise StatusError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How slow each controller is made (drills), and how much one step may do."""

    deployment_delay_s: float = 0.0
    replica_set_delay_s: float = 0.0
    endpoint_slice_delay_s: float = 0.0
    scheduler_delay_s: float = 0.0
    garbage_delay_s: float = 0.0
    namespace_delay_s: float = 0.0
    reconciles_per_step: int = 64

    def __post_init__(self) -> None:
        assert self.reconciles_per_step > 0


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    controller: str
    ref: Ref


@dataclass(slots=True)
class _Loop:
    controller: Controller
    delay_s: float = 0.0
    failures: dict[Ref, int] = field(default_factory=dict)


class Manager:
    """Runs the controllers over one store; `step` is called after writes and when the returned time has passed."""

    def __init__(
        self,
        store: Store,
        performer: Performer,
        chance: Chance,
        settings: Settings | None = None,
        usages: PodUsages | None = None,
    ) -> None:
        """`usages` knows what pods use; without it autoscalers say that they have no metrics."""
        self.settings = settings or Settings()
        self.view = View(store)
        self._performer = performer
        self._loops = {loop.controller.name: loop for loop in _loops(chance, self.settings, usages or Readings())}
        self._arrived: dict[_Key, float] = {}  # what an event concerns, and how long that may wait
        self._writing = ""  # the controller whose write is being performed
        self._due: dict[_Key, None] = {}
        self._timers: dict[_Key, float] = {}
        self._heap: list[tuple[float, _Key]] = []
        for resource in store.resources():
            for obj in store.all_of(resource):
                ref = Ref(resource=resource, namespace=namespace_of(obj), name=name_of(obj))
                self._arrive(StoreEvent(version=store.version, kind="ADDED", ref=ref, obj=obj, before=None))
        self._unsubscribe = store.subscribe(self._arrive)

    def close(self) -> None:
        """Hear no more of the store."""
        self._unsubscribe()

    def step(self, now_s: float) -> float | None:
        """Run what is due, at most `reconciles_per_step`; seconds until the next look, None while nothing waits."""
        for _ in range(self.settings.reconciles_per_step):
            self._sort_in(now_s)
            if not self._due:
                break
            key = next(iter(self._due))
            del self._due[key]
            self._run(key, now_s)
        self._sort_in(now_s)
        if self._due:
            return 0.0
        return max(0.0, self._heap[0][0] - now_s) if self._heap else None

    def _arrive(self, event: StoreEvent) -> None:
        for name, loop in self._loops.items():
            for found in loop.controller.keys(self.view, event):
                if not isinstance(found, Later):
                    self._arrived[_Key(name, found)] = loop.delay_s
                elif name != self._writing:
                    key, after_s = _Key(name, found.ref), loop.delay_s + found.after_s
                    self._arrived[key] = min(self._arrived.get(key, after_s), after_s)

    def _sort_in(self, now_s: float) -> None:
        for key, delay_s in self._arrived.items():
            if delay_s > 0:
                self._wake_at(key, now_s + delay_s)
            else:
                self._due[key] = None
        self._arrived.clear()
        while self._heap and (self._heap[0][0] <= now_s or self._timers.get(self._heap[0][1]) != self._heap[0][0]):
            at_s, key = heapq.heappop(self._heap)
            if self._timers.get(key) == at_s:
                del self._timers[key]
                self._due[key] = None

    def _wake_at(self, key: _Key, at_s: float) -> None:
        known_s = self._timers.get(key)
        if known_s is None or at_s < known_s:
            self._timers[key] = at_s
            heapq.heappush(self._heap, (at_s, key))

    def _run(self, key: _Key, now_s: float) -> None:
        loop = self._loops[key.controller]
        self._timers.pop(key, None)
        outcome: Outcome = loop.controller.reconcile(self.view, key.ref, now_s)
        self._writing = key.controller
        try:
            self._carry_out(key, outcome, now_s)
        finally:
            self._writing = ""

    def _carry_out(self, key: _Key, outcome: Outcome, now_s: float) -> None:
        loop = self._loops[key.controller]
        for write in outcome.writes:
            try:
                self._performer.perform(signed(write, _program(key)))
            except StatusError as error:
                if isinstance(write, Say):
                    continue  # an Event is told as well as can be; nothing waits for it
                self._failed(key, write, error, now_s)
                return
        loop.failures.pop(key.ref, None)
        if outcome.wake_in_s is not None:
            self._wake_at(key, now_s + outcome.wake_in_s)

    def _failed(self, key: _Key, write: Write, error: StatusError, now_s: float) -> None:
        loop = self._loops[key.controller]
        count = loop.failures.get(key.ref, 0) + 1
        loop.failures[key.ref] = count
        race = error.reason in LOOK_AGAIN_AT_ONCE
        if not race:
            for more in loop.controller.refused(self.view, key.ref, Refusal(write=write, error=error, now_s=now_s)):
                try:
                    self._performer.perform(signed(more, _program(key)))
                except StatusError:
                    break  # the report of a failure is not worth a failure of its own; the back-off looks again
        if race and count <= RACES_IN_A_ROW:
            self._wake_at(key, now_s)
        else:
            self._wake_at(key, now_s + back_off_s(count))


def _program(key: _Key) -> str:
    """The program whose controller this is upstream."""
    return "kube-scheduler" if key.controller == "scheduler" else "kube-controller-manager"


def back_off_s(failures: int) -> float:
    """How long a key rests after so many failures in a row."""
    assert failures > 0
    return min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(failures - 1, 20))


def _loops(chance: Chance, settings: Settings, usages: PodUsages) -> list[_Loop]:
    return [
        _Loop(Scheduler(), settings.scheduler_delay_s),
        _Loop(EndpointSliceController(chance), settings.endpoint_slice_delay_s),
        _Loop(ReplicaSetController(chance), settings.replica_set_delay_s),
        _Loop(DeploymentController(), settings.deployment_delay_s),
        _Loop(StatefulSetController()),
        _Loop(DaemonSetController(chance)),
        _Loop(JobController(chance)),
        _Loop(GarbageCollector(), settings.garbage_delay_s),
        _Loop(NamespaceController(), settings.namespace_delay_s),
        _Loop(DisruptionController()),
        _Loop(NodeLifecycleController()),
        _Loop(QuotaController()),
        _Loop(HorizontalPodAutoscalerController(usages)),
    ]
