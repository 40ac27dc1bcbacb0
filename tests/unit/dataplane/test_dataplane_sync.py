"""The rhythm of syncs: K5, and a drill's delay."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.cluster.dataplane.sync import Rhythm, Syncer, SyncNow


def synced(syncer: Syncer, now_s: float, *, ok: bool = True) -> SyncNow:
    due = syncer.step(now_s)
    assert due is not None
    syncer.done(now_s, ok=ok)
    return due


def quiet_one(**rhythm: float) -> Syncer:
    """A syncer that made its first sync at second 0."""
    syncer = Syncer(Rhythm(**rhythm))
    syncer.on_change(-100.0)
    assert synced(syncer, 0.0).full
    return syncer


def test_an_event_after_a_quiet_time_triggers_a_sync_at_once() -> None:
    """The best case is immediate."""
    syncer = quiet_one()
    assert syncer.wake_s() is None
    syncer.on_change(5.0)

    assert syncer.wake_s() == 5.0
    assert synced(syncer, 5.0) == SyncNow(as_of_s=5.0, full=False)


def test_the_next_sync_waits_one_second_from_the_completion_of_the_last() -> None:
    """Not from its start."""
    syncer = quiet_one()
    syncer.on_change(5.0)
    assert syncer.step(5.0) is not None
    syncer.on_change(5.1)
    assert syncer.wake_s() is None
    assert syncer.step(6.0) is None
    syncer.done(5.4, ok=True)

    assert syncer.wake_s() == 6.4
    assert syncer.step(6.3) is None
    assert synced(syncer, 6.4).as_of_s == 6.4


def test_changes_while_waiting_become_one_sync() -> None:
    """Level, not edges."""
    syncer = quiet_one()
    for at_s in (0.1, 0.2, 0.3):
        syncer.on_change(at_s)
    synced(syncer, 1.0)

    assert syncer.wake_s() is None


def test_a_failed_sync_is_repeated_in_full_after_thirty_seconds_or_with_the_next_change() -> None:
    """K5's retry, K6's full sync; and a successful one ends it."""
    syncer = quiet_one()
    syncer.on_change(5.0)
    synced(syncer, 5.0, ok=False)
    assert syncer.wake_s() == 35.0
    syncer.on_change(7.0)
    assert syncer.wake_s() == 7.0
    assert synced(syncer, 7.0).full
    syncer.on_change(9.0)

    assert not synced(syncer, 9.0).full
    assert syncer.wake_s() is None


def test_a_delay_makes_each_change_effective_so_much_later() -> None:
    """What is applied is what was known then."""
    syncer = quiet_one(delay_s=8.0)
    syncer.on_change(10.0)
    syncer.on_change(13.0)
    assert syncer.wake_s() == 18.0
    assert syncer.step(17.9) is None
    assert synced(syncer, 18.0).as_of_s == 10.0
    assert syncer.wake_s() == 21.0

    assert synced(syncer, 21.0).as_of_s == 13.0


def test_a_completion_without_a_sync_is_our_own_bug() -> None:
    """Not the user's."""
    with pytest.raises(AssertionError):
        Syncer(Rhythm()).done(1.0, ok=True)


@given(
    changes=st.lists(st.integers(0, 500), max_size=30),
    took=st.lists(st.integers(0, 20), min_size=1, max_size=5),
    delay=st.integers(0, 50),
)
def test_every_change_takes_effect_within_the_interval_the_delay_and_two_syncs(
    changes: list[int], took: list[int], delay: int
) -> None:
    """In tenths of a second; and two syncs are never nearer than the interval."""
    syncer = Syncer(Rhythm(min_interval_s=10.0, delay_s=float(delay)))
    pending = sorted(changes)
    applied: list[tuple[float, float, float]] = []  # as of, began, ended
    ends_s, as_of_s, began_s = -1.0, 0.0, 0.0
    for now in range(800):
        while pending and pending[0] == now:
            syncer.on_change(float(pending.pop(0)))
        if ends_s == now:
            syncer.done(float(now), ok=True)
            applied.append((as_of_s, began_s, ends_s))
            ends_s = -1.0
        due = syncer.step(float(now))
        if due is not None:
            as_of_s, began_s = due.as_of_s, float(now)
            ends_s = float(now + 1 + took[len(applied) % len(took)])

    for change in changes:
        assert any(as_of >= change and end <= change + delay + 10 + 2 * 21 for as_of, _, end in applied)
    for (_, _, end), (_, begin, _) in pairwise(applied):
        assert begin >= end + 10
