"""What a release promised its pods holds for whoever goes on with it, also where they ask for less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from segue.drain.judge import Policy
from segue.drive.command import release, retire, scale
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.superseding import inheriting
from segue.model.http import ApiRequest, ApiResponse
from segue.model.manifest import parse
from segue.model.objects import Obj, name_of
from segue.model.workloads import Deployment
from segue.release.decision import Done
from segue.release.memory import Memory, memory_of
from segue.release.plan import Approach
from segue.release.promised import PROPAGATION, promised
from tests.laws.release_world import Killed, World, driver, manifest

OUTBOUND = Approach(policy=Policy(outgoing=True))
MEMORY = Memory(id="r", kind="release", digest="d", begun_s=0.0)
Command = Callable[["Consumers", Driver], Flow[Outcome]]


def releasing(_: Consumers, driving: Driver) -> Flow[Outcome]:
    preparation = yield from prepare(parse(manifest("v2"), file="test.yaml"), "default", driving)
    return (yield from release(preparation, driving))[-1]


def scaling(_: Consumers, driving: Driver) -> Flow[Outcome]:
    return (yield from scale("default", "test", 2, driving))


def retiring(world: Consumers, driving: Driver) -> Flow[Outcome]:
    return (yield from retire("default", world.victim, driving))


class Consumers(World):
    """Nobody calls these pods; each has opened one connection itself, on which something moves all the time."""

    working = True
    victim = ""

    def _call(self, request: ApiRequest) -> ApiResponse:
        answer = super()._call(request)
        if self.working and request.path.endswith("/traffic") and answer.code == 200:
            moved = int((self.clock.at_s - 1_800_000_000.0) * 10)
            answer.body["listening"] = [10002]
            row: Obj = {"localPort": 40_000, "remote": "10.9.0.3", "remotePort": 5672, "state": "ESTABLISHED"}
            row |= {"bytesReceived": moved, "bytesSent": moved, "idleReceivedMs": 50, "idleSentMs": 50}
            answer.body["connections"] = [row]
        return answer


def consuming() -> Consumers:
    world = Consumers(rate=0.0)
    world.apply(manifest("v1"))
    world.run_for(5.0)
    world.victim = min(map(name_of, world.pods()))
    return world


def ends_after_s(world: World, outcome: Outcome, begun_s: float) -> list[float]:
    assert isinstance(outcome.end, Done), outcome.end
    return [end.at_s - begun_s for end in outcome.journal.ends]


@pytest.mark.parametrize("command", [releasing, scaling, retiring])
def test_outbound_is_kept_for_whoever_goes_on(command: Command) -> None:
    """Who was killed had asked for both directions; who goes on has not."""
    world = consuming()
    victim = command(world, replace(driver("first"), approach=OUTBOUND))
    with pytest.raises(Killed):
        world.drive(victim, kill_at=4)
    memory = memory_of(world.deployment()["metadata"]["annotations"])
    assert memory is not None
    assert memory.outgoing
    begun_s = world.clock.at_s
    outcome = world.drive(command(world, driver("second", dead=frozenset({"first"}))))

    assert {end.reason for end in outcome.journal.ends} == {"capped"}
    assert min(ends_after_s(world, outcome, begun_s)) >= Policy().cap_s - 5.0


@pytest.mark.parametrize("command", [releasing, scaling, retiring])
def test_who_has_not_asked_for_it_is_not_held_by_what_pods_open_themselves(command: Command) -> None:
    world = consuming()
    begun_s = world.clock.at_s
    outcome = world.drive(command(world, driver("first")))

    assert {end.reason for end in outcome.journal.ends} == {"timer"}
    assert max(ends_after_s(world, outcome, begun_s)) < Policy().cap_s


def test_it_ends_by_itself_when_the_work_is_done() -> None:
    world = consuming()
    begun_s = world.clock.at_s

    def look(seen: World) -> None:
        world.working = seen.clock.at_s < begun_s + 20.0

    world.watch.append(look)
    outcome = world.drive(retiring(world, replace(driver("first"), approach=OUTBOUND)))
    (ended_s,) = ends_after_s(world, outcome, begun_s)

    assert 20.0 <= ended_s < 30.0


def test_what_comes_next_inherits_it() -> None:
    assert inheriting(Approach(), MEMORY.but(outgoing=True)).policy.outgoing


# -- numbers -----------------------------------------------------------------------------------------------------------


def deployment(said: str = "", template: str = "") -> Deployment:
    pod: Obj = {"metadata": {"annotations": {PROPAGATION: template} if template else {}}}
    return Deployment(
        obj={
            "metadata": {"name": "web", "annotations": {PROPAGATION: said} if said else {}},
            "spec": {"template": pod},
        }
    )


@pytest.mark.parametrize(
    ("said", "template", "timer_s", "cap_s"),
    [
        ("", "", 5.0, 30.0),
        ("12", "", 12.0, 30.0),
        ("", "12", 12.0, 30.0),
        ("12", "20", 20.0, 40.0),
        ("1", "", 2.0, 30.0),
        ("45", "", 45.0, 90.0),
        *((wrong, "", 5.0, 30.0) for wrong in ("soon", "-3", "nan", "inf", "0", "4000")),
    ],
)
def test_the_propagation_time_is_what_the_app_says(said: str, template: str, timer_s: float, cap_s: float) -> None:
    found = promised(Policy(), None, deployment(said, template))

    assert (found.timer_s, found.cap_s) == (timer_s, cap_s)


def test_a_cap_that_somebody_said_holds() -> None:
    found = promised(Policy(cap_s=20.0), None, deployment("45"), cap_said=True)
    kept = promised(Policy(), MEMORY.but(cap_s=3.0), deployment("45"))

    assert (found.timer_s, found.cap_s) == (20.0, 20.0)
    assert (kept.timer_s, kept.cap_s) == (3.0, 3.0), "the cap of the release under way"


def test_a_new_version_may_say_it_first() -> None:
    found = promised(Policy(), None, deployment(), comes=[{PROPAGATION: "12"}])

    assert found.timer_s == 12.0
