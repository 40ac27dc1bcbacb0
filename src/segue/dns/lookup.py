"""One lookup through a C library: `lookup(question, resolver, world)` returns its queries in order, and the answer.

It is getaddrinfo() without AI_ADDRCONFIG. Numbers of addresses and hosts files come first in both libraries; the walk
along the search list is the library's own (`glibc`, `musl`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum

from segue.dns.resolver import HostsLine, Resolver
from segue.dns.world import AAAA, A, Said, World

_NUMBER = r"(?:0[xX][0-9a-fA-F]*|[0-9]+)"
_IPV4 = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}")  # inet_aton: also 127.1, 0x7f000001
_IPV6 = re.compile(r"[0-9a-fA-F:]*:[0-9a-fA-F:.]*(?:%.+)?")
LABEL_MAX = 63
NAME_MAX = 253


class Libc(StrEnum):
    """Whose getaddrinfo."""

    GLIBC = "glibc"
    MUSL = "musl"


class Family(StrEnum):
    """What the program asks for."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Outcome(Enum):
    """What the program is told; the number is getaddrinfo's."""

    FOUND = 0
    NO_NAME = -2
    TRY_AGAIN = -3
    NO_ADDRESS = -5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked up, and by whom."""

    name: str
    libc: Libc = Libc.GLIBC
    family: Family = Family.ANY

    @property
    def dots(self) -> int:
        """How many dots the name has."""
        return self.name.count(".")

    @property
    def types(self) -> tuple[str, ...]:
        """The records that hold what is asked for."""
        return {Family.ANY: (A, AAAA), Family.IPV4: (A,), Family.IPV6: (AAAA,)}[self.family]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One packet to a name server."""

    name: str
    type: str
    nameserver: str
    said: Said
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The queries in order, and what came of them."""

    queries: tuple[Query, ...] = ()
    outcome: Outcome
    found_as: str = ""  # the full name that was answered
    source: str = "dns"  # dns, hosts, address, nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One name tried: its queries and what they come to."""

    queries: tuple[Query, ...]
    said: Said | None  # None: the name cannot be asked for


def lookup(question: Question, resolver: Resolver, world: World) -> Lookup:
    """What getaddrinfo does."""
    from segue.dns import glibc, musl  # noqa: PLC0415 - they speak in the values of this module

    name = question.name
    if _IPV6.fullmatch(name) or _IPV4.fullmatch(name):
        return Lookup(outcome=Outcome.FOUND, found_as=name, source="address")
    listed = [line for line in resolver.hosts if _names(line, name, question.libc)]
    wanted = {"ipv4", "ipv6"} if question.family is Family.ANY else {question.family.value}
    if any(line.family in wanted for line in listed):
        return Lookup(outcome=Outcome.FOUND, found_as=name, source="hosts")
    if question.libc is Libc.MUSL:
        if listed:  # musl believes the hosts file that there is no such address, glibc goes on to ask
            return Lookup(outcome=Outcome.NO_NAME, source="hosts")
        return musl.walk(question, resolver, world)
    return glibc.walk(question, resolver, world)


def askable(name: str) -> bool:
    """Whether a query can hold this name."""
    plain = name.removesuffix(".")
    return len(plain) <= NAME_MAX and all(0 < len(label) <= LABEL_MAX for label in plain.split("."))


def joined(name: str, domain: str) -> str:
    """A name in a domain of the search list."""
    plain = domain.strip(".")
    return f"{name}.{plain}" if plain else name


def _names(line: HostsLine, name: str, libc: Libc) -> bool:
    """musl minds upper case in the hosts file, glibc does not."""
    if libc is Libc.MUSL:
        return name in line.names
    return name.lower() in (one.lower() for one in line.names)
