"""How long ten seed pods take until Ready, beside the moment that their probes allow at the earliest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from segue.host import embedded
from segue.host.settings import ClusterSettings

RUNS = 5
PODS = 10
BIN = Path(sys.executable).parent
SEED = Path(__file__).resolve().parents[1] / "examples" / "seed" / "second-option.yaml"


def figures() -> Iterator[Figure]:
    """Seconds from `kubectl apply` to all Ready, with periodSeconds 1."""
    manifest = SEED.read_text().replace("failureThreshold: 1", "failureThreshold: 1\n            periodSeconds: 1")
    times = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as home:
            state = Path(home) / "default"
            embedded.start(state, ClusterSettings())
            env = {**os.environ, "KUBECONFIG": str(state / "kubeconfig")}
            try:
                times.append(_until_ready(env, manifest))
            finally:
                embedded.stop(state)
    yield Figure(name="ten_seed_pods_ready_period_1", values=times, unit="s", goal=2.5)


def _until_ready(env: dict[str, str], manifest: str) -> float:
    began_s = time.monotonic()
    subprocess.run([BIN / "kubectl", "apply", "-f", "-"], input=manifest, text=True, env=env, check=True, stdout=-3)
    while True:
        listed = subprocess.run(
            [BIN / "kubectl", "get", "deploy", "test", "-o", "json"], env=env, check=True, capture_output=True
        )
        if json.loads(listed.stdout).get("status", {}).get("readyReplicas", 0) == PODS:
            return time.monotonic() - began_s
        threading.Event().wait(0.02)
