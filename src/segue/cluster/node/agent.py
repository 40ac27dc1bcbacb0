"""The node agent: which pods are on this node, and whose turn it is.

Rule 1: it is told objects and results and is asked to step; it reads no clock and touches nothing itself.
Rule 2: pods do not know each other.
"""

from __future__ import annotations

import math

from segue.cluster.node.effects import Effect, Forget, Result
from segue.cluster.node.images import ImageMap
from segue.cluster.node.pod import PodMachine
from segue.cluster.node.settings import NodeSettings
from segue.cluster.node.surroundings import Outbox, Surroundings
from segue.model.objects import Obj, uid_of

_TERMINAL = ("Succeeded", "Failed")


class NodeAgent:
    """The pods of one node."""

    def __init__(self, node_name: str, settings: NodeSettings, images: ImageMap) -> None:
        self.node_name = node_name
        self.settings = settings
        self._images = images
        self._outbox = Outbox()
        self._pods: dict[str, PodMachine] = {}
        self._wakes: dict[str, float] = {}
        self._coming: list[tuple[float, Obj, bool]] = []

    def on_pod(self, obj: Obj, now_s: float, *, gone: bool = False) -> None:
        """A pod was written, or removed (`gone`, with its last state); pods of other nodes are left alone."""
        if obj.get("spec", {}).get("nodeName") != self.node_name:
            return
        if self.settings.see_delay_s > 0:
            self._coming.append((now_s + self.settings.see_delay_s, obj, gone))
        else:
            self._see(obj, now_s, gone)

    def on_result(self, effect_id: int, result: Result, *, last: bool = True) -> None:
        """The result of an effect; `last` is False where another one of the same effect will follow."""
        owners = self._outbox.owners
        owner = owners.pop(effect_id) if last else owners[effect_id]
        machine = self._pods.get(owner.pod_uid)
        if machine is not None:
            machine.on_result(effect_id, owner.container, result)
            self._wakes[owner.pod_uid] = 0.0

    def step(self, now_s: float) -> list[Effect]:
        """What is to be done now."""
        while self._coming and self._coming[0][0] <= now_s:
            _due_s, obj, gone = self._coming.pop(0)
            self._see(obj, now_s, gone)
        for uid, wake_s in list(self._wakes.items()):
            if wake_s <= now_s:
                self._step_pod(uid, now_s)
        return self._outbox.take()

    @property
    def next_wake_s(self) -> float:
        """When to step again if nothing happens; infinite where nothing is due."""
        coming_s = self._coming[0][0] if self._coming else math.inf
        return min(coming_s, min(self._wakes.values(), default=math.inf))

    def find(self, uid: str) -> PodMachine | None:
        """The machine of a pod, for those who answer questions about it."""
        return self._pods.get(uid)

    def _see(self, obj: Obj, now_s: float, gone: bool) -> None:
        uid = uid_of(obj)
        machine = self._pods.get(uid)
        if machine is None:
            if gone:
                self._outbox.effects.append(Forget(pod_uid=uid))
                return
            if obj.get("status", {}).get("phase") in _TERMINAL:
                return
            machine = self._pods[uid] = self._admit(obj, now_s)
        if gone:
            machine.on_gone(now_s)
        else:
            machine.on_object(obj, now_s)
        self._wakes[uid] = 0.0

    def _admit(self, obj: Obj, now_s: float) -> PodMachine:
        around = Surroundings(
            obj=obj,
            node_name=self.node_name,
            settings=self.settings,
            images=self._images,
            outbox=self._outbox,
        )
        return PodMachine(around, now_s)

    def _step_pod(self, uid: str, now_s: float) -> None:
        machine = self._pods[uid]
        machine.step(now_s)
        if machine.done:
            del self._pods[uid], self._wakes[uid]
            self._outbox.effects.append(Forget(pod_uid=uid))
        else:
            self._wakes[uid] = machine.wake_s()
