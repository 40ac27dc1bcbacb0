"""Several Deployments released as one: all of them are up and tried before the first loses traffic, or none changes.

Each member is released by its own engine up to "all new pods are Ready" and holds there. When all hold, all are
promoted: first the word is written into every memory, then all switch and drain at the same time. When one cannot come
so far, all are taken back, together.

Rule 1: there is no state but the members' own memories. Killed anywhere, the same command finds each member where it
stands: held, promoted or done, and goes on from there.
Rule 2: a member that has begun to switch goes forward, and so do all others: they were all Ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from segue.drive.driver import Driver
from segue.drive.flow import Check, Flow, Progress, Sleep, ask, get
from segue.drive.lanes import Lane, all_of, in_parallel
from segue.drive.loop import Outcome
from segue.drive.steering import Steered, Word, say_word, steer
from segue.model.errors import Refused, SegueError
from segue.model.objects import annotations_of
from segue.release.decision import Done, Stopped
from segue.release.memory import RAMPED, Memory, memory_of
from segue.release.snapshot import Checked

NO_GROUP = RAMPED | {"recreate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One Deployment of a group and its way there."""

    namespace: str
    name: str
    release: Callable[[Driver], Flow[Outcome]]
    abort: Callable[[Driver], Flow[Outcome]]


def as_member(driver: Driver, names: tuple[str, ...]) -> Driver:
    """Who drives a member: it holds when all its new pods are Ready, and what is tried is tried for all at once."""
    approach = driver.approach
    if approach.strategy in NO_GROUP:
        raise Refused(
            f"{approach.strategy} moves traffic while new pods come up: there is no moment at which all members hold",
            remedy="--together goes with all-first, blue-green and handover",
        )
    if approach.analysis.metrics:
        raise Refused(
            "an analysis is of one workload", remedy="--check goes with --together; release the workload alone first"
        )
    own = replace(approach, stops=("100%",), waits=False, checks=(), group=names)
    return replace(driver, approach=own)


def release_together(members: Sequence[Member], driver: Driver) -> Flow[tuple[Outcome, ...]]:
    """Release all members behind one barrier; `driver` is the one that the user asked for."""
    single = as_member(driver, tuple(member.name for member in members))
    lanes = [Lane(name=member.name, flow=_until_held(member, single)) for member in members]
    yield from in_parallel(lanes, until_one_fails=True)
    failed = next((lane.error for lane in lanes if lane.error is not None), None)
    if failed is not None:
        return (yield from _take_back(members, driver, failed))
    outcomes = tuple(lane.value for lane in lanes if lane.value is not None)
    held = [member for member, one in zip(members, outcomes, strict=True) if isinstance(one.end, Done) and one.end.held]
    if not held:
        return outcomes
    wrong = yield from _try(driver)
    if wrong is not None:
        return (yield from _take_back(members, driver, wrong))
    names = ", ".join(member.name for member in held)
    if driver.approach.strategy == "blue-green" and not driver.approach.checks:
        yield Progress(because=f"{names} hold; segue promote {held[0].name} lets all of them go on")
        return outcomes
    yield Progress(because=f"all members are up: {names} switch now")
    return (*_done(outcomes), *(yield from promote_together(held, driver)))


def promote_together(members: Sequence[Member], driver: Driver) -> Flow[tuple[Outcome, ...]]:
    """The word to all of them first, so that whoever dies after it leaves none behind that still waits for it."""
    for member in members:
        yield from say_word(driver.observer(member.namespace, member.name), "promote-full")
    goes_on = replace(driver, approach=replace(driver.approach, waits=True))
    return (yield from all_of({member.name: member.release(goes_on) for member in members}))


def group_of(namespace: str, name: str) -> Flow[tuple[str, ...]]:
    """The members of the release under way that a Deployment belongs to and that are still at it; itself where it is
    released alone, or is not there."""
    (own,) = yield from _memories(namespace, (name,))
    if own is None or not own.group:
        return (name,)
    found = yield from _memories(namespace, own.group)
    return tuple(
        one for one, memory in zip(own.group, found, strict=True) if memory is not None and memory.group == own.group
    )


def _memories(namespace: str, names: Sequence[str]) -> Flow[list[Memory | None]]:
    _, answers = yield from ask(*(get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}") for name in names))
    return [memory_of(annotations_of(answer.body)) if answer.code == 200 else None for answer in answers]


def steer_group(namespace: str, name: str, word: Word, driver: Driver) -> Flow[tuple[Steered, ...]]:
    """A word to a release and to all that is released together with it."""
    names = yield from group_of(namespace, name)
    if len(names) == 1:
        return ((yield from steer(namespace, name, word, driver)),)
    for one in names:
        yield from say_word(driver.observer(namespace, one), word)
    return (yield from all_of({one: steer(namespace, one, word, driver, said=True) for one in names}))


def _until_held(member: Member, driver: Driver) -> Flow[Outcome]:
    """Up to where it holds. What stops it is raised, so that the others are left where they stand."""
    outcome = yield from member.release(driver)
    if isinstance(outcome.end, Stopped):
        raise _CannotGoOn(member.name, outcome)
    return outcome


class _CannotGoOn(SegueError):
    """A member has stopped before the common barrier."""

    def __init__(self, name: str, outcome: Outcome) -> None:
        assert isinstance(outcome.end, Stopped)
        super().__init__(f"{name}: {outcome.end.message}", remedy=outcome.end.remedy)
        self.outcome = outcome


def _try(driver: Driver) -> Flow[SegueError | None]:
    """The user's checks, once for the whole group; what is wrong, None for nothing."""
    for hook in driver.approach.checks:
        yield Progress(because=f"all members are up; the check runs: {hook.text}")
        found: Checked | None = None
        while found is None:
            answer = yield Check(hook=hook, facts={})
            found = answer.checked
            if found is None:
                yield Sleep(for_s=0.1)
        yield Progress(because=found.said, action=f"the check has {'passed' if found.passed else 'failed'}")
        if not found.passed:
            return SegueError(f"the check failed ({found.said})", remedy="repair what it found, then release again")
    return None


def _take_back(members: Sequence[Member], driver: Driver, why: SegueError) -> Flow[tuple[Outcome, ...]]:
    yield Progress(because=f"{why.message}: all members are taken back")
    outcomes = yield from all_of({member.name: member.abort(driver) for member in members})
    message = f"{why.message}; what had not switched is taken back"
    stopped = Stopped(error="unfinished", message=message, remedy=why.remedy)
    first = why.outcome if isinstance(why, _CannotGoOn) else outcomes[0]
    return (*outcomes, replace(first, end=stopped))


def _done(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Those that had nothing to hold for."""
    return tuple(one for one in outcomes if isinstance(one.end, Done) and not one.end.held)
