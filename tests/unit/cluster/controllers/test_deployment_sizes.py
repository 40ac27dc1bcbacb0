"""The arithmetic of rollouts: fenceposts (D2), raising and lowering (D3, D4, D7), sharing out (D15)."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.deployment.sizes import Size, lowered, raised, shared_out
from segue.cluster.controllers.deployment.wishes import Wishes, fenceposts, wishes_of


def wishes(replicas: int, surge: int, unavailable: int) -> Wishes:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return wishes_of({"spec": {"replicas": replicas, "strategy": strategy}})


def test_a_bare_spec_has_kubernetes_defaults() -> None:
    """D1."""
    bare = wishes_of({"spec": {}})

    assert (bare.replicas, bare.surge, bare.unavailable, bare.rolling, bare.paused) == (1, 1, 0, True, False)
    assert (bare.min_ready_s, bare.deadline_s, bare.history_limit) == (0, 600, 10)


def test_an_int32_maximum_means_no_deadline_and_no_history_limit() -> None:
    endless = wishes_of({"spec": {"progressDeadlineSeconds": 2**31 - 1, "revisionHistoryLimit": 2**31 - 1}})

    assert endless.deadline_s is None
    assert endless.history_limit is None


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [(1, (1, 0)), (2, (1, 0)), (3, (1, 0)), (4, (1, 1)), (5, (2, 1)), (8, (2, 2)), (10, (3, 2))],
)
def test_the_default_quarter_rounds_surge_up_and_unavailable_down(replicas: int, expected: tuple[int, int]) -> None:
    """D2."""
    assert fenceposts("25%", "25%", replicas) == expected


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_a_quarter_that_rounds_to_nothing_without_surge_costs_one_pod(replicas: int) -> None:
    """D2: with one replica that is a certain outage."""
    assert fenceposts(0, "25%", replicas) == (0, 1)


def test_unavailable_is_never_more_than_there_are_and_nothing_rolls_under_recreate() -> None:
    """D2."""
    assert wishes(2, 0, 5).unavailable == 2
    recreated = wishes_of({"spec": {"replicas": 4, "strategy": {"type": "Recreate"}}})

    assert (recreated.surge, recreated.unavailable, recreated.rolling) == (0, 0, False)


@pytest.mark.parametrize(
    ("new", "total", "expected"),
    [(0, 10, 3), (3, 13, 3), (3, 11, 5), (9, 9, 10), (0, 14, 0)],
)
def test_the_new_one_grows_into_the_room_that_surge_leaves(new: int, total: int, expected: int) -> None:
    """D3."""
    assert raised(wishes(10, 3, 2), new, total) == expected


def test_unavailable_old_pods_go_before_available_ones_and_the_oldest_set_first() -> None:
    """D4."""
    new = Size(name="new", replicas=3, available=3)
    olds = [Size(name="a", replicas=5, available=5), Size(name="b", replicas=4, available=2)]

    assert lowered(wishes(10, 3, 2), new, olds) == {"a": 3, "b": 2}


def test_old_pods_stay_while_too_few_are_available() -> None:
    """D4, D6."""
    new = Size(name="new", replicas=3, available=0)
    olds = [Size(name="a", replicas=8, available=8)]

    assert lowered(wishes(10, 3, 2), new, olds) == {}


def test_broken_old_pods_go_although_new_ones_are_not_available() -> None:
    """D4: unhealthy ones may go as far as the sum of all allows."""
    new = Size(name="new", replicas=2, available=0)
    olds = [Size(name="a", replicas=4, available=1)]

    assert lowered(wishes(4, 2, 0), new, olds) == {}
    assert lowered(wishes(4, 2, 1), new, olds) == {"a": 3}


def test_a_status_that_is_behind_its_size_is_waited_for() -> None:
    new = Size(name="new", replicas=3, available=1)
    olds = [Size(name="a", replicas=9, available=10)]

    assert lowered(wishes(10, 2, 0), new, olds) == {}
    assert lowered(wishes(5, 2, 0), Size(name="new", replicas=2, available=4), [Size(name="a", replicas=4)]) == {}


def test_full_surge_still_gives_one_old_pod_for_each_new_one() -> None:
    """D7: "all new before any old goes" is not what surge 100 % means."""
    rule = wishes(4, 4, 0)
    old, new, available, seen = 4, 0, 0, []
    new = raised(rule, new, old + new)
    seen.append((old, new, available))
    while available < 4:
        available += 1
        seen.append((old, new, available))
        smaller = lowered(
            rule, Size(name="new", replicas=new, available=available), [Size(name="a", replicas=old, available=old)]
        )
        old = smaller.get("a", old)
        seen.append((old, new, available))

    assert seen[:6] == [(4, 4, 0), (4, 4, 1), (3, 4, 1), (3, 4, 2), (2, 4, 2), (2, 4, 3)]
    assert seen[-1] == (0, 4, 4)


def test_a_change_of_replicas_is_shared_out_by_size() -> None:
    """D15, as measured: 4 to 6 under the brake with surge 1 made 3 old and 4 new of 2 and 3 (M10)."""
    active = [
        Size(name="new", replicas=3, total_max_before=5),
        Size(name="old", replicas=2, total_max_before=5),
    ]

    assert shared_out(wishes(6, 1, 0), active, deployment_total=5) == {"new": 4, "old": 3}


def test_what_rounding_leaves_over_goes_to_the_largest() -> None:
    """D15: 5, 3 and 2 of 10 at 15 want 7.5 -> 8, 4.5 -> 5 and 3, the last of which must make do with 2."""
    active = [Size(name=name, replicas=count, total_max_before=10) for name, count in (("c", 2), ("b", 3), ("a", 5))]

    assert shared_out(wishes(15, 0, 0), active, deployment_total=10) == {"a": 8, "b": 5, "c": 2}


def test_equal_sizes_grow_newest_first_and_shrink_oldest_first() -> None:
    """D15."""
    active = [Size(name="new", replicas=5, total_max_before=10), Size(name="old", replicas=5, total_max_before=10)]

    assert shared_out(wishes(11, 0, 0), active, deployment_total=10) == {"new": 6, "old": 5}
    assert shared_out(wishes(9, 0, 0), active, deployment_total=10) == {"new": 5, "old": 4}


def test_scaling_to_nothing_takes_every_set_to_nothing() -> None:
    """D15."""
    active = [Size(name="new", replicas=4, total_max_before=13), Size(name="old", replicas=9, total_max_before=13)]

    assert shared_out(wishes(0, 3, 0), active, deployment_total=13) == {"new": 0, "old": 0}
