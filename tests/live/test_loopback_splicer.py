"""The splicer alone, over real sockets: what a proxy must pass on, and that it ends with whoever started it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.host.network.splicer import Given, Order, Tidings
from tests.waiting import wait_until

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2] / "src"
FRONT = ("127.96.7.1", 18181)
POD = ("127.64.200.1", 18282)
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from segue.host.network import splicer; splicer.main(%d)"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """A splicer and the other end of its control socket."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        self.control.settimeout(5)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", PROGRAM % theirs.fileno()], pass_fds=(theirs.fileno(),)
            )
        self._heard = b""
        self._number = 0
        self.given: list[Given] = []

    def hear(self) -> Tidings:
        """The next message; the rows of connections are collected."""
        while b"\n" not in self._heard:
            data = self.control.recv(65536)
            assert data, "the splicer is gone"
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        said: Tidings = json.loads(line)
        self.given += said.get("given", [])
        return said

    def table(self, *doors: tuple[str, int, str, int, list[tuple[str, int]]], full: bool = True) -> Tidings:
        """Let it follow these doors."""
        self._number += 1
        order: Order = {"table": self._number, "full": full, "gone": [], "doors": list(doors)}
        self.control.sendall(json.dumps(order).encode() + b"\n")
        while "applied" not in (said := self.hear()):
            pass
        assert said["applied"] == self._number
        return said

    def forward(self, *pods: tuple[str, int]) -> None:
        said = self.table((*FRONT, "forward", 0, list(pods or (POD,))))
        assert said["failed"] == []

    def close(self) -> None:
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    started = Proxy()
    yield started
    started.close()


@pytest.fixture
def pod() -> Iterator[socket.socket]:
    with socket.create_server(POD, backlog=256) as listener:
        listener.settimeout(5)
        yield listener


def client() -> socket.socket:
    return socket.create_connection(FRONT, timeout=5)


def pair(proxy: Proxy, pod: socket.socket) -> tuple[socket.socket, socket.socket]:
    """(the client's socket, the pod's) of one connection through the proxy."""
    proxy.forward()
    ours = client()
    theirs, _ = pod.accept()
    theirs.settimeout(5)
    return ours, theirs


def read_all(end: socket.socket) -> bytes:
    return b"".join(iter(lambda: end.recv(1 << 20), b""))


def digest(data: bytes) -> tuple[int, int]:
    return len(data), hash(data)


def test_a_half_close_reaches_the_pod_and_its_answer_comes_back(proxy: Proxy, pod: socket.socket) -> None:
    ours, theirs = pair(proxy, pod)
    with ours, theirs:
        ours.sendall(b"question")
        ours.shutdown(socket.SHUT_WR)
        assert read_all(theirs) == b"question"
        theirs.sendall(b"answer")
        theirs.close()

        assert read_all(ours) == b"answer"


def test_the_pods_end_leaves_the_client_free_to_speak(proxy: Proxy, pod: socket.socket) -> None:
    ours, theirs = pair(proxy, pod)
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        assert ours.recv(10) == b""
        ours.sendall(b"still speaking")
        ours.close()

        assert read_all(theirs) == b"still speaking"


@pytest.mark.parametrize("pod_resets", [True, False])
def test_a_reset_of_either_side_reaches_the_other_after_what_was_said(
    proxy: Proxy, pod: socket.socket, pod_resets: bool
) -> None:
    ours, theirs = pair(proxy, pod)
    breaks, hears = (theirs, ours) if pod_resets else (ours, theirs)
    with ours, theirs:
        breaks.sendall(b"last words")
        assert hears.recv(100) == b"last words"
        breaks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        breaks.close()

        with pytest.raises(ConnectionResetError):
            hears.recv(100)


def test_a_pod_that_refuses_resets_the_client_and_is_told(proxy: Proxy) -> None:
    proxy.forward()
    before_s = time.monotonic()
    with socket.socket() as ours, pytest.raises(ConnectionResetError):
        ours.settimeout(5)
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        ours.connect(FRONT)  # the reset may come as early as here
        ours.sendall(b"anybody?")
        ours.recv(10)
    while not proxy.given:
        proxy.hear()
    at_s, *row = proxy.given[0]

    assert row == ["127.0.0.1", port, *POD, "ECONNREFUSED"]
    assert before_s <= at_s <= time.monotonic()


def test_what_was_given_is_told_before_the_table_that_follows_it(proxy: Proxy, pod: socket.socket) -> None:
    """Else a RULE_REMOVED would come before a connection that the old rule gave."""
    ours, theirs = pair(proxy, pod)
    with ours, theirs:
        said = proxy.table()

        assert [row[2] for row in proxy.given] == [ours.getsockname()[1]]
        assert proxy.given[0][0] <= said["at"]


def test_much_data_both_ways_at_once_arrives_whole(proxy: Proxy, pod: socket.socket) -> None:
    ours, theirs = pair(proxy, pod)
    there, back = os.urandom(20 << 20), os.urandom(20 << 20)
    got: dict[str, tuple[int, int]] = {}

    def read(name: str, end: socket.socket) -> None:
        got[name] = digest(read_all(end))

    def write(end: socket.socket, data: bytes) -> None:
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)

    with ours, theirs:
        work = [
            threading.Thread(target=read, args=("there", theirs)),
            threading.Thread(target=read, args=("back", ours)),
            threading.Thread(target=write, args=(ours, there)),
            threading.Thread(target=write, args=(theirs, back)),
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(20)

    assert got == {"there": digest(there), "back": digest(back)}


def resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_client_that_does_not_read_stops_the_pod_and_costs_nothing(proxy: Proxy, pod: socket.socket) -> None:
    """Neither memory nor a busy loop, also when the pod has gone meanwhile; and then all of it arrives."""
    ours, theirs = pair(proxy, pod)
    before_kb = resident_kb(proxy.process.pid)
    with ours, theirs:
        theirs.setblocking(False)
        sent = 0
        while select.select([], [theirs], [], 0.5)[1]:
            sent += theirs.send(bytes(1 << 20))
        grown_kb = resident_kb(proxy.process.pid) - before_kb
        theirs.close()
        worked = ticks(proxy.process.pid)
        assert not select.select([proxy.control], [], [], 0.5)[0] or proxy.hear()
        idle_ticks = ticks(proxy.process.pid) - worked

        assert grown_kb < 4096
        assert idle_ticks <= 5
        assert len(read_all(ours)) == sent


def test_a_table_that_drops_a_service_serves_who_waits_and_leaves_the_others(proxy: Proxy, pod: socket.socket) -> None:
    """K6; and those whom the kernel had accepted already are not reset by the closing listener (N1)."""
    ours, theirs = pair(proxy, pod)
    with ours, theirs:
        os.kill(proxy.process.pid, signal.SIGSTOP)
        waiting = client()
        order: Order = {"table": 99, "full": True, "gone": [], "doors": []}
        proxy.control.sendall(json.dumps(order).encode() + b"\n")
        os.kill(proxy.process.pid, signal.SIGCONT)
        served, _ = pod.accept()
        served.sendall(b"served")
        assert waiting.recv(10) == b"served"
        theirs.sendall(b"still here")
        assert ours.recv(20) == b"still here"
        while "applied" not in proxy.hear():
            pass

        with pytest.raises(ConnectionRefusedError):
            client()
        served.close()
        waiting.close()


def test_a_drop_verdict_accepts_and_stays_silent(proxy: Proxy) -> None:
    proxy.table((*FRONT, "drop", 0, []))
    with client() as ours:
        ours.sendall(b"anybody?")
        assert not select.select([ours], [], [], 0.2)[0]


def test_a_port_in_use_is_told_and_the_others_open(proxy: Proxy, pod: socket.socket) -> None:
    with socket.create_server(("127.96.7.2", 18181)):
        said = proxy.table(("127.96.7.2", 18181, "forward", 0, [POD]), (*FRONT, "forward", 0, [POD]))
        with client():
            pod.accept()[0].close()

    assert [tuple(row) for row in said["failed"]] == [("127.96.7.2", 18181, "Address already in use")]


def test_it_ends_with_its_control_socket_and_takes_every_connection_along(proxy: Proxy, pod: socket.socket) -> None:
    ours, theirs = pair(proxy, pod)
    with ours, theirs:
        proxy.control.close()

        assert proxy.process.wait(5) == 0
        assert ours.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        client()


def test_it_ends_with_a_parent_that_was_killed() -> None:
    """PDEATHSIG, where somebody else still holds the control socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        middle = os.fork()
        if middle == 0:
            program = PROGRAM % theirs.fileno()
            child = subprocess.Popen([sys.executable, "-I", "-S", "-c", program], pass_fds=(theirs.fileno(),))
            ours.sendall(f"{child.pid}\n".encode())
            signal.pause()
            os._exit(0)
        order: Order = {"table": 1, "full": True, "gone": [], "doors": []}
        pid = int(theirs.recv(20))
        ours.sendall(json.dumps(order).encode() + b"\n")
        assert b"applied" in ours.recv(1000)
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)

        wait_until(lambda: not _runs(pid), limit_s=5, what="the splicer to end")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_signals_meant_for_people_do_not_end_it(proxy: Proxy, pod: socket.socket) -> None:
    """Ctrl-C reaches every process of a terminal; the cluster ends it in its own time."""
    proxy.forward()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        proxy.process.send_signal(number)
    with client():
        pod.accept()[0].close()

    assert proxy.process.poll() is None


def test_without_descriptors_clients_wait_and_none_is_lost(proxy: Proxy, pod: socket.socket) -> None:
    """Room for three connections, ten clients: accepting one more than can be carried would mean to reset it."""
    proxy.forward()
    used = len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (used + 7, used + 7))
    answers: list[bytes] = []

    def ask() -> None:
        with client() as ours:
            answers.append(read_all(ours))

    clients = [threading.Thread(target=ask) for _ in range(10)]
    for thread in clients:
        thread.start()
    for _ in clients:
        theirs, _ = pod.accept()
        theirs.sendall(b"answer")
        theirs.close()
    for thread in clients:
        thread.join(5)

    assert answers == [b"answer"] * 10
