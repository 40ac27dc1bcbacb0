"""Any order of commands, deaths and words of other shells, by every strategy: nothing is lost, and it ends clean.

What others do is limited to what loses nothing by itself: they scale up, delete pods that no Service reaches, pause and
promote. A death may come before any write of any command.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from segue.analysis.values import Hook
from segue.drive.command import abort, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import Word, steer
from segue.model.errors import Refused
from segue.model.manifest import parse
from segue.model.objects import is_ready, is_terminating, name_of
from segue.release.decision import Done
from segue.release.laws import check_traces
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import seen

APPROACHES = {
    "all-first": Approach(strategy="all-first", waits=False),
    "ramped": Approach(strategy="ramped", step=1, waits=False),
    "ramped, two at once": Approach(strategy="ramped", step=2, waits=False),
    "canary": Approach(strategy="canary", stops=("1", "50%"), waits=False),
    "blue-green": Approach(strategy="blue-green", waits=False),
    "blue-green, checked": Approach(
        strategy="blue-green", checks=(Hook.of("true"),), preview="test-preview", waits=False
    ),
    "handover": Approach(strategy="handover", waits=False),
}
KILLS = st.one_of(st.none(), st.integers(0, 40))
MOST = 6


class Releases(RuleBasedStateMachine):
    """One Deployment, one user, several shells."""

    @initialize(
        replicas=st.integers(1, 4),
        start_s=st.sampled_from([0.3, 0.8, 2.0]),
        lag_s=st.sampled_from([0.0, 0.1, 1.0]),
    )
    def serve(self, replicas: int, start_s: float, lag_s: float) -> None:
        self.world = World(start_s=start_s, lag_s=lag_s)
        self.world.apply(manifest("v1", replicas))
        self.world.run_for(3.0)
        self.world.verdict = Checked(passed=True, said="fine")
        self.number, self.drivers = 1, 0
        self.approach = APPROACHES["all-first"]
        self.under_way = False
        self.aborting = False

    # -- commands ------------------------------------------------------------------------------------------------------

    def _driver(self) -> Driver:
        self.drivers += 1
        dead = frozenset(f"shell-{number}" for number in range(self.drivers))
        made = driver(f"shell-{self.drivers}", dead=dead, approach=self.approach)
        return replace(made, holder_is_gone=lambda holder: holder in dead)

    def _release(self, driving: Driver) -> Flow[tuple[Outcome, ...]]:
        # A manifest without replicas: whoever scales owns the number
        text = manifest(f"v{self.number}").replace("  replicas: 3\n", "")
        preparation = yield from prepare(parse(text, file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def _run(self, flow: Flow[tuple[Outcome, ...]], kill_at: int | None) -> Outcome | None:
        try:
            (outcome,) = self.world.drive(flow, kill_at=kill_at)
        except Killed:
            return None
        assert isinstance(outcome.end, Done), outcome.end
        return outcome

    @precondition(lambda self: not self.under_way)
    @rule(name=st.sampled_from(sorted(APPROACHES)), kill_at=KILLS)
    def begin(self, name: str, kill_at: int | None) -> None:
        self.approach, self.number, self.aborting = APPROACHES[name], self.number + 1, False
        outcome = self._run(self._release(self._driver()), kill_at)
        self.under_way = outcome is None or not outcome.goes_on

    @precondition(lambda self: self.under_way and not self.aborting)
    @rule(kill_at=KILLS)
    def go_on(self, kill_at: int | None) -> None:
        outcome = self._run(self._release(self._driver()), kill_at)
        self.under_way = outcome is None or not outcome.goes_on

    @precondition(lambda self: self.under_way)
    @rule(kill_at=KILLS)
    def give_up(self, kill_at: int | None) -> None:
        outcome = self._run(self._aborted(), kill_at)
        self.aborting = self.under_way = outcome is None

    def _aborted(self) -> Flow[tuple[Outcome, ...]]:
        outcome = yield from abort("default", "test", self._driver())
        return (outcome,)

    @precondition(lambda self: self.under_way and not self.aborting)
    @rule(word=st.sampled_from(["pause", "resume", "promote", "promote-full"]))
    def say(self, word: Word) -> None:
        with suppress(Refused):
            self._say(word)

    def _say(self, word: Word) -> None:
        steered = self.world.drive(steer("default", "test", word, self._driver()))
        if steered.outcome is not None:
            assert isinstance(steered.outcome.end, Done), steered.outcome.end
            self.under_way = not steered.outcome.goes_on

    # -- others --------------------------------------------------------------------------------------------------------

    @rule()
    def scale_up(self) -> None:
        count = min(MOST, self.world.deployment()["spec"]["replicas"] + 1)
        path = "/apis/apps/v1/namespaces/default/deployments/test"
        self.world.call("PATCH", path, {"spec": {"replicas": count}}, "application/merge-patch+json")
        self.world.run_for(0.3)

    @rule()
    def delete_an_idle_pod(self) -> None:
        self.world.run_for(3.0)
        idle = [
            pod
            for pod in self.world.store.all_of("pods", "default")
            if name_of(pod) not in self.world.backends() | self.world.endpoints() and not is_terminating(pod)
        ]
        for pod in idle[:1]:
            self.world.call("DELETE", f"/api/v1/namespaces/default/pods/{name_of(pod)}")

    @rule(for_s=st.sampled_from([0.2, 1.0, 12.0]))
    def wait(self, for_s: float) -> None:
        self.world.run_for(for_s)

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "world"):
            assert self.world.lost == 0, self.world.lost_when[:3]

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        if self.aborting:
            self._run(self._aborted(), None)
        elif self.under_way:
            self.approach = replace(self.approach, stops=(), strategy="", checks=())
            self._finish()
        self.world.run_for(6.0)
        self.nothing_is_lost()
        assert check_traces(seen(self.world), self.world.leases()) == []
        ready = [pod for pod in self.world.pods() if is_ready(pod) and not is_terminating(pod)]
        assert len(ready) == self.world.deployment()["spec"]["replicas"]
        assert len(self.world.images()) == 1

    def _finish(self) -> None:
        """The same command again, promoted as often as it holds."""
        for _ in range(6):
            if not self.under_way:
                return
            outcome = self._run(self._release(self._driver()), None)
            assert outcome is not None
            self.under_way = not outcome.goes_on
            if not self.under_way:
                return
            words: tuple[Word, ...] = ("promote-full", "resume")
            for word in words:
                with suppress(Refused):  # there is no stop, or only the command itself knows what is to be reached
                    self._say(word)
        raise AssertionError("it never ends")


def run(examples: int) -> None:
    run_state_machine_as_test(
        Releases,
        settings=settings(
            max_examples=examples,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_any_order_of_commands_and_deaths_loses_nothing() -> None:
    run(12)


@pytest.mark.full
def test_any_order_of_commands_and_deaths_loses_nothing_many_times() -> None:
    run(250)
