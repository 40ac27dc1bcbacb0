"""Every rule has a golden pair and a page, and the three say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.make_rules import PAGES, PAIRS, TABLE, page, table, verdict_of

from segue.check.findings import Severity
from segue.check.gathering import Gathered
from segue.check.rulebook import RULES, judge
from segue.check.settings import Settings

WELL_MADE = Path(__file__).resolve().parents[2] / "golden" / "well-made.yaml"


@pytest.mark.parametrize("rule", RULES)
def test_the_bad_one_breaks_the_rule_at_its_full_severity(rule: str) -> None:
    found = [one for one in verdict_of(rule, "bad.yaml") if one.rule.id == rule]

    assert found
    assert {one.severity for one in found} == {RULES[rule].severity}
    assert all(one.line for one in found)


@pytest.mark.parametrize("rule", RULES)
def test_the_good_one_keeps_it_and_breaks_none_of_the_severe_ones(rule: str) -> None:
    found = verdict_of(rule, "good.yaml")

    assert [one.rule.id for one in found if one.rule.id == rule or one.severity is Severity.ERROR] == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_called_repaired_where_it_is(rule: str) -> None:
    found = [one for one in verdict_of(rule, "bad.yaml") if one.rule.id == rule]

    assert {one.is_repaired for one in found} == {RULES[rule].is_safe}
    assert all(one.is_repaired or one.fix.question or one.severity is not Severity.ERROR for one in found)


@pytest.mark.parametrize("rule", RULES)
def test_the_page_is_what_the_rule_says(rule: str) -> None:
    assert (PAGES / f"{rule}.md").read_text() == page(RULES[rule]), "python tools/make_rules.py"


def test_there_is_no_page_and_no_pair_without_a_rule() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(RULES)
    assert {path.name for path in PAIRS.iterdir()} == set(RULES)


def test_the_table_lists_the_rules() -> None:
    assert TABLE.read_text() == table(), "python tools/make_rules.py"


def test_a_well_made_set_is_left_alone() -> None:
    gathered = Gathered()
    gathered.add(WELL_MADE.read_text(), file="well-made.yaml")

    assert judge(gathered.sources, Settings()).findings == ()
