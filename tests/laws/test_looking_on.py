"""Who only looks on is told the steps, reasons and barriers of who drives, in the same order, and writes nothing."""

from __future__ import annotations

import re
from functools import cache

import msgspec
import pytest

from segue.cluster.api.results import Answer as ApiAnswer
from segue.drive.command import release
from segue.drive.flow import Answer, Calls, Flow
from segue.drive.journal import ActionEntry
from segue.drive.looking_on import Onlooker
from segue.drive.observe import Observer
from segue.drive.proposing import prepare
from segue.model.http import ApiRequest, ApiResponse
from segue.model.manifest import parse
from segue.release.memory import memory_of
from segue.release.plan import Approach
from segue.release.snapshot import Snapshot
from tests.laws.release_world import World, driver, manifest


def look(world: World, observer: Observer) -> Snapshot:
    """A look that takes no time and may only read."""
    flow = observer.observe()
    asked = next(flow)
    try:
        while True:
            assert isinstance(asked, Calls)
            responses = tuple(read(world, request) for request in asked.requests)
            asked = flow.send(Answer(now_s=world.clock.at_s, responses=responses))
    except StopIteration as end:
        seen: Snapshot = end.value
        return seen


def read(world: World, request: ApiRequest) -> ApiResponse:
    assert request.method == "GET", "an onlooker never writes"
    result = world.api.handle(request)
    assert isinstance(result, ApiAnswer)
    return ApiResponse(code=result.code, body=msgspec.json.decode(msgspec.json.encode(result.body)))


@cache
def watched(strategy: str, tag: str = "v2") -> tuple[Onlooker, tuple[ActionEntry, ...], set[str]]:
    """A release that somebody looks on at; what it did from the new template on, and all it waited for."""
    world, onlooker = World(), Onlooker()
    world.apply(manifest("v1"))
    world.run_for(3.0)
    observer = Observer(namespace="default", name="test", me="onlooker", holder_is_gone=lambda _: False)
    waits: set[str] = set()

    def see(_world: World) -> None:
        snapshot = look(world, observer)
        onlooker.see(snapshot, {})
        waits.add(onlooker.waits)

    world.watch.append(see)
    driving = driver("first", approach=Approach(strategy=strategy))

    def flow() -> Flow[tuple[ActionEntry, ...]]:
        preparation = yield from prepare(parse(manifest(tag), file="test.yaml"), "default", driving)
        outcome = (yield from release(preparation, driving))[0]
        return tuple(outcome.journal.actions)

    actions = world.drive(flow())
    assert memory_of(world.deployment()["metadata"].get("annotations") or {}) is None
    changed = next(index for index, one in enumerate(actions) if "change the template" in one.action)
    over = next(index for index, one in enumerate(actions) if one.action == "take the memory off the Deployment")
    return onlooker, actions[changed + 1 : over + 1], waits


STRATEGIES = ["all-first", pytest.param("ramped", marks=pytest.mark.long)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_steps_are_those_of_who_drives_in_their_order(strategy: str) -> None:
    onlooker, actions, _ = watched(strategy)
    told = [(step.action, step.because, step.barrier) for step in onlooker.steps]
    done = [(one.action, one.because, one.barrier) for one in actions]

    other = [(one, two) for one, two in zip(steps(told), steps(done), strict=True) if one != two]

    assert [row[0] for row in steps(told)] == [row[0] for row in steps(done)]
    # A write that met a conflict was decided anew, with the reason of then: at most once per pod.
    assert len(other) <= (3 if strategy == "ramped" else 0), other
    # Why a pod may end is told by its connections, which this onlooker does not look at.
    assert sorted(row[0] for row in told if is_end(row)) == sorted(row[0] for row in done if is_end(row))
    assert sum(map(is_end, told)) >= 3, "each old pod, and what Kubernetes had made in its place"


def steps(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [row for row in rows if not is_end(row)]


def is_end(row: tuple[str, str, str]) -> bool:
    return row[0].startswith("end pod ")


def test_what_is_waited_for_is_told_in_the_words_of_who_drives() -> None:
    onlooker, _, waits = watched("all-first")

    assert any(re.fullmatch(r"[012] of 3 new pods are Ready.*", one) for one in waits), waits
    assert "all 3 new pods are Ready" in waits
    assert onlooker.outline[0].startswith("Wait until the 3 pods of version ")
    assert "Switch Service test to the new version" in onlooker.outline
