"""Every command of README and docs is run, and prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.layout import bed
from tests.docs.consoles import commands_of, matches

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
RUN = [page for page in PAGES if commands_of(page)]
REAL = "<!-- real -->"


def _marks(page: Path) -> list[pytest.MarkDecorator]:
    text = page.read_text()
    marks = {REAL: pytest.mark.real, "<!-- full -->": pytest.mark.full}
    return [pytest.mark.live, pytest.mark.own, *(mark for words, mark in marks.items() if words in text)]


@pytest.fixture
def shell_env(tmp_path: Path) -> Iterator[dict[str, str]]:
    env = {
        **os.environ,
        "SEGUE_HOME": str(tmp_path / "segue"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(tmp_path / "segue" / "default" / "kubeconfig"),
        "TMPDIR": str(tmp_path),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }
    yield env
    subprocess.run(["segue", "down"], env=env, capture_output=True, check=False)


@pytest.fixture
def page_env(page: Path, shell_env: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The shell's environment; for a page about a real cluster it means the test bed."""
    if REAL not in page.read_text():
        yield shell_env
        return
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(bed().kubeconfig, kubeconfig)
    env = {**shell_env, "KUBECONFIG": str(kubeconfig), "SEGUE_TESTBED_STATE": str(tmp_path / "bed")}
    made = re.findall(r"(?m)^\$ kubectl create namespace (\S+)$", page.read_text())
    if made:  # what an earlier run left behind
        subprocess.run(["kubectl", "delete", "namespace", "--ignore-not-found", *made], env=env, check=True)
    yield env
    if made:
        argv = ["kubectl", "delete", "namespace", "--wait=false", "--ignore-not-found", *made]
        subprocess.run(argv, env=env, check=True)
    else:
        subprocess.run([sys.executable, "-m", "testbed", "down"], cwd=ROOT, env=env, capture_output=True, check=False)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=_marks(page)) for page in RUN], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_page_does_what_it_says(page: Path, page_env: dict[str, str]) -> None:
    for command in commands_of(page):
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=ROOT,
            env=page_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )

        said = command.expected
        story = (
            f"{page.relative_to(ROOT)}:{command.line} $ {command.text}\nexit {done.returncode}, printed:\n{done.stdout}"
        )
        if said is None:
            assert done.returncode == 0, story
        else:
            assert matches(said, done.stdout), f"{story}\nthe page says:\n" + "\n".join(said)


def test_the_matcher_knows_a_wrong_output() -> None:
    assert matches(("a ... c", "...", "end"), "a b c\nx\ny\nend\n")
    assert not matches(("a ... c",), "a b d\n")
    assert not matches((), "something\n")
