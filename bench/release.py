"""What a release costs on the seed's Deployment, under load: from its new pods' readiness to the last old pod's end.

Native and segue in turn, on the same cluster, same load; what native loses is printed beside it. CLUSTER=real does
it on the test bed, with the seed's own probes (see release_real).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from segue.host import embedded
from segue.host.settings import ClusterSettings
from segue.model.objects import Obj

RUNS = 3
BIN = Path(sys.executable).parent
SEED = Path(__file__).resolve().parents[1] / "examples" / "seed"


def figures() -> Iterator[Figure]:
    """Seconds beyond the pods' own start; requests lost by segue and by a plain restart in the same run."""
    if os.environ.get("CLUSTER", "embedded") == "real":
        from bench.release_real import figures as real  # noqa: PLC0415 - the test bed is not there on every machine

        yield from real()
        return
    beyond: list[float] = []
    lost: list[float] = []
    native: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        state = Path(home) / "default"
        embedded.start(state, ClusterSettings())
        env = {**os.environ, "SEGUE_HOME": home, "KUBECONFIG": str(state / "kubeconfig")}
        quick = Path(home) / "seed.yaml"
        for version, name in (("v0.1", "seed.yaml"), ("v0.2", "seed-v2.yaml")):
            text = (SEED / "second-option.yaml").read_text().replace("grace:v0.1", f"grace:{version}")
            text = text.replace("failureThreshold: 1", "failureThreshold: 1\n            periodSeconds: 1")
            (Path(home) / name).write_text(text)
        try:
            for _ in range(RUNS):
                cured = _drill(env, "release", quick)
                beyond.append(_beyond_ready_s(cured))
                lost.append(cured["lost"])
                native.append(_drill(env, "restart", quick)["lost"])
        finally:
            embedded.stop(state)
    yield Figure(name="release_beyond_pod_start", values=beyond, unit="s", goal=3.0)
    yield Figure(name="release_lost", values=lost, unit="req", goal=0)
    yield Figure(name="native_restart_lost", values=native, unit="req", goal=1, at_most=False)


def _drill(env: dict[str, str], name: str, manifest: Path) -> Obj:
    report = manifest.with_name(f"{name}.html")
    done = subprocess.run(
        [BIN / "segue", "drill", name, "-f", manifest, "--report", report, "-o", "json"],
        env=env,
        stdout=subprocess.PIPE,
        check=False,
    )
    receipt: Obj = json.loads(done.stdout)
    return receipt


def _beyond_ready_s(receipt: Obj) -> float:
    """From the last new pod's readiness to the end of the last old pod, as the receipt's own entries have it."""
    ready = next(row["atS"] for row in receipt["actions"] if row["because"].endswith("new pods are Ready"))
    end = max(pod["atS"] for pod in receipt["pods"])
    return float(end - ready)
