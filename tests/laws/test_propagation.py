"""How long the data plane takes is nobody's to know: 0, 1, 8, 30 s, and two nodes with 0 and 8 s. Nothing is lost.

Each client comes at a fixed pace or by chance, with a connection of its own each time; its node sends to the endpoints
of `lag_s` ago. The old pods' own counters, and who was connected lately, are all that segue sees.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field

import pytest

from segue.drain.judge import Policy
from segue.drive.command import release
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.model.http import ApiRequest, ApiResponse
from segue.model.manifest import parse
from segue.model.objects import is_ready, is_terminating, name_of
from segue.release.decision import Done
from segue.release.plan import Approach
from segue.release.promised import PROPAGATION
from tests.laws.release_world import World, driver, manifest

SEEN_S = 1.0  # ended connections are to be seen for so long
TWO_NODES = (0.0, 8.0)


@dataclass
class Sender:
    """One client behind one node: to one pod after the other at a fixed pace, or as `chance` has it."""

    address: str
    per_s: float
    lag_s: float
    next_s: float = 0.0
    turn: int = 0
    chance: random.Random | None = None

    def go_on(self) -> None:
        """Until it comes again, and to whom."""
        self.next_s += self.chance.expovariate(self.per_s) if self.chance else 1 / self.per_s
        self.turn = self.chance.randrange(1000) if self.chance else self.turn + 1


@dataclass
class Nodes(World):
    """A world of clients instead of a rate: each comes to one pod after the other. A fixed sleep may stand in for
    evidence, to be compared with."""

    rate: float = 0.0
    senders: list[Sender] = field(default_factory=list)
    known_since: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    visits: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    late: list[tuple[float, str, str]] = field(default_factory=list)
    old: list[str] = field(default_factory=list)

    def _traffic(self, step_s: float) -> None:
        now, now_s = self.endpoints(), self.clock.at_s
        if not self.known_since or self.known_since[-1][1] != now:
            self.known_since.append((now_s, now))
        self.known = self.known_since[-1:]
        alive = self.store.all_of("pods", "default")
        serving = {name_of(pod) for pod in alive if is_ready(pod) and not is_terminating(pod)}
        for sender in self.senders:
            while sender.next_s <= now_s:
                self._come(sender, serving)
                sender.go_on()

    def _come(self, sender: Sender, serving: set[str]) -> None:
        behind = [one for at_s, one in self.known_since if at_s <= self.clock.at_s - sender.lag_s]
        backends = sorted(behind[-1]) if behind else []
        if not backends:
            return
        self.sent += 1
        name = backends[sender.turn % len(backends)]
        if name not in serving:
            self.lost += 1
            self.late.append((self.clock.at_s, name, sender.address))
            return
        self.arrived[name] = self.arrived.get(name, 0.0) + 1
        self.visits.setdefault(name, []).append((self.clock.at_s, sender.address))

    def _call(self, request: ApiRequest) -> ApiResponse:
        answer = super()._call(request)
        if request.path.endswith("/traffic") and answer.code == 200:
            name, since_s = request.path.split("/")[-2], self.clock.at_s - SEEN_S
            answer.body["connections"] += [
                {"localPort": 10002, "remote": who, "remotePort": 20_000 + number % 30_000, "state": "TIME_WAIT"}
                for number, (at_s, who) in enumerate(self.visits.get(name, []))
                if at_s > since_s
            ]
        return answer


def town(lags_s: tuple[float, ...], per_s: float, *, propagation_s: float = 0.0, seed: int = 0) -> Nodes:
    """Three pods of v1 serve; a client of each node comes at this pace to each pod, with a seed by chance."""
    world = Nodes()
    text = manifest("v1")
    if propagation_s:
        said = f'  name: test\n  annotations: {{{PROPAGATION}: "{propagation_s:g}"}}\nspec:\n  replicas'
        text = text.replace("  name: test\nspec:\n  replicas", said, 1)
    world.apply(text)
    world.run_for(max(lags_s) + 1)
    world.senders = [
        Sender(
            address=f"10.9.{node}.1",
            per_s=per_s * 3,
            lag_s=lag_s,
            next_s=world.clock.at_s + (node + 1) / 7,
            chance=random.Random(f"{seed} {node}") if seed else None,
        )
        for node, lag_s in enumerate(lags_s)
    ]
    world.run_for(max(30.0, 4 / per_s))
    world.old = sorted(name_of(pod) for pod in world.pods())
    assert world.lost == 0
    return world


def released(world: Nodes, *, policy: Policy | None = None, said: bool = False) -> Outcome:
    """v2, to its end and until the last client has heard of it."""
    approach = Approach(policy=policy or Policy(), cap_said=said)
    text = manifest("v2")

    def flow() -> Flow[tuple[Outcome, ...]]:
        driving = driver("first", approach=approach)
        preparation = yield from prepare(parse(text, file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    outcome = world.drive(flow())[-1]
    assert isinstance(outcome.end, Done), outcome.end
    world.run_for(40.0)
    return outcome


def _switched_s(outcome: Outcome) -> float:
    return next(one.at_s for one in outcome.journal.actions if one.action.startswith("switch Service"))


def drains_s(outcome: Outcome) -> list[float]:
    """How long after the switch each old pod was ended."""
    return [end.at_s - _switched_s(outcome) for end in outcome.journal.ends]


DELAYS = [
    pytest.param((0.0,), id="0 s"),
    pytest.param((1.0,), id="1 s"),
    pytest.param((8.0,), id="8 s"),
    pytest.param((30.0,), id="30 s"),
    pytest.param(TWO_NODES, id="two nodes, 0 and 8 s"),
]
# The same, of which the last alone is tried always
FEWER = [*(pytest.param(*one.values, id=one.id, marks=pytest.mark.long) for one in DELAYS[:-1]), DELAYS[-1]]
PATIENT = Policy(cap_s=60.0)


@pytest.mark.parametrize("per_s", [1.0, pytest.param(7.0, marks=pytest.mark.long)])
@pytest.mark.parametrize("lags_s", DELAYS)
def test_at_one_request_per_second_and_sender_nothing_is_lost(lags_s: tuple[float, ...], per_s: float) -> None:
    world = town(lags_s, per_s)
    outcome = released(world, policy=PATIENT, said=True)

    assert (world.lost, world.late) == (0, [])
    assert len(outcome.journal.ends) == 3
    assert min(drains_s(outcome)) >= max(lags_s)
    assert {end.reason for end in outcome.journal.ends} <= {"quiet", "timer"}


@pytest.mark.parametrize("seed", [1, *(pytest.param(one, marks=pytest.mark.long) for one in range(2, 40))])
@pytest.mark.parametrize("lags_s", DELAYS[2:])
def test_nor_where_they_come_by_chance(lags_s: tuple[float, ...], seed: int) -> None:
    world = town(lags_s, 1.0, seed=seed)
    released(world, policy=PATIENT, said=True)

    assert (world.lost, world.late) == (0, [])


@pytest.mark.parametrize("lags_s", FEWER)
def test_a_fixed_sleep_of_five_seconds_loses_where_the_data_plane_takes_longer(lags_s: tuple[float, ...]) -> None:
    """The same clients: who would have met a pod that was ended five seconds after it left traffic."""
    world = town(lags_s, 1.0)
    switched_s = _switched_s(released(world, policy=PATIENT, said=True))
    after = [name for name in world.old for at_s, _ in world.visits[name] if at_s > switched_s + 5.0]

    assert bool(after) == (max(lags_s) > 5)


@pytest.mark.parametrize("lags_s", FEWER)
def test_of_a_trickle_nothing_is_lost_where_the_propagation_time_is_said(lags_s: tuple[float, ...]) -> None:
    """One request in 30 s to each pod: silence proves nothing, so P alone counts, and the cap leaves room for it."""
    for offset in (1, 4):
        world = town(lags_s, 1 / 30, propagation_s=max(lags_s) + 1)
        world.run_for(6.0 * offset)
        outcome = released(world)

        assert (world.lost, world.late) == (0, [])
        assert min(drains_s(outcome)) >= max(lags_s) + 1
        assert {end.reason for end in outcome.journal.ends} == {"timer"}


def test_of_a_trickle_the_receipt_says_that_there_was_not_enough_evidence() -> None:
    outcome = released(town((0.0,), 1 / 30))

    assert {end.reason for end in outcome.journal.ends} == {"timer"}
    assert all("not enough evidence" in end.because for end in outcome.journal.ends)


def test_what_nobody_calls_ends_in_less_than_a_third_of_a_sleep_of_thirty_seconds() -> None:
    world = town((0.0,), 1.0)
    world.senders.clear()
    world.run_for(70.0)
    drained_s = drains_s(released(world))

    assert Policy().timer_s <= statistics.mean(drained_s) < 30 / 3


def test_a_stream_of_two_minutes_is_never_cut_before_its_cap() -> None:
    """Three streams, of which one ends after two minutes; the cap is 150 s."""
    world = town((0.0,), 7.0)
    world.held = dict.fromkeys(world.old, 1)
    begun_s = world.clock.at_s

    def look(seen: World) -> None:
        if seen.clock.at_s > begun_s + 120 and world.old[0] in seen.held:
            del seen.held[world.old[0]]

    world.watch.append(look)
    outcome = released(world, policy=Policy(cap_s=150.0), said=True)
    switched_s = _switched_s(outcome)
    ends = {end.pod: end for end in outcome.journal.ends}

    assert ends[world.old[0]].reason in {"quiet", "timer"}
    assert 0 <= ends[world.old[0]].at_s - begun_s - 120 < 25
    for name in world.old[1:]:
        assert ends[name].reason == "capped"
        assert ends[name].at_s - switched_s >= 150
        assert "1 live connection (10.9.0.1:40000)" in ends[name].because
