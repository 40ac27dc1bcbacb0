"""Analysis at the stops of a release, in virtual time: what is shown goes on, what failed goes back, the rest holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from segue.analysis.values import Analysis, CommandSource, Counts, Hook, Metric, Sample
from segue.drive.command import abort, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow, Measure
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import Word, steer
from segue.model.manifest import parse
from segue.model.objects import is_ready
from segue.release.decision import Done, Stopped
from segue.release.laws import all_first_bounds, check_traces, ramped_bounds
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, seen

ERRORS = Metric(name="errors", source=CommandSource(command="./look"), bad_at_most=0.05)
WANTED = Analysis(metrics=(ERRORS,), most_s=60.0)
CANARY = Approach(strategy="canary", step=1, stops=("1", "2"), analysis=WANTED)
BLUE_GREEN = Approach(strategy="blue-green", analysis=WANTED)
ALL_FIRST = Approach(analysis=WANTED)
EACH = pytest.mark.parametrize("approach", [CANARY, BLUE_GREEN, ALL_FIRST], ids=["canary", "blue-green", "all-first"])


@dataclass
class Flows:
    """Sources whose counts grow with time from the moment a stop is first asked for."""

    good_rate: float = 20.0
    bad_rate: float = 0.0
    trouble: str = ""
    began_s: dict[int, float] = field(default_factory=dict)

    def __call__(self, world: World, asked: Measure) -> Mapping[str, Sample]:
        if asked.analysis is None:
            return {}
        passed_s = world.clock.at_s - self.began_s.setdefault(asked.stage, world.clock.at_s)
        counts = Counts(good=int(self.good_rate * passed_s), bad=int(self.bad_rate * passed_s))
        return {metric.name: Sample(new=counts, trouble=self.trouble) for metric in asked.analysis.metrics}


@dataclass
class Trial:
    """A world with a version that serves and sources that are asked."""

    approach: Approach
    flows: Callable[[World, Measure], Mapping[str, Sample]] = field(default_factory=Flows)
    world: World = field(default_factory=World)
    new_when_asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.apply(manifest("v1"))
        self.world.run_for(3.0)
        self.judge = Judge(ramped_bounds(3, 1) if self.approach.strategy == "canary" else all_first_bounds(3, 3))
        self.world.watch.append(self.judge)
        self.world.measure = self._measure

    def _measure(self, asked: Measure) -> Mapping[str, Sample]:
        if asked.analysis is not None:
            ready = [pod for pod in self.world.pods() if is_ready(pod)]
            images = [pod["spec"]["containers"][0]["image"] for pod in ready]
            self.new_when_asked.append(sum(image.endswith("v2") for image in images))
        return self.flows(self.world, asked)

    def flow(self, driving: Driver) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(manifest("v2"), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def release(self, me: str = "first", dead: str = "", *, waits: bool = False, kill_at: int | None = None) -> Outcome:
        asked = Approach(
            strategy=self.approach.strategy,
            step=self.approach.step,
            stops=self.approach.stops,
            checks=self.approach.checks,
            analysis=self.approach.analysis,
            waits=waits,
        )
        driving = driver(me, dead=frozenset({dead}), approach=asked)
        return self.world.drive(self.flow(driving), kill_at=kill_at)[0]

    def say(self, word: Word) -> Outcome | None:
        who = driver("somebody", dead=frozenset({"first", "second"}), approach=Approach(waits=False))
        return self.world.drive(steer("default", "test", word, who)).outcome

    def check(self, tag: str, when: str = "") -> None:
        self.world.run_for(3.0)
        assert self.world.lost == 0, when
        assert check_traces(seen(self.world), self.world.leases()) == [], when
        assert self.world.images() == {tag}, when


@EACH
def test_what_passes_goes_on_by_itself_and_says_its_numbers(approach: Approach) -> None:
    trial = Trial(approach)
    outcome = trial.release()

    assert isinstance(outcome.end, Done)
    assert not outcome.end.held
    passed = [entry.because for entry in outcome.journal.actions if "the analysis has passed" in entry.because]
    assert len(passed) == (2 if approach is CANARY else 1)
    assert all("errors: 0 of " in because and "at most 5 % wanted" in because for because in passed)
    assert set(trial.new_when_asked) == ({1, 2} if approach is CANARY else {3})
    assert trial.world.measures[-1].analysis is None  # the sources are let go
    assert trial.judge.broken == []
    trial.check("v2")


@EACH
def test_what_fails_takes_the_release_back(approach: Approach) -> None:
    trial = Trial(approach, Flows(good_rate=15.0, bad_rate=5.0))
    outcome = trial.release(waits=True)

    assert isinstance(outcome.end, Stopped)
    assert outcome.end.message.startswith("the analysis failed (errors: ")
    assert "as before" in outcome.end.message
    assert max(trial.new_when_asked) == (1 if approach is CANARY else 3)
    trial.check("v1")


@EACH
@pytest.mark.parametrize(
    ("flows", "why"),
    [
        (Flows(good_rate=0.0), "errors: none seen, at most 5 % wanted, at least 20 needed"),
        (Flows(trouble="no answer"), "errors: no answer"),
        (lambda _world, _asked: {}, "errors: it has not answered yet"),
        (Flows(good_rate=95.0, bad_rate=5.0), "at most 5 % wanted"),
    ],
    ids=["no traffic", "in trouble", "nobody there", "on the limit"],
)
def test_without_evidence_it_holds_and_stays_held(
    approach: Approach, flows: Callable[[World, Measure], Mapping[str, Sample]], why: str
) -> None:
    flows = Flows(flows.good_rate, flows.bad_rate, flows.trouble) if isinstance(flows, Flows) else flows
    trial = Trial(approach, flows)
    began_s = trial.world.clock.at_s
    held = trial.release()

    assert isinstance(held.end, Done)
    assert held.end.held
    assert "; not enough evidence after 60 s (" in held.end.message
    assert why in held.end.message
    assert "segue promote test goes on, segue abort test goes back" in held.end.message
    assert trial.world.clock.at_s - began_s >= 60.0
    assert set(trial.new_when_asked) == {1 if approach is CANARY else 3}
    trial.world.run_for(60.0)
    serving = trial.world.endpoints()
    for _ in range(3):
        outcome = trial.say("promote")
        assert outcome is not None
        if isinstance(outcome.end, Done) and not outcome.end.held:
            break
    assert serving
    trial.check("v2")


def test_somebody_promotes_a_release_that_waits_in_another_shell() -> None:
    trial = Trial(CANARY, Flows(good_rate=0.0))
    due_s = trial.world.clock.at_s + 120.0

    def look(world: World) -> None:
        if world.clock.at_s >= due_s:
            trial.world.watch.remove(look)
            path = "/apis/apps/v1/namespaces/default/deployments/test"
            annotations = world.deployment()["metadata"]["annotations"]
            text = annotations["segue.dev/release"].replace('"passed":0', '"passed":2')
            body = {"metadata": {"annotations": {"segue.dev/release": text}}}
            world.call("PATCH", path, body, "application/merge-patch+json")

    trial.world.watch.append(look)
    outcome = trial.release(waits=True)

    assert isinstance(outcome.end, Done)
    assert trial.world.clock.at_s > due_s
    trial.check("v2")


def test_it_lasts_as_long_as_was_said_at_least() -> None:
    trial = Trial(Approach(analysis=Analysis(metrics=(ERRORS,), least_s=40.0)))
    began_s = trial.world.clock.at_s
    assert isinstance(trial.release().end, Done)
    assert trial.world.clock.at_s - began_s >= 40.0


def test_checks_come_first_each_once_a_stop_and_one_that_fails_ends_it() -> None:
    hooks = (Hook.of("./one"), Hook.of("http://two/"))
    asked = Analysis(metrics=(ERRORS,), hooks=hooks, most_s=60.0)
    trial = Trial(Approach(strategy="canary", step=1, stops=("1", "2"), analysis=asked, checks=(Hook.of("./zero"),)))
    trial.world.verdict = Checked(passed=True, said="fine")
    outcome = trial.release()

    assert isinstance(outcome.end, Done)
    ran = [entry.action for entry in outcome.journal.actions if entry.action.startswith("run the check")]
    assert ran == [f"run the check: {one}" for one in ("./zero", "./one", "http://two/")] * 2
    trial.check("v2")

    failing = Trial(Approach(analysis=asked))
    failing.world.verdict = Checked(passed=True, said="fine")
    failing.world.later = (Checked(passed=False, said="it answers 500"),)
    outcome = failing.release()
    assert isinstance(outcome.end, Stopped)
    assert outcome.end.message.startswith("the check failed (it answers 500); ")
    assert failing.new_when_asked == []
    failing.check("v1")


def test_the_facts_of_both_versions_are_told() -> None:
    trial = Trial(CANARY)
    trial.release()
    first = trial.world.measures[0]

    assert (first.facts["SEGUE_TAG"], first.old_facts["SEGUE_TAG"]) == ("v2", "v1")
    assert len(first.facts["SEGUE_PODS"].split()) == 1
    assert len(first.old_facts["SEGUE_PODS"].split()) == 3
    assert first.old_facts["SEGUE_PODS_PATTERN"] == "|".join(first.old_facts["SEGUE_PODS"].split())
    assert first.facts["SEGUE_VERSION"] != first.old_facts["SEGUE_VERSION"]


@pytest.mark.parametrize(
    "bad_rate", [pytest.param(0.0, marks=pytest.mark.full, id="passing"), pytest.param(5.0, id="failing")]
)
@pytest.mark.parametrize(
    "approach", [pytest.param(CANARY, id="canary", marks=pytest.mark.full), pytest.param(BLUE_GREEN, id="blue-green")]
)
@pytest.mark.long
def test_from_every_crash_point_the_same_command_ends_the_same(approach: Approach, bad_rate: float) -> None:
    whole = Trial(approach, Flows(good_rate=15.0, bad_rate=bad_rate))
    whole.release()
    tag = "v1" if bad_rate else "v2"
    whole.check(tag)
    for kill_at in range(whole.world.requests):
        trial = Trial(approach, Flows(good_rate=15.0, bad_rate=bad_rate))
        with pytest.raises(Killed):
            trial.release(kill_at=kill_at)
        trial.world.run_for(7.0)
        trial.flows = Flows(good_rate=15.0, bad_rate=bad_rate)
        memory = trial.world.deployment()["metadata"].get("annotations", {}).get("segue.dev/release", "")
        if '"aborting":true' in memory:
            trial.world.drive(abort("default", "test", driver("second", dead=frozenset({"first"}))))
        else:
            trial.release("second", "first")

        trial.check(tag, f"killed before write {kill_at}")
