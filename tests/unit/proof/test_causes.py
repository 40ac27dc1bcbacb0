"""Causes against a made-up truth: what was done to the world is what must be found."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from segue.load.outcome import Outcome
from segue.model.timeline import Happening, What
from segue.proof.causes import CauseKind, ToldBy, explain, explain_all
from segue.proof.sentences import sentence
from segue.proof.timeline import Timeline
from tests.unit.proof.cause_world import CLIENT, IP, RECIPES, SERVICE, T0, VICTIM, Case, World, play, request, terminate


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_with_its_flow_every_error_finds_its_cause_and_its_pod(recipe: Callable[[World], Case], seed: int) -> None:
    record, timeline = play(recipe, seed, flows=True)

    cause = explain(record, timeline)

    assert (cause.kind, cause.pod, cause.told_by) == (RECIPES[recipe], f"default/{VICTIM}", ToldBy.FLOW)
    assert sentence(record, cause, T0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_without_flows_the_times_alone_still_tell_the_cause(recipe: Callable[[World], Case], seed: int) -> None:
    record, timeline = play(recipe, seed, flows=False)

    cause = explain(record, timeline)

    assert cause.kind is RECIPES[recipe]
    assert cause.pod in ("", f"default/{VICTIM}")


def test_a_blind_mixture_keeps_precision_and_recall_at_99_percent() -> None:
    chance = random.Random(4711)
    right = unknown = 0
    total = 1000
    for seed in range(total):
        recipe = chance.choice(list(RECIPES))
        record, timeline = play(recipe, seed + 10_000, flows=chance.random() < 0.7)
        kind = explain(record, timeline).kind
        right += kind is RECIPES[recipe]
        unknown += kind is CauseKind.UNKNOWN

    assert right >= 0.99 * total
    assert unknown <= 0.01 * total


@pytest.mark.parametrize("seed", range(20))
def test_a_reset_in_a_healthy_cluster_stays_unknown(seed: int) -> None:
    world = World(random.Random(seed))
    world.decoys()
    world.born(VICTIM, IP, T0 - 30)
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 12, T0 + 12.001)
    world.flow(record, IP)

    assert explain(record, Timeline(world.rows)).kind is CauseKind.UNKNOWN


@pytest.mark.parametrize("seed", range(20))
def test_a_refusal_by_a_pod_that_listens_stays_unknown(seed: int) -> None:
    world = World(random.Random(seed))
    world.born(VICTIM, IP, T0 - 30)
    record = request(Outcome.CONNECT_REFUSED, T0 + 12, T0 + 12.001)
    world.flow(record, IP)

    assert explain(record, Timeline(world.rows)).kind is CauseKind.UNKNOWN


@pytest.mark.parametrize("seed", range(20))
def test_without_any_rule_a_refusal_means_no_endpoint(seed: int) -> None:
    world = World(random.Random(seed))
    world.born(VICTIM, IP, T0 - 30)
    closed = terminate(world, T0 + 10, lag_s=0.3)
    begin = closed + 0.5 + world.jitter(0, 3)
    record = request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter())

    assert explain(record, Timeline(world.rows, service=SERVICE)).kind is CauseKind.NO_ENDPOINT


def test_rules_of_another_service_do_not_count() -> None:
    world = World(random.Random(1))
    world.born(VICTIM, IP, T0 - 30)
    record = request(Outcome.CONNECT_REFUSED, T0 + 1, T0 + 1.001)

    assert explain(record, Timeline(world.rows, service="default/other")).kind is not CauseKind.NO_ENDPOINT


def test_two_equally_near_deaths_of_different_kinds_are_not_told_apart_without_a_flow() -> None:
    world = World(random.Random(1))
    for pod, ip, code in (("one", "10.0.0.1", 1), ("two", "10.0.0.2", 137)):
        world.born(pod, ip, T0 - 30)
        world.at(T0 + 5, What.CONTAINER_EXITED, pod, container="service", exit_code=code, signal=9 if code > 1 else 0)
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 4.999, T0 + 5.0)

    assert explain(record, Timeline(world.rows, service=SERVICE)).kind is CauseKind.UNKNOWN


def test_a_flow_tells_two_equally_near_deaths_apart() -> None:
    world = World(random.Random(1))
    for pod, ip, code in (("one", "10.0.0.1", 1), ("two", "10.0.0.2", 137)):
        world.born(pod, ip, T0 - 30)
        world.at(T0 + 5, What.CONTAINER_EXITED, pod, container="service", exit_code=code, signal=9 if code > 1 else 0)
    record = request(Outcome.RESET_BEFORE_ANSWER, T0 + 4.999, T0 + 5.0)
    world.flow(record, "10.0.0.2")

    cause = explain(record, Timeline(world.rows, service=SERVICE))

    assert (cause.kind, cause.pod) == (CauseKind.KILLED, "default/two")


def test_an_address_is_the_pods_who_had_it_at_that_moment() -> None:
    world = World(random.Random(1))
    world.born("first", IP, T0 - 60)
    world.at(T0 - 20, What.SANDBOX_REMOVED, "first")
    world.born(VICTIM, IP, T0 - 10)
    closed = terminate(world, T0 + 10)
    record = request(Outcome.CONNECT_REFUSED, closed + 0.1, closed + 0.101, remote_ip=IP)

    cause = explain(record, Timeline(world.rows, service=SERVICE))

    assert (cause.kind, cause.pod, cause.told_by) == (
        CauseKind.LISTENER_CLOSED_FIRST,
        f"default/{VICTIM}",
        ToldBy.ADDRESS,
    )


def test_a_used_again_source_port_is_not_mixed_up() -> None:
    world = World(random.Random(1))
    world.born("decoy", "10.0.0.9", T0 - 60)
    world.born(VICTIM, IP, T0 - 60)
    closed = terminate(world, T0 + 10)
    record = request(Outcome.CONNECT_REFUSED, closed + 0.1, closed + 0.101)
    early = request(Outcome.OK, T0 + 2, T0 + 2.1)
    world.flow(early, "10.0.0.9")
    world.flow(record, IP)

    assert explain(record, Timeline(world.rows, service=SERVICE)).pod == f"default/{VICTIM}"


def test_own_faults_and_starved_shots_need_no_timeline() -> None:
    own = request(Outcome.OWN_FAULT, T0, T0 + 0.001, errno="EADDRNOTAVAIL")
    starved = request(Outcome.NEVER_SENT, T0, T0 + 15)
    good = request(Outcome.OK, T0, T0 + 0.001)

    explained = explain_all([own, starved, good], Timeline([]))

    assert [row.cause.kind for row in explained] == [CauseKind.OWN_FAULT, CauseKind.OVERLOAD]


def test_the_seeds_cause_reads_as_one_sentence() -> None:
    world = World(random.Random(3))
    world.born("test-abc", IP, T0 - 30)
    world.at(T0 + 12.02, What.POD_DELETION_SET, "test-abc", grace_s=120)
    world.at(T0 + 12.023, What.SIGTERM_SENT, "test-abc")
    world.at(T0 + 12.034, What.LISTENER_CLOSED, "test-abc", port=10002, not_before_s=T0 + 12.03)
    world.at(T0 + 12.871, What.RULE_REMOVED, "test-abc", service=SERVICE, ip=IP, node="node")
    record = request(Outcome.CONNECT_REFUSED, T0 + 12.31, T0 + 12.3104)
    data = {"src_ip": CLIENT, "src_port": 40001, "ip": IP, "port": 10002}
    world.rows.append(Happening(at_s=T0 + 12.31, what=What.FLOW, data=dict(data)))

    told = sentence(record, explain(record, Timeline(world.rows, service=SERVICE)), T0)

    assert told == (
        "pod test-abc closed its listener at 12.034 s, 11 ms after SIGTERM; "
        "node's rules sent connections to it until 12.871 s; this connection was given to it at 12.310 s"
    )
