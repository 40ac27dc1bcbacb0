"""What lookups cost, by a table that was written by hand (tests/lookup_cases.py)."""

from __future__ import annotations

import pytest

from segue.dns.lookup import lookup
from tests.lookup_cases import Case, cases


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.label)
def test_a_lookup_costs_what_the_table_says(case: Case) -> None:
    found = lookup(case.question, case.resolver, case.world)

    assert case.queries_total == len(found.queries)
    assert case.outcome is found.outcome
    assert case.found_as == found.found_as


def test_the_table_has_sixty_cases_or_more_and_none_twice() -> None:
    labels = [case.label for case in cases()]

    assert len(labels) >= 60
    assert len(labels) == len(set(labels))
