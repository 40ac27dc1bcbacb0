from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.lifecycle.shutdown import (
    Shutdown,
    Stage,
    begin,
    grace_of,
    hook_begun,
    hook_ended,
    killed,
    signalled,
    stage,
    stop_timeout_s,
    wake_s,
)


def timetable(grace_s: int, hook_s: float | None) -> tuple[float, float]:
    """(stop signal, SIGKILL) in seconds after the beginning, for a hook of that length (None: no hook)."""
    shutdown = begin(grace_s=grace_s, has_hook=hook_s is not None, now_s=0.0)
    now_s, signal_s = 0.0, math.nan
    while True:
        match stage(shutdown, now_s):
            case Stage.RUN_HOOK:
                shutdown = hook_begun(shutdown, now_s)
            case Stage.SIGNAL:
                signal_s, shutdown = now_s, signalled(shutdown, now_s)
            case Stage.KILL:
                assert stage(killed(shutdown), now_s) is Stage.KILLED
                return signal_s, now_s
            case _:
                now_s = wake_s(shutdown)
                if hook_s is not None and shutdown.hook_ended_s is None and math.isnan(signal_s) and now_s > hook_s:
                    now_s = hook_s
                    shutdown = hook_ended(shutdown, now_s)


def test_without_a_hook_the_signal_goes_out_at_once_and_the_kill_after_the_grace() -> None:
    assert timetable(30, None) == (0, 30)


def test_hook_and_signal_share_one_grace() -> None:
    """T6: 5 s of preStop leave 25 s of 30 s."""
    assert timetable(30, 5.0) == (5, 30)


def test_what_the_hook_took_is_truncated_to_whole_seconds() -> None:
    """T6: a hook of 0.9 s costs nothing."""
    assert timetable(30, 0.9) == (0.9, 30.9)


def test_a_hook_that_eats_the_grace_leaves_the_floor_of_two_seconds() -> None:
    """T7, T8: the signal goes out when the grace is over, the kill two seconds later, never earlier."""
    assert timetable(5, 60.0) == (5, 7)
    assert timetable(1, 60.0) == (1, 3)


def test_with_time_left_no_two_seconds_are_added() -> None:
    """T8, against folklore."""
    assert timetable(10, 3.0) == (3, 10)


def test_without_grace_the_hook_does_not_run() -> None:
    """T9."""
    assert stage(begin(grace_s=0, has_hook=True, now_s=0.0), 0.0) is Stage.SIGNAL


@given(grace_s=st.integers(1, 300), hook_s=st.floats(0, 400))
def test_a_container_never_outlives_its_grace_by_more_than_the_floor(grace_s: int, hook_s: float) -> None:
    signal_s, kill_s = timetable(grace_s, hook_s)

    assert signal_s == min(hook_s, grace_s)
    assert kill_s - signal_s >= 2
    assert kill_s <= grace_s + 2 + 1  # truncation may give one second back


@pytest.mark.parametrize(
    ("deletion_s", "probe_s", "expected"),
    [(5, 60, 5), (None, 60, 60), (None, None, 30), (0, None, 0)],
)
def test_whose_grace_counts(deletion_s: int | None, probe_s: int | None, expected: int) -> None:
    """T17: the deletion's, else the failed probe's, else the pod's."""
    assert grace_of(deletion_s=deletion_s, probe_s=probe_s, pod_s=30) == expected


def test_a_node_that_is_slow_to_act_signals_later() -> None:
    """T3: nothing promises how soon a node acts; a drill makes it late."""
    slow = begin(grace_s=30, has_hook=False, now_s=0.0, signal_delay_s=4.0)

    assert stage(slow, 3.9) is Stage.IN_HOOK
    assert wake_s(slow) == 4.0
    assert stage(slow, 4.0) is Stage.SIGNAL


def test_a_sidecar_spends_its_own_grace_on_waiting() -> None:
    """T22."""
    waited = signalled(begin(grace_s=30, has_hook=False, now_s=0.0), 12.5, waited_for_turn=True)

    assert waited.stop_timeout_s == 18


def test_the_stop_timeout_has_a_floor() -> None:
    assert stop_timeout_s(30, 0.0) == 30
    assert stop_timeout_s(30, 29.5) == 2


def test_a_negative_grace_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Shutdown(grace_s=-1, began_s=0.0, has_hook=False)
