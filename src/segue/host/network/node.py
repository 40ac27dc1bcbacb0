"""The node's network namespace and the client namespace beside it, from which loads are fired.

    client 10.10.0.2 --veth-- 10.10.0.1 node 10.244.0.1 --veth per pod-- 10.244.0.x

Every pod has a link of its own and a /32 route (no bridge): all traffic between pods passes the node's routing and
so its nftables rules, as on a real node, without the br_netfilter module that an ordinary user cannot load.
Loads come from the client namespace, not through the relay: there refused stays refused and reset stays reset.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from segue.host.network import routes
from segue.host.network.netlink import NETLINK_ROUTE, NetlinkSocket
from segue.host.network.netns import NamespaceThread, sysctls

_CLIENT_LINK = 10  # the node's end; pods' links are numbered from 100 on
_CLIENT_ETH = 2
_BACKLOG = 65_535

# A load generator on one machine must not stall on its own ports: a wide range, re-use after one second.
_CLIENT_SYSCTLS: dict[str, str | int] = {
    "net/ipv4/ip_local_port_range": "1024 65535",
    "net/ipv4/tcp_tw_reuse": 1,
    "net/ipv4/tcp_fin_timeout": 5,
    "net/core/somaxconn": _BACKLOG,
}
_NODE_SYSCTLS: dict[str, str | int] = {
    "net/ipv4/ip_forward": 1,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    "net/ipv4/ip_local_port_range": "1024 65535",
    "net/ipv4/tcp_tw_reuse": 1,
    "net/core/somaxconn": _BACKLOG,
    "net/ipv4/tcp_max_syn_backlog": _BACKLOG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddresses:
    """Who is where. `service_cidr` is what the registry hands out ClusterIPs from."""

    node_ip: str = "10.10.0.1"
    client_ip: str = "10.10.0.2"
    pod_gateway: str = "10.244.0.1"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/12"


class NodeNetwork:
    """Makes the node's own network and the client namespace; call it in the cluster process, which is the node."""

    def __init__(self, addresses: NodeAddresses | None = None) -> None:
        self.addresses = addresses or NodeAddresses()
        self.thread = NamespaceThread()
        self.client_fd = self.thread.submit(self._make).result()

    def close(self) -> None:
        """Let the client namespace go."""
        self.thread.close()
        os.close(self.client_fd)

    def _make(self) -> int:
        at = self.addresses
        sysctls(_NODE_SYSCTLS)
        node = NetlinkSocket(NETLINK_ROUTE)
        try:
            return self.thread.make(lambda fd: self._make_client(node, fd))
        finally:
            node.request(
                [
                    routes.link_up(routes.LOOPBACK),
                    routes.address(routes.LOOPBACK, at.pod_gateway, 32),
                    routes.address(_CLIENT_LINK, at.node_ip, 24),
                    # Without a route the node itself could not call a ClusterIP: the rules see what has a route.
                    routes.route(at.service_cidr, routes.LOOPBACK, source=at.node_ip),
                ]
            )
            node.close()

    def _make_client(self, node: NetlinkSocket, fd: int) -> int:
        at = self.addresses
        sysctls(_CLIENT_SYSCTLS)
        node.request([routes.veth("client", _CLIENT_LINK, peer="eth0", peer_index=_CLIENT_ETH, netns_fd=fd)])
        inside = NetlinkSocket(NETLINK_ROUTE)
        inside.request(
            [
                routes.link_up(routes.LOOPBACK),
                routes.link_up(_CLIENT_ETH),
                routes.address(_CLIENT_ETH, at.client_ip, 24),
                routes.route("default", _CLIENT_ETH, gateway=at.node_ip),
            ]
        )
        inside.close()
        return fd
