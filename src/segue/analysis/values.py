"""What is measured, where it comes from and how it is judged, as values.

Rule: everything is a share of bad ones. A latency is the share of requests slower than a limit; a number that is read
is a look that was good or bad. One test then judges them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from segue.model.objects import Obj

RISK = 0.05
EVERY_S = 5.0
MOST_S = 600.0
MINIMUM = 20
TIMEOUT_S = 300.0  # of a check
ASK_TIMEOUT_S = 10.0  # of one question to a source


class Kind(StrEnum):
    """What a verdict says."""

    PASS = "pass"  # noqa: S105 - no password: a verdict
    FAIL = "fail"
    OPEN = "not enough evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be done, and the numbers it rests on."""

    kind: Kind
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Good and bad ones of one version since a stop was reached. Rates of a query need not be whole numbers."""

    good: float = 0.0
    bad: float = 0.0

    def __post_init__(self) -> None:
        assert self.good >= 0, "a count is not negative"
        assert self.bad >= 0, "a count is not negative"

    @property
    def total(self) -> float:
        """All of them."""
        return self.good + self.bad


NONE = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one source has said so far: `trouble` where it does not say anything now, so that nothing may pass."""

    new: Counts = NONE
    old: Counts = NONE
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A check: run once where a release would go on; whatever does not succeed takes it back."""

    kind: Literal["command", "http", "job"]
    text: str  # the command, the URL, the file
    timeout_s: float = TIMEOUT_S  # 0: none
    status: int = 0  # of an answer; 0: 200 to 399
    contains: str = ""  # words of its body
    manifest: Obj = field(default_factory=dict)  # of the Job

    @property
    def said(self) -> str:
        """As the command line says it."""
        return f"job:{self.text}" if self.kind == "job" else self.text

    @staticmethod
    def of(text: str) -> Hook:
        """From the short form; the manifest of a `job:` is for whoever can read files."""
        if text.startswith(("http://", "https://")):
            return Hook(kind="http", text=text, timeout_s=ASK_TIMEOUT_S)
        if text.startswith("job:"):
            return Hook(kind="job", text=text.removeprefix("job:"))
        return Hook(kind="command", text=text, timeout_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSource:
    """A command: its exit code is one trial, or it prints {"good": n, "bad": n}, which count up."""

    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSource:
    """A URL: each look is one trial."""

    url: str
    status: int = 0
    contains: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSource:
    """Two of three counters (good, bad, total), or one value whose being below or above a limit is one trial."""

    url: str
    good: str = ""
    bad: str = ""
    total: str = ""
    value: str = ""
    below: float | None = None
    above: float | None = None
    token_from: str = ""  # name of an environment variable

    @property
    def queries(self) -> dict[str, str]:
        """Those that are asked, by what they count."""
        every = {"good": self.good, "bad": self.bad, "total": self.total, "value": self.value}
        return {name: query for name, query in every.items() if query}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSource:
    """segue's own load: a request is bad that is lost, or slower than so much. `version` is the X-Version of the new
    pods' answers; without one all answers count as the new version's."""

    url: str
    rate: float = 20.0
    slower_s: float = 0.0
    version: str = ""


Source: TypeAlias = CommandSource | HttpSource | PrometheusSource | LoadSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that must be good enough."""

    name: str
    source: Source
    bad_at_most: float | None = None  # share of all
    worse_at_most: float | None = None  # than the old version's, as a share of all
    minimum: int = MINIMUM  # of each version that is judged, before it may pass

    def __post_init__(self) -> None:
        assert self.bad_at_most is not None or self.worse_at_most is not None, "something is wanted of it"
        for share in (self.bad_at_most, self.worse_at_most):
            assert share is None or 0 < share < 1, "that no request fails cannot be shown by requests"

    @property
    def limits(self) -> int:
        """How many things are wanted of it."""
        return (self.bad_at_most is not None) + (self.worse_at_most is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All that is measured at each stop."""

    metrics: tuple[Metric, ...] = ()
    hooks: tuple[Hook, ...] = ()
    risk: float = RISK  # that a version worse than wanted passes, and that a good one is taken back
    every_s: float = EVERY_S
    least_s: float = 0.0
    most_s: float = MOST_S

    @property
    def names(self) -> str:
        """Of what is measured."""
        return ", ".join(metric.name for metric in self.metrics)
