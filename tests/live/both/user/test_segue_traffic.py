"""`segue traffic`: who talks to pods, as a user sees it, and what a drain would say of it."""

from __future__ import annotations

import json
import select
import subprocess
import time
from contextlib import ExitStack, closing
from socket import socket

import pytest

from segue.model.objects import Obj
from tests.live.both.manifests import pod as puppet
from tests.live.both.manifests import service
from tests.live.both.user.app import LABEL, NAME, App, error_of
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue traffic": "Tells who is connected to which pod, who arrives and how often, where that is known from, and "
    "what a drain would call the pod now; for a workload, a pod or a namespace, again and again on request.",
    "what holds a pod": "A request under way and a connection that carries a byte now and then hold a pod; a thousand "
    "idle ones do not, where bytes can be seen. Datagrams count as arrivals.",
    "drain outbound": "With --drain-outbound a pod that nobody calls ends when what it opened itself is over.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
PORT = 10002
REQUEST = b"GET /fast HTTP/1.1\r\nHost: test\r\n\r\n"
FIELDS = {
    *("pod", "source", "trouble", "verdict", "because", "silentSeconds", "neededSeconds", "open", "live"),
    *("arrivalsPerSecond", "peers", "connections"),
}


def seen(app: App, *argv: str) -> dict[str, Obj]:
    """By pod, what `-o json` says."""
    rows: list[Obj] = json.loads(app.done("traffic", *argv, "-o", "json"))
    return {row["pod"]: row for row in rows}


def kept_alive(app: App, ip: str) -> socket:
    """A connection that has had one answer and is idle now."""
    way = app.place.connect(ip, PORT)
    way.sendall(REQUEST)
    assert way.recv(4096).startswith(b"HTTP/1.1 200")
    return way


@pytest.mark.states("segue traffic")
def test_it_tells_who_is_connected_and_who_arrives(serving: App) -> None:
    pods = serving.pods()
    first, other = pods[0]["metadata"]["name"], pods[1]["metadata"]["name"]
    with ExitStack() as open_ones:
        for _ in range(5):
            open_ones.enter_context(closing(kept_alive(serving, pods[0]["status"]["podIP"])))
        peer = open_ones.enter_context(closing(kept_alive(serving, pods[1]["status"]["podIP"]))).getsockname()
        with serving.load():
            busy = seen(serving, f"deploy/{NAME}", "--every", "3")
            plain = serving.done("traffic", NAME).splitlines()
        one = seen(serving, f"pod/{other}")
    everything = seen(serving)

    assert set(busy) == {pod["metadata"]["name"] for pod in pods}
    assert all(set(row) == FIELDS for row in busy.values())
    assert {row["source"] for row in busy.values()} <= {"node path", "exec"}
    assert all(row["arrivalsPerSecond"] > 5 and row["verdict"] == "busy" for row in busy.values()), busy
    assert busy[first]["open"] >= 5
    assert (peer[0], peer[1]) in {(row["peer"], row["peerPort"]) for row in busy[other]["connections"]}
    assert plain[0].split()[:4] == ["POD", "SOURCE", "OPEN", "LIVE"]
    assert set(one) == {other}
    assert one[other]["peers"][0]["peer"] == peer[0]
    assert first in everything


@pytest.mark.states("segue traffic")
def test_idle_connections_do_not_count_as_live_where_bytes_can_be_seen(serving: App) -> None:
    (pod, *_) = serving.pods()
    name = pod["metadata"]["name"]
    with ExitStack() as open_ones:
        for _ in range(20):
            open_ones.enter_context(closing(kept_alive(serving, pod["status"]["podIP"])))
        working = open_ones.enter_context(closing(serving.place.connect(pod["status"]["podIP"], PORT)))
        working.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
        found = seen(serving, f"pod/{name}", "--every", "6")[name]
        mine = next(row for row in found["connections"] if row["peerPort"] == working.getsockname()[1])

    assert found["open"] >= 21
    assert mine["live"] is True
    if found["source"] == "node path":
        # Young connections keep their place for 15 s, so it is the idle times that tell here
        assert all(row["idleSeconds"] >= 4 for row in found["connections"]), found["connections"]
        assert mine["bytesSent"] == 0 < mine["bytesReceived"]
    else:
        assert mine["bytesReceived"] is None
        assert found["live"] == found["open"], "what cannot be told apart counts as live"


def open_many(app: App, ip: str, count: int, keeps: ExitStack) -> None:
    """So many connections that have each had an answer and are idle."""
    for _ in range(count):
        keeps.enter_context(closing(kept_alive(app, ip)))


@pytest.mark.full
@pytest.mark.states("what holds a pod")
def test_a_thousand_idle_connections_are_not_live_and_three_that_work_are(serving: App) -> None:
    (pod, *_) = serving.pods()
    name, ip = pod["metadata"]["name"], pod["status"]["podIP"]
    with ExitStack() as keeps:
        open_many(serving, ip, 1000, keeps)
        slow, trickling, second = (keeps.enter_context(closing(serving.place.connect(ip, PORT))) for _ in range(3))
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
        second.sendall(REQUEST)
        assert second.recv(4096)
        going = serving.start("traffic", f"pod/{name}", "--watch", "--every", "0.9", "-o", "json")
        assert going.process.stdout is not None
        found: Obj = {}
        for number in range(24):  # longer than a young connection keeps its place; each look paces the next byte
            found = json.loads(going.process.stdout.readline())[0]
            if number == 14:
                second.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
                slow.close()
            if number % 4 == 0:
                trickling.sendall(b"G")
        going.process.terminate()
        going.end()
        live = {row["peerPort"] for row in found["connections"] if row["live"]}
        working = {one.getsockname()[1] for one in (trickling, second)}

    assert found["open"] >= 1002
    if found["source"] == "node path":
        assert live == working
    else:
        assert live >= working, "by exec no bytes can be seen: what cannot be told apart counts as live"


@pytest.mark.states("what holds a pod")
def test_datagrams_arrive(app: App) -> None:
    spec = service(ports=[{"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"}])
    app.place.create(puppet("udp"), spec)
    ip = app.place.wait_ready("udp")["status"]["podIP"]
    quiet = seen(app, "pod/udp")["udp"]
    going = app.start("traffic", "pod/udp", "--every", "3", "-o", "json")
    with app.place.datagram(ip, 5353) as way:
        while going.process.poll() is None:
            way.send(b"?")
            select.select([way], [], [], 0.05)
    _, out, _ = going.end()
    (busy,) = json.loads(out)

    assert quiet["arrivalsPerSecond"] < 1
    assert busy["arrivalsPerSecond"] > 5
    assert busy["verdict"] == "busy"


@pytest.mark.states("segue traffic")
def test_it_goes_on_until_it_is_told_to_stop(serving: App) -> None:
    going = serving.start("traffic", NAME, "--watch", "--every", "0.5", "-o", "json")
    assert going.process.stdout is not None
    looks = [json.loads(going.process.stdout.readline()) for _ in range(3)]
    serving.place.kubectl("scale", "deployment", NAME, "--replicas=4")
    wait_until(
        lambda: len(json.loads(going.process.stdout.readline() if going.process.stdout else "[]")) == 4,
        limit_s=40,
        every_s=0,
        what="the fourth pod to show",
    )
    going.process.terminate()
    code, _, _ = going.end()

    assert all(len(look) == 3 for look in looks)
    assert code == 130, "as Ctrl-C"


WORKER = """
import select, socket, sys
way = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("connected", flush=True)
for _ in range(int(sys.argv[3]) * 5):
    way.send(b"G")
    select.select([], [], [], 0.2)
"""


@pytest.mark.full
@pytest.mark.states("drain outbound", "segue traffic")
def test_a_worker_that_nobody_calls_is_retired_when_it_has_done_its_work(serving: App) -> None:
    first, other = serving.pods()[:2]
    name, works_s = first["metadata"]["name"], 20
    argv = ["kubectl", "exec", name, "--", "python3", "-c", WORKER, other["status"]["podIP"], str(PORT), str(works_s)]
    with subprocess.Popen(argv, env=serving.env, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "connected\n"
        began_s = time.time()
        inbound, both = (seen(serving, f"pod/{name}", *more)[name] for more in ((), ("--outbound",)))
        retired = serving.segue("retire", name, "--drain-outbound", "-o", "json")
        ended_s = time.time()
    (end,) = json.loads(retired.stdout)["pods"]

    assert retired.returncode == 0, retired.stderr
    assert [row["outgoing"] for row in inbound["connections"]] == []
    assert [(row["peer"], row["outgoing"]) for row in both["connections"]] == [(other["status"]["podIP"], True)]
    assert both["live"] == 1
    assert end["reason"] in {"quiet", "timer"}
    assert ended_s - began_s > works_s, "it was ended in the middle of its work"


@pytest.mark.states("segue traffic")
def test_what_is_not_there_is_an_error(app: App) -> None:
    assert "there is no Deployment, StatefulSet, DaemonSet or Pod none" in error_of(app.segue("traffic", "none"), 1)
    assert "there is no Pod none" in error_of(app.segue("traffic", "pod/none"), 1)
    assert "is no Deployment" in error_of(app.segue("traffic", "service/none"), 2)
    assert "--every" in error_of(app.segue("traffic", "--every", "0"), 2)
    assert app.done("traffic").strip() == "no pods"
    assert app.place.all("pods", LABEL) == []
