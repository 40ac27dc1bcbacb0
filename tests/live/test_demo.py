"""`segue demo` as a person meets it: it shows what it promises, in time, and nothing of it outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import ROOT
from tests.live.console import BIN
from tests.live.demo_world import Demo, descendants, leftovers, networks
from tests.waiting import wait_until

pytestmark = pytest.mark.live

LIMIT_S = 120.0  # of the whole demo, on two cores


def demo_in(place: Path, *argv: str) -> Demo:
    """Start the demo of this working tree."""
    words = [str(BIN / "segue"), "demo", "--reports", str(place / "reports"), *argv]
    return Demo(words, place=place, cwd=ROOT, env=os.environ)


@pytest.fixture
def begun() -> Iterator[list[Demo]]:
    """The demos of a test; none survives it."""
    demos: list[Demo] = []
    yield demos
    for demo in demos:
        demo.close()


PHASES = {
    "as it starts its cluster": ("", 0),
    "when the cluster is up": ("An embedded Kubernetes is up", 20),
    "while pods become ready": ("wait until 10 pods", 20),
}


def interrupt(demo: Demo, words: str, limit_s: float, times: int) -> None:
    """Ctrl-C once it has said these words: SIGINT to every process of the terminal's foreground group."""
    if words:
        demo.hear(words, limit_s)
    else:
        wait_until(lambda: any(demo.temporary.glob("segue-demo-*/demo/*")), what="the cluster's directory")
    family = descendants(demo.process.pid)
    spaces = networks(family)
    assert leftovers(demo, family, spaces)  # the look itself sees what is there
    for number in range(times):
        if number:
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.process.wait(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(demo.process.pid, signal.SIGINT)
    code = demo.end(20)

    assert (code, demo.said.splitlines()[-1]) == (130, "stopped")
    assert "Traceback" not in demo.said
    assert leftovers(demo, family, spaces) == []


@pytest.mark.parametrize("mode", ["namespaces", "loopback"])
@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_leaves_nothing(begun: list[Demo], tmp_path: Path, phase: str, mode: str) -> None:
    begun.append(demo_in(tmp_path, "--mode", mode, "--rate", "200"))
    interrupt(begun[0], *PHASES[phase], times=1)


def test_an_impatient_ctrl_c_leaves_nothing_either(begun: list[Demo], tmp_path: Path) -> None:
    """The second one comes while the first is being obeyed."""
    begun.append(demo_in(tmp_path, "--rate", "200"))
    interrupt(begun[0], "delete pod", 60, times=3)


@pytest.mark.full
@pytest.mark.parametrize("mode", ["namespaces", "loopback"])
@pytest.mark.parametrize("words", ["delete pod", "segue release", "segue undo", "segue scale"])
def test_ctrl_c_under_load_leaves_nothing(begun: list[Demo], tmp_path: Path, words: str, mode: str) -> None:
    begun.append(demo_in(tmp_path, "--mode", mode, "--rate", "200"))
    interrupt(begun[0], words, 110, times=1)


def test_a_killed_demo_takes_its_cluster_along(begun: list[Demo], tmp_path: Path) -> None:
    """SIGKILL lets nobody clear files away, but no process stays."""
    begun.append(demo_in(tmp_path, "--rate", "200"))
    demo = begun[0]
    demo.hear("delete pod", 60)
    family = descendants(demo.process.pid)
    spaces = networks(family)
    demo.process.kill()
    demo.end(20)

    def alive() -> list[str]:
        return [one for one in leftovers(demo, family, spaces) if not one.startswith("/")]

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not alive(), what="its processes to end")

    assert alive() == []


@pytest.mark.full
@pytest.mark.parametrize("mode", ["namespaces", "loopback"])
def test_the_whole_demo_shows_the_problem_and_the_cure_in_time(begun: list[Demo], tmp_path: Path, mode: str) -> None:
    begun.append(demo_in(tmp_path, "--mode", mode))
    demo = begun[0]
    demo.hear("An embedded Kubernetes is up", 20)
    family = descendants(demo.process.pid)
    demo.hear("segue release -f the next version", LIMIT_S)
    family |= descendants(demo.process.pid)
    spaces = networks(family)
    code = demo.end(LIMIT_S)
    took_s = time.monotonic() - demo.began_s

    assert code == 0, demo.said
    assert took_s < LIMIT_S
    assert "✗" in demo.said.partition("== 2.")[0]
    assert "no request was lost: 0 of" in demo.said.partition("== 2.")[2]
    assert [path.name for path in sorted((tmp_path / "reports").iterdir())] == [
        "demo-plain.html",
        "demo-plain.json",
        "demo-plain.record.gz",
        "demo-segue.html",
        "demo-segue.json",
        "demo-segue.record.gz",
    ]
    assert all(str(tmp_path / "reports" / name) in demo.said for name in ("demo-plain.html", "demo-segue.html"))
    assert leftovers(demo, family, spaces) == []


def test_a_demo_away_from_the_project_says_what_it_lacks(tmp_path: Path) -> None:
    """And has started nothing."""
    done = subprocess.run(
        [str(BIN / "segue"), "demo"], cwd=tmp_path, text=True, capture_output=True, timeout=20, check=False
    )

    assert done.returncode == 2
    assert "manifest" in done.stderr
    assert list(tmp_path.iterdir()) == []
