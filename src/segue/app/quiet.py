"""Whether anybody still sends to this pod: the rules of segue.drain on plain rows.

What is quiet is said, with its reasons, by segue.drain. Here are the same rules without its types, because 10,000
connections must cost less than 1 % of a core. A law test holds the two equal.
"""

from __future__ import annotations

import math
from collections import deque

from .sockets import Key, Row, address_of, is_loopback

LOOK_BACK_S = 60.0
TIME_WAIT_S = 60.0
SAMPLES_FOR_A_RATE = 3
STALL_MIN_S, STALL_FACTOR, GAPS, STALLS_MAX = 1.0, 3.0, 5, 64
PING_BYTES, PING_PAUSE_S = {17, 17 + 22, 17 + 29}, 5.0
_ESTABLISHED, _CLOSE_WAIT = 1, 8
_SYN_RECV = {3, 12}

Ports = tuple[set[int], set[int]]  # those that count, all that accept
Arrived = tuple[float, int, dict[str, int]]  # when, how many, those of them that were seen, by sender


class Asked:
    """What somebody wants to be quiet: the numbers of segue.drain's Policy."""

    __slots__ = ("cap_s", "longest_s", "quiet_s", "risk", "since_s", "timer_s", "young_s")

    def __init__(self, since_s: float, query: dict[str, str]) -> None:
        self.since_s = since_s
        self.cap_s = float(query.get("cap_s") or 60.0)
        self.timer_s = min(self.cap_s, float(query.get("timer_s") or 5.0))
        self.quiet_s = min(self.timer_s, 2.0)
        self.longest_s = max(self.timer_s, float(query.get("longest_s") or 20.0))  # a rhythm worth waiting for
        self.risk, self.young_s = 1e-6, 15.0
        if not all(0 < each < math.inf for each in (self.cap_s, self.timer_s, self.longest_s)):
            raise ValueError("seconds above 0")


class Verdict:
    """quiet | busy | not enough evidence, with the numbers it stands on."""

    __slots__ = ("live", "needed_s", "peers", "rate", "silent_s", "word")

    def __init__(self, word: str, silent_s: float, needed_s: float, rate: float, peers: list[str]) -> None:
        self.word, self.silent_s, self.needed_s, self.rate, self.peers = word, silent_s, needed_s, rate, peers
        self.live = len(peers)

    def because(self) -> str:
        """One line for people."""
        text = f"{self.word}: silent {self.silent_s:.1f} s of {self.needed_s:.1f} s"
        if self.rate:
            text += f" after {self.rate:.0f}/s" if self.rate >= 1 else f" after {self.rate:.2f}/s"
        return text + (f", {self.live} live connections ({', '.join(self.peers[:3])})" if self.peers else "")


class Watch:
    """One pod over time. The rules, and their reasons, are those of segue.drain's Watch."""

    def __init__(self, node_addresses: set[str], probe_periods_s: list[float]) -> None:
        self.node_addresses = node_addresses
        self.probe_periods_s = probe_periods_s
        self.began_s: float | None = None
        self.looked_s = 0.0
        self.opens = 0
        self.arrivals: deque[Arrived] = deque()
        self.senders: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        self.ends_before: dict[str, int] = {}
        self.others: set[Key] = set()
        self.nameless = False
        self.counted = 0
        self.proved_s = 0.0  # up to when nobody can have come unseen
        self.gaps: deque[float] = deque(maxlen=GAPS)  # between looks, and those in which nobody looked (drain.stalls)
        self.stalls: deque[tuple[float, float]] = deque(maxlen=STALLS_MAX)
        # key: [when it was first active, last, its longest gap, received (-1: unknown), sent, state, owes an answer]
        self.tracked: dict[Key, list[float]] = {}
        self.met: dict[Key, list[float]] = {}  # those of the look before

    def note(self, at_s: float, opens: int, rows: list[Row], closed: list[Key], ports: Ports) -> None:
        """Take one look in; `closed` are those that ended since the last one."""
        served, listening = ({port.to_bytes(2, "big") for port in each} for each in ports)
        others = max(0, self._others([row[0] for row in rows] + closed, served, listening) - self.counted)
        fresh = self._track(at_s, rows, served)
        for key in closed:
            if key[:2] in served and key not in self.met and not is_loopback(key[4:]):
                self._met(key, fresh)
                ends = self.ends_before if self.began_s is None else self.ends
                remote = address_of(key)
                ends[remote] = ends.get(remote, 0) + 1
        if self.began_s is None:
            self.began_s = at_s
        elif opens > self.opens + others:
            self.arrivals.append((at_s, opens - self.opens - others, fresh))
        elif fresh and self.arrivals:
            seen = self.arrivals[-1][2]
            both = {remote: seen.get(remote, 0) + fresh.get(remote, 0) for remote in [*seen, *fresh]}
            self.arrivals[-1] = (*self.arrivals[-1][:2], both)
        self._look(at_s)
        self.nameless, self.counted = False, 0
        self.opens, self.looked_s, self.proved_s = max(opens, self.opens), at_s, at_s
        while self.arrivals and self.arrivals[0][0] < at_s - LOOK_BACK_S:
            self.arrivals.popleft()

    def _others(self, keys: list[Key], served: set[bytes], listening: set[bytes]) -> int:
        """How many new connections are nobody's business: within the pod, or to ports that do not count (C5)."""
        accepted = set()
        for key in keys:
            inside = is_loopback(key[4:])
            if (key[:2] not in served or inside) and (key[:2] in listening or (inside and key[2:4] in listening)):
                accepted.add(min(key[:2], key[2:4]) + max(key[:2], key[2:4]) + key[4:] if inside else key)
        fresh = len(accepted - self.others)
        self.others = accepted
        return fresh if self.began_s is not None else 0

    def _track(self, at_s: float, rows: list[Row], served: set[bytes]) -> dict[str, int]:
        """Follow each connection; the new ones by sender."""
        fresh: dict[str, int] = {}
        tracked = self.tracked
        present: dict[Key, list[float]] = {}
        for key, state, received, sent, in_ms, out_ms in rows:
            if key[:2] not in served:
                continue
            known = tracked.get(key)
            if known is None:
                if is_loopback(key[4:]):
                    continue
                self._met(key, fresh)
                moved_s = at_s - (min(in_ms, out_ms) / 1000 if received >= 0 else 0.0)
                known = [moved_s, moved_s, 0.0, received, sent, state, 0]
            elif received + sent != known[3] + known[4]:
                if not _is_ping(known, received, sent, at_s):
                    moved_s = max(known[1], at_s - min(in_ms, out_ms) / 1000)
                    known[2] = max(known[2], moved_s - known[1])
                    known[1] = moved_s
                known[3], known[4] = received, sent
            known[5] = state
            known[6] = received > 0 and (not sent or in_ms < out_ms)
            present[key] = known
        self.met, self.tracked = tracked, present
        return fresh

    def count(self, at_s: float, opens: int) -> None:
        """Take in that so many have come by now; who they are, the next look tells."""
        if self.began_s is None:
            return
        if opens > self.opens:
            self.arrivals.append((at_s, opens - self.opens, {}))
            self.counted += opens - self.opens
            self.opens, self.nameless = opens, True
        self._look(at_s)
        self.proved_s = at_s

    def _look(self, at_s: float) -> None:
        """One more look, after the last one at `proved_s`."""
        if self.proved_s and at_s > self.proved_s:
            gap_s = at_s - self.proved_s
            usual_s = sorted(self.gaps)[GAPS // 2] if len(self.gaps) == GAPS else gap_s
            if gap_s > max(STALL_MIN_S, STALL_FACTOR * usual_s):
                self.stalls.append((self.proved_s, at_s))
            self.gaps.append(gap_s)

    def _unwatched_s(self, from_s: float, to_s: float) -> float:
        return sum(max(0.0, min(end_s, to_s) - max(begin_s, from_s)) for begin_s, end_s in self.stalls)

    def _met(self, key: Key, fresh: dict[str, int]) -> None:
        remote = address_of(key)
        self.senders[remote] = self.senders.get(remote, 0) + 1
        if remote not in self.node_addresses:
            fresh[remote] = fresh.get(remote, 0) + 1

    def judge(self, now_s: float, asked: Asked) -> Verdict:
        """The evidence now, for a pod that leaves traffic since `asked.since_s`."""
        if self.began_s is None:
            return Verdict("not enough evidence", 0.0, asked.timer_s, 0.0, [])
        arrived = without_probes(list(self.arrivals), self.probe_periods_s)
        last_s = max((row[0] for row in arrived), default=self.began_s)
        from_s, to_s = max(last_s, asked.since_s, self.began_s), min(now_s, self.proved_s)
        silent_s = max(0.0, to_s - from_s - self._unwatched_s(from_s, to_s))
        rate = self._rate(arrived, last_s)
        window_s = self._window_s(arrived, rate, asked)
        enough = window_s <= asked.longest_s
        needed_s = max(asked.quiet_s, window_s) if enough else asked.timer_s
        hardly_watched = any(row[2] for row in arrived) and asked.since_s - self.began_s < asked.longest_s
        if not enough and (math.isfinite(window_s) or hardly_watched):
            needed_s = asked.longest_s
        live = [key for key, known in self.tracked.items() if _is_live(known, now_s, asked)]
        if live or self.nameless or silent_s < asked.quiet_s:
            word = "busy"
        elif not enough:
            word = "not enough evidence"
        else:
            word = "quiet" if silent_s >= needed_s else "busy"
        peers = [f"{address_of(key)}:{int.from_bytes(key[2:4], 'big')}" for key in live]
        return Verdict(word, silent_s, needed_s, rate, peers)

    def _rate(self, arrived: list[Arrived], last_s: float) -> float:
        assert self.began_s is not None
        first_s = arrived[0][0] if arrived else self.began_s
        watched_s = last_s - max(self.began_s, min(first_s, last_s - 1.0))
        total = sum(row[1] for row in arrived)
        return total / watched_s if total >= SAMPLES_FOR_A_RATE and watched_s > 0 else 0.0

    def _window_s(self, arrived: list[Arrived], rate: float, asked: Asked) -> float:
        """How long every sender must have been silent; infinite where one is too rare to judge."""
        if not rate:
            return math.inf
        total = sum(row[1] for row in arrived)
        still = _still_sending(arrived, asked.since_s)
        known = {remote: count for remote, count in self.senders.items() if remote not in self.node_addresses}
        before = {remote: count for remote, count in known.items() if remote not in still}
        seen = sum(self.senders.values())
        shares = {remote: rate * count / seen for remote, count in known.items()} if seen else {}
        rates = [min(each, shares.get(remote) or each) for remote, each in still.items()]
        watched_s = max(1.0, min(asked.since_s, self.proved_s) - (self.began_s or 0.0))
        whole = {remote for remote in before if remote in self.ends or remote in self.ends_before}
        rates += [self._own_rate(remote, watched_s) for remote in whole]
        passing = [count for remote, count in before.items() if remote not in whole]
        if passing:
            share = min(passing) / seen
            rates.append(rate * share if share * total >= SAMPLES_FOR_A_RATE else 0.0)
        elif not still and not whole:
            rates.append(rate)
        watched_s = total / rate
        count = min(rates) * watched_s
        return watched_s * (asked.risk ** (-1 / count) - 1) if count >= 1 else math.inf

    def _own_rate(self, remote: str, watched_s: float) -> float:
        ends, before = self.ends.get(remote, 0), self.ends_before.get(remote, 0)
        if ends >= SAMPLES_FOR_A_RATE:
            return ends / watched_s
        return (ends + before) / (watched_s + TIME_WAIT_S) if ends + before >= SAMPLES_FOR_A_RATE else 0.0


def _is_ping(known: list[float], received: int, sent: int, at_s: float) -> bool:
    if received < 0 or known[3] < 0 or at_s - known[1] < PING_PAUSE_S:
        return False
    return received - known[3] == sent - known[4] and received - known[3] in PING_BYTES


def _is_live(known: list[float], now_s: float, asked: Asked) -> bool:
    seen_s, moved_s, gap_s, received, sent, state, owes = known
    if state in _SYN_RECV:
        return True
    if state not in {_ESTABLISHED, _CLOSE_WAIT}:
        return False
    if received < 0:
        return state == _ESTABLISHED
    if owes:
        return True
    if state == _CLOSE_WAIT:
        return False
    if now_s - seen_s < asked.young_s and received + sent:
        return True
    return now_s - moved_s < max(asked.quiet_s, 2 * gap_s)


def _still_sending(arrived: list[Arrived], since_s: float) -> dict[str, float]:
    late = [row for row in arrived if row[0] > since_s]
    seen: dict[str, int] = {}
    last_s: dict[str, float] = {}
    for at_s, _, senders in late:
        for remote, count in senders.items():
            seen[remote] = seen.get(remote, 0) + count
            last_s[remote] = at_s
    scale = max(1.0, sum(row[1] for row in late) / sum(seen.values())) if seen else 1.0
    return {
        remote: count * scale / max(0.1, last_s[remote] - since_s)
        for remote, count in seen.items()
        if count >= SAMPLES_FOR_A_RATE
    }


def without_probes(rows: list[Arrived], periods_s: list[float]) -> list[Arrived]:
    """Arrivals that no probe explains, walking back from now."""
    rhythms: list[list[float]] = [[period_s, -1.0] for period_s in periods_s]  # period, and the arrival last explained
    while rows:
        at_s, left, seen = rows[-1]
        foreign = min(left, sum(seen.values()))
        for rhythm in sorted(rhythms, key=lambda one: one[1] < 0):
            if left > foreign and _explains(rhythm, at_s):
                rhythm[1] = at_s
                left -= 1
        if left:
            rows[-1] = (at_s, left, seen)
            return rows
        rows.pop()
    return rows


def _explains(rhythm: list[float], at_s: float) -> bool:
    period_s, known_s = rhythm
    if known_s < 0:
        return True
    back_s = known_s - at_s
    turns = round(back_s / period_s)
    return turns >= 1 and abs(back_s - turns * period_s) <= min(1.0, 0.3 * period_s)
