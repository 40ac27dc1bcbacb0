"""A made-up truth for causes: each recipe builds a cluster's timeline in which one thing goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from segue.load.outcome import Outcome, Phase
from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.causes import CauseKind
from segue.proof.timeline import Timeline

T0 = 1_800_000_000.0
SERVICE = "default/test"
CLIENT = "10.99.0.2"


@dataclass(slots=True)
class World:
    """A timeline in the making, with jitter and pods that have nothing to do with it."""

    chance: random.Random
    rows: list[Happening] = field(default_factory=list)

    def at(self, at_s: float, what: What, pod: str, **data: object) -> float:
        self.rows.append(Happening(at_s=at_s, what=what, pod=f"default/{pod}", data=dict(data)))
        return at_s

    def jitter(self, low_s: float = 0.0002, high_s: float = 0.004) -> float:
        return self.chance.uniform(low_s, high_s)

    def born(self, pod: str, ip: str, at_s: float, *, listens_s: float | None = 0.2, ready_s: float = 0.5) -> None:
        """A pod comes up; `listens_s` after its start, None for never."""
        self.at(at_s, What.POD_CREATED, pod, image="host.org/images/grace:v0.1")
        self.at(at_s + 0.01, What.SANDBOX_CREATED, pod, ip=ip)
        self.at(at_s + 0.05, What.CONTAINER_STARTED, pod, container="service")
        if listens_s is not None:
            self.at(at_s + 0.05 + listens_s, What.LISTENER_OPENED, pod, port=10002)
        ready = at_s + 0.05 + ready_s
        self.at(ready, What.POD_READY, pod, ip=ip)
        self.at(ready + self.jitter(), What.ENDPOINT_ADDED, pod, service=SERVICE, ip=ip)
        self.at(ready + 0.01 + self.jitter(), What.RULE_ADDED, pod, service=SERVICE, ip=ip, node="node")

    def unrouted(self, pod: str, ip: str, at_s: float, lag_s: float) -> float:
        """Endpoint and rule go; returns when the rule did."""
        self.at(at_s + self.jitter(), What.ENDPOINT_REMOVED, pod, service=SERVICE, ip=ip)
        return self.at(at_s + lag_s, What.RULE_REMOVED, pod, service=SERVICE, ip=ip, node="node")

    def flow(self, record: Record, ip: str) -> None:
        data = {"src_ip": record.local_ip, "src_port": record.local_port, "ip": ip, "port": 10002}
        self.rows.append(Happening(at_s=record.opened_s + self.jitter(), what=What.FLOW, data=dict(data)))

    def decoys(self) -> None:
        """Healthy pods, and two that end as they should: routed away first, then closed."""
        for number in range(self.chance.randint(2, 9)):
            self.born(f"decoy-{number}", f"10.0.1.{number + 1}", T0 - self.chance.uniform(20, 90))
        for number, end_s in ((20, T0 + 2.0), (21, T0 + 19.0)):
            pod, ip = f"leaver-{number}", f"10.0.1.{number}"
            self.born(pod, ip, T0 - 50)
            end = end_s + self.jitter(0, 0.4)
            self.at(end, What.POD_DELETION_SET, pod, grace_s=30)
            over = self.unrouted(pod, ip, end, 0.05)
            self.at(over + 3, What.SIGTERM_SENT, pod)
            self.at(over + 3.01, What.LISTENER_CLOSED, pod, port=10002, not_before_s=over + 3.0)
            self.at(over + 3.1, What.CONTAINER_EXITED, pod, container="service", exit_code=0, signal=0)
            self.at(over + 3.2, What.SANDBOX_REMOVED, pod)
            self.at(over + 3.3, What.POD_REMOVED, pod)


def request(outcome: Outcome, begin_s: float, done_s: float, **changes: object) -> Record:
    """An error record; connection begun and request sent at `begin_s`."""
    connecting = outcome in (Outcome.CONNECT_REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE)
    values: dict[str, object] = {
        "index": 1,
        "planned_s": begin_s,
        "sent_s": 0.0 if connecting else begin_s + 0.0002,
        "opened_s": begin_s,
        "connected_s": 0.0 if connecting else begin_s + 0.0001,
        "first_byte_s": 0.0,
        "done_s": done_s,
        "local_ip": CLIENT,
        "local_port": 40001,
        "remote_ip": "10.88.0.1",
        "remote_port": 31002,
        "conn": 1,
        "nth": 1,
        "bytes_out": 0 if connecting else 80,
        "bytes_in": 0,
        "status": 0,
        "errno": "",
        "phase": Phase.CONNECT if connecting else Phase.WAIT,
        "outcome": outcome,
        "version": "",
        "path": "/fast",
        "request_id": "load-1",
    }
    return Record(**{**values, **changes})  # type: ignore[arg-type]  # the values are named just above


Case = tuple[Record, str]
VICTIM, IP = "victim", "10.0.0.5"


def terminate(world: World, at_s: float, *, grace_s: int = 120, lag_s: float = 1.0, works_s: float = 0.05) -> float:
    """The seed's ending: SIGTERM closes the listener, the rule goes later; returns when the listener was gone."""
    world.at(at_s, What.POD_DELETION_SET, VICTIM, grace_s=grace_s)
    term = world.at(at_s + world.jitter(), What.SIGTERM_SENT, VICTIM)
    seen = term + world.jitter()
    closed = world.at(seen + 0.01, What.LISTENER_CLOSED, VICTIM, port=10002, not_before_s=seen)
    world.unrouted(VICTIM, IP, at_s, lag_s)
    if works_s:
        gone = world.at(closed + works_s, What.CONTAINER_EXITED, VICTIM, container="service", exit_code=0, signal=0)
        world.at(gone + lag_s + 0.5, What.SANDBOX_REMOVED, VICTIM)
        world.at(gone + lag_s + 0.6, What.POD_REMOVED, VICTIM)
    return closed


def closed_first(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    closed = terminate(world, T0 + 10, works_s=world.chance.choice([0.002, 0.05, 5.0]))
    begin = closed + world.chance.uniform(0.001, 0.9)
    return request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter(), errno="ECONNREFUSED"), IP


def queue_reset(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    closed = terminate(world, T0 + 10, works_s=world.chance.choice([0.003, 5.0]))
    begin = closed - 0.01 - world.jitter()
    return request(Outcome.RESET_BEFORE_ANSWER, begin, begin + world.jitter(0.004, 0.015), errno="ECONNRESET"), IP


def ended_with_work(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    closed = terminate(world, T0 + 10, works_s=world.chance.choice([0.003, 0.2]))
    exited = next(row.at_s for row in world.rows if row.what is What.CONTAINER_EXITED and row.pod.endswith(VICTIM))
    begin = min(closed, exited) - world.chance.uniform(0.1, 4.0)
    return request(Outcome.EMPTY_ANSWER, begin, exited - world.jitter(), path="/slow"), IP


def kill(world: World, at_s: float, grace_s: int) -> float:
    """The listener closes on SIGTERM, a slow request keeps the process, SIGKILL ends both."""
    terminate(world, at_s, grace_s=grace_s, works_s=0.0)
    killed = world.at(at_s + max(2, grace_s) + world.jitter(), What.SIGKILL_SENT, VICTIM)
    return world.at(
        killed + world.jitter(), What.CONTAINER_EXITED, VICTIM, container="service", exit_code=137, signal=9
    )


def killed_after_grace(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    exited = kill(world, T0 + 5, grace_s=world.chance.choice([3, 5]))
    begin = T0 + 5 - world.jitter(0.1, 3.0)
    outcome, seen = world.chance.choice([(Outcome.EMPTY_ANSWER, 0), (Outcome.RESET_IN_ANSWER, 200)])
    return request(outcome, begin, exited - world.jitter(0, 0.002), bytes_in=seen, path="/slow"), IP


def killed_with_grace_1(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    exited = kill(world, T0 + 5, grace_s=1)
    return request(Outcome.EMPTY_ANSWER, T0 + 4, exited + world.jitter(), path="/slow"), IP


def killed_from_outside(world: World) -> Case:
    """OOM or somebody's kill -9: no signal of the cluster's, exit by signal 9."""
    world.born(VICTIM, IP, T0 - 30)
    seen = T0 + 8 - 0.005
    world.at(T0 + 8, What.LISTENER_CLOSED, VICTIM, port=10002, not_before_s=seen)
    world.at(T0 + 8 + world.jitter(), What.CONTAINER_EXITED, VICTIM, container="service", exit_code=137, signal=9)
    world.unrouted(VICTIM, IP, T0 + 8, 0.5)
    if world.chance.random() < 0.5:
        begin = T0 + 8 + world.jitter(0.01, 0.4)
        return request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter()), IP
    return request(Outcome.RESET_BEFORE_ANSWER, seen - world.jitter(), T0 + 8 - world.jitter(0, 0.003)), IP


def crashed(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    if world.chance.random() < 0.5:  # nobody may have seen the listener itself go
        world.at(T0 + 8, What.LISTENER_CLOSED, VICTIM, port=10002, not_before_s=T0 + 7.99)
    exited = world.at(T0 + 8.004, What.CONTAINER_EXITED, VICTIM, container="service", exit_code=1, signal=0)
    world.at(exited + 0.01, What.POD_UNREADY, VICTIM)
    world.unrouted(VICTIM, IP, exited + 0.01, 0.6)
    if world.chance.random() < 0.5:
        begin = T0 + 8.01 + world.jitter(0.01, 0.5)
        return request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter()), IP
    return request(Outcome.SHORT_ANSWER, T0 + 7.2, T0 + 8 + world.jitter(), bytes_in=100), IP


def liveness_kill(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    failed = world.at(T0 + 6, What.LIVENESS_FAILED, VICTIM)
    world.at(failed + 0.001, What.PRESTOP_STARTED, VICTIM)
    term = world.at(failed + 5, What.SIGTERM_SENT, VICTIM)
    closed = world.at(term + 0.012, What.LISTENER_CLOSED, VICTIM, port=10002, not_before_s=term + 0.002)
    exited = world.at(closed + 0.3, What.CONTAINER_EXITED, VICTIM, container="service", exit_code=0, signal=0)
    world.unrouted(VICTIM, IP, exited, 0.2)
    if world.chance.random() < 0.3:
        return request(Outcome.EMPTY_ANSWER, failed + 2, exited - world.jitter(), path="/slow"), IP
    begin = closed + world.jitter(0.002, 0.45)
    return request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter()), IP


def ready_too_early(world: World) -> Case:
    listens_s = world.chance.choice([None, 4.0])
    world.born(VICTIM, IP, T0 + 10, listens_s=listens_s, ready_s=0.01)
    begin = T0 + 10.1 + world.jitter(0.1, 3.0)
    return request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter()), IP


def ready_too_early_again(world: World) -> Case:
    """After a crash, the restarted container counts as ready before it listens."""
    crashed(world)
    world.at(T0 + 9, What.CONTAINER_STARTED, VICTIM, container="service")
    world.at(T0 + 9.05, What.POD_READY, VICTIM, ip=IP)
    world.at(T0 + 9.1, What.RULE_ADDED, VICTIM, service=SERVICE, ip=IP, node="node")
    world.at(T0 + 13, What.LISTENER_OPENED, VICTIM, port=10002)
    begin = T0 + 9.2 + world.jitter(0, 3.0)
    return request(Outcome.CONNECT_REFUSED, begin, begin + world.jitter()), IP


def address_gone(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    closed = terminate(world, T0 + 10, lag_s=8.0, works_s=0.0)
    world.at(closed + 0.1, What.CONTAINER_EXITED, VICTIM, container="service", exit_code=0, signal=0)
    gone = world.at(closed + 0.2, What.SANDBOX_REMOVED, VICTIM)
    begin = gone + world.jitter(0.05, 6.0)
    outcome = world.chance.choice([Outcome.UNREACHABLE, Outcome.CONNECT_TIMEOUT, Outcome.CONNECT_REFUSED])
    done = begin + (3.0 if outcome is Outcome.CONNECT_TIMEOUT else world.jitter())
    return request(outcome, begin, done), IP


def keep_alive_race(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    begin = T0 + 7 + world.jitter(0, 5)
    if world.chance.random() < 0.5:  # the server closes its idle connections on SIGTERM
        closed = terminate(world, T0 + 10)
        begin = closed - world.jitter(0.001, 0.004)
    outcome = world.chance.choice([Outcome.EMPTY_ANSWER, Outcome.RESET_BEFORE_ANSWER])
    return request(outcome, begin, begin + world.jitter(), opened_s=T0 - 10, connected_s=T0 - 10, nth=9), IP


def overload(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    begin = T0 + world.jitter(1, 9)
    return request(world.chance.choice([Outcome.READ_TIMEOUT, Outcome.CONNECT_TIMEOUT]), begin, begin + 15), IP


def wrong_answer(world: World) -> Case:
    world.born(VICTIM, IP, T0 - 30)
    return request(Outcome.BAD_STATUS, T0 + 3, T0 + 3.01, status=503, bytes_in=90, phase=Phase.DONE), IP


RECIPES: dict[Callable[[World], Case], CauseKind] = {
    closed_first: CauseKind.LISTENER_CLOSED_FIRST,
    queue_reset: CauseKind.QUEUE_RESET,
    ended_with_work: CauseKind.ENDED_WITH_WORK,
    killed_after_grace: CauseKind.KILLED,
    killed_with_grace_1: CauseKind.KILLED,
    killed_from_outside: CauseKind.KILLED,
    crashed: CauseKind.CRASHED,
    liveness_kill: CauseKind.LIVENESS_KILL,
    ready_too_early: CauseKind.READY_TOO_EARLY,
    ready_too_early_again: CauseKind.READY_TOO_EARLY,
    address_gone: CauseKind.ADDRESS_GONE,
    keep_alive_race: CauseKind.KEEP_ALIVE_RACE,
    overload: CauseKind.OVERLOAD,
    wrong_answer: CauseKind.WRONG_ANSWER,
}


def play(recipe: Callable[[World], Case], seed: int, *, flows: bool) -> tuple[Record, Timeline]:
    world = World(random.Random(seed))
    world.decoys()
    record, ip = recipe(world)
    if flows:
        world.flow(record, ip)
    world.chance.shuffle(world.rows)
    return record, Timeline(world.rows, service=SERVICE)
