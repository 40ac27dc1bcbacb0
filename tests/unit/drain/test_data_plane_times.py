"""P from what callers heard: never too short, and not believed before chance is ruled out."""

from __future__ import annotations

import random

import pytest

from segue.drain.propagation import IN_A_ROW, Found, Heard, clock_of, gone_s, propagation_s, spread, summary, there_s

EVERY_S = 0.05


def heard(rows: list[tuple[float, str]], *, ahead_s: float = 0.0, rtt_s: float = 0.0) -> Heard:
    """A caller whose clock is ahead of ours, asked once at 0."""
    made = Heard(node="n1")
    told = {"now": ahead_s + rtt_s / 2, "next": len(rows), "rows": [[at_s + ahead_s, who] for at_s, who in rows]}
    made.take(told, 0.0, rtt_s)
    return made


def world(seed: int, *, delay_s: float, for_s: float = 30.0) -> list[tuple[float, str]]:
    """Calls of a node that hears of a change at 0 after `delay_s`: until then either of two pods answers."""
    chance = random.Random(seed)
    times = [number * EVERY_S for number in range(int(for_s / EVERY_S))]
    return [(at_s, chance.choice(["old", "other"]) if at_s < delay_s else "other") for at_s in times]


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 1.0, 8.0])
def test_the_delay_is_found_and_never_told_too_short_by_more_than_chance_hides(delay_s: float) -> None:
    for seed in range(50):
        found = gone_s(heard(world(seed, delay_s=delay_s)), "old", 0.0)

        assert found is not None
        # Of two pods chance hides the last calls of one for at most so many calls, with the risk of the judge
        assert delay_s - IN_A_ROW * EVERY_S <= found <= delay_s + EVERY_S + 1e-9


def test_a_pod_that_may_still_be_called_is_not_gone() -> None:
    calls = world(1, delay_s=1.0)
    until = [row for row in calls if row[0] < 1.5]

    assert gone_s(heard(until), "old", 0.0) is None
    assert gone_s(heard(calls), "old", 0.0) is not None


def test_a_call_that_failed_counts_as_one_that_went_wrong() -> None:
    calls = [*world(1, delay_s=0.5, for_s=2.0), (2.0, "!TimeoutError")]
    calls += [(2.05 + number * EVERY_S, "other") for number in range(IN_A_ROW)]

    assert gone_s(heard(calls), "old", 0.0) == pytest.approx(2.05)


def test_there_is_the_first_answer() -> None:
    calls = [(number * EVERY_S, "other" if number < 40 else "new") for number in range(80)]

    assert there_s(heard(calls), "new", 0.0) == pytest.approx(2.0)
    assert there_s(heard(calls[:39]), "new", 0.0) is None


def test_a_clock_that_is_off_changes_nothing_but_the_doubt() -> None:
    calls = world(3, delay_s=4.0)
    plain = gone_s(heard(calls), "old", 0.0)
    skewed = gone_s(heard(calls, ahead_s=3600.0, rtt_s=0.2), "old", 0.0)

    assert plain is not None
    assert skewed == pytest.approx(plain + 0.1)
    assert clock_of(10.0, 20.0, 12.0).ahead_s == 9.0


def test_the_best_clock_is_kept() -> None:
    one = heard([], rtt_s=0.5)
    one.take({"now": 5.05, "next": 0, "rows": []}, 5.0, 5.1)
    one.take({"now": 99.0, "next": 0, "rows": []}, 9.0, 12.0)

    assert one.error_s == pytest.approx(0.05)


def test_p_is_the_worst_of_all_rounded_up() -> None:
    found = [
        Found(way="labels", node="n1", gone_s=0.21, there_s=0.1),
        Found(way="delete", node="n2", gone_s=8.02, there_s=7.9),
    ]
    told = summary(found)

    assert propagation_s(found) == told["propagationSeconds"] == 8.1
    assert [one["node"] for one in told["nodes"]] == ["n1", "n2"]
    assert told["ways"][1]["gone"] == {"count": 1, "p50": 8.02, "p90": 8.02, "p99": 8.02, "max": 8.1}
    assert spread([0.3, 0.1, 0.2])["p50"] == 0.2
