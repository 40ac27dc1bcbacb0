"""How many manifests `segue check` judges in a second on one core, start excluded: parsed, joined, all rules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from segue.check.gathering import Gathered, sets_of
from segue.check.rulebook import judge
from segue.check.settings import Settings

RUNS = 5
COPIES = 12
PAIRS = Path(__file__).parent.parent / "tests" / "golden" / "rules"


def figures() -> Iterator[Figure]:
    """The golden pairs' manifests, good and bad, each set in namespaces of its own."""
    texts = [path.read_text() for path in sorted(PAIRS.glob("*/*.yaml")) if path.stem in {"good", "bad"}]
    yield Figure(
        name="manifests_checked", values=[_rate(texts) for _ in range(RUNS)], unit="/s", goal=2000, at_most=False
    )


def _rate(texts: list[str]) -> float:
    objects, began_s = 0, time.process_time()
    gathered = Gathered()
    for copy in range(COPIES):
        for at, text in enumerate(texts):
            gathered.add(text, file=f"{copy}/{at}/web.yaml", namespace=f"n{copy}-{at}")
    for one in sets_of(gathered.sources)[0]:
        objects += judge(one, Settings()).objects
    return objects / (time.process_time() - began_s)
