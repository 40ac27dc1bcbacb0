"""The load as a child process, seen from whoever wants it fired: start it, follow it, stop it, read its records.

Fired by a process of its own, so that drawing progress or talking to an API never delays a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.errors import HostError
from segue.model.objects import Obj

Progress = Callable[[Obj], None]


class FiringChild:
    """A load under way. Make it with `start`; always `finish` or `kill` it."""

    def __init__(self, process: asyncio.subprocess.Process, records: Path, on_progress: Progress) -> None:
        self.records = records
        self.summary: Obj = {}
        self.started = asyncio.Event()  # set with the first progress line: the first request has left
        self._process = process
        self._on_progress = on_progress
        self._error = ""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, plan: Plan, records: Path, *, prefix: Sequence[str] = (), on_progress: Progress = lambda _: None
    ) -> FiringChild:
        """Start firing; `prefix` is a command that runs another one elsewhere (in the client's namespace)."""
        process = await asyncio.create_subprocess_exec(
            *prefix,
            sys.executable,
            "-m",
            "segue.host.firing",
            msgspec.json.encode(plan).decode(),
            str(records),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us to pass on: once to stop, twice to cut
            limit=1 << 22,  # the summary is one line, with a row for each second
        )
        return cls(process, records, on_progress)

    async def _read(self) -> None:
        assert self._process.stdout is not None, "the pipe was asked for"
        async for line in self._process.stdout:
            said = msgspec.json.decode(line, type=Obj)
            if "summary" in said:
                self.summary = said["summary"]
            elif "error" in said:
                self._error = str(said["error"])
            else:
                self.started.set()
                self._on_progress(said["progress"])
        self.started.set()

    def stop(self) -> None:
        """Fire no more; what is under way is waited for. A second call waits no longer."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    async def finish(self) -> Obj:
        """Wait for the end and return the summary; HostError where nothing could be fired."""
        await self._reading
        assert self._process.stderr is not None, "the pipe was asked for"
        said = (await self._process.stderr.read()).decode(errors="replace").strip()
        code = await self._process.wait()
        if not self.summary:
            why = self._error or said.rpartition("\n")[2] or f"it ended with code {code}"
            raise HostError(f"the load could not be fired: {why}")
        return self.summary

    def check_alive(self) -> None:
        """HostError where it fires no more although nobody told it to stop."""
        if self._error or self._process.returncode is not None:
            raise HostError(
                f"the load fires no more: {self._error or f'it ended with code {self._process.returncode}'}"
            )

    async def kill(self) -> None:
        """End it now, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._reading.cancel()


def read_records(path: Path) -> Iterator[Record]:
    """The records of a finished load, in the order in which requests ended."""
    decode = msgspec.json.Decoder(Record).decode
    with path.open("rb") as rows:
        for row in rows:
            yield decode(row)
