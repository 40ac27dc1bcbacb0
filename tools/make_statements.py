"""Generate docs/reference/statements.md: what was confirmed on which cluster, by which test, with which figures.

The sentences stand in the test modules of tests/live/both (STATEMENTS, NOT_COVERED, DIFFERENCES); what runs found lies
in docs/reference/statements/CLUSTER.json.

Usage: python tools/make_statements.py          the page from what lies in docs
       python tools/make_statements.py --take   first take what the last runs found (reports/statements)
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "live" / "both"
TARGET = ROOT / "docs" / "reference" / "statements.md"
KEPT = TARGET.with_suffix("")
FOUND = ROOT / "reports" / "statements"
HEAD = """# What is confirmed, and where

<!-- made by tools/make_statements.py from the tests and from what their runs found -->

One suite runs on the embedded cluster (`make test`, `make test-full`) and on a real Kubernetes (`make test-real`). Each
line is a statement about Kubernetes, TCP or segue, how many tests confirm it, and what they measured. A test does not
know which cluster it was given.
"""
FAMILIES = {
    "T": "Deletion of a pod",
    "S": "Sidecars",
    "P": "Probes",
    "L": "Liveness restarts",
    "E": "Endpoints",
    "K": "kube-proxy",
    "N": "TCP at the moment of closing",
    "R": "ReplicaSets",
    "D": "Deployments",
    "W": "StatefulSets, DaemonSets, Jobs",
    "B": "Evictions, budgets, nodes",
    "M": "Measured before, measured again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One test on one cluster."""

    outcome: str
    states: list[str]
    measured: list[str]


@dataclass(slots=True, kw_only=True)
class Catalogue:
    """What the test modules say, by statement."""

    sentences: dict[str, str] = field(default_factory=dict)
    not_covered: dict[str, str] = field(default_factory=dict)
    differences: dict[str, str] = field(default_factory=dict)


def read_catalogue() -> Catalogue:
    """All modules' dicts in one; AssertionError where two modules say the same statement."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    made = Catalogue()
    for file in sorted(SUITE.rglob("test_*.py")):
        module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        pairs = (
            ("STATEMENTS", made.sentences),
            ("NOT_COVERED", made.not_covered),
            ("DIFFERENCES", made.differences),
        )
        for name, target in pairs:
            told: Mapping[str, str] = getattr(module, name, {})
            twice = target.keys() & told.keys()
            assert not twice, f"{file.name}: {name} of {sorted(twice)} stand in another module, too"
            target.update(told)
    return made


def read_results() -> dict[str, dict[str, Row]]:
    """Cluster to test to row, the embedded one first."""
    return {
        file.stem: {
            test: Row(outcome=row["outcome"], states=row["states"], measured=row["measured"])
            for test, row in json.loads(file.read_text()).items()
        }
        for file in sorted(KEPT.glob("*.json"), key=lambda file: (file.stem != "embedded", file.stem))
    }


def take() -> None:
    """What the last runs found becomes what the page tells."""
    KEPT.mkdir(exist_ok=True)
    for file in sorted(FOUND.glob("*.json")):
        rows = json.loads(file.read_text())
        short = {
            test.removeprefix("tests/live/both/"): {name: row[name] for name in ("outcome", "states", "measured")}
            for test, row in rows.items()
        }
        (KEPT / file.name).write_text(json.dumps(short, indent=1, sort_keys=True) + "\n")


def order(statement: str) -> tuple[str, int, str]:
    """T2 before T10."""
    found = re.match(r"([A-Za-z][A-Za-z ]*?)\s*(\d+)", statement)
    return (found[1], int(found[2]), statement) if found else (statement, 0, statement)


def page(catalogue: Catalogue, results: Mapping[str, Mapping[str, Row]]) -> str:
    """The whole page."""
    clusters = list(results)
    known = sorted({*catalogue.sentences, *catalogue.not_covered}, key=order)
    families: dict[str, list[str]] = {}
    for statement in known:
        found = re.match(r"[TSPLEKNRDWBM](?=\d+$)", statement)
        families.setdefault(FAMILIES[found[0]] if found else "More", []).append(statement)
    covered = [name for name in catalogue.sentences if any(_rows(name, rows) for rows in results.values())]
    lines = [HEAD, f"{len(covered)} statements have tests; {len(catalogue.not_covered)} have none, with the reason.\n"]
    for title in [*FAMILIES.values(), "More"]:
        if title in families:
            lines += [f"## {title}\n", f"| | statement | {' | '.join(clusters)} | measured |"]
            lines += ["|---" * (len(clusters) + 3) + "|"]
            lines += [_line(name, catalogue, results) for name in families[title]]
            lines += [""]
    if catalogue.differences:
        lines += ["## What differs between the clusters\n", "| | difference |", "|---|---|"]
        lines += [
            f"| {name} | {_cell(catalogue.differences[name])} |" for name in sorted(catalogue.differences, key=order)
        ]
        lines += [""]
    return "\n".join(lines)


def _line(name: str, catalogue: Catalogue, results: Mapping[str, Mapping[str, Row]]) -> str:
    cells = [_verdict(_rows(name, rows)) for rows in results.values()]
    sentence = catalogue.sentences.get(name, "")
    if reason := catalogue.not_covered.get(name):
        sentence = f"{sentence} *Not covered: {reason}*".strip()
    figures = [
        f"{cluster}: {', '.join(dict.fromkeys(text))}"
        for cluster, rows in results.items()
        if (text := [each for row in _rows(name, rows) for each in row.measured])
    ]
    return f"| {name} | {_cell(sentence)} | {' | '.join(cells)} | {_cell('; '.join(figures))} |"


def _rows(name: str, rows: Mapping[str, Row]) -> list[Row]:
    return [row for row in rows.values() if name in row.states]


def _verdict(rows: list[Row]) -> str:
    """How many tests confirm it; what failed is never hidden behind what passed."""
    if any(row.outcome == "failed" for row in rows):
        return "**refuted**"
    passed = sum(row.outcome == "passed" for row in rows)
    return f"yes ({passed})" if passed else "-"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    if sys.argv[1:] == ["--take"]:
        take()
    TARGET.write_text(page(read_catalogue(), read_results()))
