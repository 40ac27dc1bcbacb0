"""The buttons: each runs the command of its name, as it would be typed, in a process of its own.

So a button does what the command does: its own run with its own Lease, its progress, its receipt, its words where
something is wrong. Rule: what is run is made of words that are known here; nothing of a request gets into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.host.web.board import Board
from segue.model.objects import Obj
from segue.report.live import WORDS

LINES_KEPT_MAX = 40
LINE_CHARACTERS_MAX = 1000
TOLD_MAX = 4
END_WITHIN_S = 5.0


@dataclass(slots=True, kw_only=True)
class Run:
    """One command: what it has said so far; `code` None while it runs."""

    word: str
    number: int
    lines: list[str] = field(default_factory=list)
    code: int | None = None
    process: asyncio.subprocess.Process | None = None

    def as_obj(self) -> Obj:
        """As the page is told."""
        return {"word": self.word, "number": self.number, "code": self.code, "lines": self.lines[-LINES_KEPT_MAX:]}


class Commands:
    """Those that were begun here. `argv` is what comes before the word, `operands` what comes after it."""

    def __init__(self, board: Board, argv: Sequence[str], operands: Sequence[str]) -> None:
        self._board, self._argv, self._operands = board, tuple(argv), tuple(operands)
        self._runs: list[Run] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, word: str) -> str:
        """Begin a command; why not, where it cannot be."""
        if word not in WORDS:
            return f"there is no button {word}"
        if any(run.word == word and run.code is None for run in self._runs):
            return f"segue {word} runs already"
        run = Run(word=word, number=len(self._runs) + 1)
        self._runs.append(run)
        task = asyncio.create_task(self._follow(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._tell()
        return ""

    async def _follow(self, run: Run) -> None:
        pipe = asyncio.subprocess.PIPE
        run.process = await asyncio.create_subprocess_exec(
            *self._argv,
            run.word,
            *self._operands,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert run.process.stdout is not None
        with contextlib.suppress(ValueError):  # a line without an end: the rest is not told
            async for line in run.process.stdout:
                run.lines.append(line.decode(errors="replace").rstrip()[:LINE_CHARACTERS_MAX])
                del run.lines[:-LINES_KEPT_MAX]
                self._tell()
        run.code = await run.process.wait()
        self._tell()

    def _tell(self) -> None:
        self._board.put(commands=[run.as_obj() for run in reversed(self._runs[-TOLD_MAX:])])

    async def close(self) -> None:
        """End what still runs, as Ctrl-C would: what runs in the cluster keeps serving."""
        for run in self._runs:
            if run.process is not None and run.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    run.process.send_signal(signal.SIGINT)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_WITHIN_S)
        for run in self._runs:
            if run.process is not None and run.process.returncode is None:
                run.process.kill()
