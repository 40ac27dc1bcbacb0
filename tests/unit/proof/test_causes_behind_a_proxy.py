"""Causes in loopback mode: a proxy accepts before it asks the pod, so a pod's refusal reaches the client as a reset."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from segue.load.outcome import Outcome, Phase
from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.causes import CauseKind, ToldBy, explain
from segue.proof.sentences import sentence
from segue.proof.timeline import Timeline
from tests.unit.proof.cause_world import (
    CLIENT,
    IP,
    RECIPES,
    SERVICE,
    T0,
    VICTIM,
    Case,
    World,
    address_gone,
    closed_first,
    crashed,
    killed_from_outside,
    liveness_kill,
    play,
    queue_reset,
    ready_too_early,
    ready_too_early_again,
    request,
    terminate,
)

REFUSING = (
    closed_first,
    killed_from_outside,
    crashed,
    liveness_kill,
    ready_too_early,
    ready_too_early_again,
    address_gone,
)


def told(world: World, record: Record, given_s: float, error: str = "") -> None:
    """The proxy's own word on a connection."""
    data = {"src_ip": CLIENT, "src_port": record.local_port, "ip": IP, "port": 10002}
    world.rows.append(Happening(at_s=given_s, what=What.FLOW, data=data | ({"error": error} if error else {})))


def proxied(recipe: Callable[[World], Case], seed: int) -> tuple[Record, Timeline] | None:
    """The recipe's refusal as it looks behind a proxy; None where the recipe made something else of it."""
    world = World(random.Random(seed))
    world.decoys()
    refused, _ = recipe(world)
    if refused.outcome is not Outcome.CONNECT_REFUSED:
        return None
    waited_s = world.jitter(0.0, 0.04)  # in the proxy's own queue, on a busy machine
    seen, phase = world.chance.choice(
        [(Outcome.RESET_BEFORE_ANSWER, Phase.WAIT), (Outcome.CONNECT_RESET, Phase.CONNECT)]
    )
    record = msgspec.structs.replace(
        refused,
        outcome=seen,
        phase=phase,
        opened_s=refused.opened_s - waited_s,
        sent_s=refused.opened_s - waited_s + 0.0002 if phase is Phase.WAIT else 0.0,
        done_s=refused.opened_s + world.jitter(0.0, 0.03),
    )
    told(world, record, refused.opened_s, "ECONNREFUSED")
    world.chance.shuffle(world.rows)
    return record, Timeline(world.rows, service=SERVICE)


@pytest.mark.parametrize("recipe", REFUSING, ids=lambda recipe: recipe.__name__)
def test_a_refusal_passed_on_as_a_reset_has_the_cause_of_the_refusal(recipe: Callable[[World], Case]) -> None:
    """Seen as `unknown` (the process had ended long before) and as a reset queue (it had just closed)."""
    cases = [case for seed in range(60) if (case := proxied(recipe, seed)) is not None]
    found = [explain(record, timeline) for record, timeline in cases]

    assert len(found) >= 10
    assert {(cause.kind, cause.pod, cause.told_by) for cause in found} == {
        (RECIPES[recipe], f"default/{VICTIM}", ToldBy.FLOW)
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_reset_after_the_pods_own_handshake_is_still_the_queues(seed: int) -> None:
    record, timeline = play(queue_reset, seed, flows=True)

    assert explain(record, timeline).kind is CauseKind.QUEUE_RESET


@pytest.mark.parametrize("gap_s", [0.001, 0.01, 0.029])
def test_a_refusal_just_after_the_exit_is_no_request_under_way(gap_s: float) -> None:
    """Seen as `ended-with-work`, within the slack of the exit's own measurement."""
    world = World(random.Random(4))
    world.born(VICTIM, IP, T0 - 30)
    closed = terminate(world, T0 + 10, works_s=0.003)
    begin = closed + 0.003 + gap_s
    record = request(Outcome.RESET_BEFORE_ANSWER, begin, begin + 0.001)
    told(world, record, begin + 0.0003, "ECONNREFUSED")

    assert explain(record, Timeline(world.rows, service=SERVICE)).kind is CauseKind.LISTENER_CLOSED_FIRST


def test_a_client_that_waited_in_the_proxys_queue_is_judged_by_when_the_pod_was_asked() -> None:
    """It connected while all was well; the pod had gone when its turn came."""
    world = World(random.Random(4))
    world.born(VICTIM, IP, T0 - 30)
    terminate(world, T0 + 10, lag_s=0.5, works_s=0.003)
    gone = next(row.at_s for row in world.rows if row.what is What.SANDBOX_REMOVED and row.pod.endswith(VICTIM))
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 9.9, gone + 0.2)
    told(world, record, gone + 0.1, "ECONNREFUSED")

    assert explain(record, Timeline(world.rows, service=SERVICE)).kind is CauseKind.ADDRESS_GONE


@pytest.mark.parametrize("error", ["ECONNREFUSED", "EMFILE"])
def test_a_failure_that_no_time_of_the_pod_explains_stays_unknown(error: str) -> None:
    """A healthy pod that refuses, and a proxy that fails by itself."""
    world = World(random.Random(4))
    world.born(VICTIM, IP, T0 - 30)
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 3, T0 + 3.001)
    told(world, record, T0 + 3.0005, error)

    assert explain(record, Timeline(world.rows, service=SERVICE)).kind is CauseKind.UNKNOWN


def test_a_full_queue_behind_the_proxy_is_overload() -> None:
    world = World(random.Random(4))
    world.born(VICTIM, IP, T0 - 30)
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 3, T0 + 10)
    told(world, record, T0 + 3.0005, "ETIMEDOUT")

    assert explain(record, Timeline(world.rows, service=SERVICE)).kind is CauseKind.OVERLOAD


def test_the_sentence_says_that_the_pod_refused() -> None:
    world = World(random.Random(3))
    world.born("test-abc", IP, T0 - 30)
    world.at(T0 + 12.023, What.SIGTERM_SENT, "test-abc")
    world.at(T0 + 12.034, What.LISTENER_CLOSED, "test-abc", port=10002, not_before_s=T0 + 12.03)
    world.at(T0 + 12.871, What.RULE_REMOVED, "test-abc", service=SERVICE, ip=IP, node="node")
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 12.31, T0 + 12.3104)
    told(world, record, T0 + 12.3102, "ECONNREFUSED")

    words = sentence(record, explain(record, Timeline(world.rows, service=SERVICE)), T0)

    assert words == (
        "pod test-abc closed its listener at 12.034 s, 11 ms after SIGTERM; node's rules sent connections to it until "
        "12.871 s; this connection was given to it at 12.310 s and refused by it"
    )
