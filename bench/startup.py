"""How fast the embedded cluster answers after `segue up`, and what it costs at rest."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from segue.host import embedded
from segue.host.state import must_run

RUNS = 7
SETTLE_S = 3.0


def figures() -> Iterator[Figure]:
    """How long a person waits for the help, and then all about `segue up`."""
    yield Figure(name="help_beyond_python", values=list(_help_times()), unit="s", goal=0.2)
    yield from _cluster()


def _help_times() -> Iterator[float]:
    """`segue --help` less what Python itself takes to start, measured side by side."""
    python, segue = sys.executable, str(Path(sys.executable).parent / "segue")
    for _ in range(RUNS):
        yield _time_of([segue, "--help"]) - _time_of([python, "-c", ""])


def _time_of(argv: list[str]) -> float:
    began_s = time.monotonic()
    subprocess.run(argv, check=True, capture_output=True)
    return time.monotonic() - began_s


def _cluster() -> Iterator[Figure]:
    """`segue up` until /readyz answered it, stored state reused as on an ordinary second start, and resident memory."""
    times: list[float] = []
    memory: list[float] = []
    segue = str(Path(sys.executable).parent / "segue")
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "SEGUE_HOME": home}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its modules compiled
        state = Path(home) / "default"
        for run in range(RUNS + 1):
            began_s = time.monotonic()
            subprocess.run([segue, "up"], env=env, check=True, capture_output=True)
            if run:  # the first one makes the certificates
                times.append(time.monotonic() - began_s)
            if run in (1, RUNS):
                threading.Event().wait(SETTLE_S)
                memory.append(embedded.describe(state, must_run(state))["residentMB"])
            subprocess.run([segue, "down"], env=env, check=True, capture_output=True)
    yield Figure(name="up_until_readyz", values=times, unit="s", goal=0.6)
    yield Figure(name="control_plane_idle_memory", values=memory, unit="MB", goal=100)
