"""Pods' network namespaces: made, connected, looked into, taken away (`PodNetwork` in namespace mode).

It must never block the event loop for longer than reading a pod's sockets takes; making and unmaking happen on the
namespace thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from dataclasses import dataclass

from segue.host.doors import Attachment
from segue.host.network import routes
from segue.host.network.netlink import NETLINK_ROUTE, NetlinkSocket
from segue.host.network.netns import sysctls
from segue.host.network.node import NodeNetwork
from segue.host.network.sockdiag import SocketView
from segue.model.errors import HostError, StatusError
from segue.model.objects import Obj

_FIRST_LINK = 100
_POD_ETH = 2
_POD_SYSCTLS: dict[str, str | int] = {
    "net/core/somaxconn": 65_535,
    "net/ipv4/tcp_max_syn_backlog": 65_535,
    "net/ipv4/ip_unprivileged_port_start": 0,  # as containerd sets it: port 80 needs no privilege in a pod
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    attachment: Attachment
    view: SocketView


class NamespaceNetwork:
    """Each pod a namespace of its own, one veth pair and one /32 route."""

    def __init__(self, node: NodeNetwork) -> None:
        self._node = node
        self._routes = NetlinkSocket(NETLINK_ROUTE)
        self._places: dict[str, asyncio.Task[_Place]] = {}
        self._hosts = list(map(str, ipaddress.ip_network(node.addresses.pod_cidr).hosts()))[1:255]
        self._taken: set[str] = set()
        self._last = -1  # addresses are handed out in turn: a stale client must not meet a new pod at an old address
        self._next_link = _FIRST_LINK

    async def attach(self, pod_uid: str, pod: str) -> Attachment:
        """Make the pod's namespace and connect it; idempotent per uid."""
        task = self._places.get(pod_uid)
        if task is None:
            ip, link = self._take(pod), self._next_link
            self._next_link += 1
            work = self._node.thread.submit(self._make, ip, link)
            task = asyncio.ensure_future(_result(asyncio.wrap_future(work)))
            self._places[pod_uid] = task
            task.add_done_callback(lambda done: self._forget_failed(pod_uid, ip, done))
        return (await asyncio.shield(task)).attachment

    async def detach(self, pod_uid: str) -> None:
        """Take the pod's route away, and its namespace once no process of it lives; idempotent."""
        task = self._places.pop(pod_uid, None)
        if task is None:
            return
        with contextlib.suppress(OSError, HostError):
            place = await task
            await asyncio.wrap_future(self._node.thread.submit(self._unmake, place))
            self._taken.discard(place.attachment.ip)

    def listening_ports(self, pod_uid: str) -> frozenset[int]:
        """TCP ports on which the pod can be reached right now; what listens on its loopback only is left out."""
        view = self._view(pod_uid)
        if view is None:
            return frozenset()
        return frozenset(
            port for address, port in view.listeners() if not address.startswith("127.") and address != "::1"
        )

    def traffic(self, pod_uid: str) -> Obj:
        """What the pod's connections carry, and how many the pod has ever accepted; loopback connections left out."""
        view = self._view(pod_uid)
        if view is None:
            raise StatusError(404, "NotFound", "the pod has no network")
        rows = [row for row in view.connections() if not row.remote.startswith("127.") and row.remote != "::1"]
        listening = sorted({port for _, port in view.listeners()})
        return {
            "passiveOpens": view.passive_opens(),
            "datagrams": view.datagrams(),
            "listening": listening,
            "connections": [row.as_json() for row in rows],
            "ended": view.ended(),
        }

    async def close(self) -> None:
        """Detach every pod."""
        for pod_uid in list(self._places):
            await self.detach(pod_uid)
        self._routes.close()

    def _view(self, pod_uid: str) -> SocketView | None:
        task = self._places.get(pod_uid)
        if task is None or not task.done() or task.exception() is not None:
            return None
        return task.result().view

    def _take(self, pod: str) -> str:
        for step in range(1, len(self._hosts) + 1):
            at = (self._last + step) % len(self._hosts)
            if self._hosts[at] not in self._taken:
                self._last = at
                self._taken.add(self._hosts[at])
                return self._hosts[at]
        raise HostError(f"no address is left for pod {pod}: {len(self._hosts)} pods run on this node")

    def _forget_failed(self, pod_uid: str, ip: str, done: asyncio.Task[_Place]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._taken.discard(ip)
            if self._places.get(pod_uid) is done:
                del self._places[pod_uid]

    def _make(self, ip: str, link: int) -> _Place:
        def inside(fd: int) -> _Place:
            sysctls(_POD_SYSCTLS)
            self._routes.request(
                [
                    routes.veth(f"pod{link}", link, peer="eth0", peer_index=_POD_ETH, netns_fd=fd),
                    routes.route_instead(f"{ip}/32", link, source=gateway),
                ]
            )
            own = NetlinkSocket(NETLINK_ROUTE)
            try:
                own.request(
                    [
                        routes.link_up(routes.LOOPBACK),
                        routes.link_up(_POD_ETH),
                        routes.address(_POD_ETH, ip, 32),
                        routes.route(f"{gateway}/32", _POD_ETH),
                        routes.route("default", _POD_ETH, gateway=gateway),
                    ]
                )
            finally:
                own.close()
            return _Place(attachment=Attachment(ip=ip, netns_fd=fd), view=SocketView())

        gateway = self._node.addresses.pod_gateway
        return self._node.thread.make(inside)

    def _unmake(self, place: _Place) -> None:
        # Deleting the link would hold the kernel's lock of all links for 40 ms per pod. Without its route nobody
        # reaches the pod any more; the kernel's worker takes namespace and link away, many at once, as soon as nobody
        # holds them.
        # Nobody answers for the address then, and nobody says so (N10): on a real node its neighbours send to a link
        # address that was a pod's, for up to a minute, before they find that it is gone.
        try:
            self._routes.request([routes.silence(f"{place.attachment.ip}/32")])
        finally:
            place.view.close()
            assert place.attachment.netns_fd is not None
            os.close(place.attachment.netns_fd)


async def _result(work: asyncio.Future[_Place]) -> _Place:
    try:
        return await work
    except OSError as error:
        raise HostError(f"a pod's network could not be made: {error}") from error
