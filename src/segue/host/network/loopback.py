"""Pods' addresses where the machine refuses namespaces (`PodNetwork` in loopback mode): a 127.x.y.z per pod.

Less faithful than a namespace per pod, and said so: a process may bind to addresses that are not its own; one that
listens on 0.0.0.0 answers at every pod's address; only connections that came through a Service are counted; nothing
is refused by a detached address while something still listens there.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable

from segue.host.doors import Attachment
from segue.host.network.sockdiag import SocketRow, SocketView
from segue.model.errors import HostError, StatusError
from segue.model.objects import Obj

_ADDRESSES = 250 * 250
_STREETS = 32  # clusters side by side: the n-th gets 127.(64+n).0.0/16 for pods, 127.(96+n).0.0/16 for Services
LESS_FAITHFUL = (
    "pods share the machine's network: each gets an address 127.x.y.z, to which its processes must bind (POD_IP)",
    "Services are carried by a proxy: it accepts before it asks a pod, so a pod's refusal arrives as a reset",
    "the address of a pod that is gone refuses at once instead of staying silent, so plain Kubernetes loses more here",
    "a Service whose endpoints are elsewhere only (DROP) accepts and stays silent; UDP ports are not carried",
    "arrivals at a pod are counted for connections through Services only",
)


# All pods share one table of sockets: a look for one is a look for all. It costs milliseconds where connections that
# have ended are remembered by the ten thousand, and a release looks at each of its pods ten times a second.
_CONNECTIONS_FRESH_S = 0.05
_LISTENERS_FRESH_S = 0.002


class LoopbackNetwork:
    """Each pod an address of the loopback interface."""

    def __init__(self) -> None:
        self._street, self._claim = _free_street()
        self._view = SocketView()
        self._listeners: frozenset[tuple[str, int]] = frozenset()
        self._listeners_until_s = 0.0
        self._rows: dict[str, list[SocketRow]] = {}  # by local address
        self._rows_until_s = 0.0
        self.before_look: Callable[[], None] = lambda: None  # lets the proxy tell of arrivals it has not told yet
        self._ips: dict[str, str] = {}
        # Handed out in turn: a stale client must not meet a new pod at an old address. The first one is drawn, so that
        # this holds for the pods of a cluster that is started again, too.
        self._last = secrets.randbelow(_ADDRESSES)
        self._opened: Counter[str] = Counter()

    @property
    def service_cidr(self) -> str:
        """Where Services get their addresses."""
        return f"127.{96 + self._street}.0.0/16"

    async def attach(self, pod_uid: str, pod: str) -> Attachment:
        """Give the pod an address; idempotent per uid."""
        ip = self._ips.get(pod_uid)
        if ip is None:
            ip = self._ips[pod_uid] = self._take(pod)
        return Attachment(ip=ip, netns_fd=None)

    async def detach(self, pod_uid: str) -> None:
        """Take the address back; idempotent."""
        ip = self._ips.pop(pod_uid, None)
        if ip is not None:
            del self._opened[ip]

    def count_arrival(self, ip: str) -> None:
        """The proxy has given a connection to the pod at `ip`."""
        self._opened[ip] += 1

    def listening_ports(self, pod_uid: str) -> frozenset[int]:
        """TCP ports on which something listens at the pod's address right now."""
        ip = self._ips.get(pod_uid)
        now_s = time.monotonic()
        if now_s >= self._listeners_until_s:
            self._listeners = self._view.listeners()
            self._listeners_until_s = now_s + _LISTENERS_FRESH_S
        return frozenset(port for address, port in self._listeners if address == ip)

    def traffic(self, pod_uid: str) -> Obj:
        """What connections at the pod's address carry; `passiveOpens` counts those that the proxy opened."""
        ip = self._ips.get(pod_uid)
        if ip is None:
            raise StatusError(404, "NotFound", "the pod has no network")
        self.before_look()
        now_s = time.monotonic()
        if now_s >= self._rows_until_s:
            self._rows = {}
            for row in self._view.connections():
                self._rows.setdefault(row.local, []).append(row)
            self._rows_until_s = now_s + _CONNECTIONS_FRESH_S
        return {"passiveOpens": self._opened[ip], "connections": [row.as_json() for row in self._rows.get(ip, [])]}

    async def close(self) -> None:
        """Forget every pod."""
        self._ips.clear()
        self._view.close()
        self._claim.close()

    def _take(self, pod: str) -> str:
        taken = {*self._ips.values(), *(address for address, _ in self._view.listeners())}
        for _ in range(_ADDRESSES):
            self._last = (self._last + 1) % _ADDRESSES
            ip = f"127.{64 + self._street}.{self._last // 250}.{self._last % 250 + 1}"
            if ip not in taken:
                return ip
        raise HostError(f"no address is left for pod {pod}")


def _free_street() -> tuple[int, socket.socket]:
    """The first that no other cluster of this network has, and the claim to it, which ends with this process."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(_STREETS):
        try:
            claim.bind(f"\0segue-loopback-{number}")  # an abstract name: no file, seen by everybody in this network
        except OSError:
            continue
        return number, claim
    claim.close()
    raise HostError(f"{_STREETS} clusters in loopback mode run on this machine", remedy="end one: segue down")
