"""Where a load is fired from and how a person's Ctrl-C reaches it. The firing itself is `host.firing`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from segue.host.firing.child import FiringChild, Progress
from segue.host.state import Running
from segue.load.plan import Plan
from segue.model.objects import Obj


def client_prefix(state: Path, running: Running) -> tuple[str, ...]:
    """The command that runs another one where clients of the embedded cluster live; () in loopback mode."""
    if not running.client_netns:
        return ()
    return (sys.executable, "-m", "segue.host.network.enter", "--state", str(state), "--")


def is_inside(url: str, running: Running | None) -> bool:
    """Whether a URL names the embedded cluster's own node, which only its client namespace reaches directly."""
    host = url.partition("://")[2].split("/", 1)[0].rpartition(":")[0]
    return running is not None and host == running.node_ip


def fire(plan: Plan, records: Path, prefix: tuple[str, ...], on_progress: Progress) -> Obj:
    """Fire a plan to its end and return the summary. Ctrl-C stops early and still sums up; a second one cuts."""

    async def run() -> Obj:
        child = await FiringChild.start(plan, records, prefix=prefix, on_progress=on_progress)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, child.stop)
        try:
            return await child.finish()
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            await child.kill()

    return asyncio.run(run())
