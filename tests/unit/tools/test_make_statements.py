"""The table of statements: complete, equal to what it is made from, and honest about failures."""

from __future__ import annotations

import re

import pytest
from tools.make_statements import SUITE, TARGET, Catalogue, Row, order, page, read_catalogue, read_results

ALWAYS = {
    "T": range(1, 19),
    "P": range(1, 9),
    "L": range(1, 8),
    "E": range(1, 7),
    "K": range(1, 8),
    "R": range(1, 6),
    "D": range(1, 18),
    "M": range(5, 16),
}


def row(outcome: str, *states: str) -> Row:
    return Row(outcome=outcome, states=list(states), measured=["delay 1 s"])


def test_the_page_is_what_the_tests_and_their_results_say() -> None:
    assert TARGET.read_text() == page(read_catalogue(), read_results()), "make statements"


@pytest.mark.parametrize("statement", [f"{family}{number}" for family in ALWAYS for number in ALWAYS[family]])
def test_every_statement_that_matters_is_covered_or_says_why_not(statement: str) -> None:
    catalogue = read_catalogue()

    assert statement in catalogue.sentences or statement in catalogue.not_covered


def test_at_least_eighty_statements_have_tests() -> None:
    known = read_catalogue().sentences

    assert len([name for name in known if re.fullmatch(r"[A-Z]+\d+", name)]) >= 80


def test_every_statement_that_a_module_tells_has_a_test_there() -> None:
    named = re.compile(r"mark\.states\(([^)]*)\)")
    told = {
        name
        for file in SUITE.rglob("test_*.py")
        for group in named.findall(file.read_text())
        for name in re.findall(r'"([^"]+)"', group)
    }
    catalogue = read_catalogue()

    assert catalogue.sentences.keys() <= told, "a sentence without a test"
    assert told <= catalogue.sentences.keys(), "a test of a statement that nobody words"


def test_one_failure_refutes_whatever_else_passed() -> None:
    known = Catalogue(sentences={"T1": "so it is"})
    text = page(
        known, {"embedded": {"a": row("passed", "T1"), "b": row("failed", "T1")}, "real": {"a": row("passed", "T1")}}
    )

    assert "| T1 | so it is | **refuted** | yes (1) |" in text


def test_a_statement_that_did_not_run_is_not_confirmed() -> None:
    text = page(Catalogue(sentences={"T1": "so it is"}), {"embedded": {"a": row("skipped", "T1")}})

    assert "| T1 | so it is | - |" in text


def test_statements_stand_in_their_order() -> None:
    assert sorted(["T10", "T2", "segue undo", "K1"], key=order) == ["K1", "T2", "T10", "segue undo"]
