"""Every command of README and docs is run, and prints what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.consoles import commands_of, matches

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
RUN = [page for page in PAGES if commands_of(page) and "<!-- real -->" not in page.read_text()]


def _marks(page: Path) -> list[pytest.MarkDecorator]:
    full = "<!-- full -->" in page.read_text()
    return [pytest.mark.live, pytest.mark.full] if full else [pytest.mark.live]


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


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=_marks(page)) for page in RUN], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_page_does_what_it_says(page: Path, shell_env: dict[str, str]) -> None:
    for command in commands_of(page):
        done = subprocess.run(
            ["bash", "-c", command.text],
            cwd=ROOT,
            env=shell_env,
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
