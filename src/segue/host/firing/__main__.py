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
from pathlib import Path
from typing import BinaryIO

import msgspec

from segue.host.firing.loop import Firing, Target
from segue.load.plan import Plan
from segue.load.record import Record, to_line
from segue.load.summary import Tally

PROGRESS_S = 1.0


def tell(kind: str, value: object) -> None:
    """One JSON line on stdout."""
    sys.stdout.buffer.write(msgspec.json.encode({kind: value}) + b"\n")
    sys.stdout.buffer.flush()


def target_of(url: str) -> Target:
    """Host and port of an http URL, resolved; ValueError or OSError where that fails."""
    if not url.startswith("http://"):
        raise ValueError(f"{url}: only http:// URLs can be asked")
    host = url[len("http://") :].split("/", 1)[0]
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, port = host, "80"
    if not port.isdigit():
        raise ValueError(f"{url}: {port!r} is no port")
    found = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return Target(family=family, address=(str(address[0]), int(address[1])), host=host)


class Session:
    """One run with its file and its progress lines."""

    def __init__(self, plan: Plan, target: Target, out: BinaryIO) -> None:
        self._out = out
        self._told_s = 0.0
        self.firing = Firing(plan, target, keep=self._keep, tick=self._tick)

    def _keep(self, record: Record) -> None:
        self._out.write(to_line(record))

    def _tick(self, now_s: float) -> None:
        if now_s - self._told_s < PROGRESS_S:
            return
        self._told_s = now_s
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
    try:
        target = target_of(plan.url)
    except socket.gaierror as error:
        tell("error", f"{plan.url}: {error.strerror}")
        return 10
    except (ValueError, OSError) as error:
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
            session = Session(plan, target, out)
            signal.signal(signal.SIGTERM, session.on_signal)
            signal.signal(signal.SIGINT, session.on_signal)
            session.firing.run()
    except OSError as error:
        tell("error", f"its records cannot be kept in {path}: {error.strerror}")
        return 10
    start_s = session.firing.start_s
    tell("summary", {"startS": start_s, **sum_up(path, start_s, plan.duration_s).as_json()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
