"""Every mistake segue reports, one tree; each error owns its exit code and carries its facts as fields.

    SegueError                    1   something segue could not do
    ├── UsageError                2   the command line is off
    ├── ManifestError             3   a file is off: carries file, line, path and remedy
    ├── ClusterUnreachable        4   no kubeconfig, no answer, wrong certificate
    ├── Forbidden                 5   the API server says no
    ├── Conflict                  6   somebody else is at work: another release, a changed object
    ├── Refused                   7   the plan has a conflict that would lose requests
    ├── Unfinished                8   the release stopped; old pods keep serving; says what it waits for
    ├── Lost                      9   requests were lost (drill or release with a load)
    ├── HostError                10   this machine lacks something: says what and the remedy
    ├── Disproved                14   a receipt claims what its raw record does not say
    └── StatusError               -   an answer of a Kubernetes API (code, reason), translated at the doors

Programming mistakes of our own are asserts, never of this tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from segue.model.objects import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the user's input: `deploy.yaml:31 $.spec.template`."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return " ".join(part for part in (where, self.path) if part)


class SegueError(Exception):
    """The root: a message for a person, and where known a place and a remedy."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, place: Place | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.remedy = remedy


class UsageError(SegueError):
    """The command line is off."""

    exit_code = 2


class ManifestError(SegueError):
    """A manifest is off; `place` says where."""

    exit_code = 3


class ClusterUnreachable(SegueError):
    """No kubeconfig, or no API server answers behind it."""

    exit_code = 4


class Forbidden(SegueError):
    """The API server denies what is needed."""

    exit_code = 5


class Conflict(SegueError):
    """Somebody else is at work on the same object."""

    exit_code = 6


class Refused(SegueError):
    """The plan has a conflict that would lose requests."""

    exit_code = 7


class Unfinished(SegueError):
    """A release that stopped before its end; what runs keeps serving."""

    exit_code = 8


class Lost(SegueError):
    """Requests were lost."""

    exit_code = 9


class HostError(SegueError):
    """This machine lacks something segue needs."""

    exit_code = 10


class Disproved(SegueError):
    """A receipt claims what its raw record does not say."""

    exit_code = 14


@dataclass(slots=True)
class StatusError(SegueError):
    """A Kubernetes Status answer: HTTP code, reason ("NotFound", "Conflict", "Invalid", ...) and details."""

    code: int
    reason: str
    message: str
    details: Obj = field(default_factory=dict)

    def __post_init__(self) -> None:
        SegueError.__init__(self, self.message)

    def body(self) -> Obj:
        """The metav1.Status object of this answer."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            status["reason"] = self.reason
        if details := {key: value for key, value in self.details.items() if value not in ("", [])}:
            status["details"] = details
        return status
