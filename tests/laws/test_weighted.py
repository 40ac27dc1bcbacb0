"""A canary by a route's weights: proved share by share, and from every crash point the same end, forward and back."""

from __future__ import annotations

from collections.abc import Callable
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
from segue.model.objects import Obj, Ref, annotations_of, copy_of
from segue.release.decision import Done, Stopped
from segue.release.laws import all_first_bounds, check_traces, let_go_bounds
from segue.release.memory import WEIGHTED
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from segue.release.weights import Weights
from segue.route.gateway import ANNOTATION
from segue.route.shares import WHOLE
from tests.laws.gateway_world import ROUTE, GatewayWorld
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, end_state, seen

STEPS = Weights(name="test", steps=(2000, WHOLE), margin=0.1)
PLAIN = Approach(strategy=WEIGHTED, route=STEPS)
HELD = Approach(strategy=WEIGHTED, route=STEPS, stops=("20%",), waits=False)
CHECKED = Approach(strategy=WEIGHTED, route=STEPS, checks=(Hook.of("true"),))


@dataclass
class Trial:
    """A world whose gateway leads to a version that serves, watched by the laws."""

    approach: Approach = PLAIN
    world: GatewayWorld = field(default_factory=lambda: GatewayWorld(rate=2000.0))

    def __post_init__(self) -> None:
        self.world.apply(manifest("v1"))
        self.world.open()
        self.world.run_for(3.0)
        self.rules = copy_of(self.world.route())["spec"]["rules"]
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

    def abort(self) -> Outcome:
        return self.world.drive(abort("default", "test", driver("other", dead=frozenset({"first"}))))

    def say(self, word: Word) -> Outcome | None:
        return self.world.drive(steer("default", "test", word, self.driver("somebody"))).outcome

    def killed(self, kill_at: int) -> None:
        with pytest.raises(Killed):
            self.world.drive(self.flow(self.driver()), kill_at=kill_at)
        self.judge.bounds = let_go_bounds(3, 3)
        self.world.run_for(7.0)

    def weights(self) -> dict[str, int]:
        return {ref["name"]: ref["weight"] for ref in self.world.route()["spec"]["rules"][-1]["backendRefs"]}

    def check(self, tag: str, when: str = "") -> None:
        self.world.run_for(3.0)
        assert self.judge.broken == [], when
        assert self.world.lost == 0, (when, self.world.lost_when[:3])
        assert check_traces(seen(self.world), self.world.leases()) == [], when
        assert self.world.images() == {tag}, when
        assert self.world.route()["spec"]["rules"] == self.rules, when
        assert ANNOTATION not in annotations_of(self.world.route()), when
        canary = Ref(resource="services", namespace="default", name="test-canary")
        assert self.world.store.get(canary) is None, when


def test_each_share_is_set_proved_and_followed_by_the_next() -> None:
    trial = Trial()
    seen_weights: list[dict[str, int]] = []

    def look(_: World) -> None:
        if not seen_weights or seen_weights[-1] != trial.weights():
            seen_weights.append(trial.weights())

    trial.world.watch.append(look)
    outcome = trial.release()

    assert isinstance(outcome.end, Done)
    assert seen_weights == [{"test": 1}, {"test": 4, "test-canary": 1}, {"test": 0, "test-canary": 1}, {"test": 1}]
    because = [entry.because for entry in outcome.journal.actions]
    assert any(one.startswith("20 % is proved within 10 points") for one in because)
    assert any(one.startswith("100 % is proved within 10 points") for one in because)
    trial.check("v2")


def test_it_holds_at_a_stop_and_goes_on_when_promoted_or_back() -> None:
    trial = Trial(HELD)
    held = trial.release()
    assert isinstance(held.end, Done)
    assert held.end.message.startswith("20 % of the requests reach the new version; segue promote test goes on")
    assert trial.weights() == {"test": 4, "test-canary": 1}
    outcome = trial.say("promote")
    assert outcome is not None
    assert isinstance(outcome.end, Done)
    trial.check("v2")

    given_up = Trial(HELD)
    given_up.release()
    assert isinstance(given_up.abort().end, Done)
    given_up.check("v1")


def test_a_check_that_fails_at_a_share_takes_all_back() -> None:
    trial = Trial(CHECKED)
    trial.world.verdict = Checked(passed=False, said="exit code 1")
    outcome = trial.release()
    assert isinstance(outcome.end, Stopped)
    assert "the check failed (exit code 1)" in outcome.end.message
    trial.check("v1")


def test_a_gateway_that_begins_anew_is_counted_anew() -> None:
    trial = Trial()
    trial.world.rate = 100.0
    restarts: list[float] = []

    def restart(world: World) -> None:
        if not restarts and trial.weights() == {"test": 4, "test-canary": 1} and trial.world.counted:
            restarts.append(world.clock.at_s)
            trial.world.restart_gateway()

    trial.world.watch.append(restart)
    assert isinstance(trial.release().end, Done)
    assert restarts
    trial.check("v2")


def test_what_somebody_else_writes_into_the_route_ends_the_release_and_survives_the_way_back() -> None:
    trial = Trial(HELD)
    trial.release()
    added: Obj = {"matches": [{"path": {"type": "PathPrefix", "value": "/other"}}]}
    added["backendRefs"] = [{"name": "test", "port": 10002}]
    route = copy_of(trial.world.route())
    route["spec"]["rules"].insert(0, added)
    trial.world.registry.update(ROUTE.resource, route)
    trial.world.run_for(1.0)
    outcome = trial.release()
    assert isinstance(outcome.end, Stopped)
    assert "somebody changed the rules of HTTPRoute test" in outcome.end.message
    assert isinstance(trial.abort().end, Done)
    paths = [rule["matches"][0]["path"]["value"] for rule in trial.world.route()["spec"]["rules"]]
    assert paths == ["/other", "/"]
    assert "test-canary" not in str(trial.world.route()["spec"])
    assert trial.world.lost == 0


def refusals() -> list[tuple[str, Callable[[Obj], None]]]:
    def sums_to_zero(route: Obj) -> None:
        route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 0

    def leads_elsewhere(route: Obj) -> None:
        route["spec"]["rules"][0]["backendRefs"][0]["name"] = "kubernetes"

    def unknown_backend(route: Obj) -> None:
        route["spec"]["rules"][0]["backendRefs"].append({"name": "nobody", "port": 80, "weight": 1})

    def no_gateway(route: Obj) -> None:
        route["spec"]["parentRefs"] = []

    def taken(route: Obj) -> None:
        note = '{"app":"other","canary":"c","pins":[],"rules":[],"share":1,"stable":"s"}'
        route["metadata"]["annotations"] = {ANNOTATION: note}

    return [
        ("sum up to 0", sums_to_zero),
        ("leads to kubernetes, and the pods are behind Service test", leads_elsewhere),
        ("there is no Service nobody", unknown_backend),
        ("no gateway has taken it over", no_gateway),
        ("is split by a release of other", taken),
    ]


@pytest.mark.parametrize(("said", "change"), refusals(), ids=lambda one: one if isinstance(one, str) else "")
def test_what_cannot_be_split_is_refused_before_anything_is_written(said: str, change: Callable[[Obj], None]) -> None:
    trial = Trial()
    route = copy_of(trial.world.route())
    change(route)
    trial.world.registry.update(ROUTE.resource, route)
    trial.world.run_for(1.0)
    version = trial.world.store.version
    with pytest.raises((Refused, Conflict), match=said):
        trial.release()
    assert trial.world.store.version == version


def test_a_route_that_is_not_there_is_refused() -> None:
    trial = Trial(Approach(strategy=WEIGHTED, route=Weights(name="other")))
    with pytest.raises(Refused, match="HTTPRoute other: there is none of this name in namespace default"):
        trial.release()


@pytest.mark.long
def test_from_every_crash_point_the_same_command_ends_the_same() -> None:
    whole = Trial()
    whole.release()
    writes = whole.world.requests
    whole.world.run_for(3.0)
    assert writes > 15
    for kill_at in range(writes):
        trial = Trial()
        trial.killed(kill_at)
        (outcome,) = trial.world.drive(trial.flow(trial.driver("second", "first")))
        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check("v2", f"killed before write {kill_at}")
        assert end_state(trial.world) == end_state(whole.world), f"killed before write {kill_at}"


@pytest.mark.long
def test_from_every_crash_point_before_the_switch_an_abort_goes_back() -> None:
    whole = Trial(HELD)
    whole.release()
    writes = whole.world.requests
    for kill_at in range(3, writes):
        trial = Trial(HELD)
        trial.killed(kill_at)
        outcome = trial.abort()
        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check("v1", f"killed before write {kill_at}")


@pytest.mark.full
def test_from_every_crash_point_of_the_way_back_an_abort_ends_it() -> None:
    whole = Trial(HELD)
    whole.release()
    whole.abort()
    writes = whole.world.requests
    for kill_at in range(writes):
        trial = Trial(HELD)
        trial.release()
        with pytest.raises(Killed):
            trial.world.drive(abort("default", "test", driver("first", dead=frozenset({"first"}))), kill_at=kill_at)
        trial.judge.bounds = let_go_bounds(3, 3)
        trial.world.run_for(7.0)
        assert isinstance(trial.abort().end, Done)
        trial.check("v1", f"killed before write {kill_at}")
