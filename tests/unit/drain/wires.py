"""A pod's connections as its kernel tells them, in virtual time: who comes, what each of them carries, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from segue.drain.judge import Drained, Evidence, Policy, Receiver, Watch, ended
from segue.drain.samples import Connection, Sample

PORT = 8080
SWITCH_S = 100.0  # long after the start: no connection that is there by then is young
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One connection: (moment, bytes received, bytes sent), in order; it is there from the first moment on."""

    number: int
    moves: tuple[tuple[float, int, int], ...]
    until_s: float = 1e9
    remote: str = "10.0.0.9"
    port: int = PORT

    def at(self, now_s: float) -> Connection | None:
        """As the kernel tells it at a moment, None before its first and after its last."""
        past = [move for move in self.moves if move[0] <= now_s]
        if not past or now_s >= self.until_s:
            return None
        received = [move for move in past if move[1]]
        sent = [move for move in past if move[2]]
        return Connection(
            local_port=self.port,
            remote=self.remote,
            remote_port=20_000 + self.number,
            state="ESTABLISHED",
            bytes_received=sum(move[1] for move in past),
            bytes_sent=sum(move[2] for move in past),
            idle_received_s=now_s - (received or past)[-1 if received else 0][0],
            idle_sent_s=now_s - (sent or past)[-1 if sent else 0][0],
        )


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod under judgement. `arrivals` are short connections that leave no trace but the counter."""

    wires: Iterable[Wire] = ()
    arrivals: Iterable[float] = ()
    senders: dict[float, str] = field(default_factory=dict)  # of arrivals whose TIME_WAIT is seen
    datagrams: Iterable[float] = ()
    policy: Policy = field(default_factory=Policy)
    receiver: Receiver = field(default_factory=lambda: Receiver(ports=frozenset({PORT})))

    def looks(self, until_s: float, from_s: float = 50.0) -> Iterator[tuple[float, Evidence]]:
        """The evidence at each look after the switch."""
        watch = Watch(receiver=self.receiver)
        arrivals, datagrams = sorted(self.arrivals), sorted(self.datagrams)
        wires = list(self.wires)
        for tick in range(round(from_s / LOOK_EVERY_S), round(until_s / LOOK_EVERY_S) + 1):
            now_s = tick * LOOK_EVERY_S
            watch.note(
                Sample(
                    at_s=now_s,
                    passive_opens=sum(moment <= now_s for moment in arrivals)
                    + sum(wire.moves[0][0] <= now_s for wire in wires),
                    connections=tuple(one for wire in wires if (one := wire.at(now_s))),
                    source="node path",
                    listening=frozenset({PORT, 9100}),
                    datagrams=sum(moment <= now_s for moment in datagrams),
                    closed=frozenset(_row(at_s, remote) for at_s, remote in self.senders.items() if at_s <= now_s),
                )
            )
            if now_s >= SWITCH_S:
                yield now_s, watch.judge(now_s, SWITCH_S, self.policy)

    def drained(self, until_s: float = 200.0) -> tuple[float, Drained, Evidence]:
        """How long after the switch it may be ended, and why."""
        for now_s, evidence in self.looks(until_s):
            end = ended(evidence, now_s=now_s, since_s=SWITCH_S, policy=self.policy)
            if end is not None:
                return now_s - SWITCH_S, end, evidence
        raise AssertionError(f"it was not drained by second {until_s}")


def _row(at_s: float, remote: str) -> str:
    """An ended connection of the pod's port as /proc writes it."""
    words = "".join(f"{int(part):02X}" for part in reversed(remote.split(".")))
    return f"0200000A:{PORT:04X} {words}:{20_000 + round(at_s * 10) % 40_000:04X}"


def steady(per_s: float, *, until_s: float = SWITCH_S, from_s: float = 50.0) -> list[float]:
    """Arrivals of a steady load that stops at the switch."""
    return [from_s + (index + 0.5) / per_s for index in range(int((until_s - from_s) * per_s))]


def answered(at_s: float, *, every_s: float, until_s: float, received: int = 120, sent: int = 900) -> Iterator[Move]:
    """Requests, each answered 10 ms later."""
    moment_s = at_s
    while moment_s < until_s:
        yield moment_s, received, 0
        yield moment_s + 0.01, 0, sent
        moment_s += every_s


Move = tuple[float, int, int]
