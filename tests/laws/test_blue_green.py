"""blue-green: preview, check, somebody's word, the switch, and the old pods standing by."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from segue.analysis.values import Hook
from segue.drive.command import abort, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import Word, steer
from segue.model.errors import Conflict, Refused
from segue.model.manifest import parse
from segue.model.objects import Obj, Ref, name_of
from segue.release.decision import Done, Stopped
from segue.release.laws import all_first_bounds, check_traces, let_go_bounds
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, end_state, seen

HELD = Approach(strategy="blue-green", waits=False)
TRIED = Approach(strategy="blue-green", preview="test-preview", checks=(Hook.of("true"),), waits=False)


@dataclass
class Trial:
    """A world with a version that serves, watched by the laws."""

    approach: Approach
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.world.apply(manifest("v1"))
        self.world.run_for(3.0)
        self.judge = Judge(all_first_bounds(3, 3))
        self.world.watch.append(self.judge)
        self.world.verdict = Checked(passed=True, said="fine")

    def driver(self, me: str = "first", dead: str = "") -> Driver:
        return driver(me, dead=frozenset({dead}), approach=self.approach)

    def flow(self, driving: Driver, tag: str = "v2") -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(manifest(tag), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def release(self) -> Outcome:
        return self.world.drive(self.flow(self.driver()))[0]

    def say(self, word: Word) -> Outcome | None:
        return self.world.drive(steer("default", "test", word, self.driver("somebody"))).outcome

    def killed(self, kill_at: int) -> None:
        with pytest.raises(Killed):
            self.world.drive(self.flow(self.driver()), kill_at=kill_at)
        self.judge.bounds = let_go_bounds(3, 3)
        self.world.run_for(7.0)

    def preview(self) -> Obj | None:
        return self.world.store.get(Ref(resource="services", namespace="default", name="test-preview"))

    def check(self, tag: str, when: str = "") -> None:
        self.world.run_for(3.0)
        assert self.judge.broken == [], when
        assert self.world.lost == 0, when
        assert check_traces(seen(self.world), self.world.leases()) == [], when
        assert self.world.images() == {tag}, when
        assert self.preview() is None, when


def test_it_holds_before_the_switch_and_goes_on_when_promoted() -> None:
    trial = Trial(HELD)
    held = trial.release()
    trial.world.run_for(30.0)
    before = {name_of(pod) for pod in trial.world.pods() if name_of(pod) in trial.world.endpoints()}
    outcome = trial.say("promote")

    assert isinstance(held.end, Done)
    assert held.end.message.startswith("all 3 new pods are Ready and have no traffic; segue promote test goes on")
    assert all(name.startswith("test-db8744ddf") for name in before)
    assert outcome is not None
    assert isinstance(outcome.end, Done)
    trial.check("v2")


def test_a_held_release_is_aborted_without_a_loss() -> None:
    trial = Trial(HELD)
    trial.release()
    outcome = trial.world.drive(abort("default", "test", driver("other", dead=frozenset({"first"}))))

    assert isinstance(outcome.end, Done)
    trial.check("v1")


def test_a_check_that_passes_switches_and_one_that_fails_takes_all_back() -> None:
    passing = Trial(TRIED)
    outcome = passing.release()
    assert isinstance(outcome.end, Done)
    assert not outcome.end.held
    facts = passing.world.checks[0].facts
    assert facts["SEGUE_PREVIEW"] == "test-preview"
    assert len(facts["SEGUE_PODS"].split()) == len(facts["SEGUE_POD_IPS"].split()) == 3
    passing.check("v2")

    failing = Trial(TRIED)
    failing.world.verdict = Checked(passed=False, said="exit code 1: no answer")
    outcome = failing.release()
    assert isinstance(outcome.end, Stopped)
    assert (
        "the check failed (exit code 1: no answer); Deployment test is at version db8744ddf, as before"
        in outcome.end.message
    )
    failing.check("v1")


def test_the_preview_reaches_the_new_pods_alone_while_the_others_reach_the_old() -> None:
    trial = Trial(Approach(strategy="blue-green", preview="test-preview", waits=False))
    trial.release()
    trial.world.run_for(2.0)
    new = trial.world.endpoints("test-preview")

    assert len(new) == 3
    assert not new & trial.world.endpoints()
    trial.say("promote")
    trial.check("v2")


def test_a_preview_service_of_the_users_own_is_pointed_and_given_back() -> None:
    trial = Trial(TRIED)
    mine: Obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "test-preview"},
        "spec": {"selector": {"app/name": "test"}, "ports": [{"port": 80, "targetPort": 10002}]},
    }
    trial.world.call("POST", "/api/v1/namespaces/default/services", mine)
    trial.world.run_for(3.0)
    assert isinstance(trial.release().end, Done)
    preview = trial.preview()
    assert preview is not None
    assert preview["spec"]["selector"] == {"app/name": "test"}
    trial.world.call("DELETE", "/api/v1/namespaces/default/services/test-preview")
    trial.check("v2")


def test_old_pods_stand_by_and_an_abort_goes_back_at_once() -> None:
    kept = Trial(Approach(strategy="blue-green", checks=(Hook.of("true"),), keep_s=60.0))
    began_s = kept.world.clock.at_s
    assert isinstance(kept.release().end, Done)
    assert kept.world.clock.at_s - began_s > 60
    kept.check("v2")

    given_up = Trial(Approach(strategy="blue-green", checks=(Hook.of("true"),), keep_s=60.0))
    with pytest.raises(Killed):
        given_up.world.drive(given_up.flow(given_up.driver()), kill_at=14)
    given_up.world.run_for(5.0)
    assert len(given_up.world.pods()) == 6
    switched_back_s = given_up.world.clock.at_s
    outcome = given_up.world.drive(abort("default", "test", driver("other", dead=frozenset({"first"}))))
    back = next(entry.at_s for entry in outcome.journal.actions if entry.action.startswith("switch Service"))

    assert back - switched_back_s < 0.5
    given_up.check("v1")


@pytest.mark.parametrize(
    "approach", [pytest.param(HELD, id="held"), pytest.param(TRIED, id="tried", marks=pytest.mark.full)]
)
@pytest.mark.long
def test_from_every_crash_point_the_same_command_ends_the_same(approach: Approach) -> None:
    whole = Trial(approach)
    whole.release()
    writes = whole.world.requests
    if approach is HELD:
        whole.say("promote")
    whole.world.run_for(3.0)
    for kill_at in range(writes):
        trial = Trial(approach)
        trial.killed(kill_at)
        (outcome,) = trial.world.drive(trial.flow(trial.driver("second", "first")))
        if approach is HELD:
            assert isinstance(outcome.end, Done)
            assert outcome.end.held, f"killed before write {kill_at}"
            trial.say("promote")

        trial.check("v2", f"killed before write {kill_at}")
        assert end_state(trial.world) == end_state(whole.world), f"killed before write {kill_at}"


@pytest.mark.long
def test_from_every_crash_point_a_failing_check_takes_all_back() -> None:
    whole = Trial(TRIED)
    before = end_state(whole.world)
    whole.world.verdict = Checked(passed=False, said="exit code 1")
    whole.release()
    for kill_at in range(whole.world.requests):
        trial = Trial(TRIED)
        trial.world.verdict = Checked(passed=False, said="exit code 1")
        trial.killed(kill_at)
        trial.world.drive(abort("default", "test", trial.driver("second", "first")))

        trial.check("v1", f"killed before write {kill_at}")
        assert end_state(trial.world) == before, f"killed before write {kill_at}"


# -- pause and resume --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["all-first", "ramped", "blue-green"])
@pytest.mark.parametrize("kill_at", [4, 9, *(pytest.param(each, marks=pytest.mark.full) for each in (5, 8))])
def test_a_paused_release_begins_no_step_and_goes_on_when_it_is_resumed(strategy: str, kill_at: int) -> None:
    trial = Trial(
        Approach(strategy=strategy, checks=(Hook.of("true"),) if strategy == "blue-green" else (), waits=False)
    )
    trial.killed(kill_at)
    assert trial.say("pause") is None
    (held,) = trial.world.drive(trial.flow(trial.driver("second", "first")))
    assert isinstance(held.end, Done)
    assert held.end.held
    assert "segue resume test goes on" in held.end.message
    serving = trial.world.endpoints()
    trial.world.run_for(60.0)
    assert trial.world.endpoints() == serving
    with_template = trial.world.deployment()["spec"]["template"]["spec"]["containers"][0]["image"].endswith("v2")
    if with_template:
        outcome = trial.say("resume")
        assert outcome is not None
    else:
        with pytest.raises(Refused, match="but nobody drives it"):
            trial.say("resume")
        (outcome,) = trial.world.drive(trial.flow(trial.driver("third")))
    assert isinstance(outcome.end, Done)
    trial.world.run_for(3.0)
    assert trial.world.images() == {"v2"}
    assert trial.world.lost == 0


def test_who_has_nothing_to_say_it_to_is_told_so() -> None:
    trial = Trial(HELD)
    with pytest.raises(Refused, match="no release of Deployment test is under way"):
        trial.say("promote")
    trial.killed(5)
    (held,) = trial.world.drive(trial.flow(driver("second", dead=frozenset({"first"}), approach=Approach(waits=False))))
    assert isinstance(held.end, Done)
    with pytest.raises(Conflict, match="that is under way is blue-green, not ramped"):
        trial.world.drive(trial.flow(driver("third", approach=Approach(strategy="ramped"))))
    trial.say("promote-full")
    trial.check("v2")
