"""The agent's rules are those of segue.drain: fed the same looks, both say the same at every moment."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from segue.app.quiet import Asked
from segue.app.quiet import Watch as Light
from segue.app.sockets import STATES, Key, Row
from segue.drain.judge import Policy, Receiver, Watch
from segue.drain.samples import Connection, Count, Sample

NODE = "10.0.0.1"
REMOTES = (*("10.0.0.7",) * 4, "10.0.0.8", NODE, "127.0.0.1")
PORTS = (80, 80, 80, 9000)  # the last one is served to nobody
LISTENING = {80, 9000}
PERIODS_S = (3.0, 10.0)


@dataclass
class Conn:
    """One connection of the drawn world."""

    port: int
    remote: str
    remote_port: int
    state: int = 1
    received: int = 0
    sent: int = 0
    in_s: float = 0.0  # when bytes last came and went
    out_s: float = 0.0


@dataclass
class World:
    """Drawn happenings, told to both in their own forms."""

    bytes_seen: bool
    now_s: float = 100.0
    opens: int = 5
    open: list[Conn] = field(default_factory=list)
    gone: list[Conn] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    ports_used: int = 1000

    def come(self, remote: str, port: int) -> Conn:
        self.ports_used += 1
        self.opens += 1
        one = Conn(port=port, remote=remote, remote_port=self.ports_used, in_s=self.now_s, out_s=self.now_s)
        self.open.append(one)
        return one

    def rows(self) -> list[Row]:
        def row(one: Conn) -> Row:
            if not self.bytes_seen:
                return key_of(one), one.state, -1, -1, 0, 0
            in_ms, out_ms = round(1000 * (self.now_s - one.in_s)), round(1000 * (self.now_s - one.out_s))
            return key_of(one), one.state, one.received, one.sent, in_ms, out_ms

        return [row(one) for one in self.open]

    def sample(self) -> Sample:
        def connection(row: Row, one: Conn) -> Connection:
            known = self.bytes_seen
            return Connection(
                local_port=one.port,
                remote=one.remote,
                remote_port=one.remote_port,
                state=STATES[one.state],
                bytes_received=row[2] if known else None,
                bytes_sent=row[3] if known else None,
                idle_received_s=row[4] / 1000 if known else None,
                idle_sent_s=row[5] / 1000 if known else None,
            )

        self.ended |= {proc_of(one) for one in self.gone}
        found = tuple(connection(row, one) for row, one in zip(self.rows(), self.open, strict=True))
        return Sample(
            at_s=self.now_s,
            passive_opens=self.opens,
            connections=found,
            source="x",
            closed=frozenset(self.ended),
            listening=frozenset(LISTENING),
        )


def key_of(one: Conn) -> Key:
    ports = one.port.to_bytes(2, "big") + one.remote_port.to_bytes(2, "big")
    return ports + socket.inet_aton(one.remote).ljust(16, b"\0")


def proc_of(one: Conn) -> str:
    raw = socket.inet_aton(one.remote)[::-1].hex().upper()
    return f"00000000:{one.port:04X} {raw}:{one.remote_port:04X}"


KINDS = ("come", "come", "come and go", "late", "ask", "answer", "close", "half", "hidden", "probe", "ping", "turned")
HAPPENING = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(REMOTES),
    st.sampled_from(PORTS),
    st.integers(0, 30),
)
TICK = st.tuples(st.sampled_from((0.1, 0.5, 2.0, 5.0)), st.lists(HAPPENING, max_size=6), st.sampled_from((0, 0, 1)))


def happen(world: World, kind: str, remote: str, port: int, which: int) -> None:
    one = world.open[which % len(world.open)] if world.open else None
    match kind:
        case "come":
            world.come(remote, port)
        case "late":  # it had been counted before
            world.come(remote, port)
            world.opens -= 1
        case "come and go":
            made = world.come(remote, port)
            world.open.remove(made)
            world.gone.append(made)
        case "hidden":  # counted, and seen by nobody
            world.opens += 1
        case "turned":  # within the pod, and its client closes first: what stays is the client's end
            made = world.come("127.0.0.1", 9000)
            world.open.remove(made)
            world.gone.append(replace(made, port=made.remote_port, remote_port=made.port))
        case "probe":
            world.open.remove(world.come(NODE, 80))
        case "ask" if one is not None:
            one.received += 100
            one.in_s = world.now_s
        case "answer" if one is not None:
            one.sent += 100
            one.out_s = world.now_s
        case "ping" if one is not None:
            one.received, one.sent = one.received + 17, one.sent + 17
            one.in_s = one.out_s = world.now_s
        case "half" if one is not None:
            one.state = (8, 3, 4)[which % 3]
        case "close" if one is not None:
            world.open.remove(one)
            world.gone.append(one)
        case _:
            pass


@settings(max_examples=600, deadline=None)
@given(
    ticks=st.lists(TICK, min_size=8, max_size=40),
    bytes_seen=st.booleans(),
    switch=st.integers(0, 30),
    periods=st.sampled_from(((), PERIODS_S)),
)
def test_the_agent_judges_as_segue_does(
    ticks: list[tuple[float, list[tuple[str, str, int, int]], int]],
    bytes_seen: bool,
    switch: int,
    periods: tuple[float, ...],
) -> None:
    world = World(bytes_seen=bytes_seen)
    receiver = Receiver(ports=frozenset({80}), probe_periods_s=periods, node_addresses=frozenset({NODE}))
    full, light = Watch(receiver=receiver), Light({NODE}, list(periods))
    since_s = 0.0
    for number, (step_s, happenings, only_counted) in enumerate(ticks):
        world.now_s += step_s
        if number == min(switch, len(ticks) - 1):
            since_s = world.now_s
        for happening in happenings:
            happen(world, *happening)
        if only_counted and number:
            light.count(world.now_s, world.opens)
            full.count(Count(at_s=world.now_s, read_s=world.now_s, passive_opens=world.opens))
        else:
            gone = [key_of(one) for one in world.gone]
            light.note(world.now_s, world.opens, world.rows(), gone, ({80}, LISTENING))
            full.note(world.sample())
            world.gone.clear()
        if not since_s:
            continue
        asked = Asked(since_s, {"cap_s": "30", "timer_s": "5"})
        told, wanted = light.judge(world.now_s, asked), full.judge(world.now_s, since_s, Policy())

        assert told.word == wanted.verdict.value
        assert told.live == wanted.live
        assert sorted(told.peers) == sorted(wanted.peers)
        assert math.isclose(told.silent_s, wanted.silent_s, abs_tol=1e-9)
        assert math.isclose(told.needed_s, wanted.needed_s, abs_tol=1e-9)
        assert math.isclose(told.rate, wanted.rate, abs_tol=1e-9)
