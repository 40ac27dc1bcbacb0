"""What a DNS server answers: from the cluster's zone, from what it remembers, or by asking others. Sans-IO.

    answer = responder.respond(packet, now_s, over_tcp=False)
        bytes    send it back           None     say nothing          Forward  ask a server further up, then `forwarded`

Rule 1: an answer over UDP is never longer than the asker said it takes, and never beyond 1,232 bytes.
Rule 2: what is remembered is bounded in number and in time, whatever is asked.
Rule 3: an answer from above is taken only if it is one to exactly what was asked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from segue.dns.wire import (
    HEAD,
    HEAD_BYTES,
    TCP_BYTES_MAX,
    UDP_BYTES,
    Answer,
    Asked,
    Code,
    code_of,
    query,
    read,
    ttl_places,
    written,
)
from segue.dns.zone import Zone

CACHE_S = 30  # nothing from above is remembered longer, whatever its TTL says
CACHED_MAX = 10_000
HOT_MAX = 20_000
_QR, _TC, _RA = 0x8000, 0x0200, 0x0080
_TTL = struct.Struct("!I")

Key = tuple[str, int, bool, bool]  # name, type, EDNS, DO: what an answer from above depends on


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A question for a server further up."""

    key: Key
    asked: Asked
    over_tcp: bool

    def packet(self, number: int) -> bytes:
        """The query to send; `number` is one that nobody can guess."""
        return query(self.key[0], self.key[1], number, edns_bytes=1232 if self.key[2] else None, dnssec=self.key[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    packet: bytes
    places: tuple[int, ...]  # of TTLs
    at_s: float
    until_s: float


class Responder:
    """One server's mind. `forwards`: whether there is anybody further up."""

    def __init__(self, zone: Zone, *, forwards: bool = False, cache_s: float = CACHE_S) -> None:
        self.zone = zone
        self._forwards = forwards
        self._cache_s = cache_s
        self._hot: dict[bytes, bytes] = {}  # a packet without its number -> the answer without its number
        self._hot_serial = zone.serial
        self._kept: dict[Key, _Kept] = {}

    def quick(self, packet: bytes) -> bytes | None:
        """The answer to a question over UDP that was asked before, while the zone is as it was: the fast path."""
        if self._hot_serial != self.zone.serial:
            self._hot.clear()
            self._hot_serial = self.zone.serial
        tail = self._hot.get(packet[2:])
        return packet[:2] + tail if tail is not None else None

    def respond(self, packet: bytes, now_s: float, *, over_tcp: bool = False) -> bytes | Forward | None:
        """The answer, in any case."""
        asked = read(packet)
        if not isinstance(asked, Asked):
            return asked
        limit = TCP_BYTES_MAX if over_tcp else asked.udp_bytes
        if self.zone.holds(asked.name):
            answer = self.zone.find(asked.name, asked.type)
            reply = written(asked, answer, limit)
            if not over_tcp and self._hot_serial == self.zone.serial:
                if len(self._hot) >= HOT_MAX:
                    self._hot.clear()
                self._hot[packet[2:]] = reply[2:]
            return reply
        if not self._forwards:
            return written(asked, Answer(code=Code.REFUSED, authoritative=False), limit)
        key = (asked.name, asked.type, asked.edns_bytes is not None, asked.dnssec)
        kept = self._kept.get(key)
        if kept is not None and now_s < kept.until_s:
            return _for(asked, _aged(kept, now_s), limit)
        return Forward(key=key, asked=asked, over_tcp=over_tcp)

    def learn(self, key: Key, packet: bytes, now_s: float) -> None:
        """Remember an answer from above."""
        if self._cache_s <= 0 or code_of(packet) not in (Code.NOERROR, Code.NXDOMAIN):
            return
        found = ttl_places(packet)
        if found is None or not found[0]:
            return
        self._kept.pop(key, None)
        while len(self._kept) >= CACHED_MAX:
            del self._kept[next(iter(self._kept))]
        for_s = min(found[1], self._cache_s)
        self._kept[key] = _Kept(packet=packet, places=tuple(found[0]), at_s=now_s, until_s=now_s + for_s)

    @staticmethod
    def forwarded(forward: Forward, packet: bytes | None) -> bytes:
        """The reply to the asker once those further up have answered, or have not."""
        limit = TCP_BYTES_MAX if forward.over_tcp else forward.asked.udp_bytes
        if packet is None:
            return written(forward.asked, Answer(code=Code.SERVFAIL, authoritative=False), limit)
        return _for(forward.asked, packet, limit)


def answers(packet: bytes, sent: bytes) -> bool:
    """Whether a packet from above is the answer to what was sent: number, question, and that it is an answer."""
    if len(packet) < HEAD_BYTES or packet[:2] != sent[:2] or not packet[2] & 0x80:
        return False
    if int.from_bytes(packet[4:6]) != 1:
        return False
    end = sent.index(b"\0", HEAD_BYTES) + 5
    return packet[HEAD_BYTES:end].lower() == sent[HEAD_BYTES:end].lower()


def is_cut(packet: bytes) -> bool:
    """Whether it says that all of it must be fetched over TCP."""
    return bool(packet[2] & 0x02)


def _aged(kept: _Kept, now_s: float) -> bytes:
    """The packet with TTLs that have run down since, and that promise no more than is kept to."""
    aged = bytearray(kept.packet)
    left_s = max(0, int(kept.until_s - now_s))
    age_s = int(now_s - kept.at_s)
    for place in kept.places:
        ttl_s = _TTL.unpack_from(aged, place)[0]
        _TTL.pack_into(aged, place, min(left_s, max(0, ttl_s - age_s)))
    return bytes(aged)


def _for(asked: Asked, packet: bytes, limit: int) -> bytes:
    """An answer from above as this asker gets it: his number and his spelling; cut where it is too long for him."""
    end = HEAD_BYTES + len(asked.raw)
    _, flags, _, *counts = HEAD.unpack_from(packet)
    flags = (flags & ~0x0400) | _QR | _RA
    if len(packet) <= limit:
        return HEAD.pack(asked.id, flags, 1, *counts) + asked.raw + packet[end:]
    head = HEAD.pack(asked.id, flags | _TC, 1, 0, 0, 0)
    assert HEAD_BYTES + len(asked.raw) <= max(limit, UDP_BYTES)
    return head + asked.raw
