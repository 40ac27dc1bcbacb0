"""How much one core of the load can fire, with a record of every request, beside wrk -t1 on the same server in one run.

The server is HAProxy with one thread, which answers by itself. It has one core, load and wrk in turn have the other:
without that the kernel moves them about, and the figures say more of it than of them.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.figures import Figure
from segue.host.firing.child import read_records
from segue.load.plan import Mode, Plan
from segue.model.objects import Obj

RUNS = 3
FOR_S = 4.0
PORT = 18_082
CONNECTIONS = 64
MANY = 10_000_000
CONFIG = """
global
  nbthread 1
  maxconn 4000
  tune.idle-pool.shared off
defaults
  mode http
  timeout client 30s
  timeout connect 5s
  timeout server 5s
frontend peak
  bind 127.0.0.1:{port} backlog 4096
  http-request return status 200 content-type text/plain hdr X-Version v1 string ok
"""
NAMES = {Mode.KEEP_ALIVE: "kept", Mode.NEW: "new"}
LEAST = {Mode.KEEP_ALIVE: 30_000, Mode.NEW: 10_000}


def figures() -> Iterator[Figure]:
    """Per way of connecting: answered per second, the same beside wrk, and how exactly requests leave at half of it."""
    for mode in (Mode.KEEP_ALIVE, Mode.NEW):
        per_second: list[float] = []
        beside: list[float] = []
        error_ms: list[float] = []
        with server() as port:
            for _ in range(RUNS):
                theirs = wrk(port, mode)
                ours = float(fire(port, mode, 1.2 * theirs)[0]["okPerSecond"])
                per_second.append(ours)
                beside.append(ours / theirs)
                error_ms.append(planned_error_ms(port, mode, ours / 2))
        name = f"load_{NAMES[mode]}"
        yield Figure(name=f"{name}_per_s", values=per_second, unit="1/s", goal=LEAST[mode], at_most=False)
        yield Figure(name=f"{name}_beside_wrk_t1", values=beside, unit="ratio", goal=0.8, at_most=False)
        yield Figure(name=f"{name}_planned_error_p99", values=error_ms, unit="ms", goal=1.0)


def many() -> Iterator[Figure]:
    """10 million requests in one run (`BENCH=many`, some five minutes): none lost, memory bounded."""
    with server() as port:
        rate = 0.6 * float(fire(port, Mode.KEEP_ALIVE, 100_000.0)[0]["okPerSecond"])
        summary, peak_mb = fire(port, Mode.KEEP_ALIVE, rate, MANY / rate)
    yield Figure(name="load_many_answered", values=[float(summary["ok"])], unit="", goal=0.9999 * MANY, at_most=False)
    yield Figure(name="load_many_memory", values=[peak_mb], unit="MB", goal=200)


@contextmanager
def server() -> Iterator[int]:
    """HAProxy on the last core."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None or shutil.which("wrk") is None or shutil.which("taskset") is None:
        raise SystemExit("this benchmark needs haproxy, wrk and taskset (Debian packages haproxy, wrk, util-linux)")
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
        config.write(CONFIG.format(port=PORT))
        config.flush()
        process = subprocess.Popen([*_on(1), program, "-q", "-db", "-f", config.name])
        try:
            _wait_for(PORT)
            yield PORT
        finally:
            process.terminate()
            process.wait()


def _on(core: int) -> list[str]:
    """Alone on a core, before whatever else a busy machine does: wrk, load and server all alike."""
    return ["taskset", "-c", str(core), *(["chrt", "-r", "1"] if os.geteuid() == 0 else [])]


def _wait_for(port: int) -> None:
    """Until it answers, at most 5 s."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def fire(port: int, mode: Mode, rate: float, duration_s: float = FOR_S, keep: Path | None = None) -> tuple[Obj, float]:
    """The summary of one load on the first core, and its largest memory in MB."""
    plan = Plan(
        url=f"http://127.0.0.1:{port}",
        rate=rate,
        duration_s=duration_s,
        mode=mode,
        connections=CONNECTIONS,
        timeout_s=2.0,
    )
    with tempfile.NamedTemporaryFile() as records:
        place = str(keep or records.name)
        command = [
            "taskset",
            "-c",
            "0",
            sys.executable,
            "-m",
            "segue.host.firing",
            msgspec.json.encode(plan).decode(),
            place,
        ]
        told = subprocess.run(command, check=True, capture_output=True).stdout
    summary: Obj = msgspec.json.decode(told.splitlines()[-1])["summary"]
    return summary, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def planned_error_ms(port: int, mode: Mode, rate: float) -> float:
    """How much later than planned 99 of 100 requests leave at most."""
    with tempfile.NamedTemporaryFile() as records:
        fire(port, mode, rate, keep=Path(records.name))
        late = sorted(
            ((record.sent_s if record.reused else record.opened_s) - record.planned_s) * 1000
            for record in read_records(Path(records.name))
            if record.sent_s
        )
    return max(0.0, late[int(0.99 * len(late))])


def wrk(port: int, mode: Mode) -> float:
    """Answers per second of wrk with one thread on the first core, closed loop."""
    header = ["-H", "Connection: close"] if mode is Mode.NEW else []
    command = [*_on(0), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{FOR_S:.0f}s", *header]
    told = subprocess.run([*command, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert found, told
    return float(found[1])
