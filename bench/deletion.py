"""One pod of two deleted by kubectl under a light load: how long it goes on, what is lost; agent and fixed sleeps.

One embedded cluster per propagation delay of its data plane; all ways side by side in it. Every request is a connection
of its own, 3 per second and pod, of one sender.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from bench.figures import Figure
from bench.trial import Site
from segue.drain.inject import Wanted, inject
from segue.host import embedded
from segue.host.loading import client_prefix
from segue.host.settings import ClusterSettings
from segue.host.state import must_run
from segue.model.objects import Obj

DELAYS_S = (0.0, 1.0, 8.0, 30.0)
SLEEPS_S = (5, 15, 30)
RATE = 6
PORT = 10002
BEFORE_S = 15.0  # the agent has to see a rhythm
AFTER_S = 12.0  # a connect to an address without an owner hangs before it is lost
AGENT = "host.org/segue/agent:v1"
BIN = Path(sys.executable).parent


def figures() -> Iterator[Figure]:
    """Seconds until the pod is gone, and lost requests, by delay and way."""
    idle_s: list[float] = []
    for delay_s in DELAYS_S:
        with _site(delay_s) as site:
            found = _tried(site, delay_s)
        for way, (took_s, lost) in found.items():
            if way == "idle":
                idle_s.append(took_s)
                continue
            name = f"deletion_p{delay_s:g}_{way}"
            yield Figure(name=f"{name}_drain", values=[took_s], unit="s", goal=None)
            yield Figure(name=f"{name}_lost", values=[lost], unit="req", goal=0 if way == "agent" else None)
    yield Figure(name="deletion_idle_agent_drain", values=idle_s, unit="s", goal=10)


@contextmanager
def _site(delay_s: float) -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as home:
        state = Path(home) / "default"
        embedded.start(state, ClusterSettings(data_plane_delay_s=delay_s))
        try:
            kubeconfig = state / "kubeconfig"
            yield Site(state=state, running=must_run(state), kubeconfig=kubeconfig, namespace="default")
        finally:
            embedded.stop(state)


def _tried(site: Site, delay_s: float) -> dict[str, tuple[float, float]]:
    ways = [f"sleep{sleep_s}" for sleep_s in SLEEPS_S] + ["agent", "idle"]
    for way in ways:
        site.kubectl("apply", "-f", "-", stdin=_manifest(way))
    for way in ways:
        site.kubectl("wait", "--for=condition=Available", f"deployment/{way}", "--timeout=120s")
    time.sleep(delay_s + 2.0)
    with ExitStack() as loads, ThreadPoolExecutor(len(ways)) as at_once:
        found = {way: loads.enter_context(_load(site, way)) for way in ways if way != "idle"}
        time.sleep(BEFORE_S)
        took = list(at_once.map(lambda way: _deleted_s(site, way), ways))
        time.sleep(AFTER_S)
    lost = {way: float(found[way]["lost"]) if way in found else 0.0 for way in ways}
    return {way: (took_s, lost[way]) for way, took_s in zip(ways, took, strict=True)}


def _deleted_s(site: Site, way: str) -> float:
    pods: Obj = json.loads(site.kubectl("get", "pods", "-l", f"app={way}", "-o", "json"))
    began_s = time.monotonic()
    site.kubectl("delete", "pod", pods["items"][0]["metadata"]["name"])
    return time.monotonic() - began_s


def _manifest(way: str) -> str:
    probe: Obj = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 5}
    container: Obj = {"name": "web", "image": "host.org/images/grace:v0.1", "readinessProbe": probe}
    if way.startswith("sleep"):
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": int(way.removeprefix("sleep"))}}}
    labels = {"app": way}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 60, "containers": [container]},
    }
    objects = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": way},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": way},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
    ]
    text = yaml.safe_dump_all(objects)
    return text if way.startswith("sleep") else inject(text, way, Wanted(image=AGENT))[0]


@contextmanager
def _load(site: Site, way: str) -> Iterator[Obj]:
    """A light load from the client's side while the block runs; what it found, afterwards."""
    service: Obj = json.loads(site.kubectl("get", "service", way, "-o", "json"))
    url = f"http://{service['spec']['clusterIP']}:{PORT}/fast"
    argv = [*client_prefix(site.state, site.running), str(BIN / "segue"), "load", url]
    found: Obj = {}
    with tempfile.TemporaryDirectory() as home:  # it is in the client's network already and must not look for a way
        env = {**site.env, "SEGUE_HOME": home}
        how = ["--rate", str(RATE), "--for", "600s", "-o", "json"]
        with subprocess.Popen(
            [*argv, *how], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as firing:
            try:
                yield found
            finally:
                firing.send_signal(signal.SIGINT)
                found.update(json.loads(firing.communicate(timeout=60)[0]))
