"""Several flows in one: each goes on as if it were alone, and their calls travel together.

Rule 1: a flow that sleeps holds nobody up. Time is only what the answers say.
Rule 2: when one ends, its value or its error is kept with it; nothing of the others is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from segue.drive.flow import Answer, Ask, Calls, Flow, Progress, Sleep
from segue.model.errors import SegueError

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Lane(Generic[T]):
    """One of the flows: what it asks now, and how it ended."""

    name: str
    flow: Flow[T]
    asks: Ask | None = None  # None: it has ended, or not begun
    wakes_s: float = 0.0
    value: T | None = None
    error: SegueError | None = None
    ended: bool = False

    def go_on(self, answer: Answer | None) -> None:
        """Give it an answer (None: let it begin), and see what it asks next."""
        try:
            self.asks = next(self.flow) if answer is None else self.flow.send(answer)
        except StopIteration as end:
            self.asks, self.value, self.ended = None, end.value, True
        except SegueError as error:
            self.asks, self.error, self.ended = None, error, True
        if isinstance(self.asks, Sleep) and answer is not None:
            self.wakes_s = answer.now_s + self.asks.for_s

    def close(self) -> None:
        """End it where it stands."""
        self.flow.close()
        self.ended, self.asks = True, None


def in_parallel(lanes: Sequence[Lane[T]], *, until_one_fails: bool) -> Flow[None]:
    """Run all lanes to their ends; with `until_one_fails` the others are left where they stand when one raises."""
    now_s = 0.0
    for lane in lanes:
        lane.go_on(None)
    while any(not lane.ended for lane in lanes):
        now_s = yield from _round([lane for lane in lanes if not lane.ended], now_s)
        if until_one_fails and any(lane.error is not None for lane in lanes):
            break
    for lane in lanes:
        if not lane.ended:
            lane.close()


def all_of(flows: Mapping[str, Flow[T]]) -> Flow[tuple[T, ...]]:
    """How all of them ended, in their order; an error of one is raised when the others have ended."""
    lanes = [Lane(name=name, flow=flow) for name, flow in flows.items()]
    yield from in_parallel(lanes, until_one_fails=False)
    error = next((lane.error for lane in lanes if lane.error is not None), None)
    if error is not None:
        raise error
    return tuple(lane.value for lane in lanes if lane.value is not None)


def _round(lanes: list[Lane[T]], now_s: float) -> Flow[float]:
    """Answer everybody who need not wait; sleep where all do."""
    for lane in lanes:
        if isinstance(lane.asks, Sleep) and lane.wakes_s <= now_s and now_s:
            lane.go_on(Answer(now_s=now_s))
    calling = [lane for lane in lanes if isinstance(lane.asks, Calls)]
    if calling:
        requests = [lane.asks.requests for lane in calling if isinstance(lane.asks, Calls)]
        answer = yield Calls(requests=tuple(one for group in requests for one in group))
        now_s, rest = answer.now_s, answer.responses
        for lane, group in zip(calling, requests, strict=True):
            mine, rest = rest[: len(group)], rest[len(group) :]
            lane.go_on(Answer(now_s=now_s, responses=mine))
        return now_s
    for lane in lanes:
        if lane.asks is not None and not isinstance(lane.asks, Sleep):
            answer = yield _named(lane.name, lane.asks)
            lane.go_on(answer)
            return answer.now_s
    if any(not isinstance(lane.asks, Sleep) for lane in lanes):
        return now_s  # somebody has just been woken, and has ended
    answer = yield Sleep(for_s=max(0.0, min(lane.wakes_s for lane in lanes) - now_s) if now_s else 0.0)
    return answer.now_s


def _named(name: str, asked: Ask) -> Ask:
    """What a flow tells, with the name of who tells it."""
    if not isinstance(asked, Progress):
        return asked
    action = f"{name}: {asked.action}" if asked.action else ""
    return replace(asked, because=asked.because if action else f"{name}: {asked.because}", action=action)
