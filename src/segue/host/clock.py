"""Time and chance of the real world, behind the ports."""

from __future__ import annotations

import secrets
import time
import uuid

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: a random name never spells a word (Kubernetes' own choice)


class SystemClock:
    """Seconds since the epoch that never go backwards: the wall clock at start plus the monotonic clock since."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def now_s(self) -> float:
        """Now, in seconds since the epoch."""
        return time.monotonic() + self._offset_s


class SystemChance:
    """Chance from the operating system."""

    def uid(self) -> str:
        """A fresh UUID."""
        return str(uuid.uuid4())

    def suffix(self, length: int) -> str:
        """A random name suffix."""
        return "".join(secrets.choice(ALPHABET) for _ in range(length))

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return secrets.randbelow(bound)
