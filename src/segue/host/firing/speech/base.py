"""What the loop and a speech tell each other: asks go in, what was heard comes out.

Rule: a speech never closes anything and never decides what a lost connection means; the loop does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from segue.load.outcome import Outcome

SESSION = -1  # the key of the connection's one stream, where it has one
ROOM = 1 << 20  # requests under way on one connection, where the protocol knows no limit
_ID = re.compile(rb"-(\d+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Something was heard of a request. `outcome` None: its answer has begun; else that is how it ended."""

    key: int
    outcome: Outcome | None
    status: int = 0
    version: str = ""
    error: str = ""  # the protocol's own name for what went wrong
    size: int = 0


class Speech(Protocol):
    """One connection's talk. `key` is the index of a request."""

    ready: bool  # the handshake is over: requests may be asked
    open: bool  # False once the peer wants no further requests on it

    @property
    def room(self) -> int:
        """How many requests may be under way at once."""
        ...

    def greet(self) -> None:
        """Say what opens a connection."""
        ...

    def ask(self, key: int, request_id: str, path: str) -> None:
        """Say one request."""
        ...

    def receive(self, data: bytes) -> list[Heard]:
        """Take what came."""
        ...

    def bye(self) -> None:
        """Say what ends a connection in order, if anything does."""
        ...

    def out(self) -> bytes:
        """What is to be sent, once."""
        ...


class Echoes:
    """Which request a message answers: the one whose id it repeats, else the one that has waited longest."""

    __slots__ = ("_order", "_run")

    def __init__(self, run: str) -> None:
        self._run = run.encode()
        self._order: dict[int, None] = {}

    def asked(self, key: int) -> None:
        """A request was sent."""
        self._order[key] = None

    def key_of(self, message: bytes) -> int | None:
        """Whose answer this is; None where nobody waits (the server speaks by itself)."""
        at = message.find(self._run + b"-")
        found = _ID.match(message, at + len(self._run)) if at >= 0 else None
        key = int(found[1]) if found else next(iter(self._order), None)
        if key is not None and key in self._order:
            del self._order[key]
            return key
        return None
