"""The agent against this kernel: what it sees of real sockets by either source, and what it answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from segue.app.agent import Looks
from segue.app.quiet import Asked, Watch
from segue.app.sockets import Diag, Key, Proc, Row, address_of, passive_opens
from tests.waiting import wait_until

AGENT = Path(__file__).resolve().parents[2] / "src" / "segue" / "app" / "agent.py"
IP = f"127.77.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"  # its abstract Unix socket is named after it
SOURCES = [pytest.param(Diag, id="sock_diag"), pytest.param(Proc, id="proc")]


@contextmanager
def pair(host: str) -> Iterator[tuple[Key, socket.socket, socket.socket]]:
    """A connection of this machine to itself: its key at the server's end, that end, the client's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0] as server,
    ):
        ports = (listener.getsockname()[1], client.getsockname()[1])
        raw = socket.inet_pton(family, host).ljust(16, b"\0")
        yield b"".join(port.to_bytes(2, "big") for port in ports) + raw, server, client


def row_of(source: Diag | Proc, key: Key) -> Row | None:
    return next((row for row in source.rows() if row[0] == key), None)


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_is_seen_with_its_peer(make: type[Diag | Proc], host: str) -> None:
    with pair(host) as (key, _, _), closing(make()) as source:
        row = row_of(source, key)

    assert row is not None
    assert row[1] == 1  # ESTABLISHED
    assert address_of(key) == host


def test_sock_diag_sees_bytes_and_proc_does_not_guess() -> None:
    with pair("127.0.0.1") as (key, server, client), closing(Diag()) as diag:
        client.sendall(b"x" * 70)
        server.recv(100)
        server.sendall(b"y" * 30)
        client.recv(100)
        seen, guessed = row_of(diag, key), row_of(Proc(), key)

    assert seen is not None
    assert seen[2:4] == (70, 30)
    assert guessed is not None
    assert guessed[2:4] == (-1, -1)


@pytest.mark.parametrize("make", SOURCES)
def test_what_the_server_closed_is_seen_for_a_minute(make: type[Diag | Proc]) -> None:
    with pair("127.0.0.1") as (key, server, client), closing(make()) as source:
        server.close()
        assert client.recv(1) == b""
        client.close()
        wait_until(lambda: key in dict(source.closed()), what="the connection in TIME_WAIT")

        assert 0 <= dict(source.closed())[key] <= 5


@pytest.mark.parametrize("make", SOURCES)
def test_only_ports_that_can_be_reached_from_outside_count(make: type[Diag | Proc]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as inner,
        socket.create_server(("0.0.0.0", 0)) as outer,
        closing(make()) as source,
    ):
        found = source.listeners()

        assert (outer.getsockname()[1], True) in found
        assert (inner.getsockname()[1], False) in found


def test_every_accepted_connection_is_counted() -> None:
    before = passive_opens()
    with pair("127.0.0.1"), pair("127.0.0.1"):
        assert passive_opens() >= before + 2


@pytest.fixture
def port() -> Iterator[int]:
    """The port of an agent that runs on loopback; what else this machine does keeps it busy."""
    with socket.create_server((IP, 0)) as free:
        number = int(free.getsockname()[1])
    env = {"POD_IP": IP, "SEGUE_PORT": str(number), "SEGUE_PORTS": "1"}
    argv = [sys.executable, "-I", "-S", str(AGENT)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        try:
            assert agent.stdout.readline() == f"segue agent serves on port {number}\n"
            yield number
        finally:
            agent.terminate()
        assert agent.wait() == 0


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    with closing(http.client.HTTPConnection(IP, port, timeout=10)) as way:
        way.request(method, path)
        answer = way.getresponse()
        return answer.status, answer.read().decode()


def test_a_wait_ends_at_its_cap_and_says_so(port: int) -> None:
    with pair("127.0.0.1"):
        code, text = ask(port, "/quiet?cap_s=0.5&timer_s=0.5")

    told = json.loads(text)
    assert code == 200
    assert 0.5 <= told["waitedSeconds"] <= 3
    assert told["ended"] in {"capped", "timer", "quiet"}


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/healthz", "GET", 200),
        ("/state", "GET", 200),
        ("/quiet?cap_s=abc", "GET", 400),
        ("/quiet?cap_s=-1", "GET", 400),
        ("/quiet?cap_s=nan", "GET", 400),
        ("/quiet?cap_s=inf", "GET", 400),
        ("/elsewhere", "GET", 404),
        ("/quiet", "POST", 405),
    ],
)
def test_what_it_answers(port: int, path: str, method: str, code: int) -> None:
    assert ask(port, path, method)[0] == code


def test_rubbish_silence_and_crowds_leave_it_answering(port: int) -> None:
    def open_one() -> socket.socket:
        return socket.create_connection((IP, port))

    with open_one() as rubbish, open_one() as silent, open_one() as long:
        rubbish.sendall(b"\0\xff\r\n\r\n")
        assert rubbish.recv(100).startswith(b"HTTP/1.1 405")
        long.sendall(b"x" * 100_000)
        crowd = [open_one() for _ in range(100)]
        assert any(b"503" in one.recv(100) for one in crowd[90:])
        for one in crowd:
            one.close()
        wait_until(lambda: ask(port, "/healthz")[0] == 200, what="the agent to answer again")
        assert silent.fileno() >= 0


def test_its_own_connections_are_no_arrivals(port: int) -> None:
    """Others on this machine make connections, too: only more than ten times as many would tell."""
    first = json.loads(ask(port, "/sample?who=0")[1])["passiveOpens"]
    system = passive_opens()
    for _ in range(300):
        ask(port, "/healthz")
    counted = json.loads(ask(port, "/sample?who=0")[1])["passiveOpens"] - first

    assert counted <= passive_opens() - system - 300 + 5


def test_a_counter_that_goes_back_makes_no_arrivals() -> None:
    watch = Watch(set(), [])
    watch.note(1.0, 10, [], [], ({80}, {80}))
    watch.note(2.0, 7, [], [], ({80}, {80}))
    watch.count(3.0, 9)
    watch.count(4.0, 12)

    assert [row[:2] for row in watch.arrivals] == [(4.0, 2)]
    assert watch.judge(4.0, Asked(3.0, {})).word == "busy"


class Ended(Proc):
    """The kernel's TIME_WAIT as a list: who, and for how long."""

    def __init__(self, rows: list[tuple[str, int, float]]) -> None:
        super().__init__()
        self.told = rows

    def closed(self) -> list[tuple[Key, float]]:
        """As the kernel tells it."""
        return [
            ((80).to_bytes(2, "big") + number.to_bytes(2, "big") + socket.inet_aton(who).ljust(16, b"\0"), for_s)
            for who, number, for_s in self.told
        ]


def test_short_connections_are_told_by_sender_each_once() -> None:
    """One that is open at no look has a name all the same: segue asks the agent for it, too."""
    looks = Looks({})
    first = looks.ended_by_sender(Ended([("10.0.0.7", 1, 30.0), ("10.0.0.7", 2, 1.0), ("127.0.0.1", 3, 1.0)]), 100.0)
    soon = looks.ended_by_sender(Ended([]), 100.5)
    later = looks.ended_by_sender(Ended([("10.0.0.7", 1, 35.0), ("10.0.0.7", 2, 6.0), ("10.0.0.8", 4, 1.0)]), 105.0)

    assert first == soon == [{"port": 80, "remote": "10.0.0.7", "all": 2, "lately": 2}]
    assert later == [
        {"port": 80, "remote": "10.0.0.7", "all": 2, "lately": 2},
        {"port": 80, "remote": "10.0.0.8", "all": 1, "lately": 1},
    ]
