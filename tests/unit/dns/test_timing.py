"""What slow lookups waited for, told from packets that a test wrote down."""

from __future__ import annotations

import pytest

from segue.dns.coremetrics import between, counted
from segue.dns.timing import Cause, quantiles, timed, watched
from segue.model.objects import Obj

INSIDE, OUTSIDE = "web.shop.svc.cluster.local", "api.example.com"


class Pod:
    """Lookups and their packets, written down one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[list[object]] = []
        self.lookups: list[Obj] = []
        self.now_s = 100.0
        self.port = 40_000

    def asks(self, name: str, took_s: float, *, code: int = 0, lost: str = "") -> float:
        """A and AAAA of a name; the types in `lost` are not answered. Until when it takes."""
        self.port += 1
        for number, kind in enumerate(("A", "AAAA")):
            end = ["10.96.0.10", self.port, number]
            self.rows.append([self.now_s, "q", name, kind, *end, 0, 0])
            if kind not in lost.split():
                self.rows.append([self.now_s + took_s, "r", name, kind, *end, code, int(not code)])
        self.now_s += took_s
        return self.now_s

    def lookup(self, *asked: tuple[str, float, int, str], wait_s: float = 0.0, code: int = 0) -> None:
        began_s = self.now_s
        for name, took_s, rc, lost in asked:
            self.asks(name, took_s, code=rc, lost=lost)
            self.now_s += 5.0 if lost else 0.0
        self.now_s += wait_s
        row: Obj = {"name": self.name, "planned_s": began_s, "began_s": began_s, "ended_s": self.now_s, "code": code}
        self.lookups.append(row)
        self.now_s += 1.0

    def told(self) -> Obj:
        conf = "search svc.cluster.local\n"
        return {"resolv_conf": conf, "how": "capture", "libc": "glibc", "packets": self.rows, "lookups": self.lookups}


def quick(pod: Pod, name: str) -> None:
    for _ in range(20):
        pod.lookup((name, 0.0005, 0, ""))


@pytest.mark.parametrize(
    ("name", "slow", "wait_s", "cause"),
    [
        (INSIDE, [(INSIDE, 0.0, 0, "AAAA"), (INSIDE, 0.001, 0, "")], 0.0, Cause.PAIR),
        (INSIDE, [(INSIDE, 0.0, 0, "A AAAA"), (INSIDE, 0.001, 0, "")], 0.0, Cause.LOSS),
        (INSIDE, [(INSIDE, 0.05, 0, "")], 0.0, Cause.SERVER),
        (OUTSIDE, [(OUTSIDE, 0.05, 0, "")], 0.0, Cause.UPSTREAM),
        (OUTSIDE, [(f"{OUTSIDE}.svc.cluster.local", 0.05, 3, ""), (OUTSIDE, 0.001, 0, "")], 0.0, Cause.WALK),
        (OUTSIDE, [(OUTSIDE, 0.05, 2, "")], 0.0, Cause.FAILING),
        (INSIDE, [(INSIDE, 0.001, 0, "")], 0.3, Cause.CLIENT),
        (INSIDE, [], 0.3, Cause.UNKNOWN),
    ],
)
def test_a_slow_lookup_has_one_cause(
    name: str, slow: list[tuple[str, float, int, str]], wait_s: float, cause: Cause
) -> None:
    pod = Pod(name)
    quick(pod, name)
    pod.lookup(*slow, wait_s=wait_s)
    found = timed(pod.told())["names"][0]

    assert (found["slow"], found["slow_because"]) == (1, {cause.name: 1})


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantiles([n / 1000 for n in range(1, 1001)]) == {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}
    assert quantiles([]) == {}


def test_counts_and_shares() -> None:
    pod = Pod(OUTSIDE)
    pod.lookup((f"{OUTSIDE}.svc.cluster.local", 0.003, 3, ""), (OUTSIDE, 0.001, 0, ""))
    pod.lookups[0] |= {"connected_s": pod.lookups[0]["ended_s"], "answered_s": pod.lookups[0]["ended_s"] + 0.004}
    found = timed(pod.told())

    assert (found["names"][0]["queries_per_lookup"], found["names"][0]["nonexistent_share"]) == (4, 0.75)
    assert (found["request"]["dns_share"], found["request"]["requests"]) == (0.5, 1)
    assert found["servers"][0] | {"wire_ms": {}} == {
        "server": "10.96.0.10",
        "queries": 4,
        "again": 0,
        "unanswered": 0,
        "failed": 0,
        "nonexistent": 2,
        "wire_ms": {},
    }


def test_what_a_pods_programs_asked_for() -> None:
    pod = Pod(OUTSIDE)
    quick(pod, OUTSIDE)
    pod.asks("lost.example", 0.0, lost="A AAAA")
    found = watched(pod.told())["asked"]

    assert [(one["name"], one["queries"], one["unanswered"]) for one in found] == [
        (OUTSIDE, 40, 0),
        ("lost.example", 2, 2),
    ]


def test_core_dns_own_numbers() -> None:
    def text(n: int) -> str:
        return "\n".join(
            [
                "# HELP coredns_dns_requests_total Counter of DNS requests",
                f'coredns_dns_requests_total{{family="1",proto="udp",type="A"}} {n * 10}',
                f'coredns_dns_requests_total{{family="1",proto="udp",type="AAAA"}} {n * 10}',
                f'coredns_dns_responses_total{{rcode="NXDOMAIN",zone="."}} {n * 5}',
                f'coredns_dns_responses_total{{rcode="NOERROR",zone="."}} {n * 15}',
                f'coredns_cache_hits_total{{type="denial"}} {n * 6}',
                f'coredns_cache_misses_total{{zones="."}} {n * 2}',
                f'coredns_dns_request_duration_seconds_sum{{zone="."}} {n * 0.02}',
                f'coredns_dns_request_duration_seconds_count{{zone="."}} {n * 20}',
            ]
        )

    found = between(counted([text(1), text(2)]), counted([text(3), text(5)]))
    assert (found["requests"], found["nonexistent"], found["cache_hit_share"]) == (100, 25, 0.75)
    assert (found["served_ms_mean"], found["forwarded_ms_mean"]) == (1.0, None)
