"""The supervisor as a process: with a command of its own, beside an application, and its turn at a real API server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

import segue.app
from tests.live.console import BIN
from tests.waiting import wait_until

pytestmark = pytest.mark.live

APP = Path(segue.app.__file__).parent
HOST = f"127.79.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"
PROBES = f"{HOST}:8082"
QUICK = ["--every", "0.1", "--failures", "1", "--told", "2", "--spread", "0", "--timer", "0.5", "--ports", "10002"]
Start = Callable[..., subprocess.Popen[str]]  # type: ignore[explicit-any]  # any options


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor as a file of its own, without anything but the standard library."""
    running: list[subprocess.Popen[str]] = []

    def begin(*argv: str) -> subprocess.Popen[str]:
        env = {**os.environ, "POD_IP": HOST, "VERSION": "v1"}
        program = [sys.executable, "-I", "-S", str(APP / "supervise.py")]
        with (tmp_path / "log").open("w") as log:
            made = subprocess.Popen(
                [*program, "--port", PROBES, *QUICK, *argv], env=env, stdout=log, stderr=log, text=True
            )
        running.append(made)
        return made

    yield begin
    for each in running:
        with suppress(ProcessLookupError):
            each.terminate()
        each.wait(10)


def probe(path: str, port: int = 8082) -> int:
    with suppress(OSError), closing(HTTPConnection(HOST, port, timeout=5)) as way:
        way.request("GET", path)
        return way.getresponse().status
    return 0


def test_as_pid_1_it_ends_its_command_after_readiness_and_quiet(start: Start, tmp_path: Path) -> None:
    grace = [sys.executable, "-I", "-S", str(APP / "grace.py")]
    # With a cap: its network is the machine's here, where others connect, too
    made = start("--check-url", f"http://{HOST}:10002/health", "--cap", "3", "--", *grace)
    wait_until(lambda: probe("/ready") == 200, what="readiness")

    assert probe("/fail-health", 10002) == 200
    wait_until(lambda: probe("/ready") == 503, what="readiness to go")
    assert made.poll() is None
    wait_until(lambda: probe("/ready") != 200 and made.poll() is not None, limit_s=20, what="its end")

    log = (tmp_path / "log").read_text()
    assert made.returncode == 0
    assert [word for word in ("asking:", "leaving:", "ending:", "SIGTERM", "bye") if word not in log] == []
    assert log.index("leaving:") < log.index("ending:") < log.index("SIGTERM")
    assert re.search(r"ending: (quiet|timer|capped): ", log), "never while it is busy"


def test_it_passes_signals_on_and_ends_with_the_code_of_its_command(start: Start) -> None:
    made = start("--check", "true", "--", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    wait_until(lambda: probe("/ready") == 200, what="readiness")

    made.send_signal(signal.SIGTERM)

    assert made.wait(10) == 7


def test_beside_an_application_liveness_fails_as_often_as_was_said(start: Start, tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    start("--check", f"test ! -e {sick}", "--cap", "3")
    wait_until(lambda: (probe("/ready"), probe("/live")) == (200, 200), what="both probes")

    sick.touch()
    wait_until(lambda: probe("/ready") == 503, what="readiness to go")
    answers: list[int] = []

    def are_two() -> bool:
        probe("/ready")
        answers.append(probe("/live"))
        return answers[-2:] == [503, 503]

    wait_until(are_two, what="two 503")
    wait_until(lambda: probe("/live") == 200, what="no third")
    assert answers.count(503) == 2
    assert probe("/ready") == 503
    sick.unlink()
    wait_until(lambda: probe("/ready") == 200, what="it to be back")


def test_an_application_that_does_not_answer_leaves_liveness_alone(start: Start, tmp_path: Path) -> None:
    """Readiness asks the application and may wait for it; liveness is answered meanwhile."""
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}/"
        start("--check", "true", "--ready-url", url)
        wait_until(lambda: probe("/live") == 200, what="the supervisor")
        with socket.create_connection((HOST, 8082)) as asking:
            asking.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            silent.accept()[0].close()  # only the first of its questions is closed: what comes is not answered
            asking.settimeout(10)
            first = asking.recv(100)
        with socket.create_connection((HOST, 8082)) as asking:
            asking.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            held = silent.accept()[0]
            assert [probe("/live") for _ in range(3)] == [200] * 3
            asking.setblocking(False)
            with pytest.raises(BlockingIOError):
                asking.recv(1)
            held.close()

    assert first.startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--check-url", "https://x/"], "must be http"),
        (["--check-log", "x", "--lines", "0"], "at least one"),
        (["--check", "true", "--cap", "0"], "seconds above 0"),
        (["--check", "true", "--", "/no/such/command"], "No such file"),
    ],
)
def test_what_cannot_be_is_said(start: Start, tmp_path: Path, argv: list[str], says: str) -> None:
    assert start(*argv).wait(10) == 2
    assert says in (tmp_path / "log").read_text()


def test_segue_supervise_is_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BIN / "segue"), "supervise", "--check", "true", "--port", PROBES, "--", "sh", "-c", "exit 5"],
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = subprocess.run([str(BIN / "segue"), "supervise"], capture_output=True, text=True, check=False)

    assert done.returncode == 5
    assert wrong.returncode == 2
    assert "one of --check" in wrong.stderr
