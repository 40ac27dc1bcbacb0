"""From any crash point the same command reaches the same end, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.drive.command import abort, release, restart, retire, scale, undo
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.model.manifest import parse
from segue.model.objects import annotations_of, labels_of, name_of
from segue.model.workloads import RESTARTED_AT
from segue.release.decision import Done
from segue.release.laws import (
    Bounds,
    Broken,
    Seen,
    all_first_bounds,
    check_ends,
    check_moment,
    check_traces,
    let_go_bounds,
)
from tests.laws.release_world import Killed, World, driver, manifest

COMMANDS = ["release", "undo", "scale", "abort"]


def command(kind: str, driving: Driver) -> Flow[tuple[Outcome, ...]]:
    match kind:
        case "release":
            return _release("v2", driving)
        case "undo":
            return _one(undo("default", "test", None, driving))
        case "restart":
            return _one(restart("default", "test", driving))
        case "scale":
            return _one(scale("default", "test", 2, driving))
        case _:
            return _one(abort("default", "test", driving))


def _release(tag: str, driving: Driver) -> Flow[tuple[Outcome, ...]]:
    preparation = yield from prepare(parse(manifest(tag), file="test.yaml"), "default", driving)
    return (yield from release(preparation, driving))


def _one(flow: Flow[Outcome]) -> Flow[tuple[Outcome, ...]]:
    outcome = yield from flow
    return (outcome,)


def seen(world: World) -> Seen:
    return Seen(
        at_s=world.clock.at_s,
        deployment=world.deployment(),
        replica_sets=world.store.all_of("replicasets.apps", "default"),
        pods=world.store.all_of("pods", "default"),
        services=[world.service()],
        endpoints={"test": world.endpoints()},
    )


class Judge:
    """Looks at the world after every tick and collects broken laws."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.broken: list[Broken] = []
        self.last: Seen | None = None

    def __call__(self, world: World) -> None:
        now = seen(world)
        self.broken += check_moment(now, self.bounds)
        if self.last is not None:
            self.broken += check_ends(self.last, now, cap_s=30.0, switched_s=None)
        # What carried traffic a moment ago is live now: arrivals of the data plane stand for connections.
        self.last = replace(now, live={name: 1 for name in world.backends() if name not in world.endpoints()})


def ready_world(kind: str, *, replicas: int = 3) -> World:
    world = World()
    world.apply(manifest("v1", replicas))
    if kind == "undo":
        world.drive(_release("v2", driver()))
    if kind == "abort":
        # A release that stands in the middle: its new pods never become Ready.
        stuck = driver(timeout_s=1.0)
        world.drive(_release("broken", stuck))
    world.run_for(3.0)
    return world


def end_state(world: World) -> dict[str, object]:
    deployment = world.deployment()
    return {
        "spec": dict(deployment["spec"]),
        "selector": world.service()["spec"]["selector"],
        "images": world.images(),
        "ready": len(world.endpoints()),
        "sets": sorted(
            (labels_of(one)["pod-template-hash"], one["spec"]["replicas"])
            for one in world.store.all_of("replicasets.apps", "default")
        ),
    }


def run(kind: str, kill_at: int | None) -> tuple[World, Judge, int]:
    """The command, killed before its write number `kill_at` and run again; how many writes it made."""
    world = ready_world(kind)
    wanted = 2 if kind == "scale" else 3
    pair = kind != "scale" and kill_at is not None
    judge = Judge(let_go_bounds(wanted, wanted) if pair else all_first_bounds(wanted, wanted))
    world.watch.append(judge)
    lost_before = world.lost
    try:
        outcomes = world.drive(command(kind, driver("first")), kill_at=kill_at)
    except Killed:
        world.run_for(7.0)
        outcomes = world.drive(command(kind, driver("second", dead=frozenset({"first"}))))
    writes = world.requests
    assert all(isinstance(outcome.end, Done) for outcome in outcomes), outcomes[0].end
    world.run_for(3.0)
    world.lost -= lost_before
    return world, judge, writes


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_loses_nothing_and_leaves_no_trace(kind: str) -> None:
    world, judge, _ = run(kind, None)

    assert judge.broken == []
    assert world.lost == 0
    assert check_traces(seen(world), world.leases()) == []


@pytest.mark.parametrize("kind", ["release", "scale", "abort", pytest.param("undo", marks=pytest.mark.full)])
@pytest.mark.long
def test_from_every_crash_point_the_same_command_reaches_the_same_end(kind: str) -> None:
    whole, _, writes = run(kind, None)
    assert writes > 3
    for kill_at in range(writes):
        world, judge, _ = run(kind, kill_at)

        assert judge.broken == [], f"killed before write {kill_at}"
        assert world.lost == 0, f"killed before write {kill_at}"
        assert end_state(world) == end_state(whole), f"killed before write {kill_at}"
        assert check_traces(seen(world), world.leases()) == [], f"killed before write {kill_at}"


@pytest.mark.full
def test_a_restart_killed_anywhere_ends_with_other_pods_of_the_same_version() -> None:
    """Its stamp is the moment at which it began, so two runs do not end in the same words."""
    _, judge, writes = run("restart", None)
    assert judge.broken == []
    for kill_at in [None, *range(writes)]:
        world, judge, _ = run("restart", kill_at)
        pods = world.store.all_of("pods", "default")

        assert judge.broken == [], f"killed before write {kill_at}"
        assert world.lost == 0, f"killed before write {kill_at}"
        assert world.images() == {"v1"}
        assert len(pods) == len(world.endpoints()) == 3
        assert len({annotations_of(pod).get(RESTARTED_AT) for pod in pods}) == 1
        assert all(RESTARTED_AT in annotations_of(pod) for pod in pods), f"killed before write {kill_at}"
        assert len(world.store.all_of("replicasets.apps", "default")) == 2, f"killed before write {kill_at}"
        assert check_traces(seen(world), world.leases()) == [], f"killed before write {kill_at}"


# -- one pod -----------------------------------------------------------------------------------------------------------


def retired(kill_at: int | None, *, then: str = "retire") -> tuple[World, Judge, int]:
    """The first pod is retired, killed before a write and taken up again (or aborted)."""
    world = ready_world("retire")
    victim = name_of(world.store.all_of("pods", "default")[0])
    judge = Judge(all_first_bounds(3, 3))
    world.watch.append(judge)

    def flow(driving: Driver, kind: str) -> Flow[tuple[Outcome, ...]]:
        return _one(retire("default", victim, driving) if kind == "retire" else abort("default", "test", driving))

    try:
        outcomes = world.drive(flow(driver("first"), "retire"), kill_at=kill_at)
    except Killed:
        world.run_for(7.0)
        outcomes = world.drive(flow(driver("second", dead=frozenset({"first"})), then))
    writes = world.requests
    assert all(isinstance(outcome.end, Done) for outcome in outcomes), outcomes[0].end
    world.run_for(3.0)
    if then == "retire":
        assert victim not in {name_of(pod) for pod in world.store.all_of("pods", "default")}
    return world, judge, writes


@pytest.mark.parametrize("then", ["retire", "abort"])
@pytest.mark.long
def test_a_retired_pod_is_replaced_from_every_crash_point(then: str) -> None:
    _, _, writes = retired(None)
    assert writes > 3
    for kill_at in [None, *range(writes)]:
        world, judge, _ = retired(kill_at, then=then if kill_at is not None else "retire")

        assert judge.broken == [], f"killed before write {kill_at}"
        assert world.lost == 0, f"killed before write {kill_at}"
        assert world.deployment()["spec"]["replicas"] == 3, f"killed before write {kill_at}"
        assert len(world.store.all_of("pods", "default")) == len(world.endpoints()) == 3, (
            f"killed before write {kill_at}"
        )
        assert check_traces(seen(world), world.leases()) == [], f"killed before write {kill_at}"
