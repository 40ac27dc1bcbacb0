from __future__ import annotations

import pytest

from segue.lifecycle.backoff import Backoff, BackoffRules, restart_at_s, restarted


def waits_of(rules: BackoffRules, runs: list[float]) -> list[float]:
    """How long a container waits after each exit if it ran that long each time."""
    backoff, now_s, waits = Backoff(), 0.0, []
    for run_s in runs:
        exited_s = now_s + run_s
        now_s = restart_at_s(backoff, rules, exited_s)
        waits.append(now_s - exited_s)
        backoff = restarted(backoff, rules, exited_s=exited_s, now_s=now_s)
    return waits


def test_the_first_restart_is_immediate_then_ten_seconds_doubling_to_five_minutes() -> None:
    """L5."""
    assert waits_of(BackoffRules(), [1.0] * 8) == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_container_that_ran_ten_minutes_has_its_past_forgotten() -> None:
    assert waits_of(BackoffRules(), [1, 1, 1, 601, 1]) == [0, 10, 20, 0, 10]


def test_a_container_that_ran_a_little_less_has_not() -> None:
    assert waits_of(BackoffRules(), [1, 1, 1, 599]) == [0, 10, 20, 40]


def test_base_and_cap_can_be_lowered() -> None:
    assert waits_of(BackoffRules(base_s=1, cap_s=3), [1.0] * 5) == [0, 1, 2, 3, 3]


def test_a_cap_below_the_base_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        BackoffRules(base_s=10, cap_s=1)
