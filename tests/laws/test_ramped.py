"""ramped and canary by pods: floor and ceiling of what the user wrote, from every crash point, and on the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from segue.analysis.values import Hook
from segue.drive.command import abort, release, restart, undo
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import steer
from segue.model.manifest import parse
from segue.model.objects import is_ready, is_terminating, labels_of, name_of
from segue.release.decision import Done, Stopped
from segue.release.laws import check_traces, ramped_bounds
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, end_state, seen

MONTH_S = 30 * 86_400.0


@dataclass(frozen=True)
class Case:
    """How many pods, how many at once, where it holds."""

    replicas: int = 3
    step: int = 1
    stops: tuple[str, ...] = ()

    @property
    def approach(self) -> Approach:
        return Approach(strategy="canary" if self.stops else "ramped", step=self.step, stops=self.stops, waits=False)

    def manifest(self, tag: str) -> str:
        return manifest(tag, self.replicas)

    def flow(self, tag: str, driving: Driver) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(self.manifest(tag), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def driver(self, me: str = "first", dead: str = "", timeout_s: float | None = None) -> Driver:
        return driver(me, dead=frozenset({dead}), approach=self.approach, timeout_s=timeout_s)


CASES = [
    Case(replicas=2),
    Case(),
    Case(replicas=1),
    Case(replicas=2, step=2),
    Case(replicas=5, step=2),
    Case(replicas=4, step=9),
]
NAMES = [f"{case.replicas} pods, {case.step} at once" for case in CASES]
ENUMERATED = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=pytest.mark.full if number else [])
        for number, (case, name) in enumerate(zip(CASES, NAMES, strict=True))
    ],
)


@dataclass
class Trial:
    """A world with a version that serves, watched by the laws."""

    case: Case
    world: World = field(default_factory=World)
    judge: Judge = field(init=False)

    dies: bool = False

    def __post_init__(self) -> None:
        self.world.apply(self.case.manifest("v1"))
        self.world.run_for(3.0)
        step = min(self.case.step, self.case.replicas)
        bounds = ramped_bounds(self.case.replicas, step)
        if self.dies:  # what has left traffic when a run dies is replaced, and drains on
            bounds = replace(bounds, ceiling=bounds.ceiling + step)
        self.judge = Judge(bounds)
        self.world.watch.append(self.judge)

    def release(self, kill_at: int | None = None) -> Outcome:
        """The release, killed before its write number `kill_at` and run again."""
        try:
            return self.world.drive(self.case.flow("v2", self.case.driver()), kill_at=kill_at)[0]
        except Killed:
            self.world.run_for(7.0)
            return self.world.drive(self.case.flow("v2", self.case.driver("second", "first")))[0]

    def abort(self, dead: str = "first") -> Outcome:
        return self.world.drive(abort("default", "test", self.case.driver("third", dead)))

    def check(self, when: str = "") -> None:
        """No law broken, nothing lost, no trace left."""
        self.world.run_for(3.0)
        assert self.judge.broken == [], when
        assert self.world.lost == 0, when
        assert check_traces(seen(self.world), self.world.leases()) == [], when

    def counts(self) -> tuple[int, int]:
        """Ready pods of v1 and of v2 that a Service reaches."""
        images = [pod["spec"]["containers"][0]["image"][-2:] for pod in self.world.pods() if is_ready(pod)]
        return images.count("v1"), images.count("v2")


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_ramped_release_keeps_its_floor_and_its_ceiling(case: Case) -> None:
    trial = Trial(case)
    outcome = trial.release()

    assert isinstance(outcome.end, Done)
    assert trial.world.images() == {"v2"}
    assert len([end for end in outcome.journal.ends if end.reason == "quiet"]) == case.replicas
    trial.check()


@ENUMERATED
@pytest.mark.long
def test_from_every_crash_point_the_same_command_ends_the_same(case: Case) -> None:
    whole = Trial(case)
    whole.release()
    writes = whole.world.requests
    whole.world.run_for(3.0)
    assert writes > 8
    for kill_at in range(writes):
        trial = Trial(case, dies=True)
        outcome = trial.release(kill_at)

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check(f"killed before write {kill_at}")
        assert end_state(trial.world) == end_state(whole.world), f"killed before write {kill_at}"


@ENUMERATED
@pytest.mark.long
def test_from_every_crash_point_it_can_be_taken_back(case: Case) -> None:
    whole = Trial(case)
    before = end_state(whole.world)
    whole.release()
    for kill_at in range(whole.world.requests):
        trial = Trial(case, dies=True)
        with pytest.raises(Killed):
            trial.world.drive(case.flow("v2", case.driver()), kill_at=kill_at)
        trial.world.run_for(7.0)
        outcome = trial.abort()

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check(f"killed before write {kill_at}")
        after = end_state(trial.world)
        if trial.world.images() == {"v1"}:  # once no old pod is left the way out is forward
            assert after == before, f"killed before write {kill_at}"


@pytest.mark.full
@ENUMERATED
def test_an_abort_that_is_killed_anywhere_is_taken_up_again(case: Case) -> None:
    def stopped_in_the_middle() -> Trial:
        trial = Trial(case, dies=True)
        with pytest.raises(Killed):
            trial.world.drive(case.flow("v2", case.driver()), kill_at=8 if case.replicas <= case.step else 12)
        trial.world.run_for(1.0)
        return trial

    whole = stopped_in_the_middle()
    whole.world.drive(abort("default", "test", case.driver("second", "first")))
    for kill_at in range(whole.world.requests):
        trial = stopped_in_the_middle()
        with pytest.raises(Killed):
            trial.world.drive(abort("default", "test", case.driver("second", "first")), kill_at=kill_at)
        trial.world.run_for(7.0)
        outcome = trial.abort("second" if kill_at else "first")

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        trial.check(f"killed before write {kill_at}")
        assert trial.world.images() == {"v1"}, f"killed before write {kill_at}"


def test_pods_that_never_become_ready_stop_it_and_are_taken_back() -> None:
    case = Case()
    trial = Trial(case)
    trial.world.broken = frozenset({"host.org/images/grace:v2"})
    (outcome,) = trial.world.drive(case.flow("v2", case.driver(timeout_s=2.0)))

    assert isinstance(outcome.end, Stopped)
    assert outcome.end.message.startswith("0 of 1 new pods are Ready after 2 s")
    assert "segue abort" in outcome.end.remedy
    assert isinstance(trial.abort().end, Done)
    trial.check()
    assert trial.world.images() == {"v1"}


def test_the_idlest_pod_goes_first_and_a_busy_one_last() -> None:
    case = Case(replicas=4)
    trial = Trial(case)
    names = sorted(name_of(pod) for pod in trial.world.pods())
    trial.world.held = dict(zip(names, (2, 0, 3, 1), strict=True))
    ends = trial.release().journal.ends

    assert [names.index(end.pod) for end in ends] == [1, 3, 0, 2]
    assert [end.reason for end in ends] == ["quiet", "capped", "capped", "capped"]
    trial.check()


@pytest.mark.parametrize("word", ["undo", "restart"])
def test_an_undo_and_a_restart_can_be_ramped(word: str) -> None:
    case = Case()
    trial = Trial(case)
    trial.release()
    trial.world.run_for(3.0)
    before = {name_of(pod) for pod in trial.world.pods()}
    flow = undo("default", "test", None, case.driver()) if word == "undo" else restart("default", "test", case.driver())
    outcome = trial.world.drive(flow)

    assert isinstance(outcome.end, Done)
    assert len(outcome.journal.ends) == 3
    assert not any(entry.action.startswith("pin") for entry in outcome.journal.actions)
    trial.check()
    assert trial.world.images() == ({"v1"} if word == "undo" else {"v2"})
    assert not before & {name_of(pod) for pod in trial.world.pods()}


# -- stops -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stops", "counts"),
    [(("1",), [(10, 1)]), (("1", "50%"), [(10, 1), (6, 5)]), (("20%", "100%"), [(10, 2), (2, 10)])],
    ids=["one pod", "one, then half", "two, then all"],
)
def test_a_canary_holds_where_it_was_told_to(stops: tuple[str, ...], counts: list[tuple[int, int]]) -> None:
    case = Case(replicas=10, step=2, stops=stops)
    trial = Trial(case)
    outcome = trial.release()
    for wanted in counts:
        assert isinstance(outcome.end, Done)
        assert outcome.end.held
        assert "segue promote test" in outcome.end.message
        trial.world.run_for(1.0)
        assert trial.counts() == wanted
        steered = trial.world.drive(steer("default", "test", "promote", case.driver("somebody")))
        assert steered.outcome is not None
        outcome = steered.outcome

    assert isinstance(outcome.end, Done)
    assert not outcome.end.held
    assert trial.world.images() == {"v2"}
    trial.check()


def test_a_check_at_each_stop_promotes_it_or_takes_all_back() -> None:
    case = Case(replicas=4, stops=("1", "2"))
    asked = replace(case.approach, checks=(Hook.of("true"),), waits=True)
    good = Checked(passed=True, said="fine")

    passing = Trial(case)
    passing.world.verdict = good
    (outcome,) = passing.world.drive(case.flow("v2", driver("first", approach=asked)))
    assert isinstance(outcome.end, Done)
    assert [one.evidence for one in outcome.journal.actions if one.action.startswith("run the check")] == [
        "passed (fine)",
        "passed (fine)",
    ]
    passing.check()
    assert passing.world.images() == {"v2"}

    failing = Trial(case)
    failing.world.verdict, failing.world.later = good, (Checked(passed=False, said="exit code 1: slow"),)
    most = [0]
    failing.world.watch.append(lambda _: most.__setitem__(0, max(most[0], failing.counts()[1])))
    (outcome,) = failing.world.drive(case.flow("v2", driver("first", approach=asked)))
    assert isinstance(outcome.end, Stopped)
    assert outcome.end.message.startswith("the check failed (exit code 1: slow); Deployment test is at version")
    failing.check()
    assert failing.world.images() == {"v1"}
    assert most == [2]


# -- what others do ----------------------------------------------------------------------------------------------------


def scale_to(count: int) -> Callable[[World], None]:
    def act(world: World) -> None:
        body = {"spec": {"replicas": count}}
        path = "/apis/apps/v1/namespaces/default/deployments/test"
        world.call("PATCH", path, body, "application/merge-patch+json")

    return act


def delete_a_pod_that_leaves(world: World) -> None:
    out = [pod for pod in world.store.all_of("pods", "default") if "segue.dev/orphan-of" in labels_of(pod)]
    for pod in out[:1]:
        if not is_terminating(pod):
            world.call("DELETE", f"/api/v1/namespaces/default/pods/{name_of(pod)}")


@pytest.mark.parametrize("act", [scale_to(5), delete_a_pod_that_leaves], ids=["scaled up", "an orphan deleted"])
@pytest.mark.parametrize("offset_s", [0.3, 0.9, 1.5, 2.5, 3.4, 6.0])
def test_what_others_do_meanwhile_loses_nothing(act: Callable[[World], None], offset_s: float) -> None:
    trial = Trial(Case())
    due_s = trial.world.clock.at_s + offset_s
    done: list[bool] = []

    def look(world: World) -> None:
        if not done and world.clock.at_s >= due_s:
            done.append(True)
            act(world)

    trial.world.watch.append(look)
    outcome = trial.release()
    trial.world.run_for(3.0)

    assert isinstance(outcome.end, Done)
    assert done
    assert trial.world.lost == 0
    assert trial.world.images() == {"v2"}
    assert [one.law for one in trial.judge.broken if one.law != "ceiling"] == []
    assert check_traces(seen(trial.world), trial.world.leases()) == []
