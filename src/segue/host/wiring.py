"""Wires an embedded cluster together inside its own namespaces, and runs it until it is told to end.

The order of start is the order of need: memory, network, API, then whoever acts on what the API holds. This is the one
place that knows all parts; no part knows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import signal
import socket
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from segue.cluster.api.server import ApiPorts, ApiServer
from segue.cluster.chronicle import happenings_of
from segue.cluster.dataplane.sync import Rhythm
from segue.cluster.dns import address_in
from segue.cluster.manager import Manager
from segue.cluster.manager import Settings as ManagerSettings
from segue.cluster.metrics.readings import Readings
from segue.cluster.node.account import Accounts
from segue.cluster.node.agent import NodeAgent
from segue.cluster.node.registration import NodeFacts, node_object
from segue.cluster.node.settings import NodeSettings
from segue.cluster.registry import Acting, Options, Registry, RegistrySettings
from segue.cluster.rights.defaults import ensure_default_roles
from segue.cluster.rights.tokens import Tokens
from segue.cluster.store import Store, StoreEvent
from segue.dns.resolver import ClusterDns, Resolver
from segue.host.apiserver import serve
from segue.host.certificates import Credentials, credentials, kubeconfig
from segue.host.clock import SystemChance, SystemClock
from segue.host.custom_metrics import CustomReader
from segue.host.dns.keeper import DnsKeeper, DnsSettings
from segue.host.gateway.runner import GatewayRunner
from segue.host.isolation import Doorman, Mode
from segue.host.journal import SqliteJournal
from segue.host.network.plane import PlaneSettings
from segue.host.network.surroundings import Surroundings, Tools, surroundings
from segue.host.node.door import NodeDoor
from segue.host.node.heart import Heart
from segue.host.node.imagemap import load_image_map
from segue.host.node.runner import NodeBody, NodeRunner
from segue.host.node.usage import UsageReader
from segue.host.reconciling import ManagerRunner
from segue.host.settings import ClusterSettings, from_json, upstreams_of
from segue.host.starting import tell
from segue.host.state import Running, write_running
from segue.host.timeline import Timeline
from segue.lifecycle.backoff import BackoffRules
from segue.model.errors import HostError, SegueError
from segue.model.objects import Obj, Ref

API_PORT = 16443
INNER_PORT = 6443  # on the node, for pods
INNER_BACKLOG = 256
PORT_TRIES, PORT_PAUSE_S = 10, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """Who waits for us, and who we are to the host: `started` is the doorman's start time."""

    ready_fd: int
    started: str


def run_cluster(state: Path, doorman: Doorman, mode: Mode, starter: Starter) -> int:
    """Run until SIGTERM; exit code 0, or the error's where it could not start."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    settings = from_json(msgspec.json.decode((state / "settings.json").read_bytes()))
    try:
        cluster = _Cluster(state, settings, doorman, mode)
        uvloop.run(cluster.run(starter))
    except SegueError as error:
        tell(starter.ready_fd, error)
        return error.exit_code
    except OSError as error:
        said = HostError(f"{error.filename or state}: {error.strerror}", remedy="the cluster's log tells more")
        tell(starter.ready_fd, said)
        logging.exception("the cluster ended")
        return said.exit_code
    return 0


class _Cluster:
    """All parts of one cluster, in the order in which they are started."""

    def __init__(self, state: Path, settings: ClusterSettings, doorman: Doorman, mode: Mode) -> None:
        self._state = state
        self._settings = settings
        self._doorman = doorman
        self._mode = mode
        self._clock = SystemClock()
        self._chance = SystemChance()
        self._timeline = Timeline()
        self._readings = Readings()
        self._images = load_image_map(settings.image_maps)
        self._journal = SqliteJournal(state / "store.db")
        self._store = Store(self._journal)
        rows, version = self._journal.load()
        self._store.load(rows, version=version)
        self._end = asyncio.Event()
        self._gateways: GatewayRunner
        self._keys: Credentials

    async def run(self, starter: Starter) -> None:
        """Start everything, say so, wait for the end, take everything down in the opposite order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        self._store.subscribe(self._chronicle)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._journal.close)
            around = await self._surroundings()
            stack.push_async_callback(around.close)
            self._keys = credentials(self._state, [around.node_ip])
            registry = Registry(
                self._store,
                self._clock,
                self._chance,
                RegistrySettings(service_cidr=around.service_cidr, api_endpoint=self._inner_endpoint(around)),
            )
            ensure_default_roles(registry)
            kubelet = Acting(registry, "kubelet")
            heart = Heart(self._register_node(registry, around), self._store, kubelet, self._clock)
            stack.callback(heart.stop)
            dns = self._dns(registry, around)
            if dns is not None:
                await dns.start()
                stack.push_async_callback(dns.stop)
            node = self._node(registry, around)
            manager = self._manager(registry)
            gateways = GatewayRunner(
                self._store,
                manager.view,
                Acting(registry, "segue-gateway"),
                self._clock,
                (self._state / "gateways", around.node_ip),
            )
            self._gateways = gateways
            api = await self._api(stack, registry, NodeDoor(node), around)
            await node.start()
            heart.start()
            stack.push_async_callback(node.stop)
            await around.plane.start()
            await around.open_relay()
            await manager.start()
            stack.push_async_callback(manager.stop)
            usage = UsageReader(node.processes, self._readings, self._clock, self._settings.metrics_every_s)
            usage.start()
            stack.push_async_callback(usage.stop)
            custom = CustomReader(self._store, self._readings.custom)
            custom.start()
            stack.push_async_callback(custom.stop)
            gateways.start()
            stack.push_async_callback(gateways.stop)
            if dns is not None:
                await dns.wait()
            self._publish(api, around, starter.started)
            tell(starter.ready_fd)
            await self._end.wait()

    def _chronicle(self, event: StoreEvent) -> None:
        for happening in happenings_of(event, self._clock.now_s()):
            self._timeline.record(happening)

    async def _surroundings(self) -> Surroundings:
        rhythm = Rhythm(min_interval_s=self._settings.min_sync_s, delay_s=self._settings.data_plane_delay_s)
        tools = Tools(store=self._store, recorder=self._timeline, clock=self._clock, chance=self._chance)
        plane = PlaneSettings(node=self._settings.node_name, rhythm=rhythm)
        return await surroundings(self._mode, self._doorman, tools, plane)

    def _register_node(self, registry: Registry, around: Surroundings) -> Obj:
        facts = NodeFacts(
            name=self._settings.node_name,
            ip=around.node_ip,
            cpus=os.cpu_count() or 1,
            memory_kb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024,
            kernel=platform.release(),
            mode=self._mode.kind,
        )
        node = node_object(facts, self._clock.now_s())
        known = self._store.get(Ref(resource="nodes", namespace="", name=facts.name)) or registry.create(
            "nodes", node, options=Options(manager="kubelet")
        )
        current = {**known, "status": node["status"]}
        return registry.update("nodes", current, subresource="status", options=Options(manager="kubelet"))

    def _node(self, registry: Registry, around: Surroundings) -> NodeRunner:
        settings = NodeSettings(
            node_ip=around.node_ip,
            see_delay_s=self._settings.kubelet_delay_s,
            start_delay_s=self._settings.pod_start_delay_s,
            status_delay_s=self._settings.pod_status_delay_s,
            sigterm_delay_s=self._settings.sigterm_delay_s,
            backoff=BackoffRules(base_s=self._settings.backoff_base_s, cap_s=self._settings.backoff_cap_s),
        )
        agent = NodeAgent(self._settings.node_name, settings, self._images)
        body = NodeBody(
            performer=Acting(registry, "kubelet"),
            network=around.network,
            recorder=self._timeline,
            clock=self._clock,
            state=self._state / "pods",
            accounts=self._accounts(registry, around),
            dns=self._cluster_dns(around),
        )
        return NodeRunner(agent, self._store, body)

    def _inner_endpoint(self, around: Surroundings) -> tuple[str, int] | None:
        """Where pods reach the API; nowhere where all that they see is the host's loopback."""
        return (around.node_ip, INNER_PORT) if self._mode.kind == "namespaces" else None

    def _accounts(self, registry: Registry, around: Surroundings) -> Accounts | None:
        if self._inner_endpoint(around) is None:
            return None
        keys = self._keys
        tokens = Tokens(keys.token_secret.encode(), self._store)

        def issue(account: Obj, request: Obj) -> Obj:
            return tokens.issue(account, request, token_id=registry.new_uid(), now_s=registry.now_s())

        return Accounts(ca=keys.ca, issue=issue)

    def _cluster_dns(self, around: Surroundings) -> ClusterDns:
        """What the node agent writes into a pod's resolv.conf, and what the node itself would have there."""
        node = Resolver(
            nameservers=tuple(ip for ip, _ in upstreams_of(self._settings)),
            search=tuple(self._settings.dns_search.split()),
        )
        return ClusterDns(address=address_in(around.service_cidr), node=node)

    def _dns(self, registry: Registry, around: Surroundings) -> DnsKeeper | None:
        """Names for pods; none where pods have no files of their own to be told by whom to ask."""
        if self._mode.kind != "namespaces" or not self._settings.dns:
            return None
        settings = DnsSettings(
            ip=around.node_ip,
            service_cidr=around.service_cidr,
            ttl_s=self._settings.dns_ttl_s,
            cache_s=self._settings.dns_cache_s,
            upstreams=upstreams_of(self._settings),
        )
        return DnsKeeper(self._store, Acting(registry, "segue-dns"), settings)

    def _manager(self, registry: Registry) -> ManagerRunner:
        settings = ManagerSettings(
            deployment_delay_s=self._settings.deployment_delay_s,
            replica_set_delay_s=self._settings.replica_set_delay_s,
            endpoint_slice_delay_s=self._settings.endpoint_slice_delay_s,
            scheduler_delay_s=self._settings.scheduler_delay_s,
        )
        manager = Manager(self._store, registry, self._chance, settings, self._readings)
        return ManagerRunner(manager, self._store, self._clock)

    async def _api(
        self, stack: contextlib.AsyncExitStack, registry: Registry, door: NodeDoor, around: Surroundings
    ) -> str:
        """Serve the API on the host's loopback and on the node; returns its URL."""
        keys = self._keys
        ports = ApiPorts(
            clock=self._clock,
            timeline=self._timeline.after,
            cluster=partial(self._report, around),
            flows=partial(_switch_flows, around),
            complaint=self._images.complaint,
            token_secret=keys.token_secret.encode(),
            readings=self._readings,
            route_requests=self._gateways.requests,
        )
        server = ApiServer(registry, self._store, ports)
        socket_ = await self._listen()
        port = socket_.getsockname()[1]
        (self._state / "api-port").write_text(str(port))
        url = f"https://127.0.0.1:{port}"
        write_private(self._state / "kubeconfig", kubeconfig(keys, url))
        write_private(self._state / "kubeconfig.viewer", kubeconfig(keys, url, token=keys.viewer_token))
        inner = self._inner_endpoint(around)
        sockets = [socket_, *([socket.create_server(inner, backlog=INNER_BACKLOG)] if inner else [])]
        serving = asyncio.create_task(serve(server, door, sockets, keys.tls, keys.users()), name="api")
        serving.add_done_callback(lambda _task: self._end.set())

        async def stop() -> None:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

        stack.push_async_callback(stop)
        return url

    async def _listen(self) -> socket.socket:
        """The port asked for; else the last run's (clients may still know it), the usual one, or any free one."""
        if self._settings.api_port:
            return self._doorman.listen(self._settings.api_port)
        last = self._last_port()
        for port in [last] * PORT_TRIES if last else []:
            with contextlib.suppress(HostError):
                return self._doorman.listen(port)
            await asyncio.sleep(PORT_PAUSE_S)  # what was killed a moment ago may not have let go of it yet
        with contextlib.suppress(HostError):
            return self._doorman.listen(API_PORT)
        return self._doorman.listen(0)

    def _last_port(self) -> int:
        try:
            port = int((self._state / "api-port").read_text())
        except (OSError, ValueError):
            return 0
        return port if 0 < port < 65536 else 0

    def _report(self, around: Surroundings) -> Obj:
        return {
            "apiVersion": "segue.dev/v1",
            "kind": "Cluster",
            "mode": self._mode.kind,
            "reason": self._mode.because,
            "lessFaithful": list(around.less_faithful),
            "nodeIP": around.node_ip,
            "clientNetns": around.client_netns,
            "minSyncS": self._settings.min_sync_s,
            "dataPlaneDelayS": self._settings.data_plane_delay_s,
        }

    def _publish(self, url: str, around: Surroundings, started: str) -> None:
        running = Running(
            pid=self._doorman.holder_pid,
            started=started,
            node_pid=self._doorman.node_pid,
            mode=self._mode.kind,
            reason=self._mode.because,
            api=url,
            node_ip=around.node_ip,
            client_netns=around.client_netns,
        )
        write_running(self._state, running)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _switch_flows(around: Surroundings, on: bool | None) -> Obj:
    if on is True:
        around.flows.start()
    elif on is False:
        around.flows.stop()
    return {"apiVersion": "segue.dev/v1", "kind": "Flows", "on": around.flows.is_on, "lost": around.flows.overruns}
