"""Streams through a Gateway while a canary moves it to the next version: WebSockets and gRPC streams are held."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.host import embedded
from segue.host.isolation import detect
from segue.host.settings import ClusterSettings
from segue.model.objects import Obj
from tests.live.conftest import Cluster, start_cluster
from tests.live.console import BIN
from tests.live.gateway_world import BOTH, GATEWAY, PORT, apply, wait_accepted

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.skipif(detect().kind != "namespaces", reason="clients have no network of their own in loopback mode"),
]

SERVER = Path(__file__).parent / "talk_server.py"
STREAMS = 50
IMAGES = """
images:
  - image: talk:*
    command: ["{python}", "%s", "10002"]
    env: {VERSION: "{tag}", POD_IP: "0.0.0.0"}
"""
TALK = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 60
      containers:
        - name: talk
          image: talk:v1
          ports: [{containerPort: 10002}]
          readinessProbe: {httpGet: {path: /health, port: 10002}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 10002, name: http%s}]
"""
H2C = ", appProtocol: kubernetes.io/h2c"
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: web}
spec:
  parentRefs: [{name: door}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""


@pytest.fixture
def talking(tmp_path: Path) -> Iterator[Cluster]:
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES % SERVER)
    cluster = start_cluster(tmp_path / "default", ClusterSettings(image_maps=(str(images),)))
    yield cluster
    embedded.stop(cluster.state)


def load(cluster: Cluster, url: str, *argv: str) -> subprocess.Popen[str]:
    command = [str(BIN / "segue"), "load", url, "--keep-alive", str(STREAMS), *argv, "-o", "json"]
    return subprocess.Popen(command, env=cluster.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def report(process: subprocess.Popen[str]) -> Obj:
    out, err = process.communicate(timeout=120)
    assert out, err
    found: Obj = json.loads(out)
    return found


@BOTH
@pytest.mark.parametrize(
    ("scheme", "path", "protocol", "kind"),
    [("ws", "/echo", "", "HTTPRoute"), ("grpc-stream", "/pkg.Svc/Stream", H2C, "HTTPRoute")],
)
def test_a_canary_holds_fifty_streams(
    talking: Cluster, by: str, scheme: str, path: str, protocol: str, kind: str
) -> None:
    cluster = talking
    apply(cluster, TALK % protocol)
    apply(cluster, GATEWAY.replace("ClassName: segue", f"ClassName: {by}") + "---" + ROUTE % kind)
    cluster.wait_ready(2, "app=web")
    wait_accepted(cluster)
    url = f"{scheme}://{cluster.running.node_ip}:{PORT}{path}"
    beside = f"{'http' if scheme == 'ws' else 'h2c'}://{cluster.running.node_ip}:{PORT}/any"
    streams = load(cluster, url, "--rate", "200", "--for", "30s")
    fresh = load(cluster, beside, "--rate", "200", "--for", "30s")
    argv = ("release", "web", "--image", "talk=v2", "--strategy", "canary", "--route", "httproute/web")
    done = cluster.run("segue", *argv, "--steps", "40,100", "--margin", "15", limit_s=110)
    told, other = report(streams), report(fresh)

    assert done.returncode == 0, done.stdout + done.stderr
    assert other["lost"] == 0, other["outcomes"]
    assert set(other["versions"]) == {"v1", "v2"}
    assert told["lost"] == 0, (told["outcomes"], told["errnos"], done.stdout[-2000:])
    assert told["sessions"] == {"held": STREAMS, "cut": 0}
