"""Whether the world has stopped sending to a pod, judged at the pod: `quiet | busy | not enough evidence`.

A sender with r arrivals per second is silent by chance for t seconds with probability exp(-r t); where r was counted
from n arrivals in w seconds, with (w / (w + t))^n. Quiet means that every sender seen lately has been silent for longer
than a stated risk allows, and for at least `quiet_min_s`.

Rule 1: rates are kept per sender, never pooled: one rare client hides behind a thousand busy ones (C1).
Rule 2: a connection is live while it owes an answer (C2) or carried bytes within its own window (C3). Idle keep-alive
is not live. Where bytes cannot be seen, an established connection counts as live.
Rule 3: the kubelet's probes are connections too. They are taken out by their rhythm (P2: fixed period and phase),
never by their number alone, and never where the source is seen and is not the node. What is left: where sources
cannot be seen, a client as rare as a probe passes for one until the probe's own period has gone round.
Rule 4: a pod that was looked at too late to have a rhythm of its own has that of its siblings, the slowest of them:
kube-proxy takes any ready endpoint, so whoever sends to one sends to each. Not where a client keeps to its pod.
Never asks the time and never opens anything.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from segue.drain.arrivals import SAMPLES_FOR_A_RATE, Arrived, proving_s, still_sending, without_probes
from segue.drain.samples import Connection, Count, Sample, both_of, bytes_of, closed_key, idle_of, owes_an_answer
from segue.drain.stalls import Rhythm

LOOK_BACK_S = 60.0
TIME_WAIT_S = 60.0  # for so long Linux keeps what has ended (TCP_TIMEWAIT_LEN)
LOOPBACK = ("127.", "::1")
PING_BYTES = frozenset({17, 17 + 22, 17 + 29})  # RFC 9113 6.7: 9 + 8; in a record of TLS 1.3, of TLS 1.2
PING_PAUSE_S = 5.0  # nobody pings more often who has not just spoken


class Verdict(StrEnum):
    """What the evidence says."""

    QUIET = "quiet"
    BUSY = "busy"
    UNKNOWN = "not enough evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How sure to be. `timer_s` is the propagation time P that stands in for evidence; `cap_s` ends any drain.

    `longest_s` is the longest silence that is waited for as a proof: of a sender of one request per second it is 16 s.
    A sender that is rarer is given as much, and proves nothing; one known to be too rare for a rhythm is given P.
    """

    risk: float = 1e-6
    quiet_min_s: float = 2.0
    timer_s: float = 5.0
    longest_s: float = 20.0
    cap_s: float = 30.0
    young_s: float = 15.0  # a connection younger than this keeps its place that long (C3)
    keeps_idle: bool = False  # an open connection is live although nothing moves on it: of a handover
    outgoing: bool = False  # quiet means both directions: what the pod opens itself counts, too

    def __post_init__(self) -> None:
        assert 0 < self.risk < 1
        assert 0 < self.quiet_min_s <= self.timer_s <= self.cap_s
        assert self.quiet_min_s <= self.longest_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """What is known of the pod from its spec: ports that Services target, probe periods, the node's addresses."""

    ports: frozenset[int]
    probe_periods_s: tuple[float, ...] = ()
    node_addresses: frozenset[str] = frozenset()
    nodes: int = 1
    siblings: str = ""  # equal for pods that every sender is spread over evenly; "" where none are
    outgoing: bool = False  # what the pod opens itself counts, too: of workers that nobody calls
    udp: bool = False  # a Service sends it datagrams: of those only arrivals can be seen
    streaming: frozenset[int] = frozenset()  # ports whose open connections are live although nothing moves on them


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A verdict with the numbers it stands on. `silent_s` counts from the last arrival (or from the switch)."""

    verdict: Verdict
    source: str
    silent_s: float
    needed_s: float
    live: int
    rate: float  # arrivals per second while it still had traffic
    arrivals: int  # since the switch, probes left out
    peers: tuple[str, ...] = ()
    trouble: str = ""  # why there is no better source
    stalled_s: float = 0.0  # of the silence, for how long nobody looked: it is not counted
    unseen_s: float = math.inf  # where nothing can be seen any more: for how long

    @property
    def blind(self) -> bool:
        """Whether nothing can be seen of the pod."""
        return self.source == NOTHING_SEEN.source

    @property
    def because(self) -> str:
        """One line for people."""
        if self.blind and self.live:
            return f"nothing can be seen of it any more; when it could, {self._who()} lived"
        if self.blind:
            return "nothing can be seen of it, so time alone counts"
        better = f" (no better source: {self.trouble})" if self.trouble else ""
        text = f"{self.verdict} by {self.source}: silent {self.silent_s:.1f} s of {self.needed_s:.1f} s"
        if self.rate:
            text += f" after {self.rate:.0f}/s" if self.rate >= 1 else f" after {self.rate:.2f}/s"
        if self.stalled_s >= 0.05:  # else it would read as none
            text += f", and {self.stalled_s:.1f} s in which nobody looked do not count"
        return text + (f", {self._who()}" if self.live else "") + better

    def _who(self) -> str:
        named = f" ({', '.join(self.peers[:3])})" if self.peers else ""
        return f"{self.live} live connection{'s' if self.live > 1 else ''}{named}"


NOTHING_SEEN = Evidence(
    verdict=Verdict.UNKNOWN, source="timer", silent_s=0.0, needed_s=0.0, live=0, rate=0.0, arrivals=0
)


@dataclass(slots=True, kw_only=True)
class _Tracked:
    """One connection over time."""

    seen_s: float
    moved_s: float
    gap_s: float = 0.0
    carried: int | None = None
    bytes: tuple[int, int] | None = None  # received, sent
    met_s: float = 0.0  # when it was first looked at
    before: bool = False  # it was there at the very first look: who knows how long


@dataclass(slots=True, kw_only=True)
class Watch:
    """One pod over time: fed samples, asked for evidence."""

    receiver: Receiver
    began_s: float | None = None
    last: Sample | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)
    arrivals: deque[Arrived] = field(default_factory=deque)
    senders: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)  # connections of a sender that ended here: all of them are seen
    ends_before: dict[str, int] = field(default_factory=dict)  # the same of the last minute before the first look
    tracked: dict[tuple[int, str, int], _Tracked] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    ended: dict[tuple[int, str], int] = field(default_factory=dict)  # as the source has counted them so far
    vanished: Counter[tuple[int, str]] = field(default_factory=Counter)  # met while open, not yet among the ended
    whole_s: float = 0.0  # the last look that saw who is connected
    nameless: bool = False  # somebody has come since, and nobody has looked who
    others: set[tuple[int, str, int]] = field(default_factory=set)
    counted: int = 0  # arrivals since the last whole look that have only been counted
    arrived: int = 0  # all arrivals that were seen, probes too, whatever was begun anew meanwhile
    opened_s: float = -math.inf  # when a new connection of the pod's own was last seen

    def count(self, count: Count) -> None:
        """Take in that so many have come by now; who they are, only a whole sample can tell."""
        if self.receiver.udp:
            count = replace(count, passive_opens=count.passive_opens + count.datagrams)
        if self.last is None or self.last.counts != "kernel" or count.passive_opens < self.last.passive_opens:
            self.nameless = True
            return
        self.rhythm.look(count.at_s)
        if count.passive_opens > self.last.passive_opens:
            came = Arrived(at_s=max(count.at_s, count.read_s), count=count.passive_opens - self.last.passive_opens)
            self.arrivals.append(came)
            self.counted += came.count
            self.arrived += came.count
        self.nameless = self.nameless or count.passive_opens != self.last.passive_opens
        self.last = replace(self.last, at_s=count.at_s, read_s=count.read_s, passive_opens=count.passive_opens)

    def note(self, sample: Sample) -> None:
        """Take one more sample in."""
        if self.receiver.udp:
            sample = replace(sample, passive_opens=sample.passive_opens + sample.datagrams)
        if self.last is None or _starts_again(self.last, sample):
            self.began_s = sample.latest_s
            self.arrivals.clear()
            # Who came before came at a rate that the time since now says nothing about.
            self.senders, self.ends, self.ends_before, self.ended = {}, {}, {}, {}
            self.last = None
            self.rhythm = Rhythm()
        self.rhythm.look(sample.at_s)
        # Those that a count has taken in already for arrivals cannot be taken off what came since.
        others, self.counted = max(0, self._others(sample) - self.counted), 0
        seen = self._track(sample)
        if self.last is not None and sample.passive_opens > self.last.passive_opens + others:
            count = sample.passive_opens - self.last.passive_opens - others
            self.arrivals.append(Arrived(at_s=sample.latest_s, count=count, seen=seen))
            self.arrived += count
        elif seen and self.arrivals:  # they came with the newest of those that had only been counted, or before it
            self.arrivals[-1] = replace(self.arrivals[-1], seen=Counter(self.arrivals[-1].seen) + Counter(seen))
        self.nameless, self.whole_s = False, sample.at_s
        while self.arrivals and self.arrivals[0].at_s < sample.at_s - LOOK_BACK_S:
            self.arrivals.popleft()
        self.last = sample

    def _others(self, sample: Sample) -> int:
        """How many new connections are nobody's business: within the pod, or to ports that no Service targets (C5)."""
        rows = {one.key for one in sample.connections if not one.outgoing}
        rows |= {closed_key(addresses) for addresses in sample.closed - self.closed}
        others = {
            (port, remote, remote_port)
            for port, remote, remote_port in rows
            if port not in self.receiver.ports or remote.startswith(LOOPBACK)
        }
        listening = sample.listening or frozenset()
        # Of a connection within the pod either end may be seen, while it lives and when it has ended: it is one.
        accepted = {
            (min(port, remote_port), remote, max(port, remote_port))
            if remote.startswith(LOOPBACK)
            else (port, remote, remote_port)
            for port, remote, remote_port in others
            if port in listening or (remote.startswith(LOOPBACK) and remote_port in listening)
        }
        fresh = len(accepted - self.others)
        self.others = accepted
        return fresh if self.last is not None else 0

    def _track(self, sample: Sample) -> dict[str, int]:
        """Follow each connection; the new ones by source, the node's own addresses left out."""
        fresh: dict[str, int] = {}
        present: dict[tuple[int, str, int], _Tracked] = {}
        for connection in self._served(sample.connections):
            carried = bytes_of(connection)
            known = self.tracked.get(connection.key)
            if known is None:
                if connection.outgoing:
                    self.opened_s = sample.latest_s if self.last is not None else self.opened_s
                else:
                    self._met(connection.remote, fresh)
                moved_s = sample.at_s - idle_of(connection)
                present[connection.key] = _Tracked(
                    seen_s=moved_s,
                    moved_s=moved_s,
                    carried=carried,
                    bytes=both_of(connection),
                    met_s=sample.at_s,
                    before=self.last is None,
                )
                continue
            if carried != known.carried and _is_ping(connection, known, sample.at_s):
                known.carried, known.bytes = carried, both_of(connection)
            elif carried != known.carried:
                known.bytes = both_of(connection)
                moved_s = max(known.moved_s, sample.at_s - idle_of(connection))
                known.gap_s = max(known.gap_s, moved_s - known.moved_s)
                known.moved_s, known.carried = moved_s, carried
            present[connection.key] = known
        for addresses in sample.closed - self.closed:
            port, remote, remote_port = closed_key(addresses)
            if (port, remote, remote_port) in self.tracked or remote.startswith(LOOPBACK):
                continue
            if port in self.receiver.ports:
                self._met(remote, fresh)
                ends = self.ends_before if self.last is None else self.ends
                ends[remote] = ends.get(remote, 0) + 1
            elif self.receiver.outgoing and self.last is not None and port not in (sample.listening or ()):
                self.opened_s = sample.latest_s
        self._count_ended(sample, present, fresh)
        self.tracked, self.closed = present, sample.closed
        return fresh

    def _count_ended(
        self, sample: Sample, present: Mapping[tuple[int, str, int], object], fresh: dict[str, int]
    ) -> None:
        """Those that no look found open, of a source that counts by peer what has ended."""
        if not sample.ended:
            return
        self.vanished.update((port, remote) for port, remote, number in self.tracked.keys() - present.keys())
        for (port, remote), (total, lately) in sample.ended.items():
            before = self.ended.get((port, remote))
            count = lately if self.last is None else total - (before or 0)
            self.ended[port, remote] = total
            if count <= 0 or port not in self.receiver.ports or remote.startswith(LOOPBACK):
                continue
            ends = self.ends_before if self.last is None else self.ends
            ends[remote] = ends.get(remote, 0) + count
            known = min(count, self.vanished[port, remote])
            self.vanished[port, remote] -= known
            self._met(remote, fresh, count - known)

    def _met(self, remote: str, fresh: dict[str, int], count: int = 1) -> None:
        """So many more connections of a sender."""
        if count:
            self.senders[remote] = self.senders.get(remote, 0) + count
        if count and remote not in self.receiver.node_addresses:
            fresh[remote] = fresh.get(remote, 0) + count

    def _served(self, connections: Sequence[Connection]) -> list[Connection]:
        """Connections to ports that a Service targets, from outside the pod (C5); on request those it opened, too."""
        ports, outgoing = self.receiver.ports, self.receiver.outgoing
        return [
            one
            for one in connections
            if (one.local_port in ports or (outgoing and one.outgoing)) and not one.remote.startswith(LOOPBACK)
        ]

    def judge(self, now_s: float, since_s: float, policy: Policy, siblings_s: float = math.inf) -> Evidence:
        """The evidence at `now_s`, for a pod that lost its traffic at `since_s` (the switch).

        `siblings_s` is how long its siblings' senders must have been silent: for a pod that could not learn its own.
        """
        if self.last is None or self.began_s is None:
            return NOTHING_SEEN
        arrived = without_probes(self.arrivals, self.receiver.probe_periods_s)
        last_s = max((one.at_s for one in arrived), default=self.began_s)
        # Silence is proved up to the last look, and no further: a source that stalls proves nothing meanwhile.
        from_s, to_s = max(last_s, since_s, self.began_s, self.opened_s), min(now_s, self.last.at_s)
        stalled_s = self.rhythm.unwatched_s(from_s, to_s)
        silent_s = max(0.0, to_s - from_s - stalled_s)
        rate = self._rate(arrived, last_s)
        window_s = self._window_s(arrived, rate, since_s, policy)
        if math.isinf(window_s) and since_s - self.began_s < siblings_s:
            window_s = siblings_s
        live = self._live(now_s, policy)
        longest_s = max(policy.timer_s, policy.longest_s)
        enough = window_s <= longest_s
        needed_s = max(policy.quiet_min_s, window_s) if enough else policy.timer_s
        # Who was seen to come twice may come every second; of who was not seen, a probe of a pod's start, nobody knows
        hardly_watched = any(one.foreign for one in arrived) and since_s - self.began_s < longest_s
        if not enough and (math.isfinite(window_s) or hardly_watched):  # as long as for any other at least
            needed_s = longest_s
        count = len(live) + self.last.active
        if count or self.nameless or silent_s < policy.quiet_min_s:
            verdict = Verdict.BUSY
        elif not enough:
            verdict = Verdict.UNKNOWN
        else:
            verdict = Verdict.QUIET if silent_s >= needed_s else Verdict.BUSY
        return Evidence(
            verdict=verdict,
            source=self.last.source,
            silent_s=silent_s,
            needed_s=needed_s,
            live=count,
            rate=rate,
            arrivals=sum(one.count for one in arrived if one.at_s > since_s),
            stalled_s=stalled_s,
            peers=(*self.last.peers, *(f"{connection.remote}:{connection.remote_port}" for connection in live)),
        )

    def window_s(self, since_s: float, policy: Policy) -> float | None:
        """How long its own senders must be silent, infinite where one is too rare; None where it saw too little."""
        if self.began_s is None:
            return None
        arrived = without_probes(self.arrivals, self.receiver.probe_periods_s)
        last_s = max((one.at_s for one in arrived), default=self.began_s)
        found_s = self._window_s(arrived, self._rate(arrived, last_s), since_s, policy)
        saw_enough = since_s - self.began_s >= policy.timer_s
        return found_s if saw_enough or math.isfinite(found_s) else None

    def _rate(self, arrived: Sequence[Arrived], last_s: float) -> float:
        assert self.began_s is not None
        first_s = arrived[0].at_s if arrived else self.began_s
        watched_s = last_s - max(self.began_s, min(first_s, last_s - 1.0))
        total = sum(one.count for one in arrived)
        return total / watched_s if total >= SAMPLES_FOR_A_RATE and watched_s > 0 else 0.0

    def _window_s(self, arrived: Sequence[Arrived], rate: float, since_s: float, policy: Policy) -> float:
        """How long every sender must have been silent; infinite where one is too rare to judge."""
        if not rate:
            return math.inf
        total = sum(one.count for one in arrived)
        still = still_sending(arrived, since_s)
        known = {remote: count for remote, count in self.senders.items() if remote not in self.receiver.node_addresses}
        before = {remote: count for remote, count in known.items() if remote not in still}
        # A share is one of all, also of those that have not fallen silent yet, and of those behind a node's address.
        seen = sum(self.senders.values())
        # Three that came in half a second say little: who came more slowly before is taken at that.
        shares = {remote: rate * count / seen for remote, count in known.items()} if seen else {}
        rates = [min(each, shares.get(remote) or each) for remote, each in still.items()]
        watched_s = max(1.0, min(since_s, self.last.at_s if self.last else since_s) - (self.began_s or 0.0))
        # Of who ends here each connection is seen, so its number is its own. The others are seen in passing: they have
        # shares in what is left, for whoever is seen more often comes more often.
        whole = {remote for remote in before if remote in self.ends or remote in self.ends_before}
        rates += [self._own_rate(remote, watched_s) for remote in whole]
        passing = [count for remote, count in before.items() if remote not in whole]
        if passing:
            rarest = min(passing)
            rates.append(rate * rarest / seen if rarest / seen * total >= SAMPLES_FOR_A_RATE else 0.0)
        elif not still and not whole:
            # The source is hidden (masqueraded, or too short-lived to be seen): each node may be a sender.
            rates.append(rate / max(1, self.receiver.nodes))
        return proving_s(min(rates), total / rate, policy.risk)

    def _own_rate(self, remote: str, watched_s: float) -> float:
        """Of a sender whose connections end here; 0 where it came too seldom to have a rhythm."""
        ends, before = self.ends.get(remote, 0), self.ends_before.get(remote, 0)
        if ends >= SAMPLES_FOR_A_RATE:
            return ends / watched_s
        return (ends + before) / (watched_s + TIME_WAIT_S) if ends + before >= SAMPLES_FOR_A_RATE else 0.0

    def _live(self, now_s: float, policy: Policy) -> list[Connection]:
        assert self.last is not None
        return [connection for connection in self.served() if self.lives(connection, now_s, policy)]

    def lives(self, connection: Connection, now_s: float, policy: Policy) -> bool:
        """Whether ending the pod now would cut this connection off."""
        if connection.local_port in self.receiver.streaming and connection.state == "ESTABLISHED":
            return True
        return _is_live(connection, self.tracked[connection.key], now_s, policy)

    def served(self) -> list[Connection]:
        """Connections open at the last look, whatever they carry: the fewer, the idler the pod."""
        return self._served(self.last.connections) if self.last else []


def _is_live(connection: Connection, tracked: _Tracked, now_s: float, policy: Policy) -> bool:
    """Whether ending its pod now would cut something off."""
    if connection.state == "SYN_RECV":
        return True
    if connection.state not in {"ESTABLISHED", "CLOSE_WAIT"}:
        return False
    if policy.keeps_idle or connection.bytes_received is None or connection.bytes_sent is None:
        return connection.state == "ESTABLISHED"
    if not connection.outgoing and owes_an_answer(connection):
        return True
    if connection.state == "CLOSE_WAIT":
        return False
    age_s = now_s - tracked.seen_s
    if age_s < policy.young_s and tracked.carried:
        return True
    return now_s - tracked.moved_s < max(policy.quiet_min_s, 2 * tracked.gap_s)


def _starts_again(last: Sample, sample: Sample) -> bool:
    """Whether what is counted is another thing than before: another network (the counter goes backwards, C6), or
    another kind of source, whose number says nothing about the one before."""
    return sample.passive_opens < last.passive_opens or sample.counts != last.counts


def _is_ping(connection: Connection, known: _Tracked, at_s: float) -> bool:
    """Whether all that has moved is one PING of HTTP/2 and its answer (gRPC's keep-alive), after a pause (C6).

    Nothing else is taken for a ping: of a WebSocket's nobody can tell whether it is one, and somebody is there.
    """
    now = both_of(connection)
    if now is None or known.bytes is None or at_s - known.moved_s < PING_PAUSE_S:
        return False
    received, sent = (after - before for after, before in zip(now, known.bytes, strict=True))
    return received == sent and received in PING_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How a pod's drain ended: quiet | timer | capped."""

    reason: str
    because: str


def ended(evidence: Evidence, *, now_s: float, since_s: float, policy: Policy) -> Drained | None:
    """Whether the pod may be ended now and why; None means wait."""
    waited_s = now_s - since_s
    if evidence.verdict is Verdict.QUIET:
        return Drained(reason="quiet", because=evidence.because)
    if waited_s >= policy.cap_s:
        return Drained(reason="capped", because=f"{evidence.because}; the cap of {policy.cap_s:g} s is over")
    if evidence.blind:
        # Who was connected when nobody could look any more is there until the cap; the silence begins anew.
        over = min(waited_s, evidence.unseen_s) >= policy.timer_s and not evidence.live
        why = f" ({evidence.trouble})" if evidence.trouble else ""
        return Drained(reason="timer", because=f"no evidence to be had{why}; waited {waited_s:.1f} s") if over else None
    if evidence.verdict is Verdict.UNKNOWN and min(waited_s, evidence.silent_s) >= evidence.needed_s:
        return Drained(reason="timer", because=f"{evidence.because}; waited {waited_s:.1f} s")
    return None


def summary_of(evidence: Mapping[str, Evidence]) -> str:
    """One line over all pods."""
    kinds = [(verdict, sum(e.verdict is verdict for e in evidence.values())) for verdict in Verdict]
    return ", ".join(f"{count} {verdict}" for verdict, count in kinds if count)
