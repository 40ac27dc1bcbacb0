"""What the kernel's messages say, from messages that a kernel sent."""

from __future__ import annotations

import socket

import pytest

from segue.host.network import routes
from segue.host.network.conntrack import flow_of
from segue.host.network.netlink import attribute, attributes, nested
from segue.host.network.sockdiag import passive_opens

# A new TCP connection 10.10.0.1:48084 -> 10.10.0.1:8080, as Linux 6.18 told it.
NEW = bytes.fromhex(
    "c40000000001000600000000000000000200000034000180140001800800010 00a0a0001080002000a0a00011c0002800500010006000000"
    "06000200bbd40000060003001f9000003400028014000180080001000a0a0001080002000a0a00011c000280050001000600000006000200"
    "1f90000006000300bbd4000008000c00eb99faaf0800030000000188080007000000007830000480".replace(" ", "")
)
SNMP = b"""Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails
Tcp: 1 200 120000 -1 7 42 0
Udp: InDatagrams
Udp: 3
"""


def test_a_new_connection_tells_who_opened_it_and_who_answers() -> None:
    """The opener before any translation, the answerer after it."""
    assert flow_of(NEW) == (socket.inet_aton("10.10.0.1"), 48084, socket.inet_aton("10.10.0.1"), 8080)


@pytest.mark.parametrize(
    "event",
    [NEW[:100], b"", NEW[:52] + bytes([17]) + NEW[53:], NEW[:56] + b"\5\0" + NEW[58:], NEW[:20] + b"\0" + NEW[21:]],
    ids=["cut", "empty", "udp", "no ports", "another shape"],
)
def test_anything_else_is_no_flow(event: bytes) -> None:
    """Never a guess."""
    assert flow_of(event) is None


def test_passive_opens_are_read_by_their_name() -> None:
    """Kernels add columns."""
    assert passive_opens(SNMP) == 42


def test_counters_without_tcp_are_our_own_bug() -> None:
    """Every kernel has them."""
    with pytest.raises(AssertionError):
        passive_opens(b"Ip: Forwarding\nIp: 1\n")


def test_attributes_are_padded_and_read_back() -> None:
    """Three bytes take eight; nested ones are read without their flag."""
    packed = nested(7, attribute(1, b"abc"), attribute(2, b"defg"))
    ((kind, first, past),) = attributes(packed, 0, len(packed))

    assert kind == 7
    assert [(k, packed[a:b]) for k, a, b in attributes(packed, first, past)] == [(1, b"abc"), (2, b"defg")]
    assert len(packed) % 4 == 0


def test_a_cut_attribute_ends_the_reading() -> None:
    """No bytes are read that are not there."""
    packed = attribute(1, b"abcd")

    assert list(attributes(packed, 0, len(packed) - 1)) == []


def test_a_route_and_the_silence_in_its_place_lead_to_the_same_address() -> None:
    """The default route has no destination attribute, silence no link."""
    made, silence = routes.route_instead("10.244.0.2/32", 100, source="10.244.0.1"), routes.silence("10.244.0.2/32")
    head = 12

    assert made[:2] == silence[:2]
    assert made[2][head : head + 8] == silence[2][head:] == b"\x08\x00\x01\x00" + bytes((10, 244, 0, 2))
    assert (made[2][7], silence[2][7]) == (1, 6)
    made = routes.route("10.244.0.2/32", 100)
    assert len(routes.route("default", 2, gateway="10.244.0.1")[2]) == len(made[2])
