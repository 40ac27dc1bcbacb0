"""The house rules that a machine can hold: sizes, purity that imports do not show, words that do not belong here."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "segue"
PURE = (
    "model",
    "lifecycle",
    "dns",
    "route",
    "drain",
    "analysis",
    "check",
    "release",
    "drive",
    "load",
    "cluster",
    "proof",
    "report",
    "drill",
)
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
CLOCK_READ = re.compile(r"\b(datetime\.now|datetime\.utcnow|date\.today|time\.time|time\.monotonic|perf_counter)\b")
FOREIGN_WORDS = re.compile(
    "|".join(
        [
            r"/(?:work|root)/[a-z]",  # a path of one machine
            "py" + r"pi\.org",
            "python" + "hosted",
            r"proxy\.gol" + "ang",
            "registry\\.np" + "mjs",
            r"\bChat" + "GPT|\\bClau" + "de\\b",
        ]
    )
)


def modules() -> list[Path]:
    return sorted([*SOURCE.rglob("*.py"), *(ROOT / "testbed").rglob("*.py"), *(ROOT / "tools").glob("*.py")])


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)

    assert ast.get_docstring(tree), f"{path}: say in a docstring what this module is for"
    assert len(text.splitlines()) <= MODULE_LINES_MAX, f"{path}: split it by noun"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{path}:{node.lineno} {node.name} has {(node.end_lineno or node.lineno) - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert not long


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_reads_no_clock(room: str) -> None:
    reads = [
        f"{path}:{number}: {line.strip()}"
        for path in sorted((SOURCE / room).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if CLOCK_READ.search(line)
    ]

    assert not reads, "time is an argument: take now_s"


def test_the_project_speaks_of_itself_alone() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix in {".png", ".lock"} or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if FOREIGN_WORDS.search(line):
                found.append(f"{name}:{number}: {line.strip()[:80]}")

    assert not found


def test_tests_do_not_sleep() -> None:
    sleeping = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\btime\." + r"sleep\(", line)
    ]

    assert not sleeping, "wait for a condition (tests/waiting.py) or make time an argument"


def test_no_two_test_modules_have_one_name() -> None:
    """There are no packages around them, so pytest knows a module by its name alone."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))

    assert [name for name, count in names.items() if count > 1] == []
