"""What `ss -tinH` prints of connections: bytes and idle times, which /proc does not tell. From iproute2, where it is.

Rule: a row that names no byte count says nothing, for an old `ss` prints none at all; a count it leaves out is 0.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

SS_MARK = "segue-ss"  # stands before what it prints


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What it says of one connection."""

    bytes_received: int
    bytes_sent: int
    idle_received_s: float
    idle_sent_s: float


def counted(text: str) -> dict[tuple[int, str, int], Counted]:
    """By local port, remote address and remote port."""
    found: dict[tuple[int, str, int], Counted] = {}
    key: tuple[int, str, int] | None = None
    for line in text.splitlines():
        if not line[:1].isspace():
            key = _key(line.split())
        elif key is not None and (said := _said(line)):
            found[key] = said
            key = None
    return found


def _key(fields: list[str]) -> tuple[int, str, int] | None:
    """STATE RECV-Q SEND-Q LOCAL:PORT PEER:PORT."""
    if len(fields) < 5:
        return None
    (_, _, local_port), (remote, _, remote_port) = fields[3].rpartition(":"), fields[4].rpartition(":")
    try:
        address = ipaddress.ip_address(remote.strip("[]").partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return int(local_port), str(mapped or address), int(remote_port)
    except ValueError:
        return None


def _said(line: str) -> Counted | None:
    words = dict(word.split(":", 1) for word in line.split() if ":" in word)
    if not words.keys() & {"bytes_sent", "bytes_received", "bytes_acked"}:
        return None
    try:
        acked = max(0, int(words.get("bytes_acked", "0")) - 1)  # the SYN counts as one
        return Counted(
            bytes_received=int(words.get("bytes_received", "0")),
            bytes_sent=int(words.get("bytes_sent", str(acked))),
            idle_received_s=int(words.get("lastrcv", "0")) / 1000,
            idle_sent_s=int(words.get("lastsnd", "0")) / 1000,
        )
    except ValueError:
        return None
