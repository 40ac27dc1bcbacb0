"""One request, measured: what the load keeps of it, and how it is written down.

Times are seconds since the epoch on the machine's own clock, 0.0 for what never came about, so that they can be laid
beside the happenings of a cluster on the same machine.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from segue.load.outcome import Outcome, Phase


# A msgspec Struct and not a dataclass: 10,000 of these are made and written each second, and this is 4 times cheaper.
class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One request from plan to end. `conn` numbers the connection, `nth` says its how-manieth request this was,
    0 for a session and for what was never sent."""

    index: int
    planned_s: float
    sent_s: float  # first byte handed to the kernel; 0.0 where that never came about
    opened_s: float  # when its connection was begun (long before, on a reused one)
    connected_s: float
    first_byte_s: float
    done_s: float
    local_ip: str
    local_port: int
    remote_ip: str
    remote_port: int
    conn: int
    nth: int
    bytes_out: int
    bytes_in: int
    status: int
    errno: str
    phase: Phase
    outcome: Outcome
    version: str
    path: str
    request_id: str

    @property
    def latency_s(self) -> float:
        """From the planned moment: a late start is the user's wait, too (no coordinated omission)."""
        return self.done_s - self.planned_s

    @property
    def session(self) -> bool:
        """Whether it stands for a connection's one stream, which was to be held, and not for a request on it."""
        return not self.nth and self.request_id.rpartition("-")[2].startswith("s")

    @property
    def reused(self) -> bool:
        """Whether the connection had carried a request before."""
        return self.nth > 1


# A record's fields in their order, written as a record is: what the firing loop makes, because it costs a third.
Row: TypeAlias = tuple[
    int,
    float,
    float,
    float,
    float,
    float,
    float,
    str,
    int,
    str,
    int,
    int,
    int,
    int,
    int,
    int,
    str,
    str,
    str,
    str,
    str,
    str,
]


_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


def to_line(record: Record) -> bytes:
    """One line of a record file."""
    return _encoder.encode(record) + b"\n"


def to_lines(records: list[Record | Row]) -> bytes:
    """Lines of a record file."""
    return _encoder.encode_lines(records)


def from_line(line: bytes) -> Record:
    """A line of a record file read back; msgspec's DecodeError where it is none."""
    return _decoder.decode(line)
