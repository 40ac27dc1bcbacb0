"""How a server leaves: what it waits for, what it never gives up, when it stops waiting."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.app.leaving import Phase, Rules, Seen, Senders, Stand, needed_s, reason, step

RULES = Rules(dead_threads=2, lost_workers=3, told=2, quiet_min_s=2, timer_s=5, cap_s=60)
UNREADY = Stand(phase=Phase.UNREADY, since_s=100.0)
TOLD = replace(UNREADY, told_s=102.0)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Seen(), ""),
        (Seen(dead=1, lost=2), ""),
        (Seen(dead=2), "2 dead threads"),
        (Seen(lost=3), "3 lost workers"),
        (Seen(asked=True), "a restart was asked for"),
    ],
)
def test_it_leaves_at_a_threshold_and_not_before(seen: Seen, why: str) -> None:
    found = step(Stand(), seen, RULES, 7.0).stand

    assert reason(seen, RULES) == why
    assert found == (Stand(phase=Phase.UNREADY, since_s=7.0) if why else Stand())


def test_a_threshold_of_zero_is_off() -> None:
    assert reason(Seen(dead=99, lost=99), Rules(dead_threads=0, lost_workers=0)) == ""


def test_silence_counts_from_when_the_kubelet_was_told() -> None:
    """Nobody has come for a minute, but the endpoint has been in traffic all the while."""
    early = step(UNREADY, Seen(told=1, last_s=40.0), RULES, 130.0)
    told = step(UNREADY, Seen(told=2, last_s=40.0), RULES, 130.0)
    later = step(told.stand, Seen(told=9, last_s=40.0), RULES, 134.9)
    quiet = step(told.stand, Seen(told=9, last_s=40.0), RULES, 135.0)

    assert early.stand == UNREADY
    assert "1 of 2" in early.because
    assert told.stand == replace(UNREADY, told_s=130.0)
    assert later.stand.phase is Phase.UNREADY
    assert quiet.stand.phase is Phase.EXITING


@pytest.mark.parametrize("owed", [Seen(running=1), Seen(unread=1)])
def test_what_is_owed_is_awaited_until_the_cap(owed: Seen) -> None:
    owed = replace(owed, told=9)

    assert step(TOLD, owed, RULES, 159.9).stand.phase is Phase.UNREADY
    late = step(TOLD, owed, RULES, 160.0)
    assert late.stand.phase is Phase.EXITING
    assert "the cap of 60 s is over" in late.because


@pytest.mark.parametrize(
    ("window_s", "rare", "long_s"),
    [
        *((0.0, False, 5.0), (0.5, False, 2.0), (3.0, False, 3.0), (41.0, False, 41.0), (414.0, False, 60.0)),
        *((0.5, True, 5.0), (41.0, True, 41.0)),
    ],
)
def test_the_rarest_sender_says_how_long_the_silence_must_be(window_s: float, rare: bool, long_s: float) -> None:
    assert needed_s(Seen(window_s=window_s, rare=rare), RULES) == long_s


def test_a_rare_sender_does_not_hide_behind_a_busy_one() -> None:
    """C1: pooled, 100 a second and one every 3.3 s would be silent after a blink."""
    senders = Senders()
    for tick in range(3000):
        senders.note("busy", tick / 100)
        if tick % 330 == 0:
            senders.note("rare", tick / 100)

    window_s, rare = senders.window_s(30.0, 1e-6)
    assert window_s == pytest.approx(13.8 * 3.3, rel=0.01)
    assert not rare
    assert senders.window_s(300.0, 1e-6) == (0.0, False)


def test_who_came_twice_cannot_be_judged() -> None:
    senders = Senders()
    senders.note("once", 1.0)
    senders.note("once", 2.0)

    assert senders.window_s(3.0, 1e-6) == (0.0, True)


@pytest.mark.parametrize("wrong", [{"quiet_min_s": 9.0}, {"cap_s": 1.0}, {"risk": 0.0}, {"told": -1}, {"stuck_s": 0.0}])
def test_rules_that_cannot_hold_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Rules(**wrong)  # type: ignore[arg-type]  # what a configuration file can hold


@given(
    st.lists(
        st.builds(
            Seen,
            dead=st.integers(0, 3),
            running=st.integers(0, 2),
            unread=st.integers(0, 2),
            told=st.integers(0, 4),
            last_s=st.floats(0, 100),
            window_s=st.sampled_from([0.0, 1.0, 4.0, 99.0]),
            rare=st.booleans(),
        ),
        max_size=40,
    )
)
def test_it_only_goes_forward_and_never_exits_owing_before_the_cap(told: list[Seen]) -> None:
    stand, order = Stand(), list(Phase)
    for now_s, seen in enumerate(told, 1):
        before, stand = stand, step(stand, seen, RULES, float(now_s)).stand

        assert order.index(stand.phase) >= order.index(before.phase)
        if stand.phase is Phase.EXITING and before.phase is Phase.UNREADY and now_s - before.since_s < RULES.cap_s:
            assert (seen.running, seen.unread) == (0, 0)
            assert now_s - seen.last_s >= RULES.quiet_min_s
            assert stand.told_s
