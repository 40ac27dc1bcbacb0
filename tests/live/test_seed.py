"""The seed's own observations, on a real load: what is lost by itself, what is not, and nothing under segue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.conftest import Cluster, seed

pytestmark = pytest.mark.live
RATE = 1000  # new connections per second: high enough that errors come where errors are


def drill(cluster: Cluster, tmp_path: Path, name: str, *options: str, pods: int = 4) -> tuple[int, Obj]:
    """Run a drill on a small seed Deployment; its exit code and receipt."""
    (tmp_path / "seed.yaml").write_text(seed(pods))
    (tmp_path / "seed-v2.yaml").write_text(seed(pods, version="v0.2"))
    manifest, report = str(tmp_path / "seed.yaml"), str(tmp_path / f"{name}.html")
    done = cluster.run(
        "segue", "drill", name, "-f", manifest, "--rate", str(RATE), "--report", report, "-o", "json", *options,
        limit_s=150,
    )  # fmt: skip
    assert done.stdout, done.stderr
    receipt: Obj = json.loads(done.stdout)
    return done.returncode, receipt


def unknown_share(receipt: Obj) -> float:
    return float(receipt["unknownShare"])


def test_without_deletions_there_are_no_errors(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drill(cluster, tmp_path, "baseline", "--for", "5s")

    assert receipt["lost"] == 0, receipt["causes"]
    assert code == 0


def test_with_deletions_there_are_errors_and_each_has_its_cause(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drill(cluster, tmp_path, "delete", "--for", "10s", "--deletes", "5")

    assert receipt["lost"] >= 5
    assert unknown_share(receipt) <= 0.05
    assert "listener-closed-first" in {row["cause"] for row in receipt["causes"]}
    assert code == 0, "losing requests is what this drill expects"


@pytest.mark.parametrize(
    "name", ["restart", pytest.param("scale", marks=pytest.mark.full), pytest.param("undo", marks=pytest.mark.full)]
)
def test_restart_scale_down_and_undo_lose_requests_too(cluster: Cluster, tmp_path: Path, name: str) -> None:
    code, receipt = drill(cluster, tmp_path, name)

    assert receipt["lost"] > 0
    assert unknown_share(receipt) <= 0.05
    assert code == 0


def test_a_slow_request_survives_the_deletion_of_its_pod(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drill(cluster, tmp_path, "slow")

    assert code == 0, receipt["causes"]


@pytest.mark.full
def test_grace_period_1_cuts_a_request_in_flight(cluster: Cluster, tmp_path: Path) -> None:
    """As curl says it: (52) Empty reply from server."""
    code, receipt = drill(cluster, tmp_path, "grace-1")

    assert code == 0, receipt["causes"]
    assert unknown_share(receipt) <= 0.05


@pytest.mark.parametrize("name", [pytest.param("sigkill", marks=pytest.mark.full), "readiness-lies"])
def test_another_fault_shows_another_cause(cluster: Cluster, tmp_path: Path, name: str) -> None:
    code, receipt = drill(cluster, tmp_path, name)

    assert code == 0, receipt["causes"]
    assert "listener-closed-first" not in {row["cause"] for row in receipt["causes"][:1]}
    assert unknown_share(receipt) <= 0.05


def test_release_undo_and_scale_by_segue_lose_nothing(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drill(cluster, tmp_path, "cure")

    assert receipt["lost"] == 0, receipt["causes"]
    assert code == 0


@pytest.mark.full
@pytest.mark.parametrize("run", range(20))
def test_segue_loses_nothing_in_twenty_runs(cluster: Cluster, tmp_path: Path, run: int) -> None:
    code, receipt = drill(cluster, tmp_path, "cure", pods=10)

    assert receipt["lost"] == 0, f"run {run}: {receipt['causes']}\n{json.dumps(receipt['errors'][:3], indent=1)}"
    assert code == 0
