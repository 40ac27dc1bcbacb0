"""What holds for all tests: Hypothesis tells the same stories each time, so that a red run means a change.

`make test-full` sets SEGUE_STORIES=random and looks for new ones; what it finds becomes a pinned test.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from segue.model.objects import Obj

# No deadline: how long an example takes says more about the machine's other work than about the example
settings.register_profile("pinned", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("SEGUE_STORIES", "pinned"))

# Whoever starts the tests in the background may have Ctrl-C ignored, and children inherit that: the tests that press it
# would press it in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a real Kubernetes runs only where one was asked for (make test-real). Live tests of one file share a
    cluster, so one process runs them; all others may go to whoever is free: each process of tests/live/both has one."""
    for item in items:
        path = item.path.relative_to(item.config.rootpath).as_posix()
        if item.get_closest_marker("live") and not item.get_closest_marker("own") and "/both/" not in path:
            item.add_marker(pytest.mark.xdist_group(path))
    if os.environ.get("SEGUE_CLUSTER") != "real":
        for item in items:
            if item.get_closest_marker("real"):
                item.add_marker(pytest.mark.skip(reason="needs a real Kubernetes: make test-real"))


# -- what the tests of statements found, for the table in the docs (tools/make_statements.py) --------------------------

_FOUND = pytest.StashKey[dict[str, Obj]]()
RESULTS = Path(__file__).resolve().parents[1] / "reports" / "statements"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Which statements a test is about travels with its report, also from another process."""
    states = sorted({str(name) for marker in item.iter_markers("states") for name in marker.args})
    if states and not any(name == "states" for name, _ in item.user_properties):
        item.user_properties.append(("states", states))
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """The process that hears all reports keeps them."""
    config.stash[_FOUND] = {}
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(config.stash[_FOUND]), "statement-results")


class _Collector:
    def __init__(self, found: dict[str, Obj]) -> None:
        self._found = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test; the worst of them counts."""
        told: dict[str, list[object]] = {}
        for name, value in report.user_properties:
            told.setdefault(name, []).append(value)
        if "states" not in told or "cluster" not in told:
            return
        row = self._found.setdefault(report.nodeid, {"outcome": "passed"})
        row |= {"states": told["states"][0], "cluster": told["cluster"][0], "measured": told.get("measured", [])}
        if not report.passed:
            row["outcome"] = report.outcome

    def pytest_sessionfinish(self) -> None:
        """Add to what earlier runs found: a part of the suite may be run alone."""
        for cluster in {row["cluster"] for row in self._found.values()}:
            file = RESULTS / f"{cluster}.json"
            RESULTS.mkdir(parents=True, exist_ok=True)
            known: dict[str, Obj] = json.loads(file.read_text()) if file.exists() else {}
            known |= {test: row for test, row in self._found.items() if row["cluster"] == cluster}
            file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
