"""The doors between the parts of the host body, as protocols: who may ask whom for what.

The API process asks the node for logs, exec and traffic (`PodDoor`); the node asks the network for a place to live
(`PodNetwork`). Neither knows how the other does it, so namespace mode and loopback mode differ behind these doors only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from segue.model.objects import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A pod's place in the network: its address, and in namespace mode an open fd of its network namespace."""

    ip: str
    netns_fd: int | None


class PodNetwork(Protocol):
    """Gives pods a place in the network."""

    async def attach(self, pod_uid: str, pod: str) -> Attachment:
        """Make the place (idempotent per uid); `pod` is "namespace/name"."""
        ...

    async def detach(self, pod_uid: str) -> None:
        """Take it away; from then on nobody answers at its address. Idempotent."""
        ...

    def listening_ports(self, pod_uid: str) -> frozenset[int]:
        """TCP ports on which something listens in the pod right now (measured)."""
        ...

    def traffic(self, pod_uid: str) -> Obj:
        """Evidence at the receiver, measured now.

        {"passiveOpens": int, "connections": [{"localPort", "remote", "remotePort", "state", "bytesReceived",
        "bytesSent", "idleReceivedMs", "idleSentMs"}], "ended": [{"port", "remote", "all", "lately"}]}
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """The query of a log call."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: float | None = None


class ExecSession(Protocol):
    """One running exec: feed stdin, read tagged output, learn the end."""

    async def write_stdin(self, data: bytes) -> None:
        """Feed standard input; b"" closes it."""
        ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(1 or 2, bytes) until both streams have ended."""
        ...

    async def wait(self) -> int:
        """The exit code (128 + signal where a signal ended it)."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """A terminal's new size; ignored without one."""
        ...

    def close(self) -> None:
        """End it where it still runs."""
        ...


class PodDoor(Protocol):
    """What the API process asks of the node about a pod; StatusError 404/400 where it cannot be had."""

    def logs(self, namespace: str, name: str, query: LogQuery) -> AsyncIterator[bytes]:
        """Log bytes; with follow until the container ends."""
        ...

    async def exec(  # noqa: PLR0913 - the parameters of the API's own call
        self, namespace: str, name: str, *, container: str, argv: Sequence[str], stdin: bool, tty: bool
    ) -> ExecSession:
        """Start a command in a running container."""
        ...

    def traffic(self, namespace: str, name: str) -> Obj:
        """`PodNetwork.traffic` of the pod."""
        ...
