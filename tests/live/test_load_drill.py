"""Drills on the embedded cluster, whole: command line, load, causes, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.conftest import Cluster, seed

pytestmark = pytest.mark.live


def drilled(cluster: Cluster, place: Path, *argv: str) -> tuple[int, Obj]:
    """Run a drill on three quick pods; exit code and receipt."""
    manifest = place / "app.yaml"
    manifest.write_text(seed(3))
    (place / "app-v2.yaml").write_text(seed(3, version="v0.2"))
    report = place / "report.html"
    done = cluster.run("segue", "drill", *argv, "-f", str(manifest), "--report", str(report), "-o", "json", limit_s=150)
    assert report.is_file(), done.stderr
    receipt: Obj = json.loads(done.stdout)
    assert json.loads(report.with_suffix(".json").read_text()) == receipt
    return done.returncode, receipt


def causes(receipt: Obj) -> dict[str, int]:
    return {row["cause"]: row["count"] for row in receipt["causes"]}


def test_deletions_lose_requests_and_each_loss_has_its_cause(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drilled(cluster, tmp_path, "delete", "--for", "8s", "--deletes", "3")

    assert code == 0
    assert receipt["lost"] >= 1
    assert receipt["unknownShare"] <= 0.05
    assert "listener-closed-first" in causes(receipt)


def test_without_deletions_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drilled(cluster, tmp_path, "baseline", "--for", "4s")

    assert code == 0
    assert (receipt["sent"], receipt["lost"], receipt["ownFaults"]) == (4000, 0, 0)


def test_a_readiness_that_lies_shows_its_own_cause(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drilled(cluster, tmp_path, "readiness-lies", "--rate", "300", "--for", "4s")

    assert code == 0
    assert causes(receipt)["ready-before-listening"] > 10
    assert receipt["unknownShare"] <= 0.05


def test_one_second_of_grace_cuts_slow_requests(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drilled(cluster, tmp_path, "grace-1", "--for", "6s", "--deletes", "1")
    cut = [row for row in receipt["errors"] if row["cause"] == "killed"]

    assert code == 0
    assert {row["outcome"] for row in cut} == {"empty-answer"}
    assert all("exit code 137" in row["sentence"] for row in cut)


@pytest.mark.full
def test_a_slow_request_survives_its_pods_deletion(cluster: Cluster, tmp_path: Path) -> None:
    code, receipt = drilled(cluster, tmp_path, "slow")

    assert (code, receipt["lost"]) == (0, 0)
    assert receipt["sent"] >= 5
    assert len(receipt["pods"]) == 1


def test_without_a_cluster_a_drill_says_how_to_start_one(cluster: Cluster, tmp_path: Path) -> None:
    manifest = tmp_path / "app.yaml"
    manifest.write_text(seed(1))
    done = cluster.run("segue", "drill", "delete", "--cluster", "another", "-f", str(manifest))

    assert done.returncode == 4
    assert "segue up" in done.stderr


def test_pods_that_take_their_whole_grace_hold_no_drill_up(cluster: Cluster, tmp_path: Path) -> None:
    """A stop signal in a process's first milliseconds meets no handler: the pod leaves when its grace is over (X6)."""
    stubborn = seed(2).replace(
        "image: host.org/images/grace:v0.1",
        "image: host.org/images/grace:v0.1\n          env: [{name: IGNORE_TERM, value: '1'}]",
    )
    cluster.kubectl("apply", "-f", "-", stdin=stubborn)
    cluster.wait_ready(2)

    code, receipt = drilled(cluster, tmp_path, "baseline", "--rate", "300", "--for", "2s")

    assert len([pod for pod in cluster.get("pods")["items"] if "deletionTimestamp" in pod["metadata"]]) == 2
    assert (code, receipt["lost"]) == (0, 0)
