"""Runs a node agent: store events and results in, effects out to whoever does them, and a timer for what is due.

Status writes are guarded by resourceVersion; where somebody else wrote in between, the agent is given the newer object
and decides again. Events are said last: nobody's readiness waits for them.

An agent that somebody has stopped (an annotation of its Node) does nothing and hears nothing, while its containers run
on; when it is let go on it takes up what happened meanwhile, in order.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, assert_never

from segue.cluster.node.account import Accounts
from segue.cluster.node.agent import NodeAgent
from segue.cluster.node.effects import (
    AttachNetwork,
    DetachNetwork,
    Effect,
    Forget,
    Record,
    RemovePod,
    Result,
    RunHook,
    RunProbe,
    SayEvent,
    Signal,
    StartContainer,
    WatchListeners,
    WriteRefused,
    WriteStatus,
    Written,
)
from segue.cluster.node.heartbeat import is_stopped
from segue.cluster.store import Store, StoreEvent
from segue.cluster.writes import Delete, Say, Update, Write
from segue.dns.resolver import ClusterDns
from segue.host.doors import PodNetwork
from segue.host.node.executor import Executor, Where
from segue.host.node.listeners import Listeners
from segue.host.node.processes import Process
from segue.model.errors import StatusError
from segue.model.objects import Ref, name_of, namespace_of, uid_of
from segue.ports import Clock, Recorder

_SAYINGS_PER_TURN = 8
_SAY_AGAIN_S = 0.02
_SHORTEST_NAP_S = 0.0005  # event loops count in milliseconds and may be early by half of one
_LONGEST_NAP_S = 60.0


class Performer(Protocol):
    """Who performs writes: the registry."""

    def perform(self, write: Write) -> object:
        """Perform one write, or raise StatusError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBody:
    """What a node agent's runner works with."""

    performer: Performer
    network: PodNetwork
    recorder: Recorder
    clock: Clock
    state: Path  # its own directory: each pod's files and logs go into one below it
    accounts: Accounts | None = None  # whose tokens pods get
    dns: ClusterDns = field(default_factory=ClusterDns)


class NodeRunner:
    """One node: its agent, its executor, its listeners."""

    def __init__(self, agent: NodeAgent, store: Store, body: NodeBody) -> None:
        self.agent = agent
        self.store = store
        self.body = body
        where = Where(
            node_name=agent.node_name,
            node_ip=agent.settings.node_ip,
            state=body.state,
            lookup=store.get,
            accounts=body.accounts,
            dns=body.dns,
        )
        self.executor = Executor(where, body.network, body.clock, self._told)
        self._listeners = Listeners(body.network, body.recorder, body.clock)
        self._sayings: deque[Say] = deque()
        self._unsubscribe = _nothing
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._runs = False
        self._is_stopped = False
        self._missed: list[Callable[[], None]] = []

    async def start(self) -> None:
        """Start the fork server, take up the pods that the store holds, and follow the store from now on."""
        self._runs = True
        self.executor.start()
        self._unsubscribe = self.store.subscribe(self._on_event)
        now_s = self.body.clock.now_s()
        for pod in self.store.all_of("pods"):
            self.agent.on_pod(pod, now_s)
        self._turn()

    async def stop(self) -> None:
        """End every container and every timer; the store stays as it is, for the next start to take up."""
        self._runs = False
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        self._listeners.stop()
        await self.executor.stop()

    def processes(self) -> dict[str, Process]:
        """The first process of each container that runs or has run, by the container's id."""
        return {container_id: running.process for container_id, running in self.executor.containers.items()}

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _on_event(self, event: StoreEvent) -> None:
        if event.ref.resource == "nodes" and event.ref.name == self.agent.node_name:
            self._stop_or_go_on(event)
        if event.ref.resource == "pods":
            self._hear(partial(self._see, event))

    def _see(self, event: StoreEvent) -> None:
        self.agent.on_pod(event.obj, self.body.clock.now_s(), gone=event.kind == "DELETED")

    def _told(self, effect_id: int, result: Result, last: bool) -> None:
        if self._runs:
            self._hear(partial(self.agent.on_result, effect_id, result, last=last))

    def _hear(self, what: Callable[[], None]) -> None:
        if self._is_stopped:
            self._missed.append(what)
        else:
            what()
            self._soon()

    def _stop_or_go_on(self, event: StoreEvent) -> None:
        self._is_stopped = event.kind != "DELETED" and is_stopped(event.obj)
        if not self._is_stopped:
            missed, self._missed = self._missed, []
            for what in missed:
                self._hear(what)
            self._soon()

    def _soon(self) -> None:
        if self._runs and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    # --- what goes out ----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._is_due = False
        if not self._runs or self._is_stopped:
            return
        if self._timer is not None:
            self._timer.cancel()
        now_s = self.body.clock.now_s()
        for effect in self.agent.step(now_s):
            self._do(effect)
        wake_s = self.agent.next_wake_s
        if self._sayings and not self._is_due:
            self._say()
            wake_s = min(wake_s, now_s + _SAY_AGAIN_S) if self._sayings else wake_s
        delay_s = max(_SHORTEST_NAP_S, min(wake_s - now_s, _LONGEST_NAP_S)) if wake_s < math.inf else _LONGEST_NAP_S
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)

    def _do(self, effect: Effect) -> None:
        match effect:
            case AttachNetwork() | DetachNetwork() | StartContainer() | RunProbe() | RunHook() | Signal():
                self.executor.perform(effect)
            case WriteStatus(effect_id=effect_id, write=write) | RemovePod(effect_id=effect_id, write=write):
                self.agent.on_result(effect_id, self._write(write))
                self._soon()
            case SayEvent(write=say):
                self._sayings.append(say)
            case Record(happening=happening):
                self.body.recorder.record(happening)
            case WatchListeners():
                self._listeners.watch(effect.pod_uid, effect.pod, effect.every_s, effect.then_s)
            case Forget(pod_uid=pod_uid):
                self.executor.forget(pod_uid)
            case _:
                assert_never(effect)

    def _write(self, write: Update | Delete) -> Result:
        ref = _ref_of(write)
        uid = uid_of(write.obj) if isinstance(write, Update) else write.uid
        refusal: StatusError | None = None
        try:
            self.body.performer.perform(write)
        except StatusError as error:
            refusal = error
        stored = self.store.get(ref)
        current = stored if stored is not None and uid_of(stored) == uid else None
        at_s = self.body.clock.now_s()
        if refusal is None and (current is not None or isinstance(write, Delete)):
            return Written(at_s=at_s, obj=current or {})
        code, message = (refusal.code, refusal.message) if refusal else (404, "gone")
        return WriteRefused(at_s=at_s, code=code, message=message, current=current)

    def _say(self) -> None:
        for _ in range(min(len(self._sayings), _SAYINGS_PER_TURN)):
            try:
                self.body.performer.perform(self._sayings.popleft())
            except StatusError:
                continue  # its namespace is on its way out: events are the least that is lost


def _ref_of(write: Update | Delete) -> Ref:
    if isinstance(write, Delete):
        return write.ref
    return Ref(resource=write.resource, namespace=namespace_of(write.obj), name=name_of(write.obj))


def _nothing() -> None:
    """Nothing to unsubscribe from yet."""
