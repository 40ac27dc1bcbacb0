"""What the processes of containers use is read from /proc: the whole tree, what has ended, and nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from segue.cluster.metrics.readings import Readings
from segue.host.clock import SystemClock
from segue.host.node.processes import Process, Processes, Program
from segue.host.node.usage import UsageReader

LIMIT_S = 15.0
_BURN = "while True: pass"
_CHILD = """
import os, signal
parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    while os.getppid() == parent: pass
else:
    signal.pause()
"""
_IDLE = "import signal; signal.pause()"


@asynccontextmanager
async def containers(**programs: str) -> AsyncIterator[tuple[Processes, dict[str, Process]]]:
    """Each of these as the container `c` of a pod of its name."""
    processes = Processes(SystemClock())
    null = os.open(os.devnull, os.O_RDWR)
    found = {}
    try:
        for uid, program in programs.items():
            argv = (sys.executable, "-I", "-S", "-c", program)
            found[f"{uid}.c.0"] = await processes.run(Program(argv=argv, env={}, stdio=(null, null, null)))
        yield processes, found
    finally:
        await processes.stop()
        os.close(null)


async def measured(found: dict[str, Process]) -> Readings:
    """Two rounds of readings."""
    readings = Readings()
    reader = UsageReader(lambda: found, readings, SystemClock(), 1.0)
    reader.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            while readings.node() is None:  # noqa: ASYNC110 - what is waited for is told to nobody
                await asyncio.sleep(0.05)
        return readings
    finally:
        await reader.stop()


async def rounds() -> tuple[Readings, Readings]:
    """A pod that burns, one whose child does in a session of its own, an idle one; then the second has ended."""
    async with containers(busy=_BURN, parent=_CHILD, idle=_IDLE) as (processes, found):
        before = await measured(found)
        ending = found["parent.c.0"]
        await processes.kill(ending, signal.SIGKILL, group=True)
        await ending.ended
        return before, await measured(found)


def test_a_pod_uses_what_its_whole_tree_uses() -> None:
    before, after = asyncio.run(rounds())
    found = {uid: (before.pod(uid) or {})["c"] for uid in ("busy", "parent", "idle")}

    assert found["busy"].cpu_nano > 50_000_000
    assert found["parent"].cpu_nano > 50_000_000
    assert found["idle"].cpu_nano < 50_000_000
    assert found["parent"].memory_bytes > found["idle"].memory_bytes > 1 << 20
    assert after.pod("busy") is not None
    assert after.pod("parent") is None
