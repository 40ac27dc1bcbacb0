"""Runs the controllers: a loop around `cluster.manager.Manager` that wakes on writes and timers."""

from __future__ import annotations

import asyncio
import contextlib

from segue.cluster.manager import Manager
from segue.cluster.store import Store
from segue.ports import Clock

LONGEST_NAP_S = 30.0


class ManagerRunner:
    """Steps the manager whenever something was written or a timer of its own is due."""

    def __init__(self, manager: Manager, store: Store, clock: Clock) -> None:
        self._manager = manager
        self.view = manager.view
        self._clock = clock
        self._wake = asyncio.Event()
        self._unsubscribe = store.subscribe(lambda _event: self._wake.set())
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; a first step runs at once."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; no step runs afterwards."""
        self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            next_s = self._manager.step(self._clock.now_s())
            if next_s is not None and next_s <= 0:
                await asyncio.sleep(0)  # a long queue must not keep the API from answering
                continue
            # Not wait_for: before Python 3.12 it forgets a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(next_s or LONGEST_NAP_S, LONGEST_NAP_S)):
                    await self._wake.wait()
