"""Packets of a pod against the rule: agreement, and each way to differ."""

from __future__ import annotations

import pytest

from segue.dns.captured import compared
from segue.dns.lookup import Question
from segue.model.objects import Obj

CONF = "search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
FULL = "web.shop.svc.cluster.local"


def told(*packets: tuple[str, str, str, int, int], code: int = 0, how: str = "capture") -> Obj:
    """Packets as (q or r, name, type, code, answers)."""
    rows = [
        [n / 1000, way, name, kind, "10.96.0.10", 40000, n, rc, count]
        for n, (way, name, kind, rc, count) in enumerate(packets)
    ]
    lookups = [{"code": code, "began_s": 0.0, "ended_s": 0.25}]
    return {
        "libc": "glibc",
        "resolv_conf": CONF,
        "hosts": "",
        "how": how,
        "lookups": lookups,
        "packets": rows,
        "sent": len(rows),
    }


def both(name: str, code: int, answers: int) -> list[tuple[str, str, str, int, int]]:
    asked = [("q", name, kind, 0, 0) for kind in ("A", "AAAA")]
    return [*asked, ("r", name, "A", code, answers), ("r", name, "AAAA", code, 0)]


def test_the_walk_that_the_answers_make_agrees() -> None:
    found = compared(Question(name="web"), told(*both(FULL, 0, 1)))

    assert (found["agrees"], found["queries_total"], found["by_rule"], found["milliseconds"]) == (True, 2, 2, 250.0)


def test_a_query_too_many_is_named() -> None:
    found = compared(Question(name="web"), told(*both(FULL, 0, 1), ("q", FULL, "A", 0, 0)))

    assert (found["agrees"], found["only_seen"], found["only_by_rule"]) == (False, [f"{FULL} A 10.96.0.10"], [])


def test_another_outcome_is_no_agreement() -> None:
    assert not compared(Question(name="web"), told(*both(FULL, 0, 1), code=-2))["agrees"]


@pytest.mark.parametrize(("code", "queries"), [(5, 6), (2, 6)])
def test_failing_servers_are_walked_as_they_failed(code: int, queries: int) -> None:
    """NXDOMAIN twice, then the name itself, which is refused or fails: asked for again."""
    walk = [*both(FULL, 3, 0), *both("web.svc.cluster.local", 3, 0), *both("web", code, 0), *both("web", code, 0)]
    found = compared(Question(name="web"), told(*walk, code=-3))

    assert (found["agrees"], found["queries_total"]) == (True, queries + 2)


def test_where_packets_cannot_be_seen_datagrams_are_counted() -> None:
    found = compared(Question(name="web"), told(*both(FULL, 0, 1), how="count"))

    assert (found["how"], found["queries_total"], found["most_by_rule"], "agrees" in found) == ("count", 4, 6, False)
