"""segue's own load as a source: fired beside the release, its records read while they are written.

Rule: what the load itself could not send says nothing about the service; a load that has ended is silent.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from segue.analysis.counting import Tally
from segue.analysis.values import LoadSource
from segue.host.asking import filled
from segue.host.firing.child import FiringChild
from segue.host.loading import client_prefix, is_inside
from segue.host.state import read_running, state_dir
from segue.load.outcome import Outcome
from segue.load.plan import Plan
from segue.load.record import Record, from_line
from segue.model.errors import HostError

DURATION_S = 86_400.0  # it is ended with its stop, which nobody holds for a day under load
TIMEOUT_S = 15.0


class LoadRun:
    """One load, for as long as its block lasts."""

    def __init__(self, source: LoadSource, facts: Mapping[str, str]) -> None:
        self._source = source
        self._version = filled(source.version, facts)
        self._url = filled(source.url, facts)
        self._place = Path(tempfile.mkdtemp(prefix="segue-load-"))
        self._child: FiringChild | None = None
        self._records: BinaryIO | None = None
        self._rest = b""

    async def __aenter__(self) -> LoadRun:
        state = state_dir()
        running = read_running(state)
        prefix = client_prefix(state, running) if running is not None and is_inside(self._url, running) else ()
        path = "/" + self._url.removeprefix("http://").partition("/")[2]
        plan = Plan(url=self._url, rate=self._source.rate, duration_s=DURATION_S, paths=(path,), timeout_s=TIMEOUT_S)
        records = self._place / "records.jsonl"
        records.touch()
        self._records = records.open("rb")
        self._child = await FiringChild.start(plan, records, prefix=prefix)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is not None:
            await self._child.kill()
        if self._records is not None:
            self._records.close()
        with suppress(OSError):
            shutil.rmtree(self._place)

    def read(self, new: Tally, old: Tally) -> str:
        """Count what has been recorded since the last time; the trouble, "" for none."""
        assert self._records is not None
        assert self._child is not None
        *lines, self._rest = (self._rest + self._records.read()).split(b"\n")
        for line in lines:
            self._count(from_line(line), new, old)
        try:
            self._child.check_alive()
        except HostError as error:
            return error.message
        return ""

    def _count(self, record: Record, new: Tally, old: Tally) -> None:
        if record.outcome is Outcome.OWN_FAULT:
            return
        slow = self._source.slower_s and record.latency_s > self._source.slower_s
        good = not record.outcome.lost and not slow
        if not self._version or record.version == self._version:
            new.trial(good)
        elif record.version:
            old.trial(good)
        elif record.outcome.lost:  # nobody answered: whose it was is not known, so it counts against the new version
            new.trial(False)
