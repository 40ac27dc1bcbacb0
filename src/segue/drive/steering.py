"""pause, resume and promote: a word in the memory of a release under way, and the drive where nobody drives it.

Rule: who drives sees the word on its next look. Nothing but the memory is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from segue.drive.driver import Driver
from segue.drive.flow import Flow, ask, error_of
from segue.drive.loop import Outcome
from segue.drive.observe import Observer
from segue.model.errors import Refused
from segue.release.actions import Remember
from segue.release.memory import Memory
from segue.release.plan import Plan, Target, resume_plan
from segue.release.requests import request_of
from segue.release.snapshot import Snapshot
from segue.release.strategies import decide

TRIES_MAX = 10
Word = Literal["pause", "resume", "promote", "promote-full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """What was said to whom: `outcome` where nobody else drives and this run has gone on with it."""

    message: str
    driven_by: str = ""
    outcome: Outcome | None = None


def steer(namespace: str, name: str, word: Word, driver: Driver, *, said: bool = False) -> Flow[Steered]:
    """Say it, where it has not been `said`. Refused where nothing is under way that could hear it."""
    observer = driver.observer(namespace, name)
    if said:
        snapshot = yield from observer.observe()
        memory = _heard_by(snapshot, word)
    else:
        snapshot, memory = yield from say_word(observer, word)
    told = f"{memory.kind} of Deployment {name} {said_of(memory, word)}"
    if snapshot.held_by or word == "pause":
        return Steered(message=told, driven_by=snapshot.held_by)
    if not memory.patched:
        raise Refused(
            f"{told}, but nobody drives it, and what it is to reach stands nowhere yet",
            remedy="the command that began it goes on: segue release with its manifest, undo or restart",
        )
    plan = _plan(snapshot, memory, driver)
    outcome = yield from driver.drive(observer, partial(decide, plan), plan.policy)
    return Steered(message=told, outcome=outcome)


def say_word(observer: Observer, word: Word) -> Flow[tuple[Snapshot, Memory]]:
    """Write the word into the memory; another write in between is no failure."""
    tried = 0
    while True:
        snapshot = yield from observer.observe()
        memory = _heard_by(snapshot, word)
        fresh = with_word(memory, word)
        if fresh == memory:
            return snapshot, fresh
        action = Remember(deployment=snapshot.deployment, memory=fresh)
        _, (answer,) = yield from ask(request_of(action))
        if answer.code < 400:
            return snapshot, fresh
        tried += 1
        if answer.code not in {409, 422} or tried == TRIES_MAX:
            raise error_of(answer, f"Deployment {observer.name}")


def _plan(snapshot: Snapshot, memory: Memory, driver: Driver) -> Plan:
    """The release under way: all that its command knew is on the objects."""
    target = Target(
        kind=memory.kind, template=snapshot.deployment.template, after=memory.after, metadata=memory.metadata
    )
    return resume_plan(target, snapshot, memory, driver.approach)


def _heard_by(snapshot: Snapshot, word: Word) -> Memory:
    memory, name = snapshot.memory, snapshot.deployment.name
    if memory is None:
        raise Refused(f"no release of Deployment {name} is under way", remedy="segue status shows what is")
    if memory.keeps_version:
        raise Refused(f"a {memory.kind} of Deployment {name} cannot be held", remedy="segue abort takes it back")
    if memory.aborting:
        raise Refused(f"the {memory.kind} of Deployment {name} is being aborted", remedy=f"segue abort {name}")
    if word.startswith("promote") and not memory.stops and not memory.paused:
        raise Refused(
            f"the {memory.kind} of Deployment {name} has no stop to be promoted from",
            remedy="segue release --strategy canary or blue-green has; segue pause holds any",
        )
    return memory


def with_word(memory: Memory, word: Word) -> Memory:
    """The memory once somebody has said this."""
    match word:
        case "pause":
            return memory.but(paused=True)
        case "resume":
            return memory.but(paused=False)
        case "promote":
            return memory.but(paused=False, passed=min(memory.passed + 1, len(memory.stops)))
        case "promote-full":
            return memory.but(paused=False, passed=len(memory.stops))


def said_of(memory: Memory, word: Word) -> str:
    """What a word does, for people."""
    match word:
        case "pause":
            return "is paused: no further step is begun"
        case "resume":
            return "goes on"
        case _:
            stop = memory.next_stop
            return f"is promoted; it holds again at {stop} new pods" if stop is not None else "is promoted to the end"
