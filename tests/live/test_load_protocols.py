"""What a load speaks besides HTTP/1.1, against a server that speaks it too: every id that was sent arrived there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from segue.host.firing.child import read_records
from segue.load.outcome import Outcome
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.objects import Obj
from tests.waiting import wait_until

pytestmark = pytest.mark.live

SERVER = Path(__file__).parent / "talk_server.py"
KEPT = 8
full = pytest.mark.full


class Talker:
    """The server as a process, and what it has printed."""

    def __init__(self, place: Path) -> None:
        self.log = place / "talk.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen([sys.executable, str(SERVER), "0"], stdout=out, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self.port = int(self.process.stderr.readline().split()[1])

    def end(self) -> list[str]:
        """End it in order; the ids that arrived."""
        self.process.terminate()
        self.process.communicate(timeout=20)
        return self.log.read_text().split()


@contextmanager
def talker(place: Path) -> Iterator[Talker]:
    found = Talker(place)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
        found.process.communicate()


def start(url: str, place: Path, **changes: object) -> subprocess.Popen[bytes]:
    path = "/" + url.partition("://")[2].partition("/")[2]
    values = {"url": url, "paths": (path,), "rate": 300.0, "duration_s": 0.3, "connections": KEPT, **changes}
    plan = msgspec.json.encode(Plan(**values)).decode()  # type: ignore[arg-type]  # the values are named just above
    command = [sys.executable, "-m", "segue.host.firing", plan, str(place / "records.jsonl")]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def ended(load: subprocess.Popen[bytes], place: Path) -> tuple[Obj, list[Record]]:
    out, _ = load.communicate(timeout=60)
    summary: Obj = msgspec.json.decode(out.splitlines()[-1])["summary"]
    return summary, list(read_records(place / "records.jsonl"))


@pytest.mark.parametrize(
    ("scheme", "path", "sessions"),
    [
        ("ws", "/echo", KEPT),
        ("h2c", "/any", 0),
        ("grpc-stream", "/pkg.Svc/Stream", KEPT),
        pytest.param("grpc", "/pkg.Svc/Get", 0, marks=full),
        pytest.param("tcp", "", KEPT, marks=full),
    ],
)
def test_every_id_that_was_sent_arrived_once(scheme: str, path: str, sessions: int, tmp_path: Path) -> None:
    with talker(tmp_path) as server:
        summary, records = ended(start(f"{scheme}://127.0.0.1:{server.port}{path}", tmp_path), tmp_path)
        arrived = server.end()

    assert summary["outcomes"] == {"ok": 90 + sessions}
    assert summary["sessions"] == ({"held": sessions, "cut": 0} if sessions else {})
    sent = sorted(record.request_id for record in records if not record.session)
    assert sorted(one for one in arrived if one.startswith("load-")) == sent
    assert len(sent) == len(set(sent)) == 90
    assert len({record.conn for record in records}) == KEPT
    if scheme != "tcp":
        assert summary["versions"] == {"v1": 90 + sessions}


@full
def test_each_request_for_events_gets_the_next_one(tmp_path: Path) -> None:
    with talker(tmp_path) as server:
        summary, records = ended(start(f"sse://127.0.0.1:{server.port}/events", tmp_path), tmp_path)

    assert summary["outcomes"] == {"ok": 90 + KEPT}
    assert all(record.latency_s < 0.3 for record in records if not record.session)


@pytest.mark.parametrize(
    ("scheme", "path", "outcome", "error"),
    [
        ("grpc", "/pkg.Svc/Fail", "bad-status", "UNAVAILABLE"),
        pytest.param("h2c", "/reset", "stream-reset", "INTERNAL_ERROR", marks=full),
        pytest.param("ws", "/refuse", "bad-status", "", marks=full),
        pytest.param("sse", "/refuse", "bad-status", "", marks=full),
    ],
)
def test_a_failure_has_the_protocols_own_name(scheme: str, path: str, outcome: str, error: str, tmp_path: Path) -> None:
    with talker(tmp_path) as server:
        summary, records = ended(start(f"{scheme}://127.0.0.1:{server.port}{path}", tmp_path), tmp_path)

    assert set(summary["outcomes"]) == {outcome}
    assert {record.errno for record in records} == {error}


@full
@pytest.mark.parametrize(
    ("scheme", "path", "sign", "outcomes"),
    [
        ("ws", "/echo", signal.SIGTERM, {"stream-ended"}),
        ("ws", "/echo", signal.SIGKILL, {"reset-in-answer", "short-answer"}),
        ("grpc-stream", "/pkg.Svc/Stream", signal.SIGKILL, {"reset-in-answer", "short-answer"}),
        ("tcp", "", signal.SIGTERM, {"reset-in-answer", "short-answer"}),
    ],
)
def test_a_session_that_is_cut_is_lost_and_its_place_connects_again(
    scheme: str, path: str, sign: signal.Signals, outcomes: set[str], tmp_path: Path
) -> None:
    with talker(tmp_path) as server:
        load = start(f"{scheme}://127.0.0.1:{server.port}{path}", tmp_path, duration_s=2.0)
        wait_until(lambda: len(server.log.read_text().split()) > 20 * KEPT, limit_s=10, what="each session has talked")
        os.kill(server.process.pid, sign)
        _, records = ended(load, tmp_path)

    cut = [record for record in records if record.session and record.outcome.lost]
    began = [record for record in cut if record.phase is not record.phase.CONNECT]
    assert len(began) == KEPT
    assert {record.outcome.value for record in began} <= outcomes
    later = [record for record in records if not record.session and record.planned_s > max(one.done_s for one in began)]
    assert {record.outcome for record in later} == {Outcome.CONNECT_REFUSED}


@full
def test_a_server_that_goes_away_answers_what_it_has_begun(tmp_path: Path) -> None:
    """GOAWAY with streams under way: they end well, and the next request opens another connection."""
    from h2.config import H2Configuration  # noqa: PLC0415 - of this test alone
    from h2.connection import H2Connection  # noqa: PLC0415
    from h2.events import RequestReceived  # noqa: PLC0415

    listener = socket.create_server(("127.0.0.1", 0))
    load = start(f"h2c://127.0.0.1:{listener.getsockname()[1]}/x", tmp_path, rate=10.0, connections=1, duration_s=0.3)
    for _ in range(3):
        peer, _ = listener.accept()
        machine = H2Connection(H2Configuration(client_side=False))
        machine.initiate_connection()
        asked: list[int] = []
        while not asked:
            asked += [
                event.stream_id or 0
                for event in machine.receive_data(peer.recv(4096))
                if isinstance(event, RequestReceived)
            ]
            peer.sendall(machine.data_to_send())
        goaway = b"\0\0\x08\x07\0\0\0\0\0" + asked[0].to_bytes(4) + b"\0\0\0\0"
        peer.sendall(goaway)
        machine.send_headers(asked[0], [(":status", "200")], end_stream=True)
        peer.sendall(machine.data_to_send())
        rest = b"".join(iter(lambda: peer.recv(4096), b""))  # noqa: B023 - read to its end before the next one
        later = [event for event in machine.receive_data(rest) if isinstance(event, RequestReceived)]
        assert later == [], "nothing more is asked on it"
        peer.close()
    summary, records = ended(load, tmp_path)
    listener.close()

    assert summary["outcomes"] == {"ok": 3}
    assert [record.conn for record in records] == [1, 2, 3]


def test_names_are_looked_up_by_libc(tmp_path: Path) -> None:
    summary, records = ended(start("dns://localhost", tmp_path, rate=100.0), tmp_path)

    assert summary["outcomes"] == {"ok": 30}
    assert {record.remote_ip for record in records} <= {"127.0.0.1", "::1"}


@full
def test_a_name_that_is_none_is_lost_with_the_resolvers_own_word(tmp_path: Path) -> None:
    summary, records = ended(start("dns://no-such-name.invalid", tmp_path, rate=20.0), tmp_path)

    assert set(summary["outcomes"]) == {"lookup-failed"}
    assert all(record.errno.startswith("EAI_") for record in records)


def test_a_load_that_is_late_tells_whether_it_waited_for_a_processor(tmp_path: Path) -> None:
    """Two that spin on the load's only core: it is late, and says that they had it."""
    spin = ["taskset", "-c", "0", sys.executable, "-c", "while True: pass"]
    with talker(tmp_path) as server:
        others = [subprocess.Popen(spin) for _ in range(2)]
        load = start(f"h2c://127.0.0.1:{server.port}/x", tmp_path, duration_s=1.0)
        os.sched_setaffinity(load.pid, {0})
        summary, _ = ended(load, tmp_path)
        for other in others:
            other.kill()
            other.wait()

    assert summary["waitedForCpuS"] > 0.02
    assert summary["outcomes"]["ok"] == 300
