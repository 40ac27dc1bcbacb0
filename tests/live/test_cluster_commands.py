"""`segue up`, `down`, `kubeconfig`, `cluster status`: as programs, on terminals, side by side, and after a crash."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from segue.host import embedded
from segue.host.starting import start_time
from segue.model.objects import Obj
from tests.live.conftest import ROOT
from tests.live.console import BIN
from tests.waiting import wait_until

pytestmark = pytest.mark.live

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FIELDS = {"api", "kubeconfig", "mode", "reason", "nodeIP", "pid", "state", "residentMB"}


class Home:
    """A $SEGUE_HOME of its own; every cluster in it is stopped at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {**os.environ, "SEGUE_HOME": str(path), "NO_COLOR": "1"}
        self.env.pop("KUBECONFIG", None)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "segue"), *words],
            env={**self.env, **env},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def told(self, *words: str) -> Obj:
        done = self.run(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        told: Obj = json.loads(done.stdout)
        return told


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    if made.path.exists():
        for state in made.path.iterdir():
            embedded.stop(state)


def on_a_terminal(home: Home, *words: str, columns: int = 60, no_color: str = "") -> str:
    """What a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    env = {**home.env, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color", "NO_COLOR": no_color}
    process = subprocess.Popen(
        [str(BIN / "segue"), *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    said = b""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        try:
            if select.select([ours], [], [], 0.1)[0]:
                said += os.read(ours, 65536)
            elif process.poll() is not None:
                break
        except OSError:
            break
    process.wait(timeout=10)
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def test_a_cluster_is_told_to_people_and_to_machines_alike(home: Home) -> None:
    assert home.run("cluster", "status").returncode == 4
    up = home.told("up")
    status = home.told("cluster", "status")
    as_yaml = yaml.safe_load(home.run("cluster", "status", "-o", "yaml").stdout)
    for_people = home.run("cluster", "status").stdout

    assert set(up) == set(status) == set(as_yaml) == FIELDS
    assert {key: up[key] for key in ("api", "pid", "state")} == {key: status[key] for key in ("api", "pid", "state")}
    assert 0 < status["residentMB"] < 100
    for key in FIELDS:
        assert re.search(rf"^{key}: +\S", for_people, re.MULTILINE)


def test_up_says_what_to_export_and_nothing_else_on_stdout(home: Home) -> None:
    up = home.run("up")
    path = home.run("kubeconfig")
    raw = home.run("kubeconfig", "--raw")

    assert up.stdout == f"export KUBECONFIG={path.stdout}"
    assert Path(path.stdout.strip()).read_text().strip() == raw.stdout.strip()
    assert Path(path.stdout.strip()).stat().st_mode & 0o077 == 0


def test_objects_stay_over_down_and_go_with_fresh_or_purge(home: Home) -> None:
    def kubectl(*words: str) -> int:
        env = {**home.env, "KUBECONFIG": str(home.path / "default" / "kubeconfig")}
        return subprocess.run([str(BIN / "kubectl"), *words], env=env, capture_output=True, check=False).returncode

    home.run("up")
    assert kubectl("create", "configmap", "kept") == 0
    assert (home.run("down").returncode, home.run("down").stderr) == (0, "was not running\n")
    home.run("up")
    assert kubectl("get", "configmap", "kept") == 0
    home.run("down")
    home.run("up", "--fresh")
    assert kubectl("get", "configmap", "kept") == 1
    home.run("down", "--purge")

    assert not (home.path / "default").exists()


def test_two_clusters_live_side_by_side(home: Home) -> None:
    first, second = home.told("up"), home.told("up", "--name", "second")
    home.run("down", "--name", "second")

    assert first["api"] != second["api"]
    assert home.told("cluster", "status")["pid"] == first["pid"]
    assert home.run("cluster", "status", "--name", "second").returncode == 4


def test_what_a_crash_left_does_not_stand_in_the_way(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # the usual one another cluster may take in between
    before = home.told("up", "--port", str(port))
    os.kill(before["pid"], signal.SIGKILL)
    after = home.told("up")

    assert after["pid"] != before["pid"]
    assert after["api"] == before["api"]  # so that a release that waits for its API server finds it again
    assert home.told("cluster", "status")["pid"] == after["pid"]


def test_a_cluster_can_be_made_to_end_with_its_starter(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from segue.host import embedded\n"
        "from segue.host.settings import ClusterSettings\n"
        "running = embedded.start(Path(sys.argv[1]), ClusterSettings(), with_me=True)\n"
        "print(running.pid, flush=True); sys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "default")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    began = start_time(pid)
    assert began
    starter.kill()
    starter.wait()

    wait_until(lambda: start_time(pid) != began, limit_s=10, what="the cluster's end")
    assert starter.stdin is not None
    starter.stdin.close()
    starter.stdout.close()


def test_help_and_errors_fit_a_narrow_terminal(home: Home) -> None:
    shown = on_a_terminal(home, "help", "release", columns=60)
    error = on_a_terminal(home, "up", "--set", "nothing=1", columns=60)

    for line in ESCAPE.sub("", shown + error).splitlines():
        assert len(line) <= 60 or line.startswith("  segue "), line  # an example is never broken
    assert "\x1b[31merror:\x1b[0m" in error
    assert "kubelet_delay_s" in error  # not broken within a name


@pytest.mark.parametrize("words", [["help", "release"], ["up", "--set", "nothing=1"], ["relase"], []])
def test_who_wants_no_colours_gets_no_escapes_even_on_a_terminal(home: Home, words: list[str]) -> None:
    assert "\x1b[3" not in on_a_terminal(home, *words, no_color="1")


def test_a_pipe_gets_no_escapes(home: Home) -> None:
    for words in (["help"], ["up", "--help"], ["relase"], ["status"]):
        done = home.run(*words, NO_COLOR="")

        assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_leaves_early_is_no_fault(home: Home) -> None:
    shell = f"set -o pipefail; {BIN / 'segue'} help drill | head -1"
    done = subprocess.run(["bash", "-c", shell], env=home.env, text=True, capture_output=True, check=False)

    assert done.stdout.startswith("Usage: segue drill")
    assert done.stderr == ""


def test_results_that_do_not_fit_are_told(home: Home) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{BIN / 'segue'} help > /dev/full"], env=home.env, text=True, capture_output=True, check=False
    )

    assert done.returncode == 10
    assert done.stderr.startswith("error: No space left on device")


def test_sigterm_ends_a_load_in_order(home: Home) -> None:
    argv = [str(BIN / "segue"), "load", "http://127.0.0.1:1/", "--for", "60", "--rate", "20", "-o", "json"]
    process = subprocess.Popen(argv, env=home.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    wait_until(lambda: children_of(process.pid), what="the load's own process")
    children = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)

    assert process.returncode in (9, 143)
    wait_until(lambda: not any(start_time(pid) for pid in children), what="the end of the load")


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []
