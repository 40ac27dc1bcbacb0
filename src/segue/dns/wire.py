"""DNS packets as bytes (RFC 1035, 6891): a query read with every doubt, an answer written within its limit.

Own code and not a library, for speed: a server that answers from a cache of packets never builds objects.
Rule 1: what is not one plain question gets an error no longer than itself, or nothing: nothing is amplified.
Rule 2: a name from the network is read without following pointers: a question needs none.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

HEAD = struct.Struct("!HHHHHH")
HEAD_BYTES = HEAD.size
UDP_BYTES = 512  # without EDNS
EDNS_BYTES_MAX = 1232  # fits every path without fragments, as servers agreed on in 2020
TCP_BYTES_MAX = 65_535
LABEL_MAX = 63
NAME_BYTES_MAX = 255
IN, ANY_CLASS = 1, 255
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_DO = 0x8000
_TAIL = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")


class Type(IntEnum):
    """Record types that somebody here knows."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    ANY = 255


class Code(IntEnum):
    """What came of it."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One plain question. `name` is in lower case and without the last dot; `raw` is the question as it came."""

    id: int
    name: str
    type: int
    recursion: bool
    raw: bytes
    edns_bytes: int | None = None  # what the asker takes; None: it does not speak EDNS
    dnssec: bool = False

    @property
    def udp_bytes(self) -> int:
        """How long an answer over UDP may be."""
        return UDP_BYTES if self.edns_bytes is None else max(UDP_BYTES, min(self.edns_bytes, EDNS_BYTES_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of an answer; `data` is as on the wire."""

    name: str
    type: int
    ttl_s: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a question comes to."""

    code: Code = Code.NOERROR
    records: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    more: Sequence[Record] = ()  # the additional section: left out first where room is short
    authoritative: bool = True


def read(packet: bytes) -> Asked | bytes | None:
    """The question; or the refusal to send back; or None for what is best met by silence."""
    if len(packet) < HEAD_BYTES:
        return None
    number, flags, questions, answers, authorities, additionals = HEAD.unpack_from(packet)
    if flags & _QR:
        return None  # two servers must not talk to each other for ever
    if flags & _OPCODE:
        return _bare(number, flags, Code.NOTIMP)
    if questions != 1 or answers or authorities or additionals > 1:
        return _bare(number, flags, Code.FORMERR)
    found = _name(packet, HEAD_BYTES)
    if found is None or found[1] + 4 > len(packet):
        return _bare(number, flags, Code.FORMERR)
    name, at = found
    kind, space = _TAIL.unpack_from(packet, at)
    end = at + 4
    if space not in (IN, ANY_CLASS):
        return _bare(number, flags, Code.REFUSED)
    if kind == Type.ANY or 249 <= kind <= 254:  # RFC 8482: asking for everything; transfers
        return _bare(number, flags, Code.NOTIMP)
    edns, dnssec = None, False
    if additionals:
        option = _option(packet, end)
        if option is None:
            return _bare(number, flags, Code.FORMERR)
        edns, version, dnssec = option
        if version:
            return _bare(number, flags, Code.FORMERR)  # BADVERS needs an OPT, which may be longer than what came
    elif end != len(packet):
        return _bare(number, flags, Code.FORMERR)
    return Asked(
        id=number,
        name=name,
        type=kind,
        recursion=bool(flags & _RD),
        raw=packet[HEAD_BYTES:end],
        edns_bytes=edns,
        dnssec=dnssec,
    )


def written(asked: Asked, answer: Answer, limit: int) -> bytes:
    """The answer as a packet of at most `limit` bytes; TC where records had to be left out."""
    opt = b"" if asked.edns_bytes is None else b"\0" + struct.pack("!HHIH", Type.OPT, EDNS_BYTES_MAX, 0, 0)
    room = limit - HEAD_BYTES - len(asked.raw) - len(opt)
    owner = asked.name
    sections: list[list[bytes]] = []
    truncated = False
    for records in (answer.records, answer.authority, answer.more):
        pieces: list[bytes] = []
        for record in records:
            piece = _record(record, owner)
            if truncated or len(piece) > room:
                truncated |= records is not answer.more
                break
            room -= len(piece)
            pieces.append(piece)
        sections.append(pieces)
    flags = _QR | _RA | (_AA if answer.authoritative else 0) | (_TC if truncated else 0)
    flags |= (_RD if asked.recursion else 0) | (answer.code & 0xF)
    counts = [len(pieces) for pieces in sections]
    head = HEAD.pack(asked.id, flags, 1, counts[0], counts[1], counts[2] + bool(opt))
    return b"".join((head, asked.raw, *sections[0], *sections[1], *sections[2], opt))


def query(name: str, kind: int, number: int, *, edns_bytes: int | None = EDNS_BYTES_MAX, dnssec: bool = False) -> bytes:
    """A question as a packet."""
    head = HEAD.pack(number, _RD, 1, 0, 0, int(edns_bytes is not None))
    opt = b"" if edns_bytes is None else b"\0" + struct.pack("!HHIH", Type.OPT, edns_bytes, _DO * dnssec, 0)
    return head + name_bytes(name) + _TAIL.pack(kind, IN) + opt


def name_bytes(name: str) -> bytes:
    """A name on the wire, without pointers; ValueError for one that cannot be."""
    plain = name.rstrip(".")
    if not plain:
        return b"\0"
    parts = []
    for label in plain.split("."):
        data = label.encode("latin-1")
        if not 0 < len(data) <= LABEL_MAX:
            raise ValueError(f"{name}: a label must have 1 to {LABEL_MAX} characters")
        parts.append(bytes([len(data)]) + data)
    joined = b"".join(parts) + b"\0"
    if len(joined) > NAME_BYTES_MAX:
        raise ValueError(f"{name}: a name must have at most {NAME_BYTES_MAX} bytes")
    return joined


def address_bytes(ip: str) -> tuple[Type, bytes]:
    """An address as a record's type and data."""
    address = ipaddress.ip_address(ip)
    return (Type.A if address.version == 4 else Type.AAAA), address.packed


def srv_bytes(weight: int, port: int, target: str) -> bytes:
    """The data of an SRV record."""
    return struct.pack("!HHH", 0, weight, port) + name_bytes(target)


def soa_bytes(domain: str, serial: int, negative_ttl_s: int) -> bytes:
    """The data of a zone's SOA record."""
    names = name_bytes(f"ns.dns.{domain}") + name_bytes(f"hostmaster.{domain}")
    return names + struct.pack("!IIIII", serial & 0xFFFFFFFF, 7200, 1800, 86400, negative_ttl_s)


def text_bytes(text: str) -> bytes:
    """The data of a TXT record."""
    data = text.encode()
    assert len(data) <= 255
    return bytes([len(data)]) + data


def ttl_places(packet: bytes) -> tuple[list[int], int] | None:
    """Where the TTLs stand in an answer, and the least of them; None for a packet that cannot be read."""
    try:
        _, _, questions, *counts = HEAD.unpack_from(packet)
        at = HEAD_BYTES
        for _ in range(questions):
            at = _past_name(packet, at) + 4
        places: list[int] = []
        least = 0xFFFFFFFF
        for _ in range(sum(counts)):
            at = _past_name(packet, at)
            kind, _, ttl_s, size = _RECORD.unpack_from(packet, at)
            if kind != Type.OPT:
                places.append(at + 4)
                least = min(least, ttl_s)
            at += _RECORD.size + size
        if at > len(packet):
            return None
    except (struct.error, IndexError):
        return None
    return places, least


def code_of(packet: bytes) -> Code | None:
    """The code of an answer, None for one that nobody knows."""
    value = packet[3] & 0xF
    return Code(value) if value in Code.__members__.values() else None


def _bare(number: int, flags: int, code: Code) -> bytes:
    """A refusal: the header alone, so never longer than what it answers."""
    return HEAD.pack(number, _QR | (flags & (_OPCODE | _RD)) | code, 0, 0, 0, 0)


def _name(packet: bytes, at: int) -> tuple[str, int] | None:
    """The name that begins there, and what comes after it."""
    start = at
    labels: list[str] = []
    while True:
        if at >= len(packet):
            return None
        size = packet[at]
        if not size:
            return ".".join(labels), at + 1
        if size > LABEL_MAX or at + 1 + size > len(packet) or at + 1 + size - start >= NAME_BYTES_MAX:
            return None
        label = packet[at + 1 : at + 1 + size]
        if b"." in label:
            label = label.replace(b".", b"\\.")  # it is no border, and no name of a cluster has one
        labels.append(label.lower().decode("latin-1"))
        at += 1 + size


def _past_name(packet: bytes, at: int) -> int:
    while True:
        size = packet[at]
        if not size:
            return at + 1
        if size & 0xC0:
            return at + 2
        at += 1 + size


def _option(packet: bytes, at: int) -> tuple[int, int, bool] | None:
    """(bytes that the asker takes, EDNS version, DO) of the OPT record that must be the rest of the packet."""
    if len(packet) < at + 11 or packet[at]:
        return None
    kind, size, flags, length = _RECORD.unpack_from(packet, at + 1)
    if kind != Type.OPT or at + 11 + length != len(packet):
        return None
    return size, flags >> 16 & 0xFF, bool(flags & _DO)


def _record(record: Record, owner: str) -> bytes:
    """One record; the name in question is a pointer to it."""
    name = b"\xc0\x0c" if record.name == owner else name_bytes(record.name)
    return name + _RECORD.pack(record.type, IN, record.ttl_s, len(record.data)) + record.data
