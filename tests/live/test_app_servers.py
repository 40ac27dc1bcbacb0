"""gunicorn and uvicorn as processes on loopback, with segue.app in them: who is answered, and that they end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.waiting import wait_until

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
HOST = f"127.78.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}"  # one per test process
PORT, PROBES = 8080, 8081
CONFIG = f"""
import os
from segue.app.gunicorn import Rules, hooks
bind = "{HOST}:{PORT}"
control_socket_disable = True
worker_class, workers, threads = os.environ["WORKER_CLASS"], WORKERS, 2
globals().update(hooks("{HOST}:{PROBES}", Rules(dead_threads=2, lost_workers=2, told=2, quiet_min_s=1, timer_s=1),
                       more={{"worker_exit": lambda server, worker: print("mine too", flush=True)}}))
"""
ASGI = f"""
import asyncio
from segue.app.asgi import Leaving, Rules
async def answer(scope, receive, send):
    if scope["type"] != "http":
        await receive(); await send({{"type": "lifespan.startup.complete"}})
        await receive(); await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(3)
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}})
    await send({{"type": "http.response.body", "body": b"ok"}})
app = Leaving(answer, "{HOST}:{PROBES}", Rules(told=2, quiet_min_s=1, timer_s=1, cap_s=20))
"""
Start = Callable[..., subprocess.Popen[str]]  # type: ignore[explicit-any]  # a command and its environment


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server; ends it afterwards, workers included."""
    running: list[subprocess.Popen[str]] = []

    def begin(*argv: str, **env: str) -> subprocess.Popen[str]:
        settings = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}:{ROOT / 'examples' / 'gunicorn'}", **env}
        with (tmp_path / "log").open("w") as log:
            made = subprocess.Popen(
                [sys.executable, "-m", *argv],
                cwd=tmp_path,
                env=settings,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        running.append(made)
        wait_until(lambda: ready() == 200, what="the server to be ready")
        return made

    yield begin
    for each in running:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def ask(port: int, path: str, method: str = "GET") -> tuple[HTTPResponse, str]:
    with closing(HTTPConnection(HOST, port, timeout=15)) as way:
        way.request(method, path)
        answer = way.getresponse()
        return answer, answer.read().decode()


def ready() -> int:
    with suppress(OSError):
        return ask(PROBES, "/ready")[0].status
    return 0


def status() -> dict[str, object]:
    found: dict[str, object] = json.loads(ask(PROBES, "/status")[1])
    return found


def ended(server: subprocess.Popen[str], limit_s: float = 20.0) -> int:
    wait_until(lambda: server.poll() is not None, limit_s=limit_s, what="the server to end")
    return int(server.returncode)


def start_gunicorn(start: Start, folder: Path, worker: str, workers: int = 2) -> subprocess.Popen[str]:
    (folder / "gunicorn.conf.py").write_text(CONFIG.replace("WORKERS", str(workers)))
    return start("gunicorn", "--config", "gunicorn.conf.py", "app:application", WORKER_CLASS=worker)


def ask_slowly() -> tuple[threading.Thread, list[str]]:
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(ask(PORT, "/slow")[1]), daemon=True)
    asking.start()
    return asking, said


@pytest.mark.parametrize("worker", ["gthread", "sync"])
def test_a_request_under_way_is_answered_before_gunicorn_ends(start: Start, tmp_path: Path, worker: str) -> None:
    server = start_gunicorn(start, tmp_path, worker)
    asking, said = ask_slowly()
    wait_until(lambda: status()["running"] == 1, what="the request to be under way")

    assert ask(PROBES, "/restart", "POST")[0].status == 202
    wait_until(lambda: ready() == 503, what="readiness to go")
    last = ask(PORT, "/")[0]
    wait_until(lambda: ready() != 200 and not asking.is_alive(), limit_s=15, what="the answer")
    code = ended(server)

    assert last.getheader("Connection") == "close"
    assert said == ["/slow \n"]
    assert code == 0
    log = (tmp_path / "log").read_text()
    assert "segue: unready: a restart was asked for" in log
    assert "segue: exiting: quiet" in log
    assert "mine too" in log


def test_a_worker_that_is_killed_counts_as_lost(start: Start, tmp_path: Path) -> None:
    start_gunicorn(start, tmp_path, "sync")
    for count in (1, 2):
        pids = re.findall(r"Booting worker with pid: (\d+)", (tmp_path / "log").read_text())
        os.kill(int(pids[-1]), signal.SIGKILL)
        wait_until(lambda wanted=count: status()["lostWorkers"] == wanted, what="the loss to be seen")  # type: ignore[misc]  # bound now

    wait_until(lambda: ready() == 503, what="readiness to go")


def test_what_waits_is_answered_although_all_threads_of_its_worker_are_dead(start: Start, tmp_path: Path) -> None:
    """The worker goes on accepting, and what it has accepted nobody else can answer."""
    server = start_gunicorn(start, tmp_path, "gthread", workers=1)
    for _ in range(2):
        assert ask(PORT, "/crash")[0].status == 200
    wait_until(lambda: status()["deadThreads"] == 2, what="dead threads")
    waiting = [ask_slowly() for _ in range(4)]

    def is_told() -> bool:
        return ready() != 200 and not any(asking.is_alive() for asking, _ in waiting)

    wait_until(is_told, limit_s=30, what="all answers")

    assert [said for _, said in waiting] == [["/slow \n"]] * 4
    assert ended(server) == 0


def test_uvicorn_says_that_an_answer_is_the_last_and_ends_when_all_are_given(start: Start, tmp_path: Path) -> None:
    (tmp_path / "asgi.py").write_text(ASGI)
    server = start("uvicorn", "asgi:app", "--host", HOST, "--port", str(PORT))
    with closing(HTTPConnection(HOST, PORT, timeout=15)) as kept:
        kept.request("GET", "/")
        first = kept.getresponse()
        before, _ = first.getheader("Connection"), first.read()
        asking, said = ask_slowly()
        wait_until(lambda: status()["running"] == 1, what="the request to be under way")
        ask(PROBES, "/restart", "POST")
        wait_until(lambda: ready() == 503, what="readiness to go")
        kept.request("GET", "/")
        last = kept.getresponse()
        after, _ = last.getheader("Connection"), last.read()
    wait_until(lambda: ready() != 200 and not asking.is_alive(), limit_s=15, what="the answer")

    assert (before, after) == (None, "close")
    assert said == ["ok"]
    assert ended(server) in (0, -signal.SIGTERM)  # it ends by the signal that it was told to go with
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, PORT)) != 0


def test_an_idle_server_does_not_wait_long(start: Start, tmp_path: Path) -> None:
    """Two 503 for the kubelet, then the timer: nobody is there to be judged."""
    server = start_gunicorn(start, tmp_path, "sync")
    ask(PROBES, "/restart", "POST")
    begun_s = time.monotonic()
    wait_until(lambda: ready() != 200 and server.poll() is not None, limit_s=15, what="its end")

    assert time.monotonic() - begun_s < 6
