"""The order of a supervised restart: what must have happened before the next step, whatever is seen on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.app.restarting import Phase, Rules, Seen, Stand, Turn, answers_live, answers_ready, step

RULES = Rules(failures=2, told=2, spread_s=60, back_max_s=120)
SICK = Seen(failed=2, why="the script exits with 1")


def test_a_check_must_fail_as_often_as_was_said() -> None:
    assert step(Stand(), replace(SICK, failed=1), RULES, 1.0) == Stand()
    assert step(Stand(), SICK, RULES, 1.0) == Stand(phase=Phase.ASKING, since_s=1.0, because=SICK.why)


@pytest.mark.parametrize(
    ("turn", "now_s", "phase"),
    [
        (Turn.TAKEN, 900.0, Phase.ASKING),
        (Turn.UNASKED, 900.0, Phase.ASKING),
        (Turn.OURS, 11.0, Phase.LEAVING),
        (Turn.UNKNOWN, 39.9, Phase.ASKING),
        (Turn.UNKNOWN, 40.0, Phase.LEAVING),
    ],
)
def test_it_leaves_when_it_is_its_turn_or_after_its_own_delay(turn: Turn, now_s: float, phase: Phase) -> None:
    asking = Stand(phase=Phase.ASKING, since_s=10.0)

    assert step(asking, replace(SICK, turn=turn), RULES, now_s, stagger=0.5).phase is phase


def test_who_is_well_again_before_its_turn_is_left_alone() -> None:
    asking = Stand(phase=Phase.ASKING, since_s=10.0)

    assert step(asking, Seen(turn=Turn.OURS), RULES, 11.0).phase is Phase.WELL


def test_liveness_fails_only_as_often_as_the_kubelet_needs() -> None:
    """One 503 too many, and the kubelet would end the next container, too."""
    ending = Stand(phase=Phase.ENDING, since_s=10.0)
    back = step(ending, replace(SICK, live_told=2), RULES, 12.0)

    assert step(ending, replace(SICK, live_told=1, quiet="quiet"), RULES, 99.0) == ending
    assert back.phase is Phase.BACK
    assert (answers_live(ending), answers_live(back), answers_ready(back)) == (False, True, False)


def test_who_does_not_come_back_is_judged_anew() -> None:
    back = Stand(phase=Phase.BACK, since_s=10.0)

    assert step(back, SICK, RULES, 130.0) == back
    assert step(back, SICK, RULES, 130.1).phase is Phase.WELL


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"told": 0}, {"spread_s": -1.0}, {"back_max_s": 0.0}])
def test_rules_that_cannot_hold_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Rules(**wrong)  # type: ignore[arg-type]  # what a command line can hold


def test_who_comes_between_quiet_and_the_end_is_waited_for() -> None:
    """The kubelet has been told once of two times; then it hears that all is well, and counts anew."""
    ending = Stand(phase=Phase.ENDING, since_s=30.0, told_s=12.0, because="quiet")
    again = step(ending, Seen(failed=3, live_told=1), RULES, 31.0)

    assert (again.phase, again.told_s, answers_live(again), answers_ready(again)) == (Phase.LEAVING, 12.0, True, False)
    assert step(again, Seen(failed=3, quiet="quiet"), RULES, 34.0).phase is Phase.ENDING
    assert step(ending, Seen(failed=3, live_told=RULES.told), RULES, 31.0).phase is Phase.BACK, "it is too late"


@given(
    st.lists(
        st.builds(
            Seen,
            failed=st.integers(0, 3),
            turn=st.sampled_from(list(Turn)),
            ready_told=st.integers(0, 3),
            live_told=st.integers(0, 3),
            quiet=st.sampled_from(["", "quiet"]),
        ),
        max_size=60,
    ),
    st.floats(0, 1),
)
def test_it_is_never_ended_before_readiness_went_and_the_pod_was_quiet(told: list[Seen], stagger: float) -> None:
    order = {Phase.WELL: {Phase.ASKING}, Phase.ASKING: {Phase.WELL, Phase.LEAVING}, Phase.LEAVING: {Phase.ENDING}}
    order |= {Phase.ENDING: {Phase.BACK, Phase.LEAVING}, Phase.BACK: {Phase.WELL}}
    stand = Stand()
    for now_s, seen in enumerate(told, 1):
        before, stand = stand, step(stand, seen, RULES, now_s * 10.0, stagger)

        if stand.phase is before.phase:
            continue
        assert stand.phase in order[before.phase]
        if stand.phase is Phase.LEAVING and before.phase is Phase.ASKING:
            assert seen.turn is Turn.OURS or seen.turn is Turn.UNKNOWN
        if stand.phase is Phase.LEAVING and before.phase is Phase.ENDING:
            assert (seen.quiet, stand.told_s) == ("", before.told_s)
        if stand.phase is Phase.ENDING:
            assert seen.quiet
            assert not answers_ready(before)
