"""The raw record behind a receipt: what was measured and done, from which every claim of the receipt follows.

A text of lines. The first is a header with the case and how many lines of each kind follow; then happenings, then
requests in the order of their ends. The format is described in docs/reference/receipt.md.

Rule: nothing here is a conclusion. Causes, counts and bounds are computed from it again, never read out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from segue.load.record import Record
from segue.model.errors import SegueError
from segue.model.objects import Obj
from segue.model.timeline import Happening, What
from segue.proof.causes import explain_all
from segue.proof.receipt import Case, receipt
from segue.proof.timeline import Timeline

FORMAT = "segue.dev/record/v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Everything a receipt is made of. `service` ("namespace/name") is the Service under load, "" without one."""

    case: Case
    service: str = ""
    happenings: Sequence[Happening] = ()
    records: Sequence[Record] = ()

    def timeline(self) -> Timeline:
        """Its happenings, as errors are explained by them."""
        return Timeline(self.happenings, service=self.service)

    def receipt(self) -> Obj:
        """The receipt that follows from it; where it lies and its digest are for whoever keeps it to say."""
        return receipt(self.case, self.records, explain_all(self.records, self.timeline()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    format: str
    service: str
    happenings: int
    requests: int
    case: Case


def lines_of(raw: Raw) -> Iterator[bytes]:
    """The record line by line. Of connections only those of requests that were not answered: no claim needs others."""
    kept = list(_needed(raw))
    header = _Header(format=FORMAT, service=raw.service, happenings=len(kept), requests=len(raw.records), case=raw.case)
    encode = msgspec.json.Encoder().encode
    yield encode(header) + b"\n"
    for happening in kept:
        yield encode(happening) + b"\n"
    for record in raw.records:
        yield encode(record) + b"\n"


def _needed(raw: Raw) -> Iterator[Happening]:
    sources = {(record.local_ip, record.local_port) for record in raw.records if record.outcome.lost}
    for row in raw.happenings:
        if row.what is not What.FLOW or (row.data.get("src_ip"), row.data.get("src_port")) in sources:
            yield row


def read_lines(lines: Iterable[bytes], name: str) -> Raw:
    """A record read back; SegueError that names the line where it is none."""
    rows = iter(lines)
    number = 1
    try:
        header = msgspec.json.decode(next(rows, b""), type=_Header)
        if header.format != FORMAT:
            raise SegueError(f"{name}: its format is {header.format!r}, this segue reads {FORMAT}")
        happenings: list[Happening] = []
        decode_happening = msgspec.json.Decoder(Happening).decode
        for row in islice(rows, header.happenings):
            number += 1
            happenings.append(decode_happening(row))
        records: list[Record] = []
        decode_record = msgspec.json.Decoder(Record).decode
        for row in rows:
            number += 1
            records.append(decode_record(row))
    except msgspec.DecodeError as error:
        raise SegueError(f"{name}:{number}: no record of segue: {error}") from error
    if (len(happenings), len(records)) != (header.happenings, header.requests):
        raise SegueError(
            f"{name}: its header promises {header.happenings:,} happenings and {header.requests:,} requests, "
            f"it holds {len(happenings):,} and {len(records):,}"
        )
    return Raw(case=header.case, service=header.service, happenings=happenings, records=records)
