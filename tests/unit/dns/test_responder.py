"""What a server remembers, for how long, and whom it believes."""

from __future__ import annotations

import struct

import pytest

from segue.dns.responder import CACHED_MAX, Forward, Responder, answers, is_cut
from segue.dns.wire import Type, name_bytes, query
from segue.dns.zone import NAMESPACES, SERVICES, Zone

OUTSIDE = "api.example.com"


def forward_of(responder: Responder, now_s: float, name: str = OUTSIDE, edns_bytes: int | None = 1232) -> Forward:
    found = responder.respond(query(name, Type.A, 5, edns_bytes=edns_bytes), now_s)
    assert isinstance(found, Forward)
    return found


def reply_to(sent: bytes, *ttls_s: int, code: int = 0, cut: bool = False) -> bytes:
    """An answer from above with as many addresses as TTLs."""
    end = sent.index(b"\0", 12) + 5
    head = sent[:2] + struct.pack("!HHHHH", 0x8180 | code | (0x0200 * cut), 1, len(ttls_s), 0, 0)
    return (
        head
        + sent[12:end]
        + b"".join(b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, ttl, 4, b"\x0a\0\0\x01") for ttl in ttls_s)
    )


def ttl_of(reply: object) -> int:
    assert isinstance(reply, bytes)
    at = reply.index(b"\0", 12) + 5
    return int.from_bytes(reply[at + 6 : at + 10])


def test_an_answer_is_remembered_and_its_ttl_runs_down() -> None:
    responder = Responder(Zone(), forwards=True)
    forward = forward_of(responder, 0.0)
    responder.learn(forward.key, reply_to(forward.packet(1), 20), 0.0)

    assert [ttl_of(responder.respond(query(OUTSIDE, Type.A, 6), at)) for at in (1.0, 12.5, 19.0)] == [19, 7, 1]
    forward_of(responder, 20.0)


def test_nothing_is_remembered_longer_than_the_cache_says() -> None:
    responder = Responder(Zone(), forwards=True, cache_s=30)
    forward = forward_of(responder, 0.0)
    responder.learn(forward.key, reply_to(forward.packet(1), 3600, 86400), 0.0)

    assert ttl_of(responder.respond(query(OUTSIDE, Type.A, 6), 0.0)) == 30
    forward_of(responder, 30.0)


@pytest.mark.parametrize(("code", "is_kept"), [(0, True), (3, True), (2, False), (5, False)])
def test_failures_are_not_remembered(code: int, is_kept: bool) -> None:
    responder = Responder(Zone(), forwards=True)
    forward = forward_of(responder, 0.0)
    responder.learn(forward.key, reply_to(forward.packet(1), 20, code=code), 0.0)

    assert isinstance(responder.respond(query(OUTSIDE, Type.A, 6), 1.0), bytes) is is_kept


def test_who_speaks_no_edns_gets_an_answer_of_his_own() -> None:
    responder = Responder(Zone(), forwards=True)
    forward = forward_of(responder, 0.0)
    responder.learn(forward.key, reply_to(forward.packet(1), 20), 0.0)

    assert not forward_of(responder, 1.0, edns_bytes=None).key[2]


def test_memory_is_bounded() -> None:
    responder = Responder(Zone(), forwards=True)
    for number in range(CACHED_MAX + 10):
        forward = forward_of(responder, 0.0, f"n{number}.example")
        responder.learn(forward.key, reply_to(forward.packet(1), 20), 0.0)

    forward_of(responder, 1.0, "n9.example")
    assert isinstance(responder.respond(query(f"n{CACHED_MAX}.example", Type.A, 1), 1.0), bytes)


def test_only_an_answer_to_the_question_is_believed() -> None:
    sent = forward_of(Responder(Zone(), forwards=True), 0.0).packet(0x1234)
    good = reply_to(sent, 20)

    assert answers(good, sent)
    assert answers(good[:12] + good[12:].replace(b"example", b"eXAMPLE"), sent)
    assert not answers(b"\x12\x35" + good[2:], sent)
    assert not answers(good.replace(b"example", b"exampel"), sent)
    assert not answers(sent, sent)
    assert is_cut(reply_to(sent, cut=True))


def test_nobody_answered() -> None:
    reply = Responder.forwarded(forward_of(Responder(Zone(), forwards=True), 0.0), None)

    assert (reply[3] & 0xF, reply[:2]) == (2, b"\0\5")


def test_a_change_of_the_zone_is_seen_by_the_fast_path_at_once() -> None:
    zone = Zone()
    responder = Responder(zone)
    packet = query("web.shop.svc.cluster.local", Type.A, 1)
    responder.respond(packet, 0.0)
    before = responder.quick(packet)
    zone.put(NAMESPACES, {"metadata": {"name": "shop"}})
    spec = {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}
    zone.put(SERVICES, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})

    assert before is not None
    assert before[3] & 0xF == 3
    assert responder.quick(packet) is None
    reply = responder.respond(packet, 0.0)
    assert isinstance(reply, bytes)
    assert reply == responder.quick(packet)
    assert name_bytes("web.shop.svc.cluster.local") in reply
