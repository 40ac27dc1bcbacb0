"""Runs the user's check: a shell command in a process group of its own, polled, ended with us.

Rule: its output is the user's business; of it only the last line is kept, for the words of the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from segue.release.snapshot import Checked

SAID_MAX = 200


@dataclass
class CheckRunner:
    """One check at a time."""

    task: asyncio.Task[Checked] | None = None
    process: asyncio.subprocess.Process | None = None

    async def poll(self, command: str, facts: Mapping[str, str]) -> Checked | None:
        """Begin it where it does not run; how it ended, None while it runs."""
        if self.task is None:
            self.task = asyncio.create_task(self._run(command, facts))
        done, _ = await asyncio.wait({self.task}, timeout=0.05)
        if not done:
            return None
        found, self.task = self.task.result(), None
        return found

    async def _run(self, command: str, facts: Mapping[str, str]) -> Checked:
        self.process = await asyncio.create_subprocess_shell(
            command,
            env={**os.environ, **facts},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output, _ = await self.process.communicate()
        lines = output.decode(errors="replace").strip().splitlines()
        last = lines[-1].strip()[:SAID_MAX] if lines else "no output"
        code = self.process.returncode or 0
        return Checked(passed=code == 0, said=last if code == 0 else f"exit code {code}: {last}")

    async def close(self) -> None:
        """End it, with all it has started."""
        if self.task is None:
            return
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(asyncio.TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self.task, 5.0)
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.task.cancel()
