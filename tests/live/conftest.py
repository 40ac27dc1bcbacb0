"""A cluster for every live test: the test is given one and knows nothing of which it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from segue.host import embedded
from segue.host.settings import ClusterSettings
from segue.host.state import Running
from segue.model.objects import Obj
from tests.live.console import Console
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SEED = ROOT / "examples" / "seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Console):
    """A running cluster and its kubectl."""

    state: Path
    running: Running
    env: dict[str, str]

    def get(self, *argv: str) -> Obj:
        """`kubectl get ARGV -o json`, parsed."""
        parsed: Obj = json.loads(self.kubectl("get", *argv, "-o", "json"))
        return parsed

    def ready_pods(self, selector: str = "app/name=test") -> list[Obj]:
        """Pods that are Ready and not on their way out."""
        return [
            pod
            for pod in self.get("pods", "-l", selector)["items"]
            if "deletionTimestamp" not in pod["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]

    def wait_ready(self, count: int, selector: str = "app/name=test", limit_s: float = 40.0) -> None:
        """Wait until exactly `count` pods are Ready."""
        wait_until(
            lambda: len(self.ready_pods(selector)) == count, limit_s=limit_s, every_s=0.1, what=f"{count} ready pods"
        )


def start_cluster(state: Path, settings: ClusterSettings | None = None) -> Cluster:
    """Start an embedded cluster with its files in `state`."""
    running = embedded.start(state, settings or ClusterSettings())
    env = {**os.environ, "SEGUE_HOME": str(state.parent), "KUBECONFIG": str(state / "kubeconfig"), "NO_COLOR": "1"}
    return Cluster(state=state, running=running, env=env)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own for one test."""
    started = start_cluster(tmp_path / "default")
    yield started
    embedded.stop(started.state)


def seed(replicas: int = 3, *, period_s: int = 1, version: str = "v0.1") -> str:
    """The seed's manifest with fewer pods and quicker probes, so that a test does not wait for nothing."""
    text = (SEED / "second-option.yaml").read_text()
    assert "replicas: 10" in text
    text = text.replace("replicas: 10", f"replicas: {replicas}").replace("grace:v0.1", f"grace:{version}")
    return text.replace("failureThreshold: 1", f"failureThreshold: 1\n            periodSeconds: {period_s}")
