"""Settings of the embedded cluster: what can be set, what cannot be, and what differs from what runs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from segue.host.settings import ClusterSettings, as_json, checked, from_json, not_as_asked, with_assignments
from segue.host.state import must_run, named, read_running, state_dir, take_lock
from segue.model.errors import ClusterUnreachable, UsageError


def test_assignments_set_what_they_name() -> None:
    settings = with_assignments(ClusterSettings(), ["data_plane_delay_s=8", "node-name=n-2", "api_port=17000"])

    assert (settings.data_plane_delay_s, settings.node_name, settings.api_port) == (8.0, "n-2", 17000)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("foo=1", "not a setting"),
        ("min_sync_s", "not a setting"),
        ("image_maps=x", "not a setting"),
        ("min_sync_s=soon", "'soon' is not a number"),
        ("api_port=1.5", "'1.5' is not a whole number"),
        ("api_port=65536", "must be 1 to 65535"),
        ("min_sync_s=-1", "must be 0 to 3600 seconds"),
        ("kubelet_delay_s=nan", "must be 0 to 3600 seconds"),
        ("backoff_cap_s=inf", "must be 0 to 3600 seconds"),
        ("node_name=", "is no name of a node"),
        ("node_name=Node 1", "is no name of a node"),
        ("mode=moon", "must be auto, namespaces or loopback"),
    ],
)
def test_what_no_cluster_can_have_is_refused(assignment: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        with_assignments(ClusterSettings(), [assignment])


def test_settings_survive_their_json() -> None:
    settings = ClusterSettings(mode="loopback", image_maps=("a.yaml",), min_sync_s=0.5)

    assert from_json(as_json(settings)) == settings
    assert checked(settings) is settings


def test_a_default_counts_as_not_asked_for() -> None:
    assert not_as_asked(ClusterSettings(), ClusterSettings(data_plane_delay_s=8, mode="loopback")) == []


def test_what_runs_otherwise_than_asked_is_named() -> None:
    running = ClusterSettings(mode="namespaces")
    asked = ClusterSettings(mode="loopback", image_maps=("a.yaml",), min_sync_s=1.0)

    assert not_as_asked(asked, running) == [
        "mode is namespaces, asked for was loopback",
        "image_maps is none, asked for was a.yaml",
    ]
    assert not_as_asked(asked, replace(asked, node_name="other")) == []


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "Default", "-a", "pki", "receipts", "x" * 64])
def test_a_name_that_could_leave_its_place_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a cluster"):
        named(name)


def test_a_plain_name_is_a_directory_beside_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGUE_HOME", str(tmp_path))

    assert state_dir(named("second-1")) == tmp_path / "second-1"


def test_who_does_not_run_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachable, match="no embedded cluster second runs") as caught:
        must_run(tmp_path / "second")

    assert caught.value.remedy == "start one with: segue up --name second"


def test_a_stale_or_broken_file_counts_as_nobody(tmp_path: Path) -> None:
    gone = '{"pid": 1, "started": "0", "node_pid": 1, "mode": "loopback", "reason": "", "api": "", "node_ip": ""}'
    for text in ("", "{", gone):
        (tmp_path / "cluster.json").write_text(text)

        assert read_running(tmp_path) is None


def test_a_lock_is_held_once_and_goes_with_its_last_process(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from segue.host.state import take_lock\n"
        "assert take_lock(Path(sys.argv[1]), limit_s=0) is not None\n"
        "if os.fork(): os._exit(0)\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    child.wait(timeout=10)

    assert take_lock(tmp_path, limit_s=0) is None  # the parent is gone, its fork is not

    assert child.stdin is not None
    child.stdin.close()
    child.stdout.read()
    lock = take_lock(tmp_path, limit_s=5)

    assert lock is not None
    os.close(lock)
    child.stdout.close()
