"""What the load generator costs, against the example server on loopback, and beside wrk where wrk is installed."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.figures import Figure
from segue.load.plan import Mode, Plan
from segue.model.objects import Obj

RUNS = 3
FOR_S = 5.0
STEADY = 1_000.0
FAST = 8_000.0  # bounded: below what the example server can take on one core
GRACE = Path(__file__).resolve().parents[1] / "src" / "segue" / "app" / "grace.py"


def figures() -> Iterator[Figure]:
    """CPU share of one core at 1,000 new connections per second; answered share at 8,000; the same beside wrk -t1."""
    steady: list[float] = []
    answered: list[float] = []
    beside: list[float] = []
    with _server() as port:
        for _ in range(RUNS):
            _, cpu_s = _fire(port, STEADY)
            steady.append(100 * cpu_s / FOR_S)
            summary, _ = _fire(port, FAST)
            per_second = float(summary["ok"]) / FOR_S
            answered.append(per_second / FAST)
            if shutil.which("wrk"):
                beside.append(per_second / _wrk(port))
    yield Figure(name="load_cpu_at_1000_new_per_s", values=steady, unit="%core", goal=15)
    yield Figure(name="load_answered_at_8000_new_per_s", values=answered, unit="share", goal=0.99, at_most=False)
    if beside:
        yield Figure(name="load_new_per_s_beside_wrk_t1", values=beside, unit="ratio", goal=0.8, at_most=False)


@contextmanager
def _server() -> Iterator[int]:
    port = 18_081
    env = {**os.environ, "POD_IP": "127.0.0.1", "PORT": str(port)}
    server = subprocess.Popen([sys.executable, "-I", "-S", GRACE], env=env, stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        server.stdout.readline()  # it says when it listens
        yield port
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def _fire(port: int, rate: float) -> tuple[Obj, float]:
    """The summary of one bounded load, and the processor seconds it took."""
    plan = Plan(url=f"http://127.0.0.1:{port}", rate=rate, duration_s=FOR_S, mode=Mode.NEW, paths=("/fast",))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.NamedTemporaryFile() as records:
        told = subprocess.run(
            [sys.executable, "-m", "segue.host.firing", msgspec.json.encode(plan), records.name],
            check=True,
            capture_output=True,
        ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary: Obj = msgspec.json.decode(told.splitlines()[-1])["summary"]
    return summary, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _wrk(port: int) -> float:
    """New connections per second of wrk with one thread, closed loop."""
    url = f"http://127.0.0.1:{port}/fast"
    told = subprocess.run(
        ["wrk", "-t1", "-c32", f"-d{FOR_S:.0f}s", "-H", "Connection: close", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert found, told
    return float(found[1])
