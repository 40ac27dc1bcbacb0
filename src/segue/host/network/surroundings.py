"""The one entrance to the network of either mode: makes what the rest of the cluster is wired to.

Beyond this module nobody asks which mode it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from segue.cluster.dataplane.nftables import Frame
from segue.cluster.store import Store
from segue.host.doors import PodNetwork
from segue.host.isolation import Doorman, Mode
from segue.host.network.plane import PlaneRunner, PlaneSettings, PlaneTarget
from segue.ports import Chance, Clock, Recorder

LOOPBACK_NODE_IP = "127.0.0.1"


class FlowSwitch(Protocol):
    """Recording of connections, on only while somebody asks for it."""

    @property
    def is_on(self) -> bool:
        """Whether connections are being recorded."""
        ...

    @property
    def overruns(self) -> int:
        """How often events were lost: 0 means that the record is complete."""
        ...

    def start(self) -> None:
        """Begin; idempotent."""
        ...

    def stop(self) -> None:
        """End; idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the network needs of the rest."""

    store: Store
    recorder: Recorder
    clock: Clock
    chance: Chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A node's network, ready for pods; `close` takes it down."""

    network: PodNetwork
    plane: PlaneRunner
    flows: FlowSwitch
    node_ip: str
    service_cidr: str  # the registry must hand out ClusterIPs from here
    client_netns: str  # where loads are fired from, "" in loopback mode
    less_faithful: tuple[str, ...]  # what to tell the user about this mode
    open_relay: Callable[[], Awaitable[None]]  # node ports on the host's loopback
    close: Callable[[], Awaitable[None]]


async def surroundings(mode: Mode, doorman: Doorman, tools: Tools, settings: PlaneSettings) -> Surroundings:
    """Make the network of this mode; the plane is not started yet, because the store may not be filled yet."""
    if mode.kind == "namespaces":
        return _namespaces(doorman, tools, settings)
    return _loopback(tools, settings)


def _namespaces(doorman: Doorman, tools: Tools, settings: PlaneSettings) -> Surroundings:
    from segue.host.network.conntrack import FlowListener  # noqa: PLC0415 - each mode pays for its own parts only
    from segue.host.network.node import NodeNetwork  # noqa: PLC0415
    from segue.host.network.plane import NftTarget  # noqa: PLC0415
    from segue.host.network.pods import NamespaceNetwork  # noqa: PLC0415
    from segue.host.network.relay import NodePortRelay  # noqa: PLC0415

    node = NodeNetwork()
    at = node.addresses
    network = NamespaceNetwork(node)
    target = NftTarget(Frame(node_ips=(at.node_ip,), pod_cidr=at.pod_cidr, service_cidr=at.service_cidr))
    relay = NodePortRelay(tools.store, doorman, at.node_ip)
    flows = FlowListener(tools.recorder, tools.clock, at.pod_cidr)
    plane = _plane(target, tools, settings)

    async def close() -> None:
        await plane.stop()
        await relay.stop()
        flows.stop()
        await network.close()
        target.close()
        node.close()

    return Surroundings(
        network=network,
        plane=plane,
        flows=flows,
        node_ip=at.node_ip,
        service_cidr=at.service_cidr,
        client_netns=doorman.keep(node.client_fd),
        less_faithful=(),
        open_relay=relay.start,
        close=close,
    )


def _loopback(tools: Tools, settings: PlaneSettings) -> Surroundings:
    from segue.host.network.loopback import LESS_FAITHFUL, LoopbackNetwork  # noqa: PLC0415 - see above
    from segue.host.network.proxy import ProxyFlows, ProxyTarget  # noqa: PLC0415

    network = LoopbackNetwork()
    flows = ProxyFlows(tools.recorder, tools.clock)
    target = ProxyTarget(network, flows, tools.clock)
    plane = _plane(target, tools, settings)

    async def nothing() -> None:
        """Node ports are on the host's loopback already."""

    async def close() -> None:
        await plane.stop()
        target.close()
        await network.close()

    return Surroundings(
        network=network,
        plane=plane,
        flows=flows,
        node_ip=LOOPBACK_NODE_IP,
        service_cidr=network.service_cidr,
        client_netns="",
        less_faithful=LESS_FAITHFUL,
        open_relay=nothing,
        close=close,
    )


def _plane(target: PlaneTarget, tools: Tools, settings: PlaneSettings) -> PlaneRunner:
    return PlaneRunner(tools.store, target, tools.recorder, tools.clock, settings)
