"""Pods with segue's agent end when they are quiet, whoever deletes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

import pytest
import yaml

from segue.model.objects import Obj
from testbed.image_recipes import AGENT
from tests.live.both import manifests
from tests.live.both.callers import PATIENT_PROBE, Calls, Kept, calling, kept
from tests.live.both.lifetimes import answers, moment
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "drained deletion": "With segue's agent a pod that kubectl delete, an eviction or a scale-down ends gets its stop"
    " signal when nobody sends any more: nothing is lost, though the program exits at the signal.",
    "drained deletion, idle": "A pod that nobody calls ends after the propagation time; idle kept connections do not"
    " hold it.",
    "drained deletion, busy": "A request under way without a byte, and a connection that sends now and then, hold a pod"
    " until the cap.",
    "agent": "The agent runs unprivileged, and tells what it sees of each connection as JSON and as Prometheus text.",
    "segue inject": "Puts agent and hook into a manifest, which kubectl applies; uninject gives back the same bytes.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
_PACE = 90.0


def _inject(place: Place, tmp_path: Path, *objects: Obj, options: tuple[str, ...] = ()) -> None:
    """Create these as a user would: the manifest through `segue inject`, then kubectl."""
    file = tmp_path / "app.yaml"
    file.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    done = place.run("segue", "inject", "-f", str(file), "--write", "--agent-image", AGENT, *options)
    assert done.returncode == 0, done.stderr
    place.kubectl("apply", "-f", str(file))
    assert place.run("segue", "uninject", "-f", str(file)).stdout == yaml.safe_dump_all(objects, sort_keys=False)


def _serving(place: Place, tmp_path: Path, replicas: int = 3, options: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """An injected Deployment of programs that exit at SIGTERM, behind a Service: its address, the pods' names."""
    service = manifests.service(selector={"app": "web"})
    web = manifests.deployment("web", replicas, readinessProbe=PATIENT_PROBE)
    _inject(place, tmp_path, web, service, options=options)
    pods = place.wait_ready_pods(replicas, limit_s=90)
    return place.get("services", "puppet")["spec"]["clusterIP"], [str(pod["metadata"]["name"]) for pod in pods]


def _warm_up(calls: Calls, pods: list[str]) -> None:
    calls.wait(lambda call: bool(call.who))
    calls.wait_more(300)
    assert {call.who for call in calls.calls} >= set(pods)


@pytest.mark.full
@pytest.mark.only("real", "the embedded cluster's own way to see connections is asked first")
@pytest.mark.states("agent")
def test_a_release_asks_the_agent(place: Place, tmp_path: Path) -> None:
    ip, pods = _serving(place, tmp_path)
    file = tmp_path / "app.yaml"
    with calling(place, ip, 80, per_s=_PACE) as calls:
        _warm_up(calls, pods)
        done = place.run("segue", "release", "-f", str(file), "--image", "puppet=v2", limit_s=200)

    assert done.returncode == 0, done.stderr
    assert "3 quiet (evidence: agent)" in done.stdout
    assert calls.lost == []


def _ip(place: Place, pod: str) -> str:
    return str(place.get("pods", pod)["status"]["podIP"])


@pytest.mark.states("drained deletion", "segue inject")
def test_a_pod_that_kubectl_deletes_under_load_loses_nothing(place: Place, tmp_path: Path, measured: Keep) -> None:
    ip, pods = _serving(place, tmp_path)
    with calling(place, ip, 80, per_s=_PACE) as calls, place.following(pods[0], "puppet") as told:
        _warm_up(calls, pods)
        asked_s = time.time()
        place.kubectl("delete", "pod", pods[0], "--wait=false")
        ended_s = moment(told, "SIGTERM")
        place.wait_gone("pods", pods[0])
        calls.wait_more(100)

    assert calls.lost == []
    assert 2 <= ended_s - asked_s <= 10
    measured("from kubectl delete to the stop signal, 30 calls/s per pod", ended_s - asked_s, "s")


@pytest.mark.full
@pytest.mark.states("drained deletion")
@pytest.mark.parametrize("how", ["evict", "scale down"])
def test_whoever_ends_a_pod_under_load_nothing_is_lost(place: Place, tmp_path: Path, how: str) -> None:
    ip, pods = _serving(place, tmp_path)
    with calling(place, ip, 80, per_s=_PACE) as calls:
        _warm_up(calls, pods)
        if how == "evict":
            place.evict(pods[0])
        else:
            place.kubectl("scale", "deployment", "web", "--replicas=1")
        place.wait_ready_pods(3 if how == "evict" else 1, limit_s=60)
        wait_until(lambda: len(place.all("pods")) == (3 if how == "evict" else 1), limit_s=60, what="pods to be gone")
        calls.wait_more(100)

    assert calls.lost == []


@pytest.mark.states("drained deletion, idle")
def test_a_pod_that_nobody_calls_ends_after_the_propagation_time(place: Place, tmp_path: Path, measured: Keep) -> None:
    _, (pod,) = _serving(place, tmp_path, replicas=1)
    with place.following(pod, "puppet") as told:
        asked_s = time.time()
        place.kubectl("delete", "pod", pod, "--wait=false")
        ended_s = moment(told, "SIGTERM")

    assert 4 <= ended_s - asked_s <= 10
    measured("from kubectl delete to the stop signal of an idle pod", ended_s - asked_s, "s")


@pytest.mark.full
@pytest.mark.states("drained deletion, idle")
def test_idle_connections_do_not_hold_a_pod(place: Place, tmp_path: Path, measured: Keep) -> None:
    _, (pod,) = _serving(place, tmp_path, replicas=1)
    ip = _ip(place, pod)
    with ExitStack() as many, place.following(pod, "puppet") as told:
        for _ in range(60):
            many.enter_context(kept(place, ip, manifests.PORT)).ask()
        wait_until(lambda: _state(place, ip)["open"] == 60, what="the agent to see the connections")
        # A connection so young is taken for one that is used (C3)
        wait_until(lambda: _state(place, ip)["live"] == 0, limit_s=40, what="the connections to count as idle")
        asked_s = time.time()
        place.kubectl("delete", "pod", pod, "--wait=false")
        ended_s = moment(told, "SIGTERM")

    assert ended_s - asked_s <= 18
    measured("from kubectl delete to the stop signal, 60 idle connections", ended_s - asked_s, "s")


@pytest.mark.states("drained deletion, busy")
def test_a_request_under_way_holds_a_pod_and_gets_its_answer(place: Place, tmp_path: Path, measured: Keep) -> None:
    _, (pod,) = _serving(place, tmp_path, replicas=1)
    ip = _ip(place, pod)
    with place.following(pod, "puppet") as told, place.connect(ip, manifests.PORT, limit_s=30) as way:
        way.sendall(b"GET /slow?s=12 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        moment(told, "slow")
        place.kubectl("delete", "pod", pod, "--wait=false")
        answer = way.recv(100)
        ended_s = moment(told, "SIGTERM")

    assert answer.startswith(b"HTTP/1.1 200")
    assert ended_s > moment(told, "slow ends")
    measured("end of the request under way to the stop signal", ended_s - moment(told, "slow ends"), "s")


@pytest.mark.full
@pytest.mark.states("drained deletion, busy")
def test_a_connection_that_sends_now_and_then_holds_a_pod_until_the_cap(
    place: Place, tmp_path: Path, measured: Keep
) -> None:
    _, (pod,) = _serving(place, tmp_path, replicas=1, options=("--wait-cap", "25"))
    ip = _ip(place, pod)
    with place.following(pod, "puppet") as told, kept(place, ip, manifests.PORT) as talk:
        talk.ask()
        asked_s = time.time()
        place.kubectl("delete", "pod", pod, "--wait=false")
        ended_s = wait_until(lambda: _talks(talk, told), limit_s=60, what="the end of a busy pod")

    assert 24 <= ended_s - asked_s <= 30
    measured("from kubectl delete to the stop signal of a busy pod, cap 25 s", ended_s - asked_s, "s")


def _talks(talk: Kept, told: list[Obj]) -> float:
    """When the pod got its stop signal; until then one more request."""
    ended = [float(each["t"]) for each in list(told) if each["what"] == "SIGTERM"]
    if not ended:
        with suppress(OSError, HTTPException):  # it may end in between
            talk.ask()
    return ended[0] if ended else 0.0


def _state(place: Place, ip: str) -> Obj:
    """What the agent says; it may begin to listen after the app."""
    wait_until(lambda: answers(place, ip, 9741), what="the agent to answer")
    found: Obj = yaml.safe_load(place.ask(ip, 9741, "/state")[1])
    return found


@pytest.mark.states("agent")
def test_the_agent_tells_what_it_sees(place: Place, tmp_path: Path) -> None:
    _, (pod,) = _serving(place, tmp_path, replicas=1)
    ip = _ip(place, pod)
    with kept(place, ip, manifests.PORT) as held:
        held.ask()
        wait_until(lambda: _state(place, ip)["live"] == 1, what="the agent to see a live connection")
        told = _state(place, ip)
        code, text = place.ask(ip, 9741, "/metrics")
        sample: Obj = yaml.safe_load(place.ask(ip, 9741, "/sample")[1])

    assert (told["source"], told["ports"], told["open"]) == ("sock_diag", [manifests.PORT], 1)
    assert code == 200
    assert "\nactive_connections 1\n" in text
    (row,) = [row for row in sample["connections"] if row["localPort"] == manifests.PORT]
    assert (row["state"], row["bytesReceived"] > 0, row["bytesSent"] > 0) == ("ESTABLISHED", True, True)
    assert place.ask(ip, 9741, "/quiet?cap_s=x")[0] == 400
    assert place.ask(ip, 9741, "/nothing")[0] == 404
    assert "segue agent serves on port 9741" in place.kubectl("logs", pod, "-c", "segue-agent")
