"""Several Deployments behind one barrier: all of them switch, or none; killed anywhere it ends the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from segue.analysis.values import Hook
from segue.drive.command import abort_group, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.groups import steer_group
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.model.errors import Refused
from segue.model.manifest import parse
from segue.model.objects import Ref, labels_of, name_of
from segue.model.workloads import HASH_LABEL
from segue.release.decision import Done, Stopped
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest

NAMES = ("test", "side")


def both(tag: str, side: str = "") -> str:
    """Two workloads of one manifest, each with its Service."""
    first = manifest(tag, 2)
    second = manifest(side or tag, 2).replace("name: test", "name: side").replace("app/name: test", "app/name: side")
    return f"{first}---{second}"


V1 = frozenset({"v1"})


@dataclass
class Trial:
    """Two workloads that serve; which versions their Services reach is looked at in every tick."""

    approach: Approach = Approach(together=True)  # noqa: RUF009 - frozen
    world: World = field(default_factory=World)
    reached: list[tuple[frozenset[str], frozenset[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.rate = 0.0
        for document in parse(both("v1"), file="test.yaml"):
            plural = "deployments" if document.kind == "Deployment" else "services"
            root = "/apis/apps/v1" if document.kind == "Deployment" else "/api/v1"
            self.world.call("POST", f"{root}/namespaces/default/{plural}", document.obj)
        self.world.run_for(5.0)
        self.world.watch.append(self.look)

    def look(self, _: World) -> None:
        first, second = (self.versions(name) for name in NAMES)
        assert first, "test has no endpoint"
        assert second, "side has no endpoint"
        self.reached.append((first, second))

    def versions(self, name: str) -> frozenset[str]:
        """Tags that a Service's ready endpoints run."""
        pods = {name_of(pod): pod for pod in self.world.store.all_of("pods", "default")}
        return frozenset(
            pods[one]["spec"]["containers"][0]["image"].rpartition(":")[2]
            for one in self.world.endpoints(name)
            if one in pods
        )

    def driver(self, me: str = "first") -> Driver:
        return replace(driver(me, dead=frozenset({"first"} - {me}), timeout_s=5.0), approach=self._approach())

    def _approach(self) -> Approach:
        return replace(self.approach, timeout_s=5.0)

    def flow(self, text: str, driving: Driver) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(text, file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    def release(self, text: str, *, me: str = "first", kill_at: int | None = None) -> tuple[Outcome, ...]:
        return self.world.drive(self.flow(text, self.driver(me)), kill_at=kill_at)

    def settles_at(self, tag: str, when: str = "") -> None:
        self.world.run_for(3.0)
        for name in NAMES:
            found = self.world.store.get(Ref(resource="deployments.apps", namespace="default", name=name))
            service = self.world.store.get(Ref(resource="services", namespace="default", name=name))
            assert found is not None
            assert service is not None
            assert found["spec"]["template"]["spec"]["containers"][0]["image"].endswith(tag), f"{name} {when}"
            assert "segue.dev/release" not in (found["metadata"].get("annotations") or {}), when
            assert HASH_LABEL not in service["spec"]["selector"], when
            assert self.versions(name) == {tag}, when
        assert len(self.world.store.all_of("pods", "default")) == 4, when
        assert self.world.leases() == [], when


def ends(outcomes: tuple[Outcome, ...]) -> list[bool]:
    return [isinstance(outcome.end, Done) and not outcome.end.held for outcome in outcomes]


def test_no_member_switches_before_all_are_up() -> None:
    trial = Trial()
    trial.world.start_s = 2.0
    outcomes = trial.release(both("v2"))

    assert ends(outcomes) == [True, True]
    trial.settles_at("v2")
    switched = [index for index, (first, second) in enumerate(trial.reached) if "v2" in first | second]
    pods = {labels_of(pod)[HASH_LABEL] for pod in trial.world.store.all_of("pods", "default")}
    assert switched
    assert len(pods) == 2
    apart_s = sum("v2" in (first ^ second) for first, second in trial.reached) * 0.02
    assert apart_s < 0.5, "they switch at the same time"


@pytest.mark.parametrize("broken", [("broken", "v2"), ("v2", "broken")])
def test_when_one_cannot_start_all_are_taken_back_and_none_has_switched(broken: tuple[str, str]) -> None:
    trial = Trial()
    outcomes = trial.release(both(*broken))

    assert isinstance(outcomes[-1].end, Stopped)
    assert "Ready" in outcomes[-1].end.message
    assert all(first == second == {"v1"} for first, second in trial.reached)
    trial.settles_at("v1")


def test_one_check_is_run_for_all_and_takes_all_back() -> None:
    trial = Trial(Approach(together=True, checks=(Hook(kind="command", text="true"),)))
    trial.world.verdict = Checked(passed=False, said="exit code 1")
    outcomes = trial.release(both("v2"))

    assert isinstance(outcomes[-1].end, Stopped)
    assert outcomes[-1].end.message.startswith("the check failed (exit code 1)")
    assert all(first == second == {"v1"} for first, second in trial.reached)
    trial.settles_at("v1")


def test_blue_green_holds_and_one_word_promotes_all() -> None:
    trial = Trial(Approach(together=True, strategy="blue-green", waits=False))
    held = trial.release(both("v2"))
    trial.world.run_for(5.0)
    before = trial.reached[-1]
    steered = trial.world.drive(steer_group("default", "side", "promote", trial.driver()))

    assert [isinstance(one.end, Done) and one.end.held for one in held] == [True, True]
    assert before == (V1, V1)
    assert len(steered) == 2
    trial.settles_at("v2")


def test_one_abort_takes_all_back() -> None:
    trial = Trial(Approach(together=True, strategy="blue-green", waits=False))
    trial.release(both("v2"))
    outcomes = trial.world.drive(abort_group("default", "test", trial.driver()))

    assert ends(outcomes) == [True, True]
    trial.settles_at("v1")


def test_a_member_that_is_there_already_is_no_obstacle() -> None:
    trial = Trial()
    outcomes = trial.release(both("v1", "v2"))
    trial.world.run_for(3.0)

    assert ends(outcomes) == [True, True]
    assert (trial.versions("test"), trial.versions("side")) == (V1, frozenset({"v2"}))


@pytest.mark.parametrize("strategy", ["ramped", "canary", "recreate"])
def test_what_mixes_versions_has_no_common_barrier(strategy: str) -> None:
    with pytest.raises(Refused, match="there is no moment at which all members hold"):
        Trial(Approach(together=True, strategy=strategy)).release(both("v2"))


def writes_of(tag: str) -> int:
    trial = Trial()
    trial.release(both(tag))
    return trial.world.requests


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.full), pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.long
def test_killed_before_any_write_the_same_command_ends_the_same(part: int) -> None:
    writes = writes_of("v2")
    assert writes > 30
    for kill_at in range(part, writes, 3):
        trial = Trial()
        with pytest.raises(Killed):
            trial.release(both("v2"), kill_at=kill_at)
        trial.world.run_for(12.0)
        outcomes = trial.release(both("v2"), me="second")

        assert all(ends(outcomes)), f"killed before write {kill_at}: {[one.end for one in outcomes]}"
        trial.settles_at("v2", f"killed before write {kill_at}")
