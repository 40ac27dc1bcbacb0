"""The cluster process's record of happenings, numbered, bounded, readable from any number on."""

from __future__ import annotations

from collections import deque
from itertools import islice

from segue.model.objects import Obj
from segue.model.timeline import Happening

KEPT = 400_000  # at 1,500 connections per second about four minutes of flows, and days of everything else


class Timeline:
    """A Recorder that can be read back."""

    def __init__(self) -> None:
        self._rows: deque[Happening] = deque(maxlen=KEPT)
        self._next = 1

    def record(self, happening: Happening) -> None:
        """Keep one happening."""
        self._rows.append(happening)
        self._next += 1

    def after(self, seq: int, limit: int = 50_000) -> Obj:
        """Happenings numbered above `seq`: {"next": the number to ask from next time, "items": [...]}.

        At most `limit` at once; `next` tells where to go on.
        """
        first = self._next - len(self._rows)
        skip = max(0, seq + 1 - first)
        rows = list(islice(self._rows, skip, skip + limit))
        return {
            "apiVersion": "segue.dev/v1",
            "kind": "Timeline",
            "next": max(seq, first - 1 + skip + len(rows)),
            "more": skip + len(rows) < len(self._rows),
            "items": [{"atS": row.at_s, "what": row.what.value, "pod": row.pod, "data": row.data} for row in rows],
        }
