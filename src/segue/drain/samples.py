"""One look at a pod's network from inside it, and how to read it from the two sources.

`exec` sees /proc/net (new connections so far, and who is connected); the node path also sees bytes and idle times.
What a source cannot see is None, never a guess.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from segue.model.objects import Obj

NODE_PATH = "node path"
EXEC = "exec"

# States as /proc/net/tcp writes them (include/net/tcp_states.h).
STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
    "0C": "SYN_RECV",
}
PROC_FILES = ("/proc/net/snmp", "/proc/net/tcp", "/proc/net/tcp6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One TCP connection of the pod, seen from the pod."""

    local_port: int
    remote: str
    remote_port: int
    state: str
    bytes_received: int | None = None
    bytes_sent: int | None = None
    idle_received_s: float | None = None
    idle_sent_s: float | None = None

    @property
    def key(self) -> tuple[int, str, int]:
        """What tells it from the others of its pod."""
        return self.local_port, self.remote, self.remote_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything seen at one moment. `passive_opens` counts accepted connections since the pod's network exists."""

    at_s: float
    passive_opens: int
    connections: tuple[Connection, ...]
    source: str


def from_node_path(obj: Obj, at_s: float) -> Sample:
    """The answer of the embedded cluster's node path."""
    return Sample(
        at_s=at_s,
        passive_opens=int(obj["passiveOpens"]),
        connections=tuple(_connection(row) for row in obj.get("connections") or []),
        source=NODE_PATH,
    )


def _connection(row: Obj) -> Connection:
    def seconds(key: str) -> float | None:
        value = row.get(key)
        return None if value is None else float(value) / 1000

    def count(key: str) -> int | None:
        value = row.get(key)
        return None if value is None else int(value)

    return Connection(
        local_port=int(row["localPort"]),
        remote=str(row["remote"]),
        remote_port=int(row["remotePort"]),
        state=str(row["state"]).upper(),
        bytes_received=count("bytesReceived"),
        bytes_sent=count("bytesSent"),
        idle_received_s=seconds("idleReceivedMs"),
        idle_sent_s=seconds("idleSentMs"),
    )


def from_proc(text: str, at_s: float) -> Sample | None:
    """The texts of `PROC_FILES` one after another; None where they are not whole (or not Linux's)."""
    opens: int | None = None
    columns: list[str] = []
    connections: list[Connection] = []
    for line in text.splitlines():
        if line.startswith("Tcp:"):
            values = line.split()[1:]
            if not columns:
                columns = values
            elif "PassiveOpens" in columns and len(values) == len(columns):
                opens = int(values[columns.index("PassiveOpens")])
            continue
        found = _proc_row(line)
        if found is not None:
            connections.append(found)
    if opens is None or "local_address" not in text:
        return None
    return Sample(at_s=at_s, passive_opens=opens, connections=tuple(connections), source=EXEC)


def _proc_row(line: str) -> Connection | None:
    fields = line.split()
    if len(fields) < 10 or not fields[0].endswith(":") or ":" not in fields[1] or fields[3] not in STATES:
        return None
    state = STATES[fields[3]]
    if state == "LISTEN":
        return None
    _, local_port = fields[1].split(":")
    remote, remote_port = fields[2].split(":")
    return Connection(
        local_port=int(local_port, 16), remote=_address(remote), remote_port=int(remote_port, 16), state=state
    )


def _address(text: str) -> str:
    """An address as /proc/net writes it: 32-bit words in the machine's order (little-endian where we run)."""
    raw = bytes.fromhex(text)
    words = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(words)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
