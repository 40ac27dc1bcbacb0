"""`segue metrics`: connections of pods for Prometheus, and for autoscalers that scale on them."""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from tests.live.both.manifests import PORT, deployment, service
from tests.live.both.test_autoscalers import HPAS, said, scaler, wait_size
from tests.live.both.user.app import App, error_of
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue metrics": "Serves active and open connections and arrivals of each pod as Prometheus' text and, behind an "
    "APIService, as custom metrics.",
    "HPA on connections": "An autoscaler of type Pods scales a Deployment up by the connections of its pods, and says "
    "so when they cannot be had.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
API = "/apis/custom.metrics.k8s.io/v1beta2"
APISERVICE = "v1beta2.custom.metrics.k8s.io"


def carry(source: socket.socket, target: socket.socket) -> None:
    """All bytes of one direction."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def reached_by_the_cluster(app: App, port: int) -> Iterator[tuple[str, int]]:
    """An address of the client's network, where clusters can reach, that leads to a port of this machine."""
    with app.place.datagram(app.place.world.node_ip, 9) as way:
        ip = way.getsockname()[0]
    with app.place.world.socket() as door:
        door.bind((ip, 0))
        door.listen(64)

        keeps: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    theirs, _ = door.accept()
                    keeps.append(theirs)
                    ours = socket.create_connection(("127.0.0.1", port))
                    keeps.append(ours)
                    for pair in ((theirs, ours), (ours, theirs)):
                        threading.Thread(target=carry, args=pair, daemon=True).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield ip, door.getsockname()[1]
        finally:
            door.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in keeps:
                each.close()


def text_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        told: str = answer.read().decode()
        return told


@pytest.mark.states("segue metrics")
def test_prometheus_reads_connections_of_pods(app: App) -> None:
    app.place.create(deployment("web", 2), service("web", selector={"app": "web"}))
    first, second = app.place.wait_ready_pods(2, "app=web")
    name = first["metadata"]["name"]
    going = app.start("metrics", "--listen", "127.0.0.1:0")
    assert going.until("/metrics")
    url = going.told[-1].strip()
    line = f'segue_open_connections{{namespace="{app.place.namespace}",pod="{name}"}}'
    with closing(app.place.connect(first["status"]["podIP"], PORT)) as way:
        way.sendall(b"GET /slow?s=8 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: f"{line} 1\n" in text_of(url), limit_s=20, what="the connection to show")
        told = text_of(url)
    wait_until(lambda: f"{line} 0\n" in text_of(url), limit_s=20, what="it to go")
    going.process.terminate()
    code, _, _ = going.end()

    assert code == 130
    assert f"{line.replace('open', 'active')} 1\n" in told
    assert f'segue_active_connections{{namespace="{app.place.namespace}",pod="{second["metadata"]["name"]}"}} 0' in told
    assert re.search(rf'segue_pod_seen{{.*pod="{name}",source="(node path|exec)"}} 1', told)
    assert "# TYPE segue_arrivals_per_second gauge" in told
    assert "# TYPE segue_arrivals_total counter" in told


@pytest.mark.full
@pytest.mark.states("HPA on connections", "segue metrics")
def test_an_autoscaler_scales_on_connections(app: App) -> None:
    place = app.place
    place.create(deployment("web", 1), service("web", selector={"app": "web"}))
    (only,) = place.wait_ready_pods(1, "app=web")
    target = {"type": "AverageValue", "averageValue": "5"}
    metric = {"type": "Pods", "pods": {"metric": {"name": "segue_active_connections"}, "target": target}}
    going = app.start("metrics", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
    assert going.until(API)
    port = int(re.findall(r":(\d+)/", going.told[-1])[-1])
    with ExitStack() as keeps:
        ip, at = keeps.enter_context(reached_by_the_cluster(app, port))
        objects = app.file(app.done("metrics", "--register", f"{ip}:{at}", "-n", place.namespace), "register.yaml")
        keeps.callback(place.kubectl, "delete", "apiservice", APISERVICE, "--ignore-not-found")
        place.kubectl("apply", "-f", objects)
        for _ in range(10):
            way = keeps.enter_context(closing(place.connect(only["status"]["podIP"], PORT)))
            way.sendall(b"GET /slow?s=300 HTTP/1.1\r\nHost: x\r\n\r\n")
        raw = f"{API}/namespaces/{place.namespace}/pods/*/segue_active_connections"

        def values() -> list[str]:
            with suppress(
                json.JSONDecodeError
            ):  # until the API server has found out who serves it, it says so in words
                code, found = place.world.call("GET", raw)
                return [item["value"] for item in found["items"]] if code == 200 else []
            return []

        wait_until(lambda: values() in (["10"], ["10000m"]), limit_s=60, what=f"the values, not {values()}")
        place.create(scaler("web", [metric]))
        wait_size(place, "web", 2, limit_s=90)
        active = said(place, "web", "ScalingActive")
        current = place.get(HPAS, "web")["status"]["currentMetrics"]
        events = json.dumps(place.all("events"))
        going.process.terminate()
        going.end()
        wait_until(
            lambda: said(place, "web", "ScalingActive")[1] == "FailedGetPodsMetric", limit_s=60, what="it to be said"
        )

    assert active[:2] == ("True", "ValidMetricFound")
    assert "pods metric segue_active_connections" in active[2]
    assert current[0]["type"] == "Pods"
    assert current[0]["pods"]["metric"]["name"] == "segue_active_connections"
    assert "pods metric segue_active_connections above target" in events


@pytest.mark.states("segue metrics")
def test_what_cannot_be_served_is_said(app: App) -> None:
    assert "must be HOST:PORT" in error_of(app.segue("metrics", "--register", "here"), 2)
    assert "contradict" in error_of(app.segue("metrics", "-A", "-n", "x"), 2)
    assert "cannot listen at 192.0.2.1:80" in error_of(app.segue("metrics", "--listen", "192.0.2.1:80"), 10)
