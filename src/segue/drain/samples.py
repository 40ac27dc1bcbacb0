"""One look at a pod's network from inside it, and how to read it from the sources.

`exec` and `ephemeral` see /proc/net (new connections so far, and who is connected); the node path also sees bytes and
idle times, as they do with `ss` in the image; apps and Prometheus tell two numbers (`drain.told`). What a source cannot
see is None, never a guess.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from segue.drain.ss import SS_MARK, counted
from segue.model.objects import Obj

NODE_PATH = "node path"
EXEC = "exec"
EPHEMERAL = "ephemeral"
FRESH_S = 3.0
APP = "app"
PROMETHEUS = "prometheus"
AGENT = "agent"
AGENT_CONTAINER = "segue-agent"  # its name in a pod

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
_TIME_WAIT = " 06 "
_WIDTHS = (2 * (8 + 1 + 4) + 1, 2 * (32 + 1 + 4) + 1)  # of "LOCAL:PORT REMOTE:PORT" in tcp and in tcp6
_TCP_ROW = re.compile(r"^Tcp: (.*)$", re.MULTILINE)
_UDP_ROW = re.compile(r"^Udp: (.*)$", re.MULTILINE)
_SNMP_MAX = 16_384
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
    outgoing: bool = False  # the pod has opened it: nothing listens at its end of it

    @property
    def key(self) -> tuple[int, str, int]:
        """What tells it from the others of its pod."""
        return self.local_port, self.remote, self.remote_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything seen at one moment. `passive_opens` counts accepted connections since the pod's network exists.

    It was asked for at `at_s`, so all that came before is in it, and was there at `read_s`, so nothing that came after
    is. `closed` are raw addresses of connections in TIME_WAIT: of thousands, only the new ones are worth reading.
    `ended` is what a source says that counts them itself: all that ended at a port by peer, those of the last minute.
    """

    at_s: float
    passive_opens: int
    connections: tuple[Connection, ...]
    source: str
    read_s: float = 0.0
    closed: frozenset[str] = frozenset()
    listening: frozenset[int] | None = None  # ports; None where the source does not tell
    ended: Mapping[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    datagrams: int = 0  # of UDP, received so far
    active: int = 0  # what must not be lost, as a source tells that knows no connections; `peers` of them
    peers: tuple[str, ...] = ()
    fresh_s: float = FRESH_S  # older than that it is no answer any more

    @property
    def counts(self) -> str:
        """Whose counter it is: the kernel's, whoever reads it, or the source's own."""
        return self.source if self.source in {APP, PROMETHEUS} else "kernel"

    @property
    def latest_s(self) -> float:
        """When what it tells can have happened at the latest."""
        return max(self.at_s, self.read_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The cheap part of a sample: it says whether anybody came, and not who."""

    at_s: float
    read_s: float
    passive_opens: int
    datagrams: int = 0


def from_node_path(obj: Obj, at_s: float, read_s: float) -> Sample:
    """The answer of the embedded cluster's node path."""
    listening = frozenset(int(port) for port in obj["listening"]) if "listening" in obj else None
    return Sample(
        at_s=at_s,
        read_s=read_s,
        passive_opens=int(obj["passiveOpens"]),
        connections=_directed([_connection(row) for row in obj.get("connections") or []], listening),
        source=NODE_PATH,
        listening=listening,
        ended={
            (int(row["port"]), str(row["remote"])): (int(row["all"]), int(row["lately"]))
            for row in obj.get("ended") or []
        },
        datagrams=int(obj.get("datagrams") or 0),
    )


def _directed(connections: list[Connection], listening: frozenset[int] | None) -> tuple[Connection, ...]:
    """With those marked that the pod has opened itself: at its end of them nothing listens."""
    if listening is None:
        return tuple(connections)
    return tuple(one if one.local_port in listening else replace(one, outgoing=True) for one in connections)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcText:
    """The texts of `PROC_FILES` (or of the first of them) one after another, as a pod gave them between two moments."""

    text: str
    asked_s: float
    read_s: float


def from_proc(proc: ProcText, source: str = EXEC) -> Sample | None:
    """What the files say; None where they are not whole (or not Linux's)."""
    count = count_from(proc)
    if count is None or "local_address" not in proc.text:
        return None
    connections: list[Connection] = []
    closed: set[str] = set()
    listening: set[int] = set()
    files, _, ss = proc.text.partition(f"{SS_MARK}\n")
    for line in files.splitlines():
        _, found, row = line.partition(": ")
        for width in _WIDTHS:  # thousands of rows are of this kind, after a minute of short connections
            if row[width : width + 4] == _TIME_WAIT:
                closed.add(row[:width])
                break
        else:
            if not found or (connection := _proc_row(line)) is None:
                continue
            if connection.state == "LISTEN":
                listening.add(connection.local_port)
            else:
                connections.append(connection)
    return Sample(
        at_s=count.at_s,
        read_s=count.read_s,
        passive_opens=count.passive_opens,
        connections=_with_bytes(_directed(connections, frozenset(listening)), ss),
        source=source,
        closed=frozenset(closed),
        listening=frozenset(listening),
        datagrams=count.datagrams,
    )


def _with_bytes(connections: tuple[Connection, ...], ss: str) -> tuple[Connection, ...]:
    """The connections with what `ss` says of them; those that it does not name stay as they are."""
    told = counted(ss)
    return tuple(
        replace(
            one,
            bytes_received=found.bytes_received,
            bytes_sent=found.bytes_sent,
            idle_received_s=found.idle_received_s,
            idle_sent_s=found.idle_sent_s,
        )
        if (found := told.get(one.key))
        else one
        for one in connections
    )


def from_agent(proc: ProcText) -> Sample | Count | None:
    """What the agent in a pod says, who is connected or the count alone; None where that is no sample."""
    try:
        told = json.loads(proc.text)
        if "connections" in told:
            return replace(from_node_path(told, proc.asked_s, proc.read_s), source=AGENT)
        return Count(at_s=proc.asked_s, read_s=proc.read_s, passive_opens=int(told["passiveOpens"]))
    except (ValueError, KeyError, TypeError):
        return None


def count_from(proc: ProcText) -> Count | None:
    """The counter alone; None where the text does not hold it."""
    opens = _counter(_TCP_ROW, proc.text, "PassiveOpens")
    if opens is None:
        return None
    datagrams = _counter(_UDP_ROW, proc.text, "InDatagrams") or 0
    return Count(at_s=proc.asked_s, read_s=proc.read_s, passive_opens=opens, datagrams=datagrams)


def _counter(rows: re.Pattern[str], text: str, name: str) -> int | None:
    columns, values = [*rows.findall(text[:_SNMP_MAX]), "", ""][:2]
    found = dict(zip(columns.split(), values.split(), strict=False)).get(name)
    return int(found) if found else None


def closed_key(addresses: str) -> tuple[int, str, int]:
    """`Connection.key` of a row of `Sample.closed`."""
    local, remote = addresses.split()
    host, _, port = remote.partition(":")
    return int(local.partition(":")[2], 16), _address(host), int(port, 16)


def _proc_row(line: str) -> Connection | None:
    fields = line.split()
    if len(fields) < 10 or not fields[0].endswith(":") or ":" not in fields[1] or fields[3] not in STATES:
        return None
    state = STATES[fields[3]]
    _, local_port = fields[1].split(":")
    remote, remote_port = fields[2].split(":")
    return Connection(
        local_port=int(local_port, 16), remote=_address(remote), remote_port=int(remote_port, 16), state=state
    )


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """An address as /proc writes it: 32-bit words in the machine's order (little-endian where we run)."""
    raw = bytes.fromhex(text)
    words = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(words)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def owes_an_answer(connection: Connection) -> bool:
    """Whether bytes have come to which nothing has been said yet."""
    assert connection.bytes_received is not None
    if not connection.bytes_received:
        return False
    if not connection.bytes_sent:
        return True
    received_s, sent_s = connection.idle_received_s, connection.idle_sent_s
    return received_s is not None and sent_s is not None and received_s < sent_s


def bytes_of(connection: Connection) -> int | None:
    """All that it has carried."""
    both = both_of(connection)
    return None if both is None else sum(both)


def both_of(connection: Connection) -> tuple[int, int] | None:
    """Bytes received and sent."""
    if connection.bytes_received is None or connection.bytes_sent is None:
        return None
    return connection.bytes_received, connection.bytes_sent


def idle_of(connection: Connection) -> float:
    """For how long nothing has moved on it, 0 where nobody can tell."""
    known = [idle_s for idle_s in (connection.idle_received_s, connection.idle_sent_s) if idle_s is not None]
    return min(known, default=0.0)
