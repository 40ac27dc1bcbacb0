"""Name lookups through libc, as an application makes them: getaddrinfo, in threads, at planned moments.

Nothing is answered out of a cache of ours: what libc asks, and whom, is the system's own configuration.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable

from segue.host.firing.loop import TICK_S, Counts
from segue.load.outcome import Outcome, Phase
from segue.load.plan import Plan, Shot, shots
from segue.load.record import Record

THREADS_MAX = 512  # lookups under way at once; a resolver that stalls for 5 s holds one each
STACK_BYTES = 512 * 1024
EAI_NAMES = {
    getattr(socket, name): name
    for name in ("EAI_AGAIN", "EAI_FAIL", "EAI_NONAME", "EAI_NODATA", "EAI_MEMORY", "EAI_SYSTEM")
    if hasattr(socket, name)
}


class Lookups:
    """One run of one plan. `keep` gets each record as it ends; `tick` is called about every 50 ms."""

    def __init__(self, plan: Plan, *, keep: Callable[[Record], None], tick: Callable[[float], None]) -> None:
        self._plan = plan
        self._name = plan.authority
        self._keep = keep
        self._tick = tick
        self._offset_s = time.time() - time.monotonic()
        self._due: queue.SimpleQueue[Shot | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._under_way = 0
        self._stopped = False
        self._cut = False
        self.start_s = 0.0
        self.counts = Counts()

    def now_s(self) -> float:
        """Seconds since the epoch that never go backwards."""
        return time.monotonic() + self._offset_s

    def stop(self) -> None:
        """Look up no more and wait for what is under way; a second call waits no longer."""
        self._cut = self._stopped
        self._stopped = True

    def run(self) -> None:
        """Look up the whole plan and wait until each lookup has ended."""
        threading.stack_size(STACK_BYTES)
        self.start_s = self.now_s()
        ticked_s = 0.0
        for shot in shots(self._plan):
            while not self._stopped and (wait_s := self.start_s + shot.at_s - self.now_s()) > 0:
                self._take(min(wait_s, TICK_S))
                ticked_s = self._ticked(ticked_s)
            if self._stopped:
                break
            self._fire(shot)
        while self._under_way and not self._cut:
            self._take(TICK_S)
            ticked_s = self._ticked(ticked_s)
        for _ in range(self._threads):
            self._due.put(None)

    def _ticked(self, before_s: float) -> float:
        now_s = self.now_s()
        if now_s - before_s < TICK_S:
            return before_s
        self._tick(now_s)
        return now_s

    def _fire(self, shot: Shot) -> None:
        self.counts.fired += 1
        self._under_way += 1
        with self._lock:
            more = self._idle <= self._due.qsize() and self._threads < THREADS_MAX
        if more:
            self._threads += 1
            threading.Thread(target=self._look_up, daemon=True).start()
        self._due.put(shot)

    def _take(self, limit_s: float) -> None:
        """Keep what has ended, waiting for it at most this long."""
        with contextlib.suppress(queue.Empty):
            record = self._done.get(timeout=limit_s)
            while True:
                self._under_way -= 1
                self.counts.ok += record.outcome is Outcome.OK
                self.counts.own += record.outcome is Outcome.OWN_FAULT
                self.counts.lost += record.outcome.lost
                self._keep(record)
                record = self._done.get_nowait()

    def _look_up(self) -> None:
        """One thread: one lookup at a time."""
        while True:
            with self._lock:
                self._idle += 1
            shot = self._due.get()
            with self._lock:
                self._idle -= 1
            if shot is None:
                return
            began_s = self.now_s()
            address, error, outcome, count = "", "", Outcome.OK, 0
            try:
                found = socket.getaddrinfo(self._name, None, type=socket.SOCK_STREAM)
                address, count = str(found[0][4][0]), len(found)
            except socket.gaierror as failure:
                error = EAI_NAMES.get(failure.errno or 0, str(failure.errno))
                outcome = Outcome.OWN_FAULT if error == "EAI_MEMORY" else Outcome.LOOKUP_FAILED
            except (OSError, UnicodeError) as failure:
                error, outcome = type(failure).__name__, Outcome.OWN_FAULT
            done_s = self.now_s()
            if outcome is Outcome.OK and done_s - began_s > self._plan.timeout_s:
                outcome = Outcome.READ_TIMEOUT  # nobody waits that long for a name
            self._done.put(self._record(shot, (began_s, done_s), outcome, (address, error), count))

    def _record(
        self, shot: Shot, times: tuple[float, float], outcome: Outcome, said: tuple[str, str], count: int
    ) -> Record:
        return Record(
            index=shot.index,
            planned_s=self.start_s + shot.at_s,
            sent_s=times[0],
            opened_s=times[0],
            connected_s=times[0],
            first_byte_s=times[1] if count else 0.0,
            done_s=times[1],
            local_ip="",
            local_port=0,
            remote_ip=said[0],
            remote_port=0,
            conn=0,
            nth=1,
            bytes_out=0,
            bytes_in=0,
            status=count,
            errno=said[1],
            phase=Phase.DONE if outcome is Outcome.OK else Phase.WAIT,
            outcome=outcome,
            version="",
            path=self._name,
            request_id=f"{self._plan.run}-{shot.index}",
        )
