"""When each request of an open loop is to leave, whatever the service does.

Constant spacing and no chance: two runs of one plan ask for the same thing at the same moments. A plan never waits
for an answer; that is what makes it open (a closed loop sends less exactly when the service is bad).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Mode(StrEnum):
    """Where requests travel."""

    NEW = "new"  # each on a connection of its own, `Connection: close`
    KEEP_ALIVE = "keep-alive"  # on a pool of connections
    MIXED = "mixed"  # by turns


class Scheme(StrEnum):
    """What is spoken, as the URL of a load names it.

    All but the first two have kept connections; on `SESSIONS` each connection carries one stream for as long as the
    load lasts, and is itself accounted for.
    """

    HTTP = "http"  # HTTP/1.1
    DNS = "dns"  # lookups through libc
    H2C = "h2c"  # HTTP/2 without TLS, by prior knowledge
    GRPC = "grpc"  # unary calls
    GRPC_STREAM = "grpc-stream"  # messages on bidirectional streams
    WS = "ws"  # WebSocket
    SSE = "sse"  # server-sent events
    TCP = "tcp"  # lines that are echoed


SESSIONS = frozenset({Scheme.GRPC_STREAM, Scheme.WS, Scheme.SSE, Scheme.TCP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a load is to do. `url` names what is spoken, host and port; `paths` are asked by turns.

    `slow` requests go to `slow_path`, spread evenly over the duration, each on a connection of its own.
    """

    url: str
    rate: float = 1000.0  # requests per second
    duration_s: float = 20.0
    mode: Mode = Mode.NEW
    connections: int = 16  # of the pool
    paths: tuple[str, ...] = ("/",)
    slow: int = 0
    slow_path: str = "/slow"
    connect_timeout_s: float = 3.0  # one lost SYN is repeated after 1 s and still counts as an answer
    timeout_s: float = 15.0
    run: str = "load"  # prefix of request ids

    def __post_init__(self) -> None:
        assert self.rate > 0, "a load sends something"
        assert self.duration_s > 0, "a load takes time"
        assert self.connections > 0, "a pool has connections"
        assert self.paths, "a load asks for a path"

    @property
    def total(self) -> int:
        """How many requests the plan holds."""
        return max(1, round(self.rate * self.duration_s)) + self.slow

    @property
    def scheme(self) -> Scheme:
        """What is spoken; ValueError for a URL of another kind."""
        return Scheme(self.url.partition("://")[0])

    @property
    def authority(self) -> str:
        """Host and port as the URL has them."""
        return self.url.partition("://")[2].partition("/")[0]


# A msgspec Struct and not a dataclass: tens of thousands are made each second, and this costs a sixth.
class Shot(msgspec.Struct, frozen=True):
    """One planned request: when (after the start), what for, and whether it opens a connection of its own."""

    index: int
    at_s: float
    path: str
    fresh: bool


def shots(plan: Plan) -> Iterator[Shot]:
    """All requests of a plan in order of time."""
    steady = max(1, round(plan.rate * plan.duration_s))
    slow_every_s = plan.duration_s / plan.slow if plan.slow else 0.0
    slow_sent = 0
    index = 0
    for number in range(steady):
        at_s = number / plan.rate
        while slow_sent < plan.slow and slow_sent * slow_every_s <= at_s:
            yield Shot(index, slow_sent * slow_every_s, plan.slow_path, fresh=True)
            slow_sent += 1
            index += 1
        fresh = plan.mode is Mode.NEW or (plan.mode is Mode.MIXED and number % 2 == 0)
        yield Shot(index, at_s, plan.paths[number % len(plan.paths)], fresh)
        index += 1
    for late in range(slow_sent, plan.slow):
        yield Shot(index, late * slow_every_s, plan.slow_path, fresh=True)
        index += 1
