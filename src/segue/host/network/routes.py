"""Links, addresses and routes as rtnetlink messages: pure builders, sent in one go by `NetlinkSocket.request`.

Links are named by index: whoever makes a link chooses its index, so that nothing has to be looked up.
"""

from __future__ import annotations

import socket
import struct
from typing import TypeAlias

from segue.host.network.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attribute, attribute_u32, nested

Message: TypeAlias = tuple[int, int, bytes]  # type, flags, body

LOOPBACK = 1  # the index of `lo` in every network namespace

_RTM_NEWLINK = 16
_RTM_NEWADDR = 20
_RTM_NEWROUTE = 24
_RTM_DELROUTE = 25
_IFF_UP = 1
_IFLA_IFNAME = 3
_IFLA_LINKINFO = 18
_IFLA_NET_NS_FD = 28
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PREFSRC = 7
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_SCOPE_UNIVERSE = 0
_SCOPE_LINK = 253
_RTN_UNICAST = 1
_RTN_BLACKHOLE = 6


def _link(index: int, *, up: bool) -> bytes:
    flags = _IFF_UP if up else 0
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def veth(name: str, index: int, *, peer: str, peer_index: int, netns_fd: int) -> Message:
    """Make a pair: `name` here and up, `peer` down in the namespace behind `netns_fd`."""
    other = _link(peer_index, up=False) + _text(_IFLA_IFNAME, peer) + attribute_u32(_IFLA_NET_NS_FD, netns_fd)
    info = nested(
        _IFLA_LINKINFO,
        _text(_IFLA_INFO_KIND, "veth"),
        nested(_IFLA_INFO_DATA, nested(_VETH_INFO_PEER, other)),
    )
    return _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link(index, up=True) + _text(_IFLA_IFNAME, name) + info


def link_up(index: int) -> Message:
    """Bring a link up."""
    return _RTM_NEWLINK, 0, _link(index, up=True)


def address(index: int, ip: str, prefix: int) -> Message:
    """Give a link an address."""
    raw = socket.inet_aton(ip)
    body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, _SCOPE_UNIVERSE, index)
    return _RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body + attribute(_IFA_LOCAL, raw) + attribute(_IFA_ADDRESS, raw)


def route(to: str, index: int, *, gateway: str = "", source: str = "") -> Message:
    """Send what goes `to` ("10.0.0.0/8", "default") over a link, through a gateway where one is given."""
    return _RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, _route(to, index, gateway, source)


def route_instead(to: str, index: int, *, source: str) -> Message:
    """The same in place of whatever route leads there."""
    return _RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route(to, index, "", source)


def silence(to: str) -> Message:
    """Swallow what goes there, in place of whatever route leads there: no answer, no error."""
    body = _route_head(to, _SCOPE_UNIVERSE, _RTN_BLACKHOLE)
    return _RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body


def _route(to: str, index: int, gateway: str, source: str) -> bytes:
    body = _route_head(to, _SCOPE_UNIVERSE if gateway else _SCOPE_LINK, _RTN_UNICAST)
    if gateway:
        body += attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    if source:
        body += attribute(_RTA_PREFSRC, socket.inet_aton(source))
    return body + attribute_u32(_RTA_OIF, index)


def _route_head(to: str, scope: int, kind: int) -> bytes:
    network, _, prefix = ("0.0.0.0/0" if to == "default" else to).partition("/")
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, int(prefix), 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, kind, 0)
    return body + (attribute(_RTA_DST, socket.inet_aton(network)) if int(prefix) else b"")


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")
