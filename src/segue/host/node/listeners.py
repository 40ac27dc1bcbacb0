"""Watches pods' listening ports and records when each opened and closed, as measured in the pod's own namespace.

A port is seen at moments only: LISTENER_CLOSED says when it was first seen closed (`at_s`) and when last seen open
(`not_before_s`), and the truth lies between. How often it looks is the node agent's choice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from segue.host.doors import PodNetwork
from segue.model.errors import SegueError
from segue.model.timeline import Happening, What
from segue.ports import Clock, Recorder


@dataclass(slots=True, kw_only=True)
class _Watched:
    pod: str
    every_s: float
    then_s: float
    open_ports: dict[int, float] = field(default_factory=dict)  # port -> last seen
    timer: asyncio.TimerHandle | None = None


class Listeners:
    """The watched pods."""

    def __init__(self, network: PodNetwork, recorder: Recorder, clock: Clock) -> None:
        self._network = network
        self._recorder = recorder
        self._clock = clock
        self._watched: dict[str, _Watched] = {}

    def watch(self, pod_uid: str, pod: str, every_s: float, then_s: float) -> None:
        """Look now and from now on this often; 0: look a last time and end."""
        watched = self._watched.setdefault(pod_uid, _Watched(pod=pod, every_s=every_s, then_s=then_s))
        watched.every_s, watched.then_s = every_s, then_s
        if watched.timer is not None:
            watched.timer.cancel()
        self._look(pod_uid, watched)

    def stop(self) -> None:
        """End all."""
        for watched in self._watched.values():
            if watched.timer is not None:
                watched.timer.cancel()
        self._watched.clear()

    def _look(self, pod_uid: str, watched: _Watched) -> None:
        try:
            ports = self._network.listening_ports(pod_uid)
        except (OSError, SegueError):
            ports = frozenset()
        now_s = self._clock.now_s()
        for port in ports - watched.open_ports.keys():
            self._record(now_s, What.LISTENER_OPENED, watched.pod, port, None)
        for port in watched.open_ports.keys() - ports:
            self._record(now_s, What.LISTENER_CLOSED, watched.pod, port, watched.open_ports.pop(port))
        watched.open_ports.update(dict.fromkeys(ports, now_s))
        if watched.every_s <= 0:
            self._watched.pop(pod_uid, None)
            return
        if ports:
            watched.every_s = watched.then_s
        watched.timer = asyncio.get_running_loop().call_later(watched.every_s, self._look, pod_uid, watched)

    def _record(self, at_s: float, what: What, pod: str, port: int, not_before_s: float | None) -> None:
        data: dict[str, object] = {"port": port}
        if not_before_s is not None:
            data["not_before_s"] = not_before_s
        self._recorder.record(Happening(at_s=at_s, what=what, pod=pod, data=data))
