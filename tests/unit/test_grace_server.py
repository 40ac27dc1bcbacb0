"""The example server as a process on loopback: what it answers, and what becomes of whom when it is told to go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

import segue.app
from tests.waiting import wait_until

pytestmark = pytest.mark.live

PROGRAM = Path(segue.app.__file__).parent / "grace.py"
HOST, PORT = f"127.77.{os.getpid() % 250}.{os.getpid() // 250 % 250 + 1}", 10002  # one per test process


class Start(Protocol):
    """Starts a server with these variables; waits until it listens."""

    def __call__(self, *, wait: bool = True, **env: str) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers and ends them all afterwards."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*, wait: bool = True, **env: str) -> subprocess.Popen[bytes]:
        given = {"POD_IP": HOST, "VERSION": "v0.1", "HOSTNAME": "web-1", **env}
        server = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM)], env=given, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        running.append(server)
        if wait:
            wait_until(listens, every_s=0.002, what="the listener")
        return server

    yield begin
    for server in running:
        server.kill()
        server.wait()


def listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, PORT)) == 0


def connect() -> socket.socket:
    made = socket.create_connection((HOST, PORT), timeout=5)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def request(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def all_of(connection: socket.socket) -> str:
    """Everything until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def fetch(path: str) -> str:
    connection = connect()
    connection.sendall(request(path, "Connection: close"))
    return all_of(connection)


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/fast", "200 OK", "fast"),
        ("/fast?x=1", "200 OK", "fast"),
        ("/health", "200 OK", "health"),
        ("/version", "200 OK", "version"),
        ("/nothing", "404 Not Found", "not found"),
    ],
)
def test_it_answers_with_its_version(start: Start, path: str, status: str, word: str) -> None:
    start()
    head, _, body = fetch(path).partition("\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert "X-Version: v0.1" in head
    assert "Connection: close" in head
    assert body == f"{word} v0.1 web-1\n"


def test_slow_answers_after_its_time_and_others_do_not_wait_for_it(start: Start) -> None:
    start(SLOW_S="0.4")
    began_s = time.monotonic()
    slow = connect()
    slow.sendall(request("/slow", "Connection: close"))
    fast = fetch("/fast")
    fast_s = time.monotonic() - began_s

    assert "200 OK" in fast
    assert "200 OK" in all_of(slow)
    assert fast_s < 0.3
    assert time.monotonic() - began_s >= 0.4


def test_a_connection_is_kept_and_takes_several_requests_at_once(start: Start) -> None:
    start()
    connection = connect()
    connection.sendall(request("/fast") + request("/version") + request("/fast", "Connection: close"))

    assert all_of(connection).count("200 OK") == 3


def test_a_request_may_come_in_pieces_and_with_a_body(start: Start) -> None:
    start()
    connection = connect()
    whole = b"POST /fast HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" + request("/version", "Connection: close")
    for at in range(0, len(whole), 7):
        connection.sendall(whole[at : at + 7])

    assert all_of(connection).count("200 OK") == 2


def test_http_1_0_closes_unless_asked_to_keep(start: Start) -> None:
    start()
    connection = connect()
    connection.sendall(request("/fast", version="1.0"))

    assert "200 OK" in all_of(connection)


def test_on_sigterm_the_listener_closes_at_once_and_the_slow_request_is_answered(start: Start) -> None:
    """The seed: `every request that was accepted ends well, everybody after it is refused`."""
    server = start(SLOW_S="0.6")
    slow = connect()
    slow.sendall(request("/slow"))
    wait_until(lambda: fetch("/fast"), what="the slow request is under way")
    server.terminate()
    wait_until(lambda: not listens(), limit_s=0.3, every_s=0.002, what="the listener closes at once")
    assert server.poll() is None
    answer = all_of(slow)

    assert "200 OK" in answer
    assert "Connection: close" in answer
    assert server.wait(2) == 0


def test_on_sigterm_idle_connections_are_closed(start: Start) -> None:
    server = start()
    with connect() as idle:
        idle.sendall(request("/fast"))
        assert b"200 OK" in idle.recv(4096)
        server.terminate()

        assert idle.recv(4096) == b""
    assert server.wait(2) == 0


def test_sigkill_ends_a_slow_request_with_an_empty_answer(start: Start) -> None:
    server = start(SLOW_S="9")
    slow = connect()
    slow.sendall(request("/slow"))
    fetch("/fast")
    server.kill()

    assert all_of(slow) == ""


def test_a_client_that_sends_no_more_still_gets_its_answer(start: Start) -> None:
    start(SLOW_S="0.2")
    connection = connect()
    connection.sendall(request("/slow"))
    connection.shutdown(socket.SHUT_WR)

    assert "200 OK" in all_of(connection)


def test_health_can_be_made_to_fail_and_healed(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "ill"
    start(HEALTH_FAIL_FILE=str(file))
    fetch("/fail-health")
    assert "500" in fetch("/health")
    fetch("/heal")
    assert "200 OK" in fetch("/health")
    file.touch()
    assert "500" in fetch("/health")


def test_readiness_may_lie(start: Start) -> None:
    start(READY_LIES_S="0.4")

    assert "200 OK" in fetch("/health")
    assert "503" in fetch("/fast")
    wait_until(lambda: "200 OK" in fetch("/fast"), what="the truth")


def test_it_may_hang(start: Start) -> None:
    start(HANG="1")
    with connect() as hanging:
        hanging.sendall(request("/fast"))
        assert "200 OK" in fetch("/health")
        hanging.setblocking(False)

        with pytest.raises(BlockingIOError):
            hanging.recv(1)


def test_it_may_crash_ignore_sigterm_or_listen_on(start: Start) -> None:
    assert start(wait=False, CRASH_AFTER_S="0.1").wait(5) == 3
    deaf = start(IGNORE_TERM="1")
    os.kill(deaf.pid, signal.SIGTERM)
    assert "200 OK" in fetch("/fast")
    deaf.kill()
    deaf.wait()
    late = start(TERM_DELAY_S="0.3")
    late.terminate()
    assert "200 OK" in fetch("/fast")
    assert late.wait(5) == 0


def test_a_port_in_use_is_said_and_ends_it(start: Start) -> None:
    start()

    assert start(wait=False).wait(5) == 1


def test_it_counts_its_answers_by_code_but_for_looks_at_itself(start: Start) -> None:
    start(READY_LIES_S="60")
    for path in ("/version", "/fast", "/fast", "/health", "/metrics", "/nowhere"):
        fetch(path)
    told = fetch("/metrics")

    assert told.startswith("HTTP/1.1 200 OK\r\n")
    assert told.partition("\r\n\r\n")[2].splitlines()[1:] == [
        'http_requests_total{code="200"} 1',
        'http_requests_total{code="404"} 1',
        'http_requests_total{code="503"} 2',
    ]
