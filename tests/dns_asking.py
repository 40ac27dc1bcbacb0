"""Asks a DNS server as a test does: packets read by rules of its own, so that no fault hides another."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_NAMES = {number: name for name, number in TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A response, sections as (name, type, ttl, text)."""

    code: str
    cut: bool
    authoritative: bool
    answers: list[tuple[str, str, int, str]]
    authority: list[tuple[str, str, int, str]]
    more: list[tuple[str, str, int, str]]
    bytes: int

    @property
    def texts(self) -> list[str]:
        """What the answers hold, sorted."""
        return sorted(text for _, _, _, text in self.answers)


def packet(name: str, kind: str, *, number: int = 0x4242, edns: int = 0) -> bytes:
    """A query."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.rstrip(".").split(".") if one)
    opt = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    head = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, int(bool(opt)))
    return head + labels + b"\0" + struct.pack("!HH", TYPES[kind], 1) + opt


def said(data: bytes, number: int = 0x4242) -> Said:
    """The response in a packet."""
    got, flags, questions, *counts = struct.unpack_from("!HHHHHH", data)
    assert got == number
    assert flags & 0x8000
    at = 12
    for _ in range(questions):
        at = _name(data, at)[1] + 4
    sections: list[list[tuple[str, str, int, str]]] = []
    for count in counts:
        rows = []
        for _ in range(count):
            name, at = _name(data, at)
            kind, _, ttl, size = struct.unpack_from("!HHIH", data, at)
            at += 10
            if kind != TYPES["OPT"]:
                rows.append((name, _NAMES[kind], ttl, _text(data, kind, at, size)))
            at += size
        sections.append(rows)
    assert at == len(data)
    return Said(
        code=CODES[flags & 0xF],
        cut=bool(flags & 0x0200),
        authoritative=bool(flags & 0x0400),
        answers=sections[0],
        authority=sections[1],
        more=sections[2],
        bytes=len(data),
    )


def _text(data: bytes, kind: int, at: int, size: int) -> str:
    match _NAMES[kind]:
        case "A" | "AAAA":
            return str(ipaddress.ip_address(data[at : at + size]))
        case "SRV":
            priority, weight, port = struct.unpack_from("!HHH", data, at)
            return f"{priority} {weight} {port} {_name(data, at + 6)[0]}"
        case "TXT":
            return data[at + 1 : at + size].decode()
        case _:
            return _name(data, at)[0]


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    after = 0
    while size := data[at]:
        if size >= 0xC0:
            after = after or at + 2
            at = int.from_bytes(data[at : at + 2]) & 0x3FFF
            continue
        labels.append(data[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels), after or at + 1
