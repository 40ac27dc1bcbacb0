"""One long exec per pod that prints its /proc/net files again and again; the newest whole print is what counts.

A process and a WebSocket per sample would cost more than the traffic they measure.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from segue.drain.samples import PROC_FILES
from segue.host.client import KubeClient
from segue.model.errors import SegueError

MARK = "segue-whole"
PAUSE_S = 0.2
STALE_S = 3.0
SCRIPT = f"while :; do cat {' '.join(PROC_FILES)}; echo {MARK}; sleep {PAUSE_S}; done"
BUFFER_MAX = 8_000_000


class PodReader:
    """The loops of all pods of one release."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._texts: dict[str, tuple[float, str]] = {}

    async def read(self, namespace: str, pods: tuple[tuple[str, str], ...]) -> dict[str, str | None]:
        """The newest text per pod: "" where none has come yet, None where none will."""
        for pod, container in pods:
            if pod not in self._tasks:
                self._tasks[pod] = asyncio.create_task(self._follow(namespace, pod, container))
        await asyncio.sleep(0)
        return {pod: self._newest(pod) for pod, _ in pods}

    def _newest(self, pod: str) -> str | None:
        at_s, text = self._texts.get(pod, (0.0, ""))
        if self._tasks[pod].done():
            return None
        return text if time.monotonic() - at_s < STALE_S else ""

    async def _follow(self, namespace: str, pod: str, container: str) -> None:
        pending = b""
        mark = f"{MARK}\n".encode()
        with contextlib.suppress(SegueError):
            stream = self._client.exec_stream(namespace, pod, container, ["sh", "-c", SCRIPT])
            async for chunk in stream:
                pending += chunk
                whole, found, rest = pending.rpartition(mark)
                if found:
                    text = whole.rpartition(mark)[2].decode(errors="replace")
                    self._texts[pod] = (time.monotonic(), text)
                    pending = rest
                if len(pending) > BUFFER_MAX:
                    return

    async def close(self) -> None:
        """End them all."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
