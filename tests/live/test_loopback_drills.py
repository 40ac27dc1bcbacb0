"""Loopback mode under the seed's load: it carries 1,000 new connections per second, and knows why some are lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.host import embedded
from segue.host.settings import ClusterSettings
from segue.model.objects import Obj
from tests.live.conftest import SEED, Cluster, seed, start_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Cluster]:
    started = start_cluster(tmp_path / "default", ClusterSettings(mode="loopback"))
    yield started
    embedded.stop(started.state)


def drilled(cluster: Cluster, *argv: str, manifest: Path = SEED / "second-option.yaml") -> tuple[int, Obj]:
    """Exit code and receipt of a drill."""
    report = cluster.state / "report.html"
    done = cluster.run("segue", "drill", *argv, "-f", str(manifest), "--report", str(report), "-o", "json", limit_s=150)
    assert done.stdout, done.stderr
    receipt: Obj = json.loads(done.stdout)
    return done.returncode, receipt


def processes_of(cluster: Cluster, word: str) -> list[int]:
    """Processes below the cluster's own whose command line has this word."""
    found, parents = [], {cluster.running.pid}
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        except (OSError, IndexError):
            continue
        if parent in parents:
            parents.add(pid)
            if word in argv:
                found.append(pid)
    return found


@pytest.mark.full
def test_ten_pods_carry_a_thousand_connections_per_second(loopback: Cluster) -> None:
    """Nothing is deleted, nothing is lost, no probe starves."""
    code, receipt = drilled(loopback, "baseline", "--rate", "1000", "--for", "8s")
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in loopback.ready_pods()]

    assert (code, receipt["sent"], receipt["lost"]) == (0, 8000, 0)
    assert restarts == [0] * 10


def test_deletions_lose_requests_and_each_loss_has_its_cause(loopback: Cluster) -> None:
    code, receipt = drilled(loopback, "delete", "--rate", "1000", "--for", "10s", "--deletes", "4")
    kinds = {row["cause"] for row in receipt["causes"]}

    assert code == 0
    assert receipt["lost"] >= 5
    assert receipt["unknownShare"] <= 0.05
    assert kinds & {"listener-closed-first", "address-gone"}
    assert not kinds & {"crashed", "killed", "liveness-kill", "overload"}


@pytest.mark.full
def test_another_fault_has_another_cause(loopback: Cluster, tmp_path: Path) -> None:
    """One second of grace: the pods are killed with requests under way."""
    manifest = tmp_path / "app.yaml"
    manifest.write_text(seed(3))
    code, receipt = drilled(loopback, "grace-1", "--rate", "300", "--for", "6s", "--deletes", "1", manifest=manifest)
    cut = [row for row in receipt["errors"] if row["cause"] == "killed"]

    assert code == 0
    assert {row["outcome"] for row in cut} == {"empty-answer"}
    assert receipt["unknownShare"] <= 0.05


def test_a_killed_splicer_is_started_again_and_serves(loopback: Cluster, tmp_path: Path) -> None:
    """SIGKILL of any process of the cluster: its connections are cut, the Service comes back by itself."""
    manifest = tmp_path / "app.yaml"
    manifest.write_text(seed(2))
    loopback.kubectl("apply", "-f", str(manifest))
    loopback.wait_ready(2)
    drilled(loopback, "baseline", "--rate", "100", "--for", "1s", manifest=manifest)
    (splicer,) = processes_of(loopback, "import splicer")
    os.kill(splicer, signal.SIGKILL)
    wait_until(lambda: processes_of(loopback, "import splicer") not in ([splicer], []), what="another splicer")
    code, receipt = drilled(loopback, "baseline", "--rate", "100", "--for", "1s", manifest=manifest)

    assert (code, receipt["sent"], receipt["lost"]) == (0, 100, 0)


def test_nothing_of_the_cluster_outlives_it(tmp_path: Path) -> None:
    started = start_cluster(tmp_path / "default", ClusterSettings(mode="loopback"))
    splicers = processes_of(started, "import splicer")
    os.kill(started.running.pid, signal.SIGKILL)

    assert len(splicers) == 1
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in splicers), what="the splicer to end")
