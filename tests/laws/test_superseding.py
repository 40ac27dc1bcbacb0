"""A newer target while old pods of the last release still drain: nobody waits for them, and nobody cuts them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.drain.judge import Policy
from segue.drive.command import abort, release, undo
from segue.drive.driver import Driver
from segue.drive.flow import Flow, Progress
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.model.manifest import parse
from segue.model.objects import is_terminating, name_of
from segue.release.decision import Done
from segue.release.laws import Bounds, check_traces
from segue.release.plan import Approach
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, seen

CAP_S = 600.0
HANDOVER = Approach(strategy="handover", policy=Policy(cap_s=CAP_S))
SHORT = Approach(policy=Policy(cap_s=30.0))
# What the first release left behind drains beside both versions of the second one (and of what died replacements).
BOUNDS = Bounds(floor=3, ceiling=12)


class Trial:
    """v1 has been handed over to v2, whoever did it is gone, and one connection to an old pod lives on."""

    def __init__(self) -> None:
        self.world = World()
        self.world.apply(manifest("v1"))
        self.world.run_for(3.0)
        self.victim = name_of(self.world.pods()[0])
        self.world.held = {self.victim: 1}
        self.judge = Judge(BOUNDS)
        self.world.watch.append(self.judge)
        self.leaves_after("unpin", self.flow("v2", replace(driver("zeroth"), approach=HANDOVER)))
        self.world.run_for(15.0)

    def flow(self, tag: str, driving: Driver) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(manifest(tag), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def leaves_after(self, action: str, flow: Flow[tuple[Outcome, ...]]) -> None:
        asked = next(flow)
        while not (isinstance(asked, Progress) and asked.action.startswith(action)):
            asked = flow.send(self.world.answer(asked))
        flow.close()

    def driver(self, me: str) -> Driver:
        gone = frozenset({"zeroth", "first", "second"} - {me})
        return replace(driver(me, dead=gone), approach=SHORT)

    def is_gone(self) -> bool:
        pods = {name_of(pod): pod for pod in self.world.store.all_of("pods", "default")}
        return self.victim not in pods or is_terminating(pods[self.victim])

    def ends_the_connection(self, for_s: float) -> None:
        """When both versions of the newer release have long been what they are to be."""
        since_s = self.world.clock.at_s

        def look(world: World) -> None:
            if world.clock.at_s > since_s + for_s:
                world.held.clear()

        self.world.watch.append(look)

    def check(self, tag: str, when: str = "") -> None:
        self.world.run_for(3.0)
        assert self.judge.broken == [], when
        assert self.world.lost == 0, when
        assert self.world.images() == {tag}, when
        assert len(self.world.store.all_of("pods", "default")) == 3, when
        assert check_traces(seen(self.world), self.world.leases()) == [], when


def test_a_newer_release_begins_at_once_and_keeps_what_was_promised_to_old_connections() -> None:
    trial = Trial()
    trial.ends_the_connection(90.0)
    began_s = trial.world.clock.at_s
    outcomes = trial.world.drive(trial.flow("v3", trial.driver("first")))

    switched_s = max(entry.at_s for entry in outcomes[-1].journal.actions if entry.action.startswith("switch"))
    assert switched_s - began_s < 10
    assert trial.world.clock.at_s - began_s > 90  # the cap of the handover holds, not the shorter one of this release
    assert all(isinstance(outcome.end, Done) for outcome in outcomes)
    trial.check("v3")


def test_an_undo_does_not_wait_for_the_drains_either() -> None:
    trial = Trial()
    trial.ends_the_connection(60.0)
    outcome = trial.world.drive(undo("default", "test", None, trial.driver("first")))

    assert isinstance(outcome.end, Done)
    trial.check("v1")


@pytest.mark.parametrize(
    "kill_at", [each if each % 8 == 5 else pytest.param(each, marks=pytest.mark.full) for each in range(32)]
)
def test_killed_anywhere_the_newer_release_goes_on(kill_at: int) -> None:
    trial = Trial()
    trial.ends_the_connection(60.0)
    try:
        outcomes = trial.world.drive(trial.flow("v3", trial.driver("first")), kill_at=kill_at)
    except Killed:
        trial.world.run_for(12.0)
        assert not trial.is_gone(), "somebody is connected to it"
        outcomes = trial.world.drive(trial.flow("v3", trial.driver("second")))

    assert all(isinstance(outcome.end, Done) for outcome in outcomes), outcomes[-1].end
    trial.check("v3", f"killed before write {kill_at}")


def test_an_abort_says_that_there_is_nothing_warm_to_go_back_to() -> None:
    trial = Trial()
    trial.ends_the_connection(3.0)
    outcome = trial.world.drive(abort("default", "test", trial.driver("first")))

    assert isinstance(outcome.end, Done)
    assert outcome.end.message.startswith("Deployment test stays at its new version")
    assert outcome.end.message.endswith("segue undo test goes back")
    trial.check("v2")
