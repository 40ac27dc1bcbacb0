"""What holds a pod that is retired, at full length: a pool, a request and a stream of minutes, one rare client."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from socket import socket

import pytest

from segue.model.objects import Obj
from tests.live.both.callers import Kept
from tests.live.both.manifests import PORT, deployment, service
from tests.live.both.manifests import pod as puppet
from tests.live.both.user.app import App, Going
from tests.live.both.world import Place, condition
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.full]

STATEMENTS = {
    "a pool holds": "60 busy connections of a pool hold a pod to the cap, are named in the receipt and never cut "
    "before; where the app answers Connection: close they leave, and it ends when they have.",
    "a long answer holds": "A request under way for 60 s without a byte and a stream of 120 s hold a pod until they "
    "end, and are not cut before the cap.",
    "a rare client": "One stale direct client every 3.3 s beside 1,200 per second loses nothing.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
POOL = 60
EVERY_S = 0.5  # each connection of the pool asks so often
STALE_CALLS = 14
STALE = f"""
import http.client, json, threading, time
rest = threading.Event()
for _ in range({STALE_CALLS}):
    at_s = time.time()
    try:
        way = http.client.HTTPConnection("%s", 10002, timeout=5)
        way.request("GET", "/fast", headers={{"Connection": "close"}})
        status = way.getresponse().status
    except OSError as failed:
        status = repr(failed)
    print(json.dumps({{"t": at_s, "status": status}}), flush=True)
    rest.wait(3.3)
rest.wait(600)
"""


@dataclass(slots=True, kw_only=True)
class Pool:
    """Connections that each ask again and again, until their server ends them."""

    place: Place
    ip: str
    answers: int = 0
    left: int = 0  # ended by an answer that said so
    cut_s: list[float] = field(default_factory=list)  # when one was lost

    def use(self, end: threading.Event) -> None:
        """Keep its connections busy; one thread for all, as a pool of one program is."""
        ways = [Kept(self.place, self.ip, PORT) for _ in range(POOL)]
        while ways and not end.wait(0):
            for way in list(ways):
                try:
                    way.ask()
                    self.answers += 1
                except (OSError, HTTPException, IndexError):
                    self.cut_s.append(time.time())
                    ways.remove(way)
                    continue
                if not way.is_open:
                    self.left += 1
                    ways.remove(way)
                if end.wait(EVERY_S / POOL):
                    break
        for way in ways:
            way.close()


@contextmanager
def pool(place: Place, ip: str) -> Iterator[Pool]:
    """60 busy connections to a pod while the block runs."""
    made, end = Pool(place=place, ip=ip), threading.Event()
    thread = threading.Thread(target=made.use, args=(end,), daemon=True)
    thread.start()
    wait_until(lambda: made.answers > 2 * POOL, limit_s=30, what="the pool to be in use")
    try:
        yield made
    finally:
        end.set()
        thread.join()


@pytest.fixture
def two(app: App) -> list[Obj]:
    """Two puppets behind a Service."""
    app.place.create(deployment("two", 2), service("two", selector={"app": "two"}))
    return app.place.wait_ready_pods(2, "app=two")


def retire(app: App, pod: Obj, cap_s: int) -> Going:
    """Under way: the pod has lost its traffic."""
    going = app.start("retire", pod["metadata"]["name"], "--drain-cap", str(cap_s), "-o", "json")
    assert going.until("take pod")
    return going


def end_of(going: Going, limit_s: float = 90.0) -> Obj:
    """The pod as the receipt tells of it."""
    code, out, said = going.end(limit_s)
    assert code == 0, said
    (pod,) = json.loads(out)["pods"]
    found: Obj = pod
    return found


def deleted(app: App, pod: Obj) -> bool:
    found = app.place.get("pods", pod["metadata"]["name"])
    return not found or "deletionTimestamp" in found["metadata"]


@pytest.mark.states("a pool holds")
def test_a_pool_is_named_and_not_cut_before_the_cap(app: App, two: list[Obj], measured: Measured) -> None:
    with pool(app.place, two[0]["status"]["podIP"]) as busy:
        going = retire(app, two[0], 20)
        left_s = time.time()
        end = end_of(going)
        wait_until(lambda: busy.cut_s, limit_s=20, what="the pool to lose its server")

    assert end["reason"] == "capped"
    named = re.search(r"(\d+) live connections \(([^)]+)\)", end["because"])
    assert named, end["because"]
    assert POOL - 5 <= int(named[1]) <= POOL + 5
    assert all(re.fullmatch(r"[0-9.]+:\d+", peer) for peer in named[2].split(", "))
    assert min(busy.cut_s) - left_s >= 19.0, "nobody is cut before the cap"
    measured("first of 60 cut after the pod left traffic, cap 20 s", min(busy.cut_s) - left_s, "s")


@pytest.mark.states("a pool holds")
def test_a_pool_that_is_asked_to_leave_leaves_and_loses_nothing(app: App, two: list[Obj], measured: Measured) -> None:
    ip = two[0]["status"]["podIP"]
    with pool(app.place, ip) as busy:
        going = retire(app, two[0], 60)
        app.place.pull(ip, close="1")
        asked_s = time.time()
        end = end_of(going)
        took_s = time.time() - asked_s

    assert (busy.cut_s, busy.left) == ([], POOL)
    assert end["reason"] in {"quiet", "timer"}
    assert took_s < 50
    measured("until a pod ended whose 60 connections were asked to leave", took_s, "s")


def asked(place: Place, ip: str, path: str) -> socket:
    """A request on its way."""
    way = place.connect(ip, PORT, limit_s=200)
    way.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    return way


def read_all(way: socket) -> tuple[bytes, float]:
    """The answer to its end, and when that was."""
    text = b""
    while part := way.recv(65536):
        text += part
    return text, time.time()


@pytest.mark.states("a long answer holds")
@pytest.mark.parametrize(
    ("path", "for_s", "last"), [("/slow?s=60", 60.0, b"slow\n"), ("/stream?s=120&every=1", 120.0, b"data: end\n\n")]
)
def test_a_long_answer_is_not_cut(
    app: App, two: list[Obj], measured: Measured, path: str, for_s: float, last: bytes
) -> None:
    ip = two[0]["status"]["podIP"]
    with closing(asked(app.place, ip, path)) as way:
        going = retire(app, two[0], 180)
        text, answered_s = read_all(way)
        end = end_of(going)
        ended_s = time.time()

    assert text.startswith(b"HTTP/1.1 200")
    assert text.endswith(last)
    assert end["reason"] in {"quiet", "timer"}
    assert answered_s < ended_s < answered_s + 30
    measured(f"from the end of an answer of {for_s:g} s to that of its pod", ended_s - answered_s, "s")


@pytest.mark.states("a long answer holds")
def test_a_stream_is_not_cut_before_its_cap(app: App, two: list[Obj], measured: Measured) -> None:
    with closing(asked(app.place, two[0]["status"]["podIP"], "/stream?s=120&every=1")) as way:
        peer = ":".join(map(str, way.getsockname()))
        going = retire(app, two[0], 30)
        left_s = time.time()
        text, cut_s = b"", 0.0
        with suppress(OSError):
            text, cut_s = read_all(way)
        cut_s = cut_s or time.time()
        end = end_of(going)

    assert end["reason"] == "capped"
    assert peer in end["because"]
    assert not text.endswith(b"end\n\n")
    assert cut_s - left_s >= 29.0
    measured("a stream was cut after its pod left traffic, cap 30 s", cut_s - left_s, "s")


@pytest.mark.alone
@pytest.mark.states("a rare client")
def test_one_stale_direct_client_beside_many_loses_nothing(serving: App, measured: Measured) -> None:
    """It keeps the pod's address for half a minute after the pod has left, as a client with a cached lookup does."""
    (pod, *_) = serving.pods()
    place = serving.place
    caller = puppet("stale", spec={"restartPolicy": "Never"})
    caller["spec"]["containers"][0]["command"] = ["python3", "-I", "-S", "-c", STALE % pod["status"]["podIP"]]
    place.create(caller)
    wait_until(lambda: condition(place.get("pods", "stale"), "Ready") == "True", limit_s=30, what="the stale client")
    # A client has some 60,000 ports, and each is held for 60 s: at this rate a load of 45 s is all that one can send
    wait_until(lambda: len(place.events_of("stale")) >= 4, limit_s=40, what="the stale client's calls")
    with serving.load(rate=1200) as tally:
        going = retire(serving, pod, 90)
        wait_until(lambda: len(place.events_of("stale")) == STALE_CALLS, limit_s=120, what="its last call")
        last_s = time.time()
        was_deleted = deleted(serving, pod)
    found = end_of(going)
    took_s = time.time() - last_s
    calls = place.events_of("stale")

    tally.check_none_lost()
    assert [call for call in calls if call["status"] != 200] == [], found
    assert not was_deleted, found
    assert found["reason"] in {"quiet", "timer"}
    measured(f"lost of {len(calls)} of the stale client, {tally.found['requests']} of the others", 0, "")
    measured("from its last call to the pod's end", took_s, "s")
