"""The equivalence test of a share: proved within the margin, never without requests, rarely where it is off."""

from __future__ import annotations

import random

import pytest

from segue.analysis.share import needed, prove, usual_margin


def test_without_requests_nothing_is_proved() -> None:
    for share in (0.01, 0.5, 1.0):
        proof = prove(stable=0, canary=0, share=share, margin=0.05)
        assert proof.kind == "open"
        assert proof.said == "no request has been counted"


def test_a_first_answer_of_the_new_version_is_needed() -> None:
    assert prove(stable=100_000, canary=0, share=0.01, margin=0.02).kind == "open"


@pytest.mark.parametrize("share", [0.005, 0.01, 0.05, 0.25, 0.5, 1.0])
def test_the_requests_a_plan_names_prove_an_exact_share(share: float) -> None:
    margin = usual_margin(share)
    count = needed(share, margin)
    canary = round(count * share)
    assert prove(stable=count - canary, canary=canary, share=share, margin=margin).kind == "proved"
    fewer = count * 3 // 4
    canary = round(fewer * share)
    assert prove(stable=fewer - canary, canary=canary, share=share, margin=margin).kind == "open"


def test_another_share_is_found_out() -> None:
    assert prove(stable=9000, canary=1000, share=0.01, margin=0.005).kind == "off"
    assert prove(stable=900, canary=100, share=1.0, margin=0.05).kind == "off"


def test_a_share_at_the_edge_of_the_margin_is_rarely_called_proved_however_often_one_looks() -> None:
    chance = random.Random(7)
    wrong = 0
    for _ in range(100):
        stable = canary = 0
        for _ in range(40):
            hits = sum(chance.random() < 0.10 for _ in range(100))
            stable, canary = stable + 100 - hits, canary + hits
            if prove(stable=stable, canary=canary, share=0.05, margin=0.05).kind == "proved":
                wrong += 1
                break
    assert wrong <= 10, "5 % of the runs are allowed on this side"
