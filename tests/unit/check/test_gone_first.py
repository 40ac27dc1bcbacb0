"""Why old pods were gone before new ones served: the causes that findings give, and the words for them."""

from __future__ import annotations

import pytest
from tools.make_rules import verdict_of

from segue.check.diagnosis import CAUSES, gone_first, gone_first_lines
from segue.check.formats import as_json, as_sarif
from segue.check.settings import problems_of, settings_of


@pytest.mark.parametrize("rule", CAUSES)
def test_the_bad_manifest_of_each_cause_is_diagnosed_and_its_repair_is_not(rule: str) -> None:
    bad, good = (
        [one.finding.rule.id for one in gone_first(verdict_of(rule, f"{name}.yaml"))] for name in ("bad", "good")
    )

    assert rule in bad
    assert rule not in good


def test_what_deletes_everything_comes_first_and_what_may_be_last() -> None:
    findings = [*verdict_of("ZD210", "bad.yaml"), *verdict_of("ZD301", "bad.yaml"), *verdict_of("ZD307", "bad.yaml")]

    causes = gone_first(findings)
    lines = list(gone_first_lines(causes))

    assert [one.finding.rule.id for one in causes] == ["ZD307", "ZD301", "ZD210"]
    assert [one.is_certain for one in causes] == [True, True, False]
    assert lines[1].startswith("  ZD307 Deployment web: it is no longer")
    assert lines[3].startswith("  ZD210 Deployment web: perhaps readiness asks")
    assert [one["rule"] for one in as_json(findings, [], [], 1)["gone_first"]] == ["ZD307", "ZD301", "ZD210"]


@pytest.mark.parametrize("rule", ["ZD101", "ZD102", "ZD105", "ZD404", "ZD601"])
def test_what_ends_no_pod_too_early_is_no_cause(rule: str) -> None:
    assert gone_first(verdict_of(rule, "bad.yaml")) == []


def test_nothing_is_said_where_nothing_is_certain() -> None:
    assert list(gone_first_lines(gone_first(verdict_of("ZD210", "bad.yaml")))) == []


def test_sarif_links_pages_where_somebody_serves_them() -> None:
    settings = settings_of({"pagesUrl": "https://docs.test/rules/"})
    rules = as_sarif([], [], [], "1", settings.pages)["runs"][0]["tool"]["driver"]["rules"]

    assert rules[0]["helpUri"] == "https://docs.test/rules/ZD101.md"
    assert "helpUri" not in as_sarif([], [], [], "1")["runs"][0]["tool"]["driver"]["rules"][0]
    assert [key for key, _ in problems_of({"pagesUrl": "docs"}, frozenset())] == ["pagesUrl"]
