"""Sets shares, reads them back: what every way to split traffic between two versions offers, as one protocol.

A way is a value without state: it is shown the object as it is now and returns the one request that changes it, or what
it reads there. That a share has arrived is shown by requests that were counted, never by what was written: counting is
`analysis.share`'s business.

Rule 1: shares are whole numbers of hundredths of a percent, so that 1 % is 1 % and nothing is rounded twice.
Rule 2: a way changes only an object that was looked at, and leaves on it what it takes to go back.
Rule 3: what cannot be split as asked is refused before anything is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from segue.model.errors import UsageError
from segue.model.http import ApiRequest
from segue.model.objects import Obj

WHOLE = 10_000  # hundredths of a percent
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?%?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Requests that reach the new version whatever the share: a header, or a cookie, of this value."""

    by: Literal["header", "cookie"]
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What is wanted: of the requests to Service `stable` this share reaches Service `canary` instead."""

    app: str  # whose release it is: another one must not touch the same route
    stable: str
    canary: str
    share: int  # of WHOLE
    pins: tuple[Pin, ...] = ()

    def __post_init__(self) -> None:
        assert 0 <= self.share <= WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a route says now. `share` None: nothing of this app's release is in it."""

    share: int | None
    in_effect: bool  # those who serve it have taken over what it says now
    because: str = ""  # why not
    changed: bool = False  # what it says is neither what was set nor what was there before


class Way(Protocol):
    """One way to split traffic."""

    kind: str

    def path(self, namespace: str, name: str) -> str:
        """Where the API keeps the object."""
        ...

    def check(self, seen: Obj, split: Split, *, forces: bool) -> None:
        """Raise what stands in the way: Refused, or Conflict where somebody else is at it."""
        ...

    def set_shares(self, seen: Obj, split: Split) -> ApiRequest:
        """The request that makes the object say this split."""
        ...

    def put_back(self, seen: Obj, app: str) -> ApiRequest | None:
        """The request that makes the object say what it said before; None where it does."""
        ...

    def read_back(self, seen: Obj, app: str) -> Reading:
        """What the object says now."""
        ...


def share_of(text: str) -> int:
    """A percentage as a share: "1", "0.5%", "100". UsageError where it is none."""
    found = _PERCENT.fullmatch(text.strip())
    share = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else WHOLE + 1
    if share > WHOLE:
        raise UsageError(
            f"{text}: must be a percentage from 0 to 100 with at most two decimals", remedy="for example 1,5,25,50,100"
        )
    return share


def percent(share: int) -> str:
    """A share for people: "1 %", "0.5 %"."""
    return f"{share / 100:g} %"
