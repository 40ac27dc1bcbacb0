"""When requests leave."""

from __future__ import annotations

import itertools

import pytest

from segue.load.plan import Mode, Plan, shots


def test_requests_are_evenly_spaced_and_counted() -> None:
    fired = list(shots(Plan(url="http://x", rate=100, duration_s=2)))

    assert len(fired) == 200 == Plan(url="http://x", rate=100, duration_s=2).total
    assert {round(after.at_s - before.at_s, 9) for before, after in itertools.pairwise(fired)} == {0.01}


def test_a_plan_is_the_same_each_time() -> None:
    plan = Plan(url="http://x", rate=77, duration_s=3, slow=5, mode=Mode.MIXED)

    assert list(shots(plan)) == list(shots(plan))


def test_slow_requests_come_besides_and_on_connections_of_their_own() -> None:
    plan = Plan(url="http://x", rate=10, duration_s=2, slow=4, mode=Mode.KEEP_ALIVE, slow_path="/slow")
    slow = [shot for shot in shots(plan) if shot.path == "/slow"]

    assert [shot.at_s for shot in slow] == [0.0, 0.5, 1.0, 1.5]
    assert all(shot.fresh for shot in slow)
    assert [shot.at_s for shot in shots(plan)] == sorted(shot.at_s for shot in shots(plan))


def test_modes_decide_which_requests_open_a_connection() -> None:
    def fresh(mode: Mode) -> list[bool]:
        return [shot.fresh for shot in shots(Plan(url="http://x", rate=4, duration_s=1, mode=mode))]

    assert fresh(Mode.NEW) == [True] * 4
    assert fresh(Mode.KEEP_ALIVE) == [False] * 4
    assert fresh(Mode.MIXED) == [True, False, True, False]


def test_paths_take_turns_and_numbers_never_repeat() -> None:
    fired = list(shots(Plan(url="http://x", rate=5, duration_s=1, paths=("/a", "/b"), slow=1)))

    assert [shot.index for shot in fired] == list(range(6))
    assert [shot.path for shot in fired if shot.path != "/slow"] == ["/a", "/b", "/a", "/b", "/a"]


@pytest.mark.parametrize("changes", [{"rate": 0.0}, {"duration_s": 0.0}, {"connections": 0}])
def test_a_plan_that_sends_nothing_is_our_own_bug(changes: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        Plan(**{"url": "http://x", **changes})  # type: ignore[arg-type]  # wrong on purpose
