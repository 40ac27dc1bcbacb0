"""What was captured in a pod, held against the rule: are the packets those that the rule says?

The rule is asked again with what servers really answered, so that a wrong guess about the world is not a wrong rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from segue.dns.lookup import Libc, Outcome, Question, lookup
from segue.dns.resolver import parsed
from segue.dns.world import Said, World
from segue.model.objects import Obj

_SAID = {2: Said.SERVFAIL, 3: Said.NXDOMAIN, 5: Said.REFUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A query or an answer as it passed the pod's network namespace."""

    at_s: float
    is_answer: bool
    name: str
    type: str
    server: str
    port: int  # the asker's
    number: int
    code: int
    answers: int

    @property
    def said(self) -> Said:
        """An answer, as far as a walk cares."""
        if self.code:
            return _SAID.get(self.code, Said.SERVFAIL)
        return Said.FOUND if self.answers else Said.NODATA


def packets_of(rows: Iterable[list[object]]) -> list[Packet]:
    """The rows of `segue.app.lookups`, in the order of time."""
    found = [
        Packet(
            at_s=float(str(row[0])),
            is_answer=row[1] == "r",
            name=str(row[2]),
            type=str(row[3]),
            server=str(row[4]),
            port=int(str(row[5])),
            number=int(str(row[6])),
            code=int(str(row[7])),
            answers=int(str(row[8])),
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: one.at_s)


def compared(question: Question, told: Obj) -> Obj:
    """What was seen, and whether the rule says the same."""
    packets = packets_of(told["packets"])
    resolver = parsed(told["resolv_conf"], told["hosts"])
    question = replace(question, libc=Libc(told["libc"]))
    queries = [one for one in packets if not one.is_answer]
    code = int(told["lookups"][0]["code"])
    found: Obj = {"how": told["how"], "libc": told["libc"], "outcome": _outcome(code)}
    if told["how"] != "capture":
        ruled = lookup(question, resolver, World())
        return found | {"queries_total": told["sent"], "most_by_rule": len(ruled.queries)}
    ruled = lookup(question, resolver, world_seen(packets))
    seen = Counter((one.name.lower(), one.type, one.server) for one in queries)
    by_rule = Counter((one.name.lower(), one.type, one.nameserver) for one in ruled.queries)
    took_ms = (told["lookups"][0]["ended_s"] - told["lookups"][0]["began_s"]) * 1000
    return found | {
        "queries_total": len(queries),
        "by_rule": len(ruled.queries),
        "agrees": seen == by_rule and ruled.outcome.value == code,
        "milliseconds": round(took_ms, 3),
        "queries": [{"name": one.name, "type": one.type, "nameserver": one.server} for one in queries],
        "only_seen": [" ".join(one) for one in (seen - by_rule).elements()],
        "only_by_rule": [" ".join(one) for one in (by_rule - seen).elements()],
    }


def world_seen(packets: list[Packet]) -> World:
    """The servers' answers as a world; what was never answered does not exist."""
    answers = {(one.name.lower(), one.type): one.said for one in packets if one.is_answer}
    return World(failing_types=answers)


def _outcome(code: int) -> str:
    return Outcome(code).name if code in {one.value for one in Outcome} else str(code)
