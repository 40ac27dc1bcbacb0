"""The table of lookups: what each costs and comes to, by hand. The rules and the libraries are held against it.

A row: name, C library, setting, world, family, queries in total, outcome, the full name that was found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from segue.dns.lookup import Family, Libc, Outcome, Question
from segue.dns.resolver import ClusterDns, HostsLine, Resolver, of_namespace
from segue.dns.world import Said, World

BOTH, ONLY4, ONLY6, NEITHER = frozenset({"A", "AAAA"}), frozenset({"A"}), frozenset({"AAAA"}), frozenset[str]()
POD = of_namespace("shop", ClusterDns(address="127.0.0.1"))
LONG = ("x" * 60 + ".") * 3 + "y" * 60  # 243 characters: fits alone, not with a search domain
SETTINGS = {
    "pod": POD,
    "host domain": of_namespace("shop", ClusterDns(address="127.0.0.1", node=Resolver(search=("corp.example",)))),
    "ndots:1": POD.with_options(ndots="1"),
    "ndots:2": POD.with_options(ndots="2"),
    "ndots:0": POD.with_options(ndots="0"),
    "ndots:99": POD.with_options(ndots="99"),
    "single-request": POD.with_options(single_request=""),
    "no-aaaa": POD.with_options(no_aaaa=""),
    "attempts:1": POD.with_options(attempts="1", timeout="1"),
    "attempts:2": POD.with_options(timeout="1"),
    "attempts:3": POD.with_options(attempts="3", timeout="1"),
    "two servers": replace(POD.with_options(timeout="1"), nameservers=("127.0.0.1", "127.0.0.2")),
    "no search": Resolver(nameservers=("127.0.0.1",), options={"ndots": "5"}),
    "no-tld-query": POD.with_options(no_tld_query=""),
    "root in search": replace(POD, search=("shop.svc.cluster.local", ".")),
    "long search": replace(POD, search=(*POD.search, *(f"{'z' * 50}.n{number}.example" for number in range(4)))),
    "aliases": replace(
        POD,
        hosts=(
            HostsLine(ip="127.0.0.1", names=("localhost",)),
            HostsLine(ip="10.0.0.9", names=("api.example.com", "db")),
        ),
    ),
}
_EXISTS = {
    "web.shop.svc.cluster.local": ONLY4,
    "dual.shop.svc.cluster.local": BOTH,
    "pay.bank.svc.cluster.local": ONLY4,
    "empty.shop.svc.cluster.local": NEITHER,
    "shop.svc.cluster.local": NEITHER,
    "bank.svc.cluster.local": NEITHER,
    "svc.cluster.local": NEITHER,
    "cluster.local": NEITHER,
    "api.example.com": BOTH,
    "v4.example.com": ONLY4,
    "v6.example.com": ONLY6,
    "text.example.com": NEITHER,
    "intra.corp.example": ONLY4,
    "bank.example": ONLY4,
    "shop": ONLY4,
}
_UP = World(exists=_EXISTS)
WORLDS = {
    "up": _UP,
    "autopath": replace(_UP, autopath=(*POD.search,)),
    "outside down": replace(_UP, failing={"com": Said.SERVFAIL, "example": Said.SERVFAIL}),
    "outside refused": replace(_UP, failing={"com": Said.REFUSED}),
    "cluster down": replace(_UP, exists={"api.example.com": BOTH}, failing={"cluster.local": Said.SERVFAIL}),
    "cluster refused": replace(_UP, exists={"api.example.com": BOTH}, failing={"cluster.local": Said.REFUSED}),
    "all down": World(failing={"": Said.SERVFAIL}),
    "AAAA fails": replace(_UP, failing_types={("v4.example.com", "AAAA"): Said.SERVFAIL}),
    "A fails": replace(_UP, failing_types={("v6.example.com", "A"): Said.SERVFAIL}),
}
TABLE = f"""
web                             | glibc | pod            | up              | any  |  2 | FOUND      | web.shop.svc.cluster.local
web                             | musl  | pod            | up              | any  |  2 | FOUND      | web.shop.svc.cluster.local
web                             | glibc | pod            | up              | ipv4 |  1 | FOUND      | web.shop.svc.cluster.local
web                             | musl  | pod            | up              | ipv4 |  1 | FOUND      | web.shop.svc.cluster.local
dual                            | glibc | pod            | up              | any  |  2 | FOUND      | dual.shop.svc.cluster.local
dual                            | musl  | pod            | up              | ipv6 |  1 | FOUND      | dual.shop.svc.cluster.local
web                             | glibc | pod            | up              | ipv6 |  4 | NO_ADDRESS |
web                             | musl  | pod            | up              | ipv6 |  1 | NO_NAME    |
pay.bank                        | glibc | pod            | up              | any  |  4 | FOUND      | pay.bank.svc.cluster.local
pay.bank                        | musl  | pod            | up              | any  |  4 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc                    | glibc | pod            | up              | any  |  6 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc                    | musl  | pod            | up              | any  |  6 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc.cluster.local      | glibc | pod            | up              | any  |  8 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc.cluster.local      | musl  | pod            | up              | any  |  8 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc.cluster.local.     | glibc | pod            | up              | any  |  2 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc.cluster.local.     | musl  | pod            | up              | any  |  2 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc.cluster.local      | glibc | host domain    | up              | any  | 10 | FOUND      | pay.bank.svc.cluster.local
api.example.com                 | glibc | pod            | up              | any  |  8 | FOUND      | api.example.com
api.example.com                 | musl  | pod            | up              | any  |  8 | FOUND      | api.example.com
api.example.com                 | glibc | host domain    | up              | any  | 10 | FOUND      | api.example.com
api.example.com                 | musl  | host domain    | up              | any  | 10 | FOUND      | api.example.com
api.example.com.                | glibc | host domain    | up              | any  |  2 | FOUND      | api.example.com
api.example.com.                | musl  | host domain    | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | glibc | ndots:1        | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | musl  | ndots:1        | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | glibc | ndots:2        | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | glibc | ndots:99       | up              | any  |  8 | FOUND      | api.example.com
api.example.com                 | musl  | ndots:99       | up              | any  |  8 | FOUND      | api.example.com
pay.bank                        | glibc | ndots:1        | up              | any  |  6 | FOUND      | pay.bank.svc.cluster.local
pay.bank                        | musl  | ndots:1        | up              | any  |  2 | NO_NAME    |
pay.bank.svc                    | glibc | ndots:2        | up              | any  |  8 | FOUND      | pay.bank.svc.cluster.local
pay.bank.svc                    | musl  | ndots:2        | up              | any  |  2 | NO_NAME    |
web                             | glibc | ndots:1        | up              | any  |  2 | FOUND      | web.shop.svc.cluster.local
web                             | glibc | ndots:0        | up              | any  |  4 | FOUND      | web.shop.svc.cluster.local
web                             | musl  | ndots:0        | up              | any  |  2 | NO_NAME    |
no.such.example                 | glibc | pod            | up              | any  |  8 | NO_NAME    |
no.such.example                 | musl  | pod            | up              | any  |  8 | NO_NAME    |
no.such.example                 | glibc | ndots:1        | up              | any  |  8 | NO_NAME    |
no.such.example                 | musl  | ndots:1        | up              | any  |  2 | NO_NAME    |
nobody                          | glibc | pod            | up              | any  |  8 | NO_NAME    |
nobody                          | glibc | no-tld-query   | up              | any  |  6 | NO_NAME    |
nobody                          | glibc | root in search | up              | any  |  4 | NO_NAME    |
nobody                          | musl  | pod            | up              | any  |  8 | NO_NAME    |
v4.example.com                  | glibc | pod            | up              | any  |  8 | FOUND      | v4.example.com
v6.example.com                  | musl  | pod            | up              | any  |  8 | FOUND      | v6.example.com
text.example.com                | glibc | pod            | up              | any  |  8 | NO_ADDRESS |
text.example.com                | musl  | pod            | up              | any  |  8 | NO_NAME    |
text.example.com                | glibc | ndots:1        | up              | any  |  8 | NO_ADDRESS |
empty                           | glibc | pod            | up              | any  |  8 | NO_ADDRESS |
empty                           | musl  | pod            | up              | any  |  2 | NO_NAME    |
shop                            | glibc | pod            | up              | any  |  8 | FOUND      | shop
shop                            | musl  | pod            | up              | any  |  4 | NO_NAME    |
bank.example                    | glibc | pod            | up              | any  |  8 | FOUND      | bank.example
intra                           | glibc | host domain    | up              | any  |  8 | FOUND      | intra.corp.example
intra                           | musl  | host domain    | up              | any  |  8 | FOUND      | intra.corp.example
api.example.com                 | glibc | single-request | up              | any  |  8 | FOUND      | api.example.com
api.example.com                 | glibc | no-aaaa        | up              | any  |  4 | FOUND      | api.example.com
api.example.com                 | musl  | no-aaaa        | up              | any  |  8 | FOUND      | api.example.com
api.example.com                 | glibc | pod            | autopath        | any  |  2 | FOUND      | api.example.com
api.example.com                 | musl  | pod            | autopath        | any  |  2 | FOUND      | api.example.com
pay.bank                        | glibc | pod            | autopath        | any  |  2 | FOUND      | pay.bank.svc.cluster.local
no.such.example                 | glibc | pod            | autopath        | any  |  8 | NO_NAME    |
no.such.example                 | musl  | pod            | autopath        | any  |  8 | NO_NAME    |
api.example.com                 | glibc | no search      | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | musl  | no search      | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | glibc | aliases        | up              | any  |  0 | FOUND      | api.example.com
api.example.com                 | musl  | aliases        | up              | any  |  0 | FOUND      | api.example.com
API.example.com                 | glibc | aliases        | up              | any  |  0 | FOUND      | API.example.com
API.example.com                 | musl  | aliases        | up              | any  |  8 | FOUND      | api.example.com
api.example.com.                | glibc | aliases        | up              | any  |  2 | FOUND      | api.example.com
api.example.com                 | glibc | aliases        | up              | ipv6 |  4 | FOUND      | api.example.com
api.example.com                 | musl  | aliases        | up              | ipv6 |  0 | NO_NAME    |
localhost                       | glibc | aliases        | up              | any  |  0 | FOUND      | localhost
10.1.2.3                        | glibc | pod            | up              | any  |  0 | FOUND      | 10.1.2.3
10.1.2.3                        | musl  | pod            | up              | any  |  0 | FOUND      | 10.1.2.3
127.1                           | glibc | pod            | up              | any  |  0 | FOUND      | 127.1
fd00::1                         | musl  | pod            | up              | any  |  0 | FOUND      | fd00::1
api.example.com                 | glibc | two servers    | up              | any  |  8 | FOUND      | api.example.com
api.example.com                 | musl  | two servers    | up              | any  | 16 | FOUND      | api.example.com
api.example.com                 | glibc | pod            | outside down    | any  | 10 | TRY_AGAIN  |
api.example.com                 | glibc | attempts:1     | outside down    | any  |  8 | TRY_AGAIN  |
api.example.com                 | glibc | attempts:3     | outside down    | any  | 12 | TRY_AGAIN  |
api.example.com                 | glibc | two servers    | outside down    | any  | 14 | TRY_AGAIN  |
api.example.com                 | glibc | pod            | outside refused | any  | 10 | TRY_AGAIN  |
api.example.com                 | musl  | attempts:2     | outside down    | any  | 18 | TRY_AGAIN  |
api.example.com                 | musl  | attempts:1     | outside down    | any  | 12 | TRY_AGAIN  |
api.example.com                 | musl  | attempts:2     | outside refused | any  | 10 | TRY_AGAIN  |
api.example.com                 | glibc | pod            | cluster down    | any  | 14 | FOUND      | api.example.com
api.example.com                 | musl  | attempts:1     | cluster down    | any  |  6 | TRY_AGAIN  |
api.example.com                 | glibc | pod            | cluster refused | any  |  6 | FOUND      | api.example.com
web                             | glibc | pod            | all down        | any  | 16 | TRY_AGAIN  |
v4.example.com                  | glibc | pod            | AAAA fails      | any  |  8 | FOUND      | v4.example.com
v4.example.com                  | musl  | attempts:1     | AAAA fails      | any  | 12 | TRY_AGAIN  |
v6.example.com                  | glibc | pod            | A fails         | any  |  8 | FOUND      | v6.example.com
api.example.com                 | glibc | long search    | up              | any  | 16 | FOUND      | api.example.com
api.example.com                 | musl  | long search    | up              | any  |  2 | FOUND      | api.example.com
web                             | musl  | long search    | up              | any  |  2 | NO_NAME    |
a..b                            | glibc | pod            | up              | any  |  0 | NO_NAME    |
a..b                            | musl  | pod            | up              | any  |  0 | NO_NAME    |
{"l" * 64}.com                  | glibc | pod            | up              | any  |  0 | NO_NAME    |
{LONG}                          | glibc | pod            | up              | any  |  2 | NO_NAME    |
{LONG}                          | musl  | pod            | up              | any  |  2 | NO_NAME    |
"""  # noqa: E501 - a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row."""

    question: Question
    setting: str
    world_name: str
    queries_total: int
    outcome: Outcome
    found_as: str

    @property
    def resolver(self) -> Resolver:
        return SETTINGS[self.setting]

    @property
    def world(self) -> World:
        return WORLDS[self.world_name]

    @property
    def label(self) -> str:
        asked = self.question
        return f"{asked.name[:40]} {asked.libc} {self.setting}, {self.world_name}, {asked.family}"


def cases() -> list[Case]:
    rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    return [
        Case(
            question=Question(name=name, libc=Libc(libc), family=Family(family)),
            setting=setting,
            world_name=world,
            queries_total=int(total),
            outcome=Outcome[outcome],
            found_as=found,
        )
        for name, libc, setting, world, family, total, outcome, found in rows
    ]
