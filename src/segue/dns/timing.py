"""Where the time of lookups goes: from what a pod captured, name by name, and what each slow one waited for.

A lookup is libc's call; an exchange is one query and its answer on the wire. The two are joined by time and name.
Rule: a cause is told only with its evidence in the packets; what they do not show is `unknown`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from segue.dns.captured import Packet, packets_of
from segue.dns.resolver import parsed
from segue.model.objects import Obj

STALL_S = 0.9  # what waits longer waits for a resolver's timer: no server takes so long and answers all the same
SLOW_FACTOR = 4.0
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Cause(StrEnum):
    """What a slow lookup waited for."""

    PAIR = "one of A and AAAA was lost: a race in conntrack, or a lost packet"
    LOSS = "no answer to either query: lost packets, or a server that drops"
    FAILING = "the server failed (SERVFAIL, REFUSED) and was asked again"
    WALK = "the search list: names that do not exist, asked one after the other"
    UPSTREAM = "a name outside that was not in the cache"
    SERVER = "the server answered late"
    CLIENT = "the pod itself: it had no CPU to send or to read"
    UNKNOWN = "unknown: the packets do not show it"


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One query, all times it was sent, and its answer."""

    name: str
    type: str
    server: str
    port: int  # the asker's: A and AAAA that leave together share it
    sent_s: list[float] = field(default_factory=list)
    answered_s: float | None = None
    code: int = 0
    found: bool = False

    @property
    def took_s(self) -> float | None:
        """From the last sending to the answer."""
        return None if self.answered_s is None else self.answered_s - self.sent_s[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One call into libc."""

    name: str
    planned_s: float
    began_s: float
    ended_s: float
    code: int
    connected_s: float | None = None
    answered_s: float | None = None
    error: str = ""  # of the request behind it

    @property
    def took_s(self) -> float:
        """What the program waited."""
        return self.ended_s - self.began_s

    @property
    def late_s(self) -> float:
        """From when it should have begun to its end: what an open loop counts."""
        return self.ended_s - self.planned_s


def timed(told: Obj, domain: str = "cluster.local") -> Obj:
    """All of it, for people and machines."""
    exchanges = exchanges_of(packets_of(told["packets"]))
    lookups = [_lookup(row) for row in told["lookups"]]
    shares = _shared(lookups, exchanges, parsed(told["resolv_conf"]).search)
    names = list(dict.fromkeys(one.name for one in lookups))
    return {
        "how": told["how"],
        "libc": told["libc"],
        "names": [_of_name(name, [pair for pair in shares if pair[0].name == name], domain) for name in names],
        "servers": _of_servers(exchanges),
        "request": _of_requests(lookups),
    }


def watched(told: Obj) -> Obj:
    """What a pod's own programs asked for meanwhile."""
    exchanges = exchanges_of(packets_of(told["packets"]))
    by_name: dict[str, list[Exchange]] = {}
    for one in exchanges:
        by_name.setdefault(one.name, []).append(one)
    rows = [
        {
            "name": name,
            "queries": sum(len(one.sent_s) for one in some),
            "nonexistent": sum(one.code == 3 for one in some),
            "unanswered": sum(one.answered_s is None for one in some),
            "wire_ms": quantiles([one.took_s for one in some if one.took_s is not None]),
        }
        for name, some in by_name.items()
    ]
    return {"how": told["how"], "asked": sorted(rows, key=lambda row: -int(str(row["queries"])))}


def exchanges_of(packets: Iterable[Packet]) -> list[Exchange]:
    """Queries joined with their answers: by port, number, name and type."""
    found: dict[tuple[int, int, str, str, str], Exchange] = {}
    for one in packets:
        key = one.port, one.number, one.name.lower(), one.type, one.server
        if not one.is_answer:
            new = Exchange(name=one.name.lower(), type=one.type, server=one.server, port=one.port)
            found.setdefault(key, new).sent_s.append(one.at_s)
        elif key in found and found[key].answered_s is None:
            exchange = found[key]
            exchange.answered_s, exchange.code, exchange.found = one.at_s, one.code, bool(one.answers)
    return list(found.values())


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds; the least value that so many are at or below."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    found = {name: ordered[max(0, math.ceil(part * len(ordered)) - 1)] for name, part in QUANTILES.items()}
    return {name: round(value * 1000, 3) for name, value in found.items()}


def _shared(
    lookups: list[Lookup], exchanges: list[Exchange], search: tuple[str, ...]
) -> list[tuple[Lookup, list[Exchange]]]:
    """Which exchanges are whose: by name and time; of several lookups the one that began last."""
    shares: list[tuple[Lookup, list[Exchange]]] = [(one, []) for one in lookups]
    by_name: dict[str, list[tuple[Lookup, list[Exchange]]]] = {}
    for share in sorted(shares, key=lambda pair: pair[0].began_s, reverse=True):
        plain = share[0].name.rstrip(".").lower()
        for name in {plain, *(f"{plain}.{domain.rstrip('.').lower()}" for domain in search)}:
            by_name.setdefault(name, []).append(share)
    for exchange in exchanges:
        for lookup, own in by_name.get(exchange.name, ()):
            if lookup.began_s - 0.001 <= exchange.sent_s[0] <= lookup.ended_s:
                own.append(exchange)
                break
    return shares


def _of_name(name: str, shares: list[tuple[Lookup, list[Exchange]]], domain: str) -> Obj:
    lookups = [lookup for lookup, _ in shares]
    own = [one for _, some in shares for one in some]
    median_s = sorted(one.took_s for one in lookups)[(len(lookups) - 1) // 2]
    slow = [share for share in shares if share[0].took_s > max(SLOW_FACTOR * median_s, 0.005)]
    causes = Counter(cause_of(lookup, some, domain).name for lookup, some in slow)
    walked = [one.took_s or 0.0 for one in own if one.code == 3]
    waited = [one.took_s or 0.0 for one in own]
    return {
        "name": name,
        "lookups": len(lookups),
        "failed": sum(bool(one.code) for one in lookups),
        "libc_ms": quantiles([one.took_s for one in lookups]),
        "open_loop_ms": quantiles([one.late_s for one in lookups]),
        "wire_ms": quantiles([one.took_s for one in own if one.took_s is not None]),
        "queries_per_lookup": round(sum(len(one.sent_s) for one in own) / len(lookups), 2),
        "nonexistent_share": round(sum(walked) / sum(waited), 3) if sum(waited) else 0.0,
        "slow": len(slow),
        "slow_because": dict(causes),
    }


def cause_of(lookup: Lookup, own: list[Exchange], domain: str = "cluster.local") -> Cause:
    """What one lookup waited for most, as its packets show it."""
    if not own:
        return Cause.UNKNOWN
    lost = [one for one in own if one.answered_s is None or one.sent_s[-1] - one.sent_s[0] > STALL_S]
    if lost and lookup.took_s > STALL_S:
        answered = {(one.name, one.port) for one in own if one not in lost}
        return Cause.PAIR if any((one.name, one.port) in answered for one in lost) else Cause.LOSS
    waits: dict[Cause, float] = {}
    for name in {one.name for one in own}:
        pair = [one for one in own if one.name == name and one.answered_s is not None]
        if not pair:
            continue
        waited_s = max(one.answered_s or 0.0 for one in pair) - min(one.sent_s[0] for one in pair)
        cause = _cause_of_wait(pair, name, domain)
        waits[cause] = waits.get(cause, 0.0) + waited_s
    rest_s = lookup.took_s - sum(waits.values())
    if rest_s > max(waits.values(), default=0.0):
        return Cause.CLIENT
    return max(waits, key=lambda cause: waits[cause])


def _cause_of_wait(pair: list[Exchange], name: str, domain: str) -> Cause:
    if any(one.code in (2, 5) for one in pair):
        return Cause.FAILING
    if all(one.code == 3 for one in pair):
        return Cause.WALK
    return Cause.SERVER if name.endswith(f".{domain}") else Cause.UPSTREAM


def _of_servers(exchanges: list[Exchange]) -> list[Obj]:
    rows = []
    for server in dict.fromkeys(one.server for one in exchanges):
        some = [one for one in exchanges if one.server == server]
        rows.append(
            {
                "server": server,
                "queries": sum(len(one.sent_s) for one in some),
                "again": sum(len(one.sent_s) - 1 for one in some),
                "unanswered": sum(one.answered_s is None for one in some),
                "failed": sum(one.code in (2, 5) for one in some),
                "nonexistent": sum(one.code == 3 for one in some),
                "wire_ms": quantiles([one.took_s for one in some if one.took_s is not None]),
            }
        )
    return rows


def _of_requests(lookups: list[Lookup]) -> Obj:
    """A new connection's request with its lookup and without, and what part of it the lookup is."""
    done = [one for one in lookups if one.answered_s is not None]
    errors = Counter(one.error for one in lookups if one.error)
    if not done:
        return {"requests": 0, "errors": dict(errors)} if errors else {}
    without = [(one.answered_s or 0.0) - one.ended_s for one in done]
    whole = [(one.answered_s or 0.0) - one.began_s for one in done]
    return {
        "requests": len(done),
        "errors": dict(errors),
        "with_lookup_ms": quantiles(whole),
        "without_lookup_ms": quantiles(without),
        "dns_share": round(sum(one.took_s for one in done) / sum(whole), 3),
    }


def _lookup(row: Obj) -> Lookup:
    return Lookup(
        name=str(row["name"]),
        planned_s=float(row["planned_s"]),
        began_s=float(row["began_s"]),
        ended_s=float(row["ended_s"]),
        code=int(row["code"]),
        connected_s=row.get("connected_s"),
        answered_s=row.get("answered_s"),
        error=str(row.get("error") or ""),
    )
