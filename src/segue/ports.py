"""The doors as protocols: what pure rooms may ask of a body, and nothing more.

A body (today `host`; `sim` later) implements them. No protocol here exists for tests: a test brings a world instead.
"""

from __future__ import annotations

from typing import Protocol

from segue.model.objects import Obj
from segue.model.timeline import Happening


class Clock(Protocol):
    """Time as an argument."""

    def now_s(self) -> float:
        """Seconds since the epoch; never goes backwards within one process."""
        ...


class Chance(Protocol):
    """Chance as an argument."""

    def uid(self) -> str:
        """A fresh UUID (version 4 form)."""
        ...

    def suffix(self, length: int) -> str:
        """A random name suffix of Kubernetes' alphabet (bcdfghjklmnpqrstvwxz2456789)."""
        ...

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        ...


class Journal(Protocol):
    """Where the store writes what it acknowledges, before it acknowledges it."""

    def put(self, *, resource: str, namespace: str, name: str, version: int, obj: Obj | None) -> None:
        """Keep one object's new state at `version`; None says that it is gone. Durable against a killed process."""
        ...


class Recorder(Protocol):
    """Where measured happenings go."""

    def record(self, happening: Happening) -> None:
        """Keep one happening."""
        ...
