"""How long the data plane takes is nobody's to know: 0, 1, 8, 30 s, and two nodes with 0 and 8 s. Nothing is lost.

Each client comes at a fixed pace, with a connection of its own each time; its node sends to the endpoints of `lag_s`
ago, to one after the other. The old pods' own counters are all that segue sees.
"""

from __future__ import annotations

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
AT_ONCE, TWO_NODES = (0.0,), (0.0, 8.0)


@dataclass
class Sender:
    """One client behind one node."""

    address: str
    per_s: float
    lag_s: float
    next_s: float = 0.0
    turn: int = 0


@dataclass
class Nodes(World):
    """A world of clients instead of a rate: each comes to one pod after the other. A fixed sleep may stand in for
    evidence, to be compared with."""

    rate: float = 0.0
    senders: list[Sender] = field(default_factory=list)
    known_since: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    visits: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    late: list[tuple[float, str, str]] = field(default_factory=list)

    def _traffic(self, step_s: float) -> None:
        now, now_s = self.endpoints(), self.clock.at_s
        if not self.known_since or self.known_since[-1][1] != now:
            self.known_since.append((now_s, now))
        self.known = self.known_since[-1:]
        alive = self.store.all_of("pods", "default")
        serving = {name_of(pod) for pod in alive if is_ready(pod) and not is_terminating(pod)}
        for sender in self.senders:
            while sender.next_s <= now_s:
                sender.next_s = max(sender.next_s, now_s - step_s) + 1 / sender.per_s
                self._come(sender, serving)

    def _come(self, sender: Sender, serving: set[str]) -> None:
        behind = [one for at_s, one in self.known_since if at_s <= self.clock.at_s - sender.lag_s]
        backends = sorted(behind[-1]) if behind else []
        if not backends:
            return
        self.sent += 1
        name = backends[sender.turn % len(backends)]
        sender.turn += 1
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


def town(lags_s: tuple[float, ...], per_s: float, propagation_s: float | None = None) -> Nodes:
    """Three pods of v1 serve; of each node two clients come at this pace, to each pod."""
    world = Nodes()
    text = manifest("v1")
    if propagation_s is not None:
        said = f'  name: test\n  annotations: {{{PROPAGATION}: "{propagation_s:g}"}}\nspec:\n  replicas'
        text = text.replace("  name: test\nspec:\n  replicas", said, 1)
    world.apply(text)
    world.run_for(max(lags_s) + 1)
    world.senders = [
        Sender(address=f"10.9.{node}.{number}", per_s=per_s * 3, lag_s=lag_s, next_s=world.clock.at_s + number / 7)
        for node, lag_s in enumerate(lags_s)
        for number in (1, 2)
    ]
    world.run_for(max(30.0, 4 / per_s))
    assert world.sent > 0 == world.lost
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


def drains_s(outcome: Outcome) -> list[float]:
    switched_s = next(one.at_s for one in outcome.journal.actions if one.action.startswith("switch Service"))
    return [end.at_s - switched_s for end in outcome.journal.ends]


DELAYS = [
    pytest.param((0.0,), id="0 s"),
    pytest.param((1.0,), id="1 s"),
    pytest.param((8.0,), id="8 s"),
    pytest.param((30.0,), id="30 s"),
    pytest.param(TWO_NODES, id="two nodes, 0 and 8 s"),
]


@pytest.mark.parametrize("per_s", [1.0, pytest.param(7.0, marks=pytest.mark.long)])
@pytest.mark.parametrize("lags_s", DELAYS)
def test_at_one_request_per_second_and_sender_nothing_is_lost(lags_s: tuple[float, ...], per_s: float) -> None:
    world = town(lags_s, per_s)
    outcome = released(world, policy=Policy(cap_s=60.0), said=True)

    assert (world.lost, world.late) == (0, [])
    assert len(outcome.journal.ends) == 3
    assert min(drains_s(outcome)) >= max(lags_s)
    assert {end.reason for end in outcome.journal.ends} <= {"quiet", "timer"}
