"""The firing loop against servers that misbehave in one way each, over real sockets on loopback."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from segue.host.firing.child import read_records
from segue.load.outcome import Outcome, Phase
from segue.load.plan import Mode, Plan
from segue.load.record import Record
from segue.model.objects import Obj

pytestmark = pytest.mark.live

GOOD = b"HTTP/1.1 200 OK\r\nX-Version: v1\r\nContent-Length: 2\r\n\r\nok"
Behaviour = Callable[[socket.socket], None]


def reset(peer: socket.socket) -> None:
    """Close with RST instead of FIN."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def resets(peer: socket.socket) -> None:
    peer.recv(4096)
    reset(peer)


def resets_in_answer(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(GOOD[:20])
    peer.recv(1)  # wait for nothing: the client stays quiet until its time is over or we reset
    reset(peer)


def closes_empty(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.close()


def answers_short(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(GOOD[:-1])
    peer.close()


def answers_badly(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    peer.close()


def speaks_no_http(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    peer.close()


def stalls(peer: socket.socket) -> None:
    peer.recv(4096)
    peer.recv(1)  # until the client gives up


def answers_twice_then_resets(peer: socket.socket) -> None:
    """A server whose idle time is over exactly when the third request comes (N5)."""
    for _ in range(2):
        peer.recv(4096)
        peer.sendall(GOOD)
    peer.recv(4096)
    reset(peer)


def answers(peer: socket.socket) -> None:
    while peer.recv(4096):
        peer.sendall(GOOD)
    peer.close()


@contextmanager
def server(behave: Behaviour) -> Iterator[int]:
    """A server on loopback with one thread per connection; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(peer: socket.socket) -> None:
        try:
            behave(peer)
        except OSError:
            pass
        finally:
            peer.close()

    def accept() -> None:
        while True:
            try:
                peer = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def fire(plan: Plan, place: Path) -> tuple[Obj, list[Record]]:
    """One whole load in its own process; its summary and records."""
    path = place / "records.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "segue.host.firing", msgspec.json.encode(plan).decode(), str(path)],
        capture_output=True,
        timeout=60,
        check=True,
    )
    summary: Obj = msgspec.json.decode(done.stdout.splitlines()[-1])["summary"]
    return summary, list(read_records(path))


def small(port: int, **changes: object) -> Plan:
    values: dict[str, object] = {
        "url": f"http://127.0.0.1:{port}",
        "rate": 50.0,
        "duration_s": 0.2,
        "timeout_s": 0.5,
        "connect_timeout_s": 0.4,
    }
    return Plan(**{**values, **changes})  # type: ignore[arg-type]  # the values are named just above


@pytest.mark.parametrize(
    ("behave", "outcome", "phase"),
    [
        (resets, Outcome.RESET_BEFORE_ANSWER, Phase.WAIT),
        (closes_empty, Outcome.EMPTY_ANSWER, Phase.WAIT),
        (answers_short, Outcome.SHORT_ANSWER, Phase.READ),
        (answers_badly, Outcome.BAD_STATUS, Phase.DONE),
        (speaks_no_http, Outcome.BAD_ANSWER, Phase.READ),
        (stalls, Outcome.READ_TIMEOUT, Phase.WAIT),
        (resets_in_answer, Outcome.READ_TIMEOUT, Phase.READ),
        (answers, Outcome.OK, Phase.DONE),
    ],
)
def test_each_misbehaviour_is_told_by_its_name(
    behave: Behaviour, outcome: Outcome, phase: Phase, tmp_path: Path
) -> None:
    with server(behave) as port:
        summary, records = fire(small(port), tmp_path)

    assert summary["outcomes"] == {outcome.value: 10}
    assert {record.phase for record in records} == {phase}
    assert all(record.local_port and record.local_ip == "127.0.0.1" for record in records)


def test_a_reset_within_an_answer_is_no_reset_before_it(tmp_path: Path) -> None:
    def half_then_reset(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(GOOD[:20])
        threading.Event().wait(0.1)  # let the first bytes arrive: RST would overtake them
        reset(peer)

    with server(half_then_reset) as port:
        summary, _ = fire(small(port), tmp_path)

    assert summary["outcomes"] == {"reset-in-answer": 10}


def test_where_nobody_listens_every_request_is_refused_in_the_connect_phase(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    summary, records = fire(small(port), tmp_path)

    assert summary["outcomes"] == {"connect-refused": 10}
    assert {(record.errno, record.phase, record.sent_s) for record in records} == {("ECONNREFUSED", Phase.CONNECT, 0.0)}


def test_a_full_accept_queue_ends_in_a_connect_timeout(tmp_path: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        summary, records = fire(small(port), tmp_path)
        for filler in fillers:
            filler.close()

    assert summary["outcomes"].get("connect-timeout", 0) >= 8
    assert any(record.phase is Phase.CONNECT for record in records)


def test_a_reused_connection_that_breaks_says_how_often_it_was_used(tmp_path: Path) -> None:
    with server(answers_twice_then_resets) as port:
        plan = small(port, mode=Mode.KEEP_ALIVE, connections=1, rate=20, duration_s=0.3)
        _, records = fire(plan, tmp_path)

    assert [record.nth for record in records] == [1, 2, 3] * 2
    assert [record.outcome.lost for record in records] == [False, False, True] * 2
    assert records[0].opened_s == records[2].opened_s


def test_kept_connections_are_few_and_new_ones_are_one_each(tmp_path: Path) -> None:
    with server(answers) as port:
        kept = fire(small(port, mode=Mode.KEEP_ALIVE, connections=3, rate=200), tmp_path)[1]
        fresh = fire(small(port, rate=200), tmp_path)[1]

    assert len({record.conn for record in kept}) <= 3
    assert len({record.conn for record in fresh}) == len(fresh) == 40


def test_all_kept_connections_busy_is_told_as_never_sent(tmp_path: Path) -> None:
    with server(stalls) as port:
        plan = small(port, mode=Mode.KEEP_ALIVE, connections=1, rate=20, duration_s=0.5, timeout_s=1.0)
        summary, _ = fire(plan, tmp_path)

    assert summary["outcomes"]["never-sent"] >= 1
    assert summary["outcomes"]["read-timeout"] >= 1
    assert summary["requests"] == 10


def test_running_out_of_files_is_the_loads_own_fault(tmp_path: Path) -> None:
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); "
    limited += "sys.argv = ['x', *sys.argv[1:]]; runpy.run_module('segue.host.firing', run_name='__main__')"
    with server(stalls) as port:
        plan = small(port, rate=500.0, duration_s=0.4)
        done = subprocess.run(
            [sys.executable, "-c", limited, msgspec.json.encode(plan).decode(), str(tmp_path / "records.jsonl")],
            capture_output=True,
            timeout=60,
            check=True,
        )
    summary = msgspec.json.decode(done.stdout.splitlines()[-1])["summary"]

    assert summary["ownFaults"] > 100
    assert summary["errnos"]["EMFILE"] == summary["ownFaults"]
    assert summary["lost"] == summary["outcomes"]["read-timeout"]


def test_a_stop_signal_ends_early_and_still_sums_up(tmp_path: Path) -> None:
    with server(answers) as port:
        plan = small(port, rate=100.0, duration_s=60.0)
        with subprocess.Popen(
            [sys.executable, "-m", "segue.host.firing", msgspec.json.encode(plan).decode(), str(tmp_path / "r")],
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            first = msgspec.json.decode(process.stdout.readline())
            os.kill(process.pid, signal.SIGTERM)
            rest = process.stdout.read()

    assert "progress" in first
    summary = msgspec.json.decode(rest.splitlines()[-1])["summary"]
    assert 0 < summary["ok"] < 6000
    assert summary["lost"] == 0


def test_an_address_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "segue.host.firing", '{"url": "http://127.0.0.1:http"}', str(tmp_path / "r")],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 10
    assert "no port" in msgspec.json.decode(done.stdout)["error"]
