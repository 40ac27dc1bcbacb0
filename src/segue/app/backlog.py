"""Connections to a port that hold something nobody has read: not accepted yet, or with unread bytes (N1, N4, N6).

`/proc/net/tcp` writes, for a listener, how many connections wait to be accepted, and for a connection how many bytes
wait to be read, in the same column. The end that a client has sent counts there as one byte. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Set

FILES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_LISTEN, _CLOSE_WAIT = "0A", "08"
_OPEN = {"01", _CLOSE_WAIT, _LISTEN}  # 01: ESTABLISHED


def unread(ports: Set[int]) -> int:
    """How many there are on these ports; 0 where the files cannot be read."""
    total = 0
    for file in FILES:
        try:
            with open(file) as rows:  # noqa: PTH123 - a light module: pathlib costs more than it
                total += count(rows.read(), ports)
        except OSError:
            continue
    return total


def own_ports() -> set[int]:
    """TCP ports on which this process itself listens; none where that cannot be read."""
    inodes = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - likewise
        with contextlib.suppress(OSError):  # the folder's own descriptor is closed by now
            inodes.add(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - likewise
    found: set[int] = set()
    for file in FILES:
        with contextlib.suppress(OSError), open(file) as rows:  # noqa: PTH123 - likewise
            for fields in map(str.split, rows):
                if len(fields) > 9 and fields[3] == _LISTEN and f"socket:[{fields[9]}]" in inodes:
                    found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def count(text: str, ports: Set[int]) -> int:
    """The same for the text of such a file."""
    total = 0
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 5 or fields[3] not in _OPEN or int(fields[1].rpartition(":")[2], 16) not in ports:
            continue
        waiting = int(fields[4].rpartition(":")[2], 16) - (fields[3] == _CLOSE_WAIT)
        if waiting > 0:
            total += waiting if fields[3] == _LISTEN else 1
    return total
