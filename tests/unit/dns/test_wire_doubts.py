"""Packets from anybody: nothing crashes a server, nothing makes it send more than its rules allow."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.dns.responder import Forward, Responder, answers
from segue.dns.wire import (
    EDNS_BYTES_MAX,
    HEAD_BYTES,
    UDP_BYTES,
    Asked,
    Type,
    name_bytes,
    query,
    read,
    ttl_places,
)
from segue.dns.zone import NAMESPACES, SERVICES, SLICES, Zone

MANY = 120  # endpoints: more than any UDP answer holds


def zone() -> Zone:
    made = Zone()
    made.put(NAMESPACES, {"metadata": {"name": "shop"}})
    ports = [{"name": "http", "port": 80}]
    made.put(
        SERVICES, {"metadata": {"name": "big", "namespace": "shop"}, "spec": {"clusterIP": "None", "ports": ports}}
    )
    labels = {"kubernetes.io/service-name": "big"}
    ends = [{"addresses": [f"10.244.{n // 200}.{n % 200 + 1}"]} for n in range(MANY)]
    made.put(
        SLICES,
        {"metadata": {"name": "big-1", "namespace": "shop", "labels": labels}, "endpoints": ends, "ports": ports},
    )
    return made


RESPONDERS = [Responder(zone()), Responder(zone(), forwards=True)]
BIG = "big.shop.svc.cluster.local"
GOOD = query(BIG, Type.A, 7)
NAMES = st.sampled_from([BIG, f"_http._tcp.{BIG}", "cluster.local", "api.example.com", "1.0.244.10.in-addr.arpa", ""])
QUERIES = st.builds(
    query,
    NAMES,
    st.sampled_from([1, 2, 5, 6, 12, 16, 28, 33, 41, 99, 251, 252, 255]),
    st.integers(0, 0xFFFF),
    edns_bytes=st.sampled_from([None, 0, 512, 1232, 4096, 65535]),
    dnssec=st.booleans(),
)


def bounded(packet: bytes) -> None:
    """What each server makes of it is within the rules."""
    asked = read(packet)
    for responder in RESPONDERS:
        reply = responder.quick(packet)
        found = responder.respond(packet, 1.0) if reply is None else reply
        if found is None or isinstance(found, Forward):
            continue
        limit = asked.udp_bytes if isinstance(asked, Asked) else len(packet)
        assert HEAD_BYTES <= len(found) <= min(limit, EDNS_BYTES_MAX)
        assert found[:2] == packet[:2]
        assert found[2] & 0x80
        if isinstance(asked, Asked):
            assert ttl_places(found) is not None


@settings(max_examples=400)
@given(st.binary(max_size=600))
def test_noise_never_crashes_and_never_amplifies(packet: bytes) -> None:
    bounded(packet)


@settings(max_examples=400)
@given(QUERIES, st.data())
def test_good_queries_gone_bad_never_crash_and_never_amplify(packet: bytes, data: st.DataObject) -> None:
    """Bytes overwritten, cut off, put in, and counts that lie."""
    bounded(packet)
    broken = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken) - 1)) if broken else 0
        how = data.draw(st.sampled_from(["set", "cut", "add"]))
        if how == "set" and broken:
            broken[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del broken[at:]
        else:
            broken[at:at] = data.draw(st.binary(max_size=40))
    bounded(bytes(broken))


@settings(max_examples=200)
@given(st.binary(max_size=300), st.binary(max_size=60))
def test_answers_from_above_may_be_anything(noise: bytes, more: bytes) -> None:
    responder = Responder(Zone(), forwards=True)
    packet = query("api.example.com", Type.A, 9)
    forward = responder.respond(packet, 1.0)
    assert isinstance(forward, Forward)
    sent = forward.packet(77)
    for answer in (
        noise,
        sent[:2] + noise,
        sent[:2] + b"\x81\x80" + sent[4:6] + noise,
        sent[:2] + b"\x81\x80" + sent[4:] + more,
    ):
        if not answers(answer, sent):
            continue
        responder.learn(forward.key, answer, 1.0)
        assert len(responder.forwarded(forward, answer)) <= EDNS_BYTES_MAX
        again = responder.respond(packet, 2.0)
        assert again is not None


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        GOOD[:11],
        GOOD[:2] + b"\x81\x00" + GOOD[4:],  # an answer
    ],
)
def test_silence(packet: bytes) -> None:
    assert read(packet) is None


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (GOOD[:12], 1),  # no question
        (GOOD[:20], 1),
        (GOOD + b"x", 1),
        (struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", 1),  # a name that leads to itself
        (struct.pack("!HHHHHH", 1, 0x0100, 2, 0, 0, 0) + name_bytes("a.b") + b"\0\1\0\1", 1),
        (struct.pack("!HHHHHH", 1, 0x2000, 1, 0, 0, 0) + name_bytes("a.b") + b"\0\1\0\1", 4),  # NOTIFY
        (query(BIG, 255, 1), 4),
        (query(BIG, 252, 1), 4),  # a zone transfer
        (struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + name_bytes("version.bind") + b"\0\x10\0\3", 5),  # CHAOS
    ],
)
def test_refusals_are_a_header_and_no_more(packet: bytes, code: int) -> None:
    reply = read(packet)

    assert isinstance(reply, bytes)
    assert (len(reply), reply[3] & 0xF, reply[:2]) == (HEAD_BYTES, code, packet[:2])


def test_a_long_answer_is_cut_and_says_so_and_is_whole_over_tcp() -> None:
    packet = query(BIG, Type.A, 3, edns_bytes=None)
    short = RESPONDERS[0].respond(packet, 1.0)
    whole = RESPONDERS[0].respond(packet, 1.0, over_tcp=True)

    assert isinstance(short, bytes)
    assert isinstance(whole, bytes)
    assert (len(short) <= UDP_BYTES, bool(short[2] & 2)) == (True, True)
    assert (int.from_bytes(whole[6:8]), bool(whole[2] & 2)) == (MANY, False)


def test_a_name_of_any_case_is_found_and_spelled_back_as_it_came() -> None:
    packet = query(BIG.upper(), Type.A, 3)
    reply = RESPONDERS[0].respond(packet, 1.0)

    assert isinstance(reply, bytes)
    assert reply[3] & 0xF == 0
    assert name_bytes(BIG.upper()) in reply
