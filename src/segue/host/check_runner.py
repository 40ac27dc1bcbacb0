"""Runs the user's checks: a shell command, a question to a URL, or a Job; polled, ended with us.

Rule: a command's output is the user's business; of it only the last line is kept, for the words of the end. What cannot
be carried out has not succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from segue.analysis.answers import Silence, is_good_answer
from segue.analysis.values import Hook
from segue.host.asking import ask_url, asker, filled
from segue.host.client import KubeClient
from segue.host.job_check import JobCheck
from segue.host.shell import run_command
from segue.release.snapshot import Checked

SAID_MAX = 200


@dataclass
class CheckRunner:
    """One check at a time."""

    client: KubeClient
    task: asyncio.Task[Checked] | None = None

    async def poll(self, hook: Hook, facts: Mapping[str, str]) -> Checked | None:
        """Begin it where it does not run; how it ended, None while it runs."""
        if self.task is None:
            self.task = asyncio.create_task(self._run(hook, facts))
        done, _ = await asyncio.wait({self.task}, timeout=0.05)
        if not done:
            return None
        found, self.task = self.task.result(), None
        return found

    async def _run(self, hook: Hook, facts: Mapping[str, str]) -> Checked:
        match hook.kind:
            case "command":
                return await _run_command(hook, facts)
            case "http":
                return await _ask(hook, facts)
            case "job":
                return await JobCheck(client=self.client, hook=hook, facts=facts).run()

    async def close(self) -> None:
        """End it, with all it has started."""
        if self.task is None:
            return
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def _run_command(hook: Hook, facts: Mapping[str, str]) -> Checked:
    try:
        code, output = await run_command(hook.text, facts, timeout_s=hook.timeout_s)
    except TimeoutError:
        return Checked(passed=False, said=f"it has not ended within {hook.timeout_s:g} s")
    lines = output.strip().splitlines()
    last = lines[-1].strip()[:SAID_MAX] if lines else "no output"
    return Checked(passed=code == 0, said=last if code == 0 else f"exit code {code}: {last}")


async def _ask(hook: Hook, facts: Mapping[str, str]) -> Checked:
    url = filled(hook.text, facts)
    async with asker() as client:
        answer = await ask_url(client, url, timeout_s=hook.timeout_s)
    if isinstance(answer, Silence):
        return Checked(passed=False, said=answer.because)
    passed = is_good_answer(answer.status, answer.text, wanted=hook.status, contains=hook.contains)
    said = f"{url} answers {answer.status}"
    if not passed and hook.contains and hook.contains not in answer.text:
        said += f", without {hook.contains!r} in it"
    return Checked(passed=passed, said=said)
