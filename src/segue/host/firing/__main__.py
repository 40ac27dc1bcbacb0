"""`python -m segue.host.firing PLAN OUT`: fire a plan (JSON), write records to OUT, progress and summary to stdout.

stdout carries JSON lines: {"progress": {...}} each second, at the end {"summary": {...}}, or {"error": "..."} with exit
code 10. SIGTERM or SIGINT once: fire no more, wait for what is under way, sum up; twice: do not wait either.
"""

from __future__ import annotations

import gc
import resource
import signal
import socket
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from segue.host.firing.lookups import Lookups
from segue.host.firing.loop import Counts, Firing, Target
from segue.host.firing.speech.base import Speech
from segue.host.firing.speech.lines import Events, Lines
from segue.host.firing.talking import Talking
from segue.load.plan import Plan, Scheme
from segue.load.record import Record, Row, to_lines
from segue.load.summary import Tally

PROGRESS_S = 1.0
ROWS = 64  # records written in one piece: a longer one would delay what is due


def tell(kind: str, value: object) -> None:
    """One JSON line on stdout."""
    sys.stdout.buffer.write(msgspec.json.encode({kind: value}) + b"\n")
    sys.stdout.buffer.flush()


def target_of(plan: Plan) -> Target:
    """Host and port of a URL, resolved; ValueError or OSError where that fails."""
    url, host = plan.url, plan.authority
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, port = host, "80"
    if not port.isdigit():
        raise ValueError(f"{url}: {port!r} is no port")
    found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return Target(family=family, address=(str(address[0]), int(address[1])), host=host)


class Loop(Protocol):
    """What fires a plan."""

    start_s: float
    counts: Counts

    def run(self) -> None:
        """Fire it all."""
        ...

    def stop(self) -> None:
        """Fire no more; twice: do not wait either."""
        ...


def talk(plan: Plan) -> Callable[[], Speech]:
    """What is said on each connection of a plan."""
    path, host = plan.paths[0], plan.authority
    match plan.scheme:
        case Scheme.WS:
            from segue.host.firing.speech.websocket import WebSocket  # noqa: PLC0415 - only who speaks it loads it

            return lambda: WebSocket(f"ws://{host}{path}", plan.run)
        case Scheme.SSE:
            return lambda: Events(host, path, plan.run)
        case Scheme.TCP:
            return lambda: Lines(plan.run)
        case _:
            from segue.host.firing.speech.http2 import Http2  # noqa: PLC0415 - as above

            return lambda: Http2(plan.scheme, host, path, plan.run)


class Session:
    """One run with its file and its progress lines."""

    def __init__(self, plan: Plan, out: BinaryIO) -> None:
        self._out = out
        self._rows: list[Record | Row] = []
        self._told_s = 0.0
        self.firing = self._loop(plan)

    def _loop(self, plan: Plan) -> Loop:
        match plan.scheme:
            case Scheme.DNS:
                return Lookups(plan, keep=self._keep, tick=self._tick)
            case Scheme.HTTP:
                return Firing(plan, target_of(plan), keep=self._keep, tick=self._tick)
            case _:
                return Talking(plan, target_of(plan), speech=talk(plan), keep=self._keep, tick=self._tick)

    def _keep(self, record: Record | Row) -> None:
        self._rows.append(record)
        if len(self._rows) >= ROWS:
            self.spill()

    def spill(self) -> None:
        """Write what has been kept."""
        self._out.write(to_lines(self._rows))
        self._rows.clear()

    def _tick(self, now_s: float) -> None:
        if now_s - self._told_s < PROGRESS_S:
            return
        self._told_s = now_s
        self.spill()
        self._out.flush()  # somebody may be reading along
        counts = self.firing.counts
        passed_s = now_s - self.firing.start_s
        tell(
            "progress",
            {
                "startS": self.firing.start_s,
                "passedS": round(passed_s, 3),
                "fired": counts.fired,
                "ok": counts.ok,
                "lost": counts.lost,
                "own": counts.own,
            },
        )

    def on_signal(self, _number: int, _frame: types.FrameType | None) -> None:
        """Stop, early but orderly."""
        self.firing.stop()


def waited_for_cpu_s() -> float:
    """How long this process has been ready to run while others had the processor; 0.0 where nobody tells."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def sum_up(path: Path, start_s: float, due_s: float) -> Tally:
    """The summary, read back from the file: memory stays bounded however long the load was."""
    tally = Tally(start_s, (start_s, start_s + due_s))
    decode = msgspec.json.Decoder(Record).decode
    with path.open("rb") as rows:
        for row in rows:
            tally.add(decode(row))
    return tally


def main(argv: list[str]) -> int:
    """Fire; the exit code is 0 unless nothing could be fired at all."""
    try:
        plan = msgspec.json.decode(argv[0], type=Plan)
    except (IndexError, msgspec.DecodeError) as error:
        tell("error", str(error))
        return 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path = Path(argv[1])
    # Nothing here makes reference cycles, and a collection in the middle of a burst would show up as latency.
    gc.disable()
    try:
        with path.open("wb", buffering=1 << 18) as out:
            try:
                session = Session(plan, out)
            except socket.gaierror as error:
                tell("error", f"{plan.url}: {error.strerror}")
                return 10
            except (ValueError, OSError) as error:
                tell("error", str(error))
                return 10
            signal.signal(signal.SIGTERM, session.on_signal)
            signal.signal(signal.SIGINT, session.on_signal)
            waited_s = waited_for_cpu_s()
            session.firing.run()
            waited_s = waited_for_cpu_s() - waited_s
            session.spill()
    except OSError as error:
        tell("error", f"its records cannot be kept in {path}: {error.strerror}")
        return 10
    start_s = session.firing.start_s
    summary = sum_up(path, start_s, plan.duration_s).as_json()
    tell("summary", {"startS": start_s, "waitedForCpuS": round(waited_s, 3), **summary})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
