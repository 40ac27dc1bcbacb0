"""Runs a shell command of the user's in a process group of its own, which ends with whoever waits for it.

Rule: whatever it has started ends with it; its output is kept whole and means nothing here.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

PATIENCE_S = 5.0  # with a command that was asked to end


async def run_command(command: str, facts: Mapping[str, str], *, timeout_s: float = 0.0) -> tuple[int, str]:
    """Its exit code and its output, both streams as one; TimeoutError where it does not end in time (0: no limit)."""
    process = await asyncio.create_subprocess_shell(
        command,
        env={**os.environ, **facts},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s or None):
            output, _ = await process.communicate()
    finally:
        await _end(process)
    return process.returncode or 0, output.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    for word in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, word)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE_S)
            return
