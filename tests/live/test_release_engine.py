"""`segue release`, `undo`, `scale` and `abort` on a running cluster: killed, refused, stuck, and without a loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.conftest import BIN, Cluster, seed
from tests.waiting import wait_until

pytestmark = pytest.mark.live

DEPLOYMENT = seed().partition("---")[0]


def spec_of(cluster: Cluster) -> Obj:
    spec: Obj = cluster.get("deployment", "test")["spec"]
    return spec


def selector_of(cluster: Cluster) -> dict[str, str]:
    selector: dict[str, str] = cluster.get("service", "test")["spec"]["selector"]
    return selector


def memory_of(cluster: Cluster) -> Obj | None:
    text = cluster.get("deployment", "test")["metadata"].get("annotations", {}).get("segue.dev/release")
    return json.loads(text) if text else None


def versions_of(cluster: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in cluster.ready_pods()}


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def start_release(cluster: Cluster, file: str) -> subprocess.Popen[str]:
    argv = [str(BIN / "segue"), "release", "-f", file]
    return subprocess.Popen(argv, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def load_during(cluster: Cluster, records: Path, for_s: int) -> subprocess.Popen[str]:
    port = cluster.get("service", "test")["spec"]["ports"][0]["nodePort"]
    url = f"http://{cluster.running.node_ip}:{port}/fast"
    argv = [str(BIN / "segue"), "load", url, "--rate", "300", "--for", f"{for_s}s", "-o", "json"]
    return subprocess.Popen(argv, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def serving(cluster: Cluster, tmp_path: Path) -> Cluster:
    """Three seed pods that serve."""
    done = cluster.run("segue", "release", "-f", write(tmp_path / "v1.yaml", seed()))
    assert done.returncode == 0, done.stderr
    return cluster


def test_a_release_an_undo_and_a_scale_lose_nothing_and_leave_no_trace(serving: Cluster, tmp_path: Path) -> None:
    before, selector = spec_of(serving), selector_of(serving)
    file = write(tmp_path / "v2.yaml", seed(version="v0.2"))
    load = load_during(serving, tmp_path / "records", 28)
    released = serving.run("segue", "release", "-f", file)
    assert released.returncode == 0, released.stderr
    assert versions_of(serving) == {"v0.2"}
    undone = serving.run("segue", "undo", "test")
    assert undone.returncode == 0, undone.stderr
    scaled = serving.run("segue", "scale", "test", "1")
    assert scaled.returncode == 0, scaled.stderr
    said, _ = load.communicate(timeout=60)
    tally = json.loads(said)

    assert tally["lost"] == 0, tally
    assert versions_of(serving) == {"v0.1"}
    assert spec_of(serving) == {**before, "replicas": 1}
    assert selector_of(serving) == selector
    assert memory_of(serving) is None
    assert serving.get("leases")["items"] == []
    assert not [
        one["metadata"]["name"]
        for one in serving.get("replicasets")["items"]
        if any(key.startswith("segue.dev/") for key in one["metadata"].get("annotations", {}))
    ]


@pytest.mark.parametrize("moment", ["pinned", "detached", "switched"])
def test_a_killed_release_goes_on_with_the_same_command(serving: Cluster, tmp_path: Path, moment: str) -> None:
    file = write(tmp_path / "v2.yaml", seed(version="v0.2"))
    load = load_during(serving, tmp_path / "records", 25)
    process = start_release(serving, file)

    def reached() -> bool:
        memory = memory_of(serving)
        match moment:
            case "pinned":
                return "pod-template-hash" in selector_of(serving)
            case "detached":
                return bool(memory and memory["new_hash"])
            case _:
                return bool(memory and memory["serving"] == "new")

    wait_until(reached, limit_s=30, what=moment)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert len(serving.ready_pods()) >= 3
    again = serving.run("segue", "release", "-f", file)
    assert again.returncode == 0, again.stderr
    said, _ = load.communicate(timeout=60)
    tally = json.loads(said)

    assert tally["lost"] == 0, tally
    assert versions_of(serving) == {"v0.2"}
    assert "pod-template-hash" not in selector_of(serving)
    assert memory_of(serving) is None


def test_a_second_release_at_the_same_time_is_refused(serving: Cluster, tmp_path: Path) -> None:
    file = write(tmp_path / "v2.yaml", seed(version="v0.2"))
    process = start_release(serving, file)
    wait_until(lambda: memory_of(serving), limit_s=20, what="the first release")
    second = serving.run("segue", "release", "-f", file)
    process.communicate(timeout=60)

    assert second.returncode == 6, second.stderr
    assert "another segue drives" in second.stderr
    assert process.returncode == 0


def stuck_release(serving: Cluster, tmp_path: Path) -> None:
    """A release that has stopped: its pods never become Ready."""
    broken = seed(version="v0.9").replace("path: /health", "path: /nowhere")
    stuck = serving.run("segue", "release", "-f", write(tmp_path / "broken.yaml", broken), "--timeout", "3")
    assert stuck.returncode == 8, stuck.stderr
    assert "keep serving" in stuck.stderr
    assert len(serving.ready_pods()) == 3


def test_a_stopped_release_can_be_aborted(serving: Cluster, tmp_path: Path) -> None:
    stuck_release(serving, tmp_path)
    aborted = serving.run("segue", "abort", "test")

    assert aborted.returncode == 0, aborted.stderr
    assert versions_of(serving) == {"v0.1"}
    assert memory_of(serving) is None
    assert "pod-template-hash" not in selector_of(serving)


def test_a_repaired_manifest_takes_the_stopped_release_back_and_goes_on(serving: Cluster, tmp_path: Path) -> None:
    stuck_release(serving, tmp_path)
    file = write(tmp_path / "v2.yaml", seed(version="v0.2"))
    load = load_during(serving, tmp_path / "records", 14)
    repaired = serving.run("segue", "release", "-f", file)
    assert repaired.returncode == 0, repaired.stderr
    tally = json.loads(load.communicate(timeout=60)[0])

    assert versions_of(serving) == {"v0.2"}
    assert memory_of(serving) is None
    assert (tally["lost"], tally["ownFaults"]) == (0, 0), tally


def test_pods_that_never_become_ready_stop_the_release_and_say_why(serving: Cluster, tmp_path: Path) -> None:
    broken = seed(version="v0.2").replace("path: /health", "path: /nowhere", 1).replace("livenessProbe", "XX", 1)
    broken = broken.replace("XX", "startupProbe", 1)
    stuck = serving.run("segue", "release", "-f", write(tmp_path / "broken.yaml", broken), "--timeout", "4")

    assert stuck.returncode == 8, stuck.stderr
    assert "0 of 3 new pods are Ready" in stuck.stderr
    assert "keep serving" in stuck.stderr
    assert "404" in stuck.stderr
    assert versions_of(serving) == {"v0.1"}


@pytest.mark.parametrize(
    ("change", "says", "line"),
    [
        (("image:", "imagee:"), "unknown field", "imagee"),
        (("kind: Deployment", "kind: Deploymentt"), "knows no kind", "$.kind"),
        (("replicas: 3", "replicas: three"), "cannot unmarshal", "$.spec.replicas"),
        (("app/name: test", "app/name: other"), "immutable", "$.spec.selector"),
        (("replicas: 3", "replicas: 3\n  replicas: 4"), "twice", "$.spec.replicas"),
        (("  replicas: 3", " replicas: 3"), "not YAML", ".yaml:"),
    ],
)
def test_a_bad_manifest_is_named_with_its_line_and_changes_nothing(
    serving: Cluster, tmp_path: Path, change: tuple[str, str], says: str, line: str
) -> None:
    before = serving.get("deployment", "test")["metadata"]["generation"]
    file = write(tmp_path / "bad.yaml", DEPLOYMENT.replace(*change))
    done = serving.run("segue", "release", "-f", file)

    assert done.returncode == 3, done.stderr
    assert f"{file}:" in done.stderr
    assert says in done.stderr
    assert line in done.stderr
    assert serving.get("deployment", "test")["metadata"]["generation"] == before


def test_a_service_that_selects_nothing_is_refused(serving: Cluster, tmp_path: Path) -> None:
    text = seed(version="v0.2").replace("selector:\n    app/name: test", "selector:\n    app/name: nobody")
    done = serving.run("segue", "release", "-f", write(tmp_path / "bad.yaml", text))

    assert done.returncode == 3, done.stderr
    assert "selects nothing" in done.stderr
    assert versions_of(serving) == {"v0.1"}


def test_a_file_without_a_deployment_is_refused(serving: Cluster, tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
    done = serving.run("segue", "release", "-f", write(tmp_path / "bad.yaml", text))

    assert done.returncode == 3
    assert "no Deployment" in done.stderr


def test_no_kubeconfig_and_no_rights_are_told_apart(serving: Cluster, tmp_path: Path) -> None:
    file = write(tmp_path / "v2.yaml", seed(version="v0.2"))
    nowhere = serving.run("segue", "status", "--kubeconfig", str(tmp_path / "absent"))
    viewer = str(serving.state / "kubeconfig.viewer")
    forbidden = serving.run("segue", "release", "-f", file, "--kubeconfig", viewer)

    assert nowhere.returncode == 4
    assert forbidden.returncode == 5, forbidden.stderr
    assert versions_of(serving) == {"v0.1"}


def test_plan_status_and_history_tell_and_change_nothing(serving: Cluster, tmp_path: Path) -> None:
    file = write(tmp_path / "v2.yaml", seed(version="v0.2"))
    began_s = time.monotonic()
    plan = serving.run("segue", "plan", "-f", file, "-o", "json")
    status = serving.run("segue", "status", "test")
    history = serving.run("segue", "history", "test", "-o", "json")

    assert time.monotonic() - began_s < 10
    (told,) = json.loads(plan.stdout)
    assert (told["peakPods"], told["floorPods"], told["strategy"]) == (6, 3, "all-first")
    assert "3 of 3 Ready" in status.stdout
    assert [row["revision"] for row in json.loads(history.stdout)] == [1]
    assert versions_of(serving) == {"v0.1"}
