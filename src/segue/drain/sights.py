"""What one pod's traffic looks like, for people and for machines: `segue traffic` shows it, metrics are made of it.

Rule: it says what the judge sees and decides nothing; what a source cannot tell is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segue.drain.arrivals import without_probes
from segue.drain.judge import Evidence, Policy, Watch
from segue.drain.samples import Connection
from segue.model.objects import Obj

RATE_OVER_S = 10.0  # arrivals per second are told of so long


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenConnection:
    """One connection. `age_s` is a lower bound where it was `older` than the first look."""

    peer: str
    peer_port: int
    port: int
    outgoing: bool
    state: str
    live: bool
    age_s: float
    older: bool
    idle_s: float | None
    bytes_received: int | None
    bytes_sent: int | None

    def as_obj(self) -> Obj:
        """For machines."""
        return {
            "peer": self.peer,
            "peerPort": self.peer_port,
            "port": self.port,
            "outgoing": self.outgoing,
            "state": self.state,
            "live": self.live,
            "ageSeconds": round(self.age_s, 1),
            "older": self.older,
            "idleSeconds": None if self.idle_s is None else round(self.idle_s, 1),
            "bytesReceived": self.bytes_received,
            "bytesSent": self.bytes_sent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPeer:
    """All connections of one peer in one direction; `arrived` counts those that have been seen since the first look."""

    peer: str
    outgoing: bool
    open: int
    live: int
    arrived: int
    oldest_s: float | None
    idle_s: float | None
    bytes_received: int | None
    bytes_sent: int | None

    def as_obj(self) -> Obj:
        """For machines."""
        return {
            "peer": self.peer,
            "outgoing": self.outgoing,
            "open": self.open,
            "live": self.live,
            "arrived": self.arrived,
            "oldestSeconds": None if self.oldest_s is None else round(self.oldest_s, 1),
            "idleSeconds": None if self.idle_s is None else round(self.idle_s, 1),
            "bytesReceived": self.bytes_received,
            "bytesSent": self.bytes_sent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One pod. `rate`: arrivals per second lately, probes left out; None where nothing can be seen."""

    pod: str
    evidence: Evidence
    rate: float | None
    connections: tuple[SeenConnection, ...]
    peers: tuple[SeenPeer, ...]
    active: int = 0  # told by a source that knows no connections
    arrived: int = 0  # all that came since the first look, probes too

    @property
    def open(self) -> int | None:
        """Connections that are open, or None where nothing can be seen."""
        return None if self.rate is None else len(self.connections) + self.active

    def as_obj(self) -> Obj:
        """For machines."""
        evidence = self.evidence
        return {
            "pod": self.pod,
            "source": evidence.source,
            "trouble": evidence.trouble or None,
            "verdict": str(evidence.verdict),
            "because": evidence.because,
            "silentSeconds": round(evidence.silent_s, 1),
            "neededSeconds": round(evidence.needed_s, 1),
            "open": self.open,
            "live": None if self.rate is None else evidence.live,
            "arrivalsPerSecond": None if self.rate is None else round(self.rate, 2),
            "peers": [peer.as_obj() for peer in self.peers],
            "connections": [connection.as_obj() for connection in self.connections],
        }


def sight_of(  # noqa: PLR0913 - the last has its usual value
    pod: str, watch: Watch | None, evidence: Evidence, now_s: float, policy: Policy, *, rate_over_s: float = RATE_OVER_S
) -> Sight:
    """What is seen of one pod, with the verdict that stands on it."""
    if watch is None or watch.last is None or evidence.blind:
        return Sight(pod=pod, evidence=evidence, rate=None, connections=(), peers=())
    assert watch.began_s is not None
    rows = [_seen(watch, connection, now_s, policy) for connection in watch.served()]
    rows.sort(key=lambda row: (not row.live, row.peer, row.peer_port))
    over_s = max(1.0, min(rate_over_s, now_s - watch.began_s))
    arrived = without_probes(watch.arrivals, watch.receiver.probe_periods_s)
    lately = sum(one.count for one in arrived if one.at_s > now_s - over_s)
    return Sight(
        pod=pod,
        evidence=evidence,
        rate=lately / over_s,
        connections=tuple(rows),
        peers=tuple(_peers(rows, watch)),
        active=watch.last.active,
        arrived=watch.arrived,
    )


def _seen(watch: Watch, connection: Connection, now_s: float, policy: Policy) -> SeenConnection:
    tracked = watch.tracked[connection.key]
    idle = [one for one in (connection.idle_received_s, connection.idle_sent_s) if one is not None]
    return SeenConnection(
        peer=connection.remote,
        peer_port=connection.remote_port,
        port=connection.local_port,
        outgoing=connection.outgoing,
        state=connection.state,
        live=watch.lives(connection, now_s, policy),
        age_s=max(0.0, now_s - min(tracked.met_s, tracked.seen_s)),
        older=tracked.before,
        idle_s=min(idle) if idle else None,
        bytes_received=connection.bytes_received,
        bytes_sent=connection.bytes_sent,
    )


def _peers(rows: Iterable[SeenConnection], watch: Watch) -> list[SeenPeer]:
    groups: dict[tuple[str, bool], list[SeenConnection]] = {}
    for row in rows:
        groups.setdefault((row.peer, row.outgoing), []).append(row)
    for remote in watch.senders:
        if remote not in watch.receiver.node_addresses:
            groups.setdefault((remote, False), [])
    found = [
        SeenPeer(
            peer=peer,
            outgoing=outgoing,
            open=len(group),
            live=sum(row.live for row in group),
            arrived=0 if outgoing else watch.senders.get(peer, 0),
            oldest_s=max((row.age_s for row in group), default=None),
            idle_s=min((row.idle_s for row in group if row.idle_s is not None), default=None),
            bytes_received=_sum(row.bytes_received for row in group),
            bytes_sent=_sum(row.bytes_sent for row in group),
        )
        for (peer, outgoing), group in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.live, -one.open, -one.arrived, one.peer))


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
