"""What a request comes to: an answer, a watch that begins, or a call that only a pod's node can serve. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from segue.cluster.api.watching import Watch
from segue.model.http import JSON, ApiResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUser:
    """Who asks. `writes` False is the read-only token: every changing verb is forbidden to it."""

    name: str
    groups: tuple[str, ...] = ("system:authenticated",)
    writes: bool = True
    uid: str = ""
    token_id: str = ""


ADMIN = ApiUser(name="segue-admin", groups=("system:masters", "system:authenticated"))
VIEWER = ApiUser(name="segue-viewer", writes=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(ApiResponse):
    """An answer with what HTTP carries besides the body: warnings (RFC 7234), a content type, or plain text instead."""

    warnings: tuple[str, ...] = ()
    content_type: str = JSON
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStart:
    """A watch begins. Subscribe to the store before giving up control, then send `watch.backlog`."""

    watch: Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCall:
    """A call that the pod's node serves. The pod and the container are known to exist."""

    verb: Literal["log", "exec", "attach", "traffic"]
    namespace: str
    name: str
    container: str = ""
    argv: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: float | None = None
    bytes_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxied:
    """A call that goes through to a port of a pod, whose address is known."""

    url: str


Result: TypeAlias = Answer | WatchStart | PodCall | Proxied
