"""One long exec per pod that prints its /proc/net files each time it is asked to.

A process and a WebSocket per sample would cost more than the traffic they measure. It prints only when asked: what it
says is then no older than the question; and it ends with its input, which closes however this process ends. A loop
that slept by itself would go on in the pod for ever: containerd ends no command because nobody listens any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from segue.drain.samples import AGENT_CONTAINER as AGENT
from segue.drain.samples import PROC_FILES, ProcText
from segue.drain.ss import SS_MARK
from segue.drive.flow import Look
from segue.host.client import ExecPipe, KubeClient
from segue.host.clock import SystemClock
from segue.model.errors import SegueError

MARK = b"segue-whole\n"
COUNT, WHOLE = b"count\n", b"whole\n"
SCRIPT = (
    f"while read what; do cat {PROC_FILES[0]}; "
    f'[ "$what" = count ] || {{ cat {" ".join(PROC_FILES[1:])} 2>/dev/null; '
    f"echo {SS_MARK}; command -v ss >/dev/null && ss -tinH 2>/dev/null; }}; echo {MARK.decode().strip()}; done"
)
# The same of the agent that serves in its container, wherever its file lies there
_AGENT_SCRIPT = f"""
import os, socket, sys
for line in sys.stdin:
    with socket.socket(socket.AF_UNIX) as way:
        way.connect("\\0segue-agent" + os.environ.get("POD_IP", ""))
        way.sendall(b"GET /sample?who=%d HTTP/1.1\\r\\n\\r\\n" % (line.strip() != "count"))
        pieces = iter(lambda: way.recv(65536), b"")
        sys.stdout.write(b"".join(pieces).partition(b"\\r\\n\\r\\n")[2].decode() + "{MARK.decode().strip()}\\n")
        sys.stdout.flush()
"""
WAIT_S = 0.25  # for slow pods: who answers later is heard the next time
BUFFER_MAX = 64_000_000
TRIES = 3  # an API server that is started again breaks every connection once


@dataclass(slots=True)
class _Line:
    """One pod's exec."""

    task: asyncio.Task[None] | None = None
    whole: bool = True
    waits: bool = False  # a question has been put and not been answered
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    newest: ProcText | None = None
    trouble: str = ""


class PodReader:
    """The execs of all pods of one release."""

    def __init__(self, client: KubeClient, clock: SystemClock) -> None:
        self._client = client
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = {}

    async def read(self, namespace: str, looks: Sequence[Look]) -> dict[str, ProcText | str]:
        """What each pod answers now; a word where none ever will, nothing where it takes its time."""
        lines = {look.pod: self._line(namespace, look.pod, look.container) for look in looks}
        for look in looks:
            line = lines[look.pod]
            line.answered.clear()
            if not line.waits:
                line.whole, line.waits = look.whole, True
                line.asked.set()
        waits = [asyncio.create_task(line.answered.wait()) for line in lines.values()]
        if waits:
            await asyncio.wait(waits, timeout=WAIT_S)
            for wait in waits:
                wait.cancel()
        found: dict[str, ProcText | str] = {}
        for pod, line in lines.items():
            assert line.task is not None, "made together with its line"
            if line.task.done():
                found[pod] = line.trouble or "exec ended"
            elif line.newest is not None:
                found[pod], line.newest = line.newest, None
        return found

    def _line(self, namespace: str, pod: str, container: str) -> _Line:
        line = self._lines.get((pod, container))
        if line is None:
            line = self._lines[pod, container] = _Line()
            line.task = asyncio.create_task(self._follow(line, namespace, pod, container))
        return line

    async def _follow(self, line: _Line, namespace: str, pod: str, container: str) -> None:
        """Until the cluster says that there is no such command, or the connection broke too often."""
        try:
            for _ in range(TRIES):
                pipe: ExecPipe | None = None
                if line.waits:  # what broke off is asked again
                    line.asked.set()
                try:
                    async with self._client.exec_session(namespace, pod, container, _command(container)) as pipe:
                        await self._converse(line, pipe)
                except SegueError as error:
                    line.trouble = error.message
                if pipe is not None and pipe.said:
                    line.trouble = pipe.said
                    return
        finally:
            line.answered.set()

    async def _converse(self, line: _Line, pipe: ExecPipe) -> None:
        """Question by question; ends where the command does."""
        async with aclosing(pipe.output()) as output:
            while True:
                await line.asked.wait()
                line.asked.clear()
                asked_s = self._clock.now_s()
                await pipe.send(WHOLE if line.whole else COUNT)
                text = await _answer(output)
                if text is None:
                    return
                line.waits = False
                line.newest = ProcText(text=text, asked_s=asked_s, read_s=self._clock.now_s())
                line.answered.set()

    async def close(self) -> None:
        """End them all."""
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _command(container: str) -> list[str]:
    return ["python3", "-I", "-S", "-c", _AGENT_SCRIPT] if container == AGENT else ["sh", "-c", SCRIPT]


async def _answer(output: AsyncIterator[bytes]) -> str | None:
    """One whole print; None where the command has ended instead."""
    pieces: list[bytes] = []
    size = 0
    async for piece in output:
        pieces.append(piece)
        size += len(piece)
        tail = piece if len(piece) >= len(MARK) else b"".join(pieces[-len(MARK) :])
        if tail.endswith(MARK):
            return b"".join(pieces)[: -len(MARK)].decode(errors="replace")
        if size > BUFFER_MAX:
            return None
    return None
