"""handover and recreate: what existing connections keep, what stays behind when segue dies, and what recreate costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from segue.drain.judge import Policy
from segue.drive.command import abort, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import steer
from segue.model.manifest import parse
from segue.model.objects import Obj, labels_of, name_of
from segue.release.decision import Done
from segue.release.laws import Bounds, all_first_bounds, check_traces, let_go_bounds
from segue.release.plan import Approach
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, end_state, seen

CAP_S = 120.0
DIED = let_go_bounds(3, 3)
HANDOVER = Approach(strategy="handover", policy=Policy(cap_s=CAP_S))


@dataclass
class Trial:
    """A world with a version that serves, watched by the laws."""

    approach: Approach = HANDOVER
    bounds: Bounds = field(default_factory=lambda: all_first_bounds(3, 3))
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.world.apply(manifest("v1"))
        self.world.run_for(3.0)
        self.old = sorted(name_of(pod) for pod in self.world.pods())
        self.judge = Judge(self.bounds)
        self.world.watch.append(self.judge)

    def driver(self, me: str = "first", dead: str = "") -> Driver:
        return replace(driver(me, dead=frozenset({dead})), approach=self.approach)

    def flow(self, driving: Driver) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(manifest("v2"), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def release(self, kill_at: int | None = None) -> Outcome:
        try:
            return self.world.drive(self.flow(self.driver()), kill_at=kill_at)[0]
        except Killed:
            self.world.run_for(7.0)
            return self.world.drive(self.flow(self.driver("second", "first")))[0]

    def check(self, when: str = "") -> None:
        self.world.run_for(3.0)
        assert self.judge.broken == [], when
        assert self.world.lost == 0, when
        assert check_traces(seen(self.world), self.world.leases()) == [], when


def test_each_old_pod_ends_when_its_last_connection_has_ended() -> None:
    trial = Trial()
    trial.world.held = {trial.old[0]: 2, trial.old[1]: 1}
    begun_s = trial.world.clock.at_s

    def hang_up(world: World) -> None:
        if world.clock.at_s > begun_s + 30:
            world.held.pop(trial.old[1], None)
        if world.clock.at_s > begun_s + 80:
            world.held.pop(trial.old[0], None)

    trial.world.watch.append(hang_up)
    outcome = trial.release()
    ends = {end.pod: (end.reason, end.at_s - begun_s) for end in outcome.journal.ends}

    assert isinstance(outcome.end, Done)
    assert "capped" not in {ends[name][0] for name in trial.old}
    assert ends[trial.old[2]][1] < 10
    assert 30 < ends[trial.old[1]][1] < 40
    assert 80 < ends[trial.old[0]][1] < 90
    trial.check()


@pytest.mark.long
def test_the_pin_is_off_and_history_is_native_while_connections_last() -> None:
    trial = Trial()
    trial.world.held = dict.fromkeys(trial.old, 1)
    pinned: list[float] = []

    def look(world: World) -> None:
        if "pod-template-hash" in world.service()["spec"]["selector"]:
            pinned.append(world.clock.at_s)

    trial.world.watch.append(look)
    outcome = trial.release()
    switched_s = next(one.at_s for one in outcome.journal.actions if one.action.startswith("switch Service"))
    ends_s = min(one.at_s for one in outcome.journal.ends)

    assert [one.reason for one in outcome.journal.ends] == ["capped"] * 3
    assert max(pinned) - switched_s < 2.0
    assert ends_s - switched_s > CAP_S - 1
    trial.check()


@pytest.mark.long
def test_from_every_crash_point_the_same_command_ends_the_same() -> None:
    whole = Trial()
    whole.release()
    writes = whole.world.requests
    whole.world.run_for(3.0)
    assert writes > 15
    for kill_at in range(writes):
        trial = Trial(bounds=DIED)
        outcome = trial.release(kill_at)

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check(f"killed before write {kill_at}")
        assert end_state(trial.world) == end_state(whole.world), f"killed before write {kill_at}"


@pytest.mark.long
def test_gone_on_with_from_another_shell_it_keeps_idle_connections_as_long_as_it_promised() -> None:
    """Who resumes or promotes has not said what counts as live; who began the handover had."""
    trial = Trial(bounds=DIED)
    trial.world.idle = dict.fromkeys(trial.old, 2)
    with pytest.raises(Killed):
        trial.world.drive(trial.flow(trial.driver()), kill_at=8)
    trial.world.run_for(7.0)
    another = driver("second", dead=frozenset({"first"}))
    trial.world.drive(steer("default", "test", "pause", another))
    steered = trial.world.drive(steer("default", "test", "resume", another))

    assert steered.outcome is not None
    actions = steered.outcome.journal.actions
    switched_s = next(one.at_s for one in actions if one.action.startswith("switch Service"))
    ends = {end.pod: end for end in steered.outcome.journal.ends}
    assert {ends[name].reason for name in trial.old} == {"capped"}
    assert min(ends[name].at_s for name in trial.old) - switched_s > CAP_S - 1
    trial.check()


@pytest.mark.full
def test_from_every_crash_point_it_can_be_taken_back_or_finished() -> None:
    whole = Trial()
    before = end_state(whole.world)
    whole.release()
    for kill_at in range(whole.world.requests):
        trial = Trial(bounds=DIED)
        with pytest.raises(Killed):
            trial.world.drive(trial.flow(trial.driver()), kill_at=kill_at)
        trial.world.run_for(7.0)
        outcome = trial.world.drive(abort("default", "test", trial.driver("second", "first")))

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check(f"killed before write {kill_at}")
        if trial.world.images() == {"v1"}:
            assert end_state(trial.world) == before, f"killed before write {kill_at}"


def served_counts(world: World) -> list[int]:
    """How many ready endpoints there are, tick by tick from now on."""
    counts: list[int] = []
    world.watch.append(lambda now: counts.append(len(now.endpoints())))
    return counts


@pytest.mark.full
def test_a_second_template_after_a_handover_that_died_meets_a_service_that_is_not_pinned() -> None:
    """But for the moments between switch and unpin: docs/reference/memory.md."""
    whole = Trial()
    whole.release()
    after_unpin = 0
    for kill_at in range(whole.world.requests):
        trial = Trial()
        trial.world.held = dict.fromkeys(trial.old, 1)
        with pytest.raises(Killed):
            trial.world.drive(trial.flow(trial.driver()), kill_at=kill_at)
        trial.world.run_for(2.0)
        image = trial.world.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
        if "pod-template-hash" in trial.world.service()["spec"]["selector"] or not image.endswith("v2"):
            continue
        after_unpin += 1
        template: Obj = {"spec": {"template": {"metadata": {"annotations": {"another": "one"}}}}}
        path = "/apis/apps/v1/namespaces/default/deployments/test"
        trial.world.call("PATCH", path, template, "application/merge-patch+json")
        served = served_counts(trial.world)
        trial.world.run_for(20.0)
        assert min(served) >= 2, f"killed before write {kill_at}"
    assert after_unpin >= 4


def test_recreate_ends_all_old_pods_first_and_says_so() -> None:
    trial = Trial(Approach(strategy="recreate"), Bounds(floor=0, ceiling=3))
    both: list[set[str]] = []
    trial.world.watch.append(lambda world: both.append({labels_of(pod)["pod-template-hash"] for pod in world.pods()}))
    outcome = trial.release()

    assert isinstance(outcome.end, Done)
    assert max(len(each) for each in both) == 1
    assert trial.world.lost > 0
    trial.world.run_for(2.0)
    assert {one.law for one in trial.judge.broken} == {"served"}
    assert trial.world.images() == {"v2"}
    assert trial.world.deployment()["spec"]["strategy"]["type"] == "RollingUpdate"
    assert check_traces(seen(trial.world), trial.world.leases()) == []


@pytest.mark.long
def test_recreate_goes_on_and_back_from_every_crash_point() -> None:
    whole = Trial(Approach(strategy="recreate"), Bounds(floor=0, ceiling=3))
    before = end_state(whole.world)
    whole.release()
    writes = whole.world.requests
    whole.world.run_for(3.0)
    for kill_at in range(writes):
        on = Trial(Approach(strategy="recreate"), Bounds(floor=0, ceiling=3))
        assert isinstance(on.release(kill_at).end, Done)
        on.world.run_for(3.0)
        assert end_state(on.world) == end_state(whole.world), f"killed before write {kill_at}"

        back = Trial(Approach(strategy="recreate"), Bounds(floor=0, ceiling=3))
        with pytest.raises(Killed):
            back.world.drive(back.flow(back.driver()), kill_at=kill_at)
        back.world.run_for(7.0)
        outcome = back.world.drive(abort("default", "test", back.driver("second", "first")))
        back.world.run_for(3.0)
        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        assert check_traces(seen(back.world), back.world.leases()) == [], f"killed before write {kill_at}"
        if back.world.images() == {"v1"}:
            assert end_state(back.world) == before, f"killed before write {kill_at}"
