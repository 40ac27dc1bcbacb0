"""The made-up truth seen through what a real cluster does to it: two faults at once, clocks that differ, lost events.

Sources are the API, the node, the data plane and the client; each has a clock of its own, at most 50 ms from another's.
5 % of what was told is lost, of every kind. The split: rules were tuned on `TRAIN` (its seeds and its spread of times)
alone; `HELD_OUT` has other seeds and other times, and the test is run on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.causes import CauseKind
from segue.proof.timeline import Timeline
from tests.unit.proof.cause_world import IP, RECIPES, SERVICE, VICTIM, Case, World

SKEW_S = 0.05
MISSING = 0.05
OTHER_VICTIM, OTHER_IP = "other-victim", "10.0.0.6"
OTHER_PORT = 40_002

API = frozenset(
    {
        What.POD_CREATED,
        What.POD_DELETION_SET,
        What.POD_LET_GO,
        What.POD_REMOVED,
        What.POD_READY,
        What.POD_UNREADY,
        What.ENDPOINT_ADDED,
        What.ENDPOINT_REMOVED,
    }
)
PLANE = frozenset({What.RULE_ADDED, What.RULE_REMOVED, What.FLOW})


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Seeds, and by how much times between happenings are stretched."""

    first_seed: int
    stretch: tuple[float, float]


TRAIN = Split(first_seed=0, stretch=(0.8, 1.3))
HELD_OUT = Split(first_seed=1_000_000, stretch=(0.6, 1.8))


class Stretched(World):
    """A world whose small times are longer or shorter than those the recipes were written with."""

    stretch = 1.0

    def jitter(self, low_s: float = 0.0002, high_s: float = 0.004) -> float:
        return super().jitter(low_s, high_s) * (self.stretch if high_s < 0.1 else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An error with the truth about it."""

    record: Record
    kind: CauseKind
    recipe: str


def _world(chance: random.Random, stretch: float) -> Stretched:
    world = Stretched(chance)
    world.stretch = stretch
    return world


def _moved(row: Happening, by_s: float) -> Happening:
    """The same happening of the other victim, somewhat later."""
    data = {
        key: (OTHER_IP if value == IP else value + by_s if key == "not_before_s" else value)
        for key, value in row.data.items()
    }
    pod = row.pod.replace(VICTIM, OTHER_VICTIM)
    return Happening(at_s=row.at_s + by_s, what=row.what, pod=pod, data=data)


def play(
    one: Callable[[World], Case], other: Callable[[World], Case], seed: int, split: Split
) -> tuple[list[Seen], Timeline]:
    """Two faults in one timeline, and their two errors as the client saw them."""
    chance = random.Random(split.first_seed + seed)
    stretch = chance.uniform(*split.stretch)
    first, second = _world(chance, stretch), _world(chance, stretch)
    first.decoys()
    record, ip = one(first)
    first.flow(record, ip)
    later, ip = other(second)
    later = msgspec.structs.replace(later, local_port=OTHER_PORT, index=2, request_id="load-2")
    second.flow(later, ip)
    by_s = chance.uniform(-1.0, 1.0)
    names = ("opened_s", "connected_s", "sent_s", "planned_s", "first_byte_s", "done_s")
    shifted = {name: value + by_s for name in names if (value := getattr(later, name))}
    later = msgspec.structs.replace(later, **shifted)
    rows = [*first.rows, *(_moved(row, by_s) for row in second.rows)]
    clocks = {name: chance.uniform(-SKEW_S / 2, SKEW_S / 2) for name in ("api", "plane", "node", "client")}
    told = [_by_its_clock(row, clocks) for row in rows if chance.random() >= MISSING]
    chance.shuffle(told)
    seen = [
        Seen(record=_shifted(each, clocks["client"]), kind=RECIPES[recipe], recipe=recipe.__name__)
        for each, recipe in ((record, one), (later, other))
    ]
    return seen, Timeline(told, service=SERVICE)


def _by_its_clock(row: Happening, clocks: dict[str, float]) -> Happening:
    by_s = clocks["api" if row.what in API else "plane" if row.what in PLANE else "node"]
    data = {key: value + by_s if key == "not_before_s" else value for key, value in row.data.items()}
    return Happening(at_s=row.at_s + by_s, what=row.what, pod=row.pod, data=data)


def _shifted(record: Record, by_s: float) -> Record:
    names = ("opened_s", "connected_s", "sent_s", "planned_s", "first_byte_s", "done_s")
    return msgspec.structs.replace(record, **{name: value + by_s for name in names if (value := getattr(record, name))})
