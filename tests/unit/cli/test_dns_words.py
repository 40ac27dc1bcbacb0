"""`segue dns explain` without a cluster: counts, reasons, what would save, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.cli.main import run
from segue.model.objects import Obj


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Obj:
    assert run(["dns", "explain", *words, "--offline", "-o", "json"]) == 0
    found: Obj = json.loads(capsys.readouterr().out)
    return found


def test_a_name_outside_costs_eight_queries_and_two_with_a_dot(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "api.example.com")

    assert found["queries_total"] == len(found["queries"]) == 8
    savings = {one["setting"]: (one["queries_total"], one["same_answer"]) for one in found["savings"]}
    assert savings["trailing dot"] == savings["autopath"] == savings["ndots:1"] == (2, True)
    assert savings["hostAliases"] == (0, True)
    assert "api.example.com" in found["assumed"][0]


def test_a_saving_that_changes_the_answer_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for libc, same in (("glibc", True), ("musl", False)):
        found = told(capsys, "pay.bank.svc", "--service", "pay.bank", "--libc", libc)

        assert (found["queries_total"], found["found_as"]) == (6, "pay.bank.svc.cluster.local")
        assert {one["setting"]: one["same_answer"] for one in found["savings"]}["ndots:2"] is same


@pytest.mark.parametrize(
    ("words", "total"),
    [
        (["web", "--service", "web.shop", "-n", "shop"], 2),
        (["web", "--service", "web.shop", "-n", "shop", "--family", "ipv4"], 1),
        (["api.example.com", "--node-search", "corp.example"], 10),
        (["api.example.com", "--ndots", "1"], 2),
        (["api.example.com", "--autopath", "--node-local"], 2),
        (["10.1.2.3"], 0),
        (["web.home.arpa", "--cluster-domain", "home.arpa"], 8),
    ],
)
def test_each_option_counts(words: list[str], total: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, *words)["queries_total"] == total


def test_a_resolv_conf_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a.example\noptions ndots:3\n")

    assert told(capsys, "api.example.com", "--resolv-conf", str(file), "--libc", "musl")["queries_total"] == 8


def test_the_table_shows_every_query_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    run(["dns", "explain", "api.example.com", "--offline"])

    out = capsys.readouterr().out
    assert out.startswith("api.example.com by glibc: 8 queries, found as api.example.com\n")
    assert out.count("search domain") == 6


@pytest.mark.parametrize(
    "words",
    [["a", "--ndots", "16"], ["a", "--service", "web"], ["a", "--pod", "p"], ["a", "--resolv-conf", "/no/such"]],
)
def test_what_cannot_be_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "explain", *words, "--offline"]) != 0
    assert "error" in capsys.readouterr().err
