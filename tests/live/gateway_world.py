"""A cluster with a Gateway before a Deployment, and a load through it from where clients are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from segue.model.objects import Obj
from tests.live.conftest import Cluster
from tests.live.console import BIN
from tests.waiting import wait_until

QUICK = Path(__file__).resolve().parents[2] / "examples" / "quick" / "web.yaml"
PORT = 8080
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec:
  gatewayClassName: segue
  listeners: [{name: http, port: 8080, protocol: HTTP}]
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: door}]
  rules:
    - backendRefs: [{name: web, port: 80}]
"""


@dataclass
class Load:
    """A load under way; `report` is there when it has ended."""

    process: subprocess.Popen[str]
    report: Obj = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether it still fires."""
        return self.process.poll() is None


def apply(cluster: Cluster, text: str) -> None:
    """kubectl apply."""
    cluster.kubectl("apply", "-f", "-", stdin=text)


def url(cluster: Cluster, path: str = "/fast") -> str:
    """Where the Gateway answers for clients."""
    return f"http://{cluster.running.node_ip}:{PORT}{path}"


def conditions(cluster: Cluster, kind: str, name: str) -> dict[str, tuple[str, str]]:
    """Status and reason by type; of a route those of its first parent."""
    obj = cluster.get(kind, name)
    status = obj.get("status") or {}
    rows = status.get("conditions") or (status.get("parents") or [{}])[0].get("conditions") or []
    generation = obj["metadata"]["generation"]
    return {one["type"]: (one["status"], one["reason"]) for one in rows if one.get("observedGeneration") == generation}


def wait_accepted(cluster: Cluster, name: str = "web") -> None:
    """Until the route is served as it is now."""
    wait_until(
        lambda: conditions(cluster, "httproute", name).get("Accepted") == ("True", "Accepted"),
        limit_s=15,
        every_s=0.02,
        what=f"HTTPRoute {name} is accepted",
    )


def serve(cluster: Cluster, replicas: int = 2, *, route: str = ROUTE) -> None:
    """Deployment web behind the Gateway, answering."""
    apply(cluster, QUICK.read_text().replace("replicas: 3", f"replicas: {replicas}"))
    apply(cluster, GATEWAY + "---" + route)
    cluster.wait_ready(replicas, "app=web")
    wait_accepted(cluster)


@contextmanager
def loading(cluster: Cluster, *argv: str, path: str = "/fast") -> Iterator[Load]:
    """`segue load` through the Gateway with these options; ended and read at the end."""
    command = [str(BIN / "segue"), "load", url(cluster, path), *argv, "-o", "json"]
    process = subprocess.Popen(command, env=cluster.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    load = Load(process=process)
    try:
        yield load
    except BaseException:
        process.kill()
        process.communicate()
        raise
    out, err = process.communicate(timeout=300)
    assert out, err
    load.report = json.loads(out)


def loaded(cluster: Cluster, *argv: str, path: str = "/fast") -> Obj:
    """The report of a whole load."""
    with loading(cluster, *argv, path=path) as load:
        pass
    return load.report


def rules(cluster: Cluster, name: str = "web") -> list[Obj]:
    """The route's rules."""
    found: list[Obj] = cluster.get("httproute", name)["spec"]["rules"]
    return found


def envoys(cluster: Cluster) -> list[int]:
    """The processes that serve this cluster's Gateways, by where their files lie."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if str(cluster.state / "gateways") in str((entry / "cwd").readlink()):
                command = (entry / "cmdline").read_bytes()
                found += [int(entry.name)] if b"envoy" in command.split(b"\0")[0] else []
        except OSError:
            continue
    return found
