"""The law of CoreDNS' memory: what was measured leads to it, and it holds where it was not fitted."""

from __future__ import annotations

import json
import statistics

import pytest
from tools.make_dns_figures import SOURCE, TARGET, error, page

from segue.dns.memory import LAWS, Point, fitted
from segue.model.objects import Obj

ROWS: list[Obj] = json.loads(SOURCE.read_text())["points"]


@pytest.mark.parametrize(("what", "autopath"), list(LAWS))
def test_what_was_measured_leads_to_the_law(what: str, autopath: bool) -> None:
    rows = [row for row in ROWS if row["for"] == "fit" and row["autopath"] is autopath]
    points = [Point(services=row["services"], pods=row["pods"], mb=statistics.median(row[what])) for row in rows]

    assert fitted(points) == LAWS[what, autopath]


@pytest.mark.parametrize(("what", "most"), [("heap", 0.05), ("rss", 0.10)])
def test_the_law_holds_where_it_was_not_fitted(what: str, most: float) -> None:
    held = [row for row in ROWS if row["for"] == "held out"]

    assert len(held) >= 8
    assert all(len(row[what]) >= 5 for row in held)
    assert max(abs(error(row, what)) for row in held) <= most


def test_the_page_says_what_was_measured() -> None:
    assert TARGET.read_text() == page(), "python tools/make_dns_figures.py"
