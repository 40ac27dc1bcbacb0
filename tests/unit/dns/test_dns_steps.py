"""What was measured of 20 ms of DNS, step by step, and the page that shows it."""

from __future__ import annotations

import json

from tools.make_dns_figures import STEPS_SOURCE, STEPS_TARGET, steps_page

from segue.model.objects import Obj

ROWS: dict[str, Obj] = {row["step"]: row for row in json.loads(STEPS_SOURCE.read_text())["steps"]}


def test_predicted_queries_were_those_captured() -> None:
    assert len(ROWS) >= 12
    assert {row["step"]: row["queries"] for row in ROWS.values()} == {
        row["step"]: row["predicted"] for row in ROWS.values()
    }
    assert not any(row["failed"] for row in ROWS.values())


def test_the_plan_brings_20_ms_below_one() -> None:
    before, plan = ROWS["as it is: CoreDNS with its cache"], ROWS["the plan: that, and ndots:1"]

    assert before["lookup_ms"]["p50"] >= 20
    assert plan["lookup_ms"]["p99"] < 1
    assert plan["request_ms"]["p99"] < 1
    assert ROWS["twice the replicas"]["lookup_ms"]["p50"] > 0.95 * before["lookup_ms"]["p50"]


def test_the_page_says_what_was_measured() -> None:
    assert STEPS_TARGET.read_text() == steps_page(), "python tools/make_dns_figures.py"
