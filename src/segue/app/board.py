"""What the processes of one server tell each other: numbers in memory that they share because they were forked.

Rule: each process writes only its own row and reads all; the head is written by whoever is first, and only once each.
An aligned double is written whole on every machine that we run on: no lock, which a killed process could keep.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

from segue.app.leaving import Phase, Seen, Stand

ROWS = 128
_WIDTH = 8  # doubles per row
_BYTES = 8
_PHASES = (Phase.SERVING, Phase.UNREADY, Phase.EXITING)
# The head: phase, since when, told since when, asked, lost workers
_PHASE, _SINCE, _TOLD_S, _ASKED, _LOST = range(5)
# A row: whose it is, what it counts, whether it has said that it ends
_PID, _DEAD, _RUNNING, _LAST, _TOLD, _WINDOW, _ENDED, _RARE = range(_WIDTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one process counts."""

    dead: int
    running: int
    last_s: float
    told: int
    window_s: float
    rare: bool


class Board:
    """The memory. Made before any fork."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, (ROWS + 1) * _WIDTH * _BYTES)).cast("d")

    # --- the head ---------------------------------------------------------------------------------------------------

    @property
    def stand(self) -> Stand:
        """Where the server stands."""
        head = self._cells
        return Stand(phase=_PHASES[int(head[_PHASE])], since_s=head[_SINCE], told_s=head[_TOLD_S])

    @stand.setter
    def stand(self, stand: Stand) -> None:
        head = self._cells
        head[_SINCE], head[_TOLD_S] = stand.since_s, stand.told_s
        head[_PHASE] = float(_PHASES.index(stand.phase))  # last: who reads it finds the rest written

    def ask(self) -> None:
        """Somebody wants a restart."""
        self._cells[_ASKED] = 1.0

    def lose(self) -> None:
        """One more worker has ended otherwise than by being told to. Only the parent of all calls this."""
        self._cells[_LOST] += 1

    # --- rows -------------------------------------------------------------------------------------------------------

    def take(self, number: int) -> None:
        """Make a row this process's own. The parent gives out numbers, so no two take one."""
        at = self._at(number)
        self._cells[at : at + _WIDTH] = memoryview(bytes(_WIDTH * _BYTES)).cast("d")
        self._cells[at + _PID] = float(os.getpid())

    def write(self, number: int, row: Row) -> None:
        """What this process counts now."""
        at = self._at(number)
        for cell, value in (
            (_DEAD, row.dead),
            (_RUNNING, row.running),
            (_LAST, row.last_s),
            (_TOLD, row.told),
            (_WINDOW, row.window_s),
            (_RARE, row.rare),
        ):
            self._cells[at + cell] = float(value)

    def end(self, number: int) -> None:
        """This process ends as it should."""
        self._cells[self._at(number) + _ENDED] = 1.0

    def has_ended(self, number: int) -> bool:
        """Whether the process of this row has said that it ends."""
        return bool(self._cells[self._at(number) + _ENDED])

    def free(self, number: int) -> None:
        """Nobody's row any more; what it counted of the living is gone with its process."""
        self._cells[self._at(number) + _PID] = 0.0

    def seen(self, unread: int) -> Seen:
        """All rows together."""
        rows = [at for at in map(self._at, range(ROWS)) if self._cells[at + _PID]]

        def column(cell: int) -> list[float]:
            return [self._cells[at + cell] for at in rows]

        return Seen(
            dead=int(sum(column(_DEAD))),
            lost=int(self._cells[_LOST]),
            asked=bool(self._cells[_ASKED]),
            running=int(sum(column(_RUNNING))),
            unread=unread,
            last_s=max(column(_LAST), default=0.0),
            told=int(sum(column(_TOLD))),
            window_s=max(column(_WINDOW), default=0.0),
            rare=any(column(_RARE)),
        )

    @staticmethod
    def _at(number: int) -> int:
        return (number % ROWS + 1) * _WIDTH
