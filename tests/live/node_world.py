"""A node with real processes for live tests: registry, store, agent and runner in one loop, in either mode."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from segue.cluster.node.agent import NodeAgent
from segue.cluster.node.settings import NodeSettings
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.host.clock import SystemChance, SystemClock
from segue.host.doors import Attachment, LogQuery, PodNetwork
from segue.host.isolation import Doorman, Mode
from segue.host.network.node import NodeNetwork
from segue.host.network.pods import NamespaceNetwork
from segue.host.node.door import NodeDoor
from segue.host.node.imagemap import load_image_map
from segue.host.node.runner import NodeBody, NodeRunner
from segue.model.objects import Obj, Ref
from segue.model.timeline import What
from tests.live.network_world import Recording, run_isolated

GRACE = "host.org/images/grace:v0.1"
SHELL = "example.org/shell:1"
DEADLINE_S = 20.0

IMAGES = json.dumps({"images": [{"image": "example.org/shell:*", "command": ["/bin/sh", "-c"]}]})


class LoopbackPods:
    """127.x addresses as places: what a machine without namespaces has."""

    def __init__(self) -> None:
        self._ips: dict[str, str] = {}
        self._last = 0

    async def attach(self, pod_uid: str, pod: str) -> Attachment:
        del pod
        if pod_uid not in self._ips:
            self._last += 1
            self._ips[pod_uid] = f"127.{78 + os.getpid() % 100}.{os.getpid() // 100 % 250}.{self._last}"
        return Attachment(ip=self._ips[pod_uid], netns_fd=None)

    async def detach(self, pod_uid: str) -> None:
        self._ips.pop(pod_uid, None)

    def listening_ports(self, pod_uid: str) -> frozenset[int]:
        ip = self._ips.get(pod_uid)
        if ip is None:
            return frozenset()
        wanted = "".join(f"{int(part):02X}" for part in reversed(ip.split(".")))
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return frozenset(int(row[1][9:], 16) for row in rows if row[3] == "0A" and row[1].startswith(wanted))

    def traffic(self, pod_uid: str) -> Obj:
        return {"passiveOpens": 0, "connections": [], "uid": pod_uid}


class NodeWorld:
    """One running node, and what a user does with it."""

    def __init__(self, network: PodNetwork, state: Path, settings: NodeSettings) -> None:
        (state / "images.json").write_text(IMAGES)
        self.state = state
        self.network = network
        self.settings = settings
        self.clock = SystemClock()
        self.store = Store()
        self.registry = Registry(self.store, self.clock, SystemChance())
        self.registry.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "world"}})
        self.recording = Recording()
        self.runner = self.fresh_runner()

    def fresh_runner(self) -> NodeRunner:
        images = load_image_map([str(self.state / "images.json")])
        body = NodeBody(
            performer=self.registry,
            network=self.network,
            recorder=self.recording,
            clock=self.clock,
            state=self.state,
        )
        return NodeRunner(NodeAgent("node-1", self.settings, images), self.store, body)

    @property
    def door(self) -> NodeDoor:
        return NodeDoor(self.runner)

    def create(self, name: str, *containers: Obj, **spec: object) -> None:
        """A pod that is bound to the node at once."""
        made: Obj = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "world"},
            "spec": {"nodeName": "node-1", "containers": list(containers), **spec},
        }
        self.registry.create("pods", made)

    def delete(self, name: str, grace_s: int | None = None) -> None:
        self.registry.delete(Ref(resource="pods", namespace="world", name=name), grace_s=grace_s)

    def find(self, name: str) -> Obj | None:
        return self.store.get(Ref(resource="pods", namespace="world", name=name))

    def pod(self, name: str) -> Obj:
        found = self.find(name)
        assert found is not None
        return found

    def state_of(self, name: str, at: int = 0) -> Obj:
        found: Obj = (self.pod(name)["status"].get("containerStatuses") or [{"state": {}}])[at]
        return found

    def ready(self, *names: str) -> bool:
        pods = [self.find(name) for name in names]
        return all(
            pod is not None
            and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or [])
            for pod in pods
        )

    def at_s(self, what: What) -> float:
        return self.recording.of(what)[0].at_s

    async def logs(self, name: str, *, container: str = "", previous: bool = False) -> str:
        query = LogQuery(container=container, previous=previous)
        return b"".join([chunk async for chunk in self.door.logs("world", name, query)]).decode()

    async def run_in(self, name: str, *argv: str, stdin: bytes | None = None, tty: bool = False) -> tuple[int, str]:
        """Exec: exit code and what it wrote."""
        session = await self.door.exec("world", name, container="", argv=argv, stdin=stdin is not None, tty=tty)
        if stdin is not None:
            await session.write_stdin(stdin)
            await session.write_stdin(b"")
        said = b"".join([data async for _, data in session.output()])
        return await session.wait(), said.decode()

    async def until(self, holds: Callable[[], bool], limit_s: float = DEADLINE_S) -> None:
        """Wait until the world is so."""
        end_s = self.clock.now_s() + limit_s
        while not holds():
            assert self.clock.now_s() < end_s, f"did not come to hold; events: {self.said()}"
            await asyncio.sleep(0.005)

    def said(self) -> list[str]:
        return [f"{event['reason']}: {event.get('message')}" for event in self.store.all_of("events")]


def grace(**fields: object) -> Obj:
    """The example server as a container."""
    made: Obj = {"name": "service", "image": GRACE, **fields}
    return made


def shell(script: str, **fields: object) -> Obj:
    """A shell script as a container."""
    made: Obj = {"name": "shell", "image": SHELL, "args": [script], **fields}
    return made


def health(**numbers: object) -> Obj:
    """The example server's probe, once a second."""
    made: Obj = {"httpGet": {"path": "/health", "port": 10002}, "periodSeconds": 1, **numbers}
    return made


Body = Callable[[NodeWorld], Awaitable[None]]


def run_on_node(body: Body, *, mode: str = "auto", settings: NodeSettings | None = None, uid: int = 0) -> None:
    """Run a test's body beside a running node ("loopback" or, where the machine has them, "namespaces")."""

    async def all_of_it(network: PodNetwork) -> None:
        with tempfile.TemporaryDirectory() as state:
            world = NodeWorld(network, Path(state), settings or NodeSettings())
            await world.runner.start()
            try:
                await body(world)
            finally:
                await world.runner.stop()

    def main(_doorman: Doorman, chosen: Mode) -> int:
        async def choose() -> None:
            if chosen.kind == "loopback":
                await all_of_it(LoopbackPods())
                return
            node = NodeNetwork()
            pods = NamespaceNetwork(node)
            try:
                await all_of_it(pods)
            finally:
                await pods.close()
                node.close()

        asyncio.run(choose())
        return 0

    run_isolated(main, uid=uid, wanted=mode)
