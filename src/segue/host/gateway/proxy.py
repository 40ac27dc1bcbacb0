"""What every proxy of a Gateway offers to the runner, and how its process is started, waited for and ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from segue.cluster.gateway.config import Config

Question: TypeAlias = Callable[[], Awaitable[bool]]
LOAD_LIMIT_S = 5.0
POLL_S = 0.01
STOP_LIMIT_S = 3.0
# It ends with the cluster, however that ends; the large process is not forked for it.
CHILD = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)


class Runs(Protocol):
    """Something with a process."""

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        ...


class Proxy(Runs, Protocol):
    """One proxy, serving one Gateway on one address; `starts` changes where its counters begin anew."""

    starts: int

    async def start(self) -> None:
        """Start the process; returns when it answers. HostError where it does not."""
        ...

    async def stop(self) -> None:
        """End it, and leave nothing behind."""
        ...

    async def load(self, config: Config, now_s: float) -> str:
        """Take a configuration over: returns when the process shows it; what it refuses is returned in its words."""
        ...

    async def requests(self) -> dict[str, int]:
        """Requests by cluster."""
        ...


async def shows(question: Question, who: Runs, limit_s: float = LOAD_LIMIT_S) -> bool:
    """Ask until it is so; False where that takes too long, or the process ends."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + limit_s
    while not await question():
        if not who.runs or loop.time() > end_s:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def stop_process(process: asyncio.subprocess.Process | None) -> None:
    """SIGTERM, and what is left after a while SIGKILL."""
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
