"""Beats for a node: writes its signs of life at a fixed pace, and none while somebody has stopped its agent."""

from __future__ import annotations

import asyncio

from segue.cluster.controllers.nodelife import LEASE_NAMESPACE, LEASES
from segue.cluster.node.heartbeat import BEAT_S, beat, is_stopped
from segue.cluster.store import Store, StoreEvent
from segue.host.node.runner import Performer
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, name_of
from segue.ports import Clock


class Heart:
    """One node's."""

    def __init__(self, node: Obj, store: Store, performer: Performer, clock: Clock) -> None:
        """`node` is what the node registered itself with."""
        self._ref = Ref(resource="nodes", namespace="", name=name_of(node))
        self._conditions: list[Obj] = node["status"]["conditions"]
        self._store = store
        self._performer = performer
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._was_stopped = False
        self._unsubscribe = store.subscribe(self._on_event)

    def start(self) -> None:
        """The first beat is at once."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self.start)
        node = self._store.get(self._ref)
        if node is None or is_stopped(node):
            return
        lease = self._store.get(Ref(resource=LEASES, namespace=LEASE_NAMESPACE, name=self._ref.name))
        try:
            for write in beat(node, lease, self._conditions, self._clock.now_s()):
                self._performer.perform(write)
        except StatusError:
            return  # somebody wrote in between: the next beat will do

    def stop(self) -> None:
        """No beat follows."""
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()

    def _on_event(self, event: StoreEvent) -> None:
        """An agent that is let go on speaks at once."""
        if event.ref != self._ref or event.kind == "DELETED":
            return
        was, self._was_stopped = self._was_stopped, is_stopped(event.obj)
        if was and not self._was_stopped and self._timer is not None:
            asyncio.get_running_loop().call_soon(self.start)
