"""Runs one proxy per Gateway of class `segue`, and writes what has come of it into the objects' status.

Rule 1: a status tells of a generation only when the proxy has shown that it serves it.
Rule 2: a proxy that ends is started again with what it had, after a rest that grows.
Rule 3: a cluster without such Gateways pays for nothing: no process, no polling.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from segue.cluster.gateway.attaching import (
    CLASSES,
    CONTROLLER,
    GATEWAYS,
    ROUTES,
    ParentSaid,
    Said,
    Served,
    our_classes,
    parents_of,
    serve,
)
from segue.cluster.gateway.config import config_of
from segue.cluster.gateway.objects import GROUP
from segue.cluster.gateway.status import Programmed, class_update, gateway_update, ref_of, route_update
from segue.cluster.store import Store, StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Create, Update, Write
from segue.host.gateway.envoy import Envoy, find_envoy
from segue.model.errors import HostError, StatusError
from segue.model.objects import Obj, Ref, name_of, namespace_of
from segue.ports import Clock

CLASS = "segue"
LOOK_S = 0.2  # whether the processes are there
COUNT_S = 0.1  # between two readings of counters, while somebody asks
ASKED_S = 5.0  # so long after the last question
REST_S, LONGEST_REST_S = 0.05, 5.0
_MOVES = frozenset({"services", "endpointslices.discovery.k8s.io", "namespaces"})
_LOG = logging.getLogger(__name__)


class Performer(Protocol):
    """Who performs writes."""

    def perform(self, write: Write) -> object:
        """Perform one write, or raise StatusError."""
        ...


@dataclass(slots=True, kw_only=True)
class _Proxy:
    """One Gateway's Envoy."""

    envoy: Envoy
    loaded: Programmed = field(default_factory=lambda: Programmed(ok=False, reason="Pending"))
    rest_s: float = REST_S
    again_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    reading: int = 0  # of the counts: who asks can tell a new one


class GatewayRunner:
    """Keeps proxies and statuses as the objects want them."""

    def __init__(self, store: Store, view: View, performer: Performer, clock: Clock, place: tuple[Path, str]) -> None:
        """`place`: where proxies keep their files, and the node's address."""
        self._store = store
        self._view = view
        self._performer = performer
        self._clock = clock
        self._state, self._address = place
        self._proxies: dict[tuple[str, str, str], _Proxy] = {}
        self._wake = asyncio.Event()
        self._asked_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe = store.subscribe(self._hear)

    def start(self) -> None:
        """Begin; the class is there from now on."""
        if self._store.get(Ref(resource=CLASSES, namespace="", name=CLASS)) is None:
            spec: Obj = {"controllerName": CONTROLLER}
            self._perform(Create(resource=CLASSES, obj={"metadata": {"name": CLASS}, "spec": spec}))
        self._wake.set()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._count())]

    async def stop(self) -> None:
        """End; no proxy runs afterwards."""
        self._unsubscribe()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(one.envoy.stop() for one in self._proxies.values()))

    def requests(self, resource: str, namespace: str, name: str) -> Obj:
        """What a route's shared backends have been sent, by Service; `epoch` changes where counting began anew."""
        self._asked_s = self._clock.now_s()
        prefix = f"{ROUTES[f'{resource}.{GROUP}'].lower()}/{namespace}/{name}/"
        counted: dict[str, int] = {}
        epochs = []
        for key, proxy in self._proxies.items():
            epochs.append(f"{key[2]}-{proxy.envoy.starts}")
            for cluster, count in proxy.counts.items():
                if cluster.startswith(prefix):
                    service = cluster.removeprefix(prefix).partition("/")[0]
                    counted[service] = counted.get(service, 0) + count
        epoch = hashlib.sha256("/".join(sorted(epochs)).encode()).hexdigest()[:12]
        reading = min((one.reading for one in self._proxies.values()), default=0)
        report: Obj = {"apiVersion": "segue.dev/v1", "kind": "RouteRequests", "epoch": epoch, "reading": reading}
        return {**report, "requests": counted}

    def _hear(self, event: StoreEvent) -> None:
        resource = event.ref.resource
        if resource.endswith(f".{GROUP}") or (self._proxies and resource in _MOVES):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if self._proxies else None):
                    await self._wake.wait()
            if not self._wake.is_set() and all(one.envoy.runs for one in self._proxies.values()):
                continue
            self._wake.clear()
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - a proxy must not take the cluster with it; the next round looks again
                _LOG.exception("a round of the gateways failed")

    async def _round(self) -> None:
        now_s = self._clock.now_s()
        for one in our_classes(self._view):
            self._write(class_update(one, now_s))
        served = serve(self._view)
        routes = [
            (resource, route, parents_of(self._view, route, kind))
            for resource, kind in ROUTES.items()
            for route in self._view.all_of(resource)
        ]
        wanted = {_key(one) for one in served}
        for key in [key for key in self._proxies if key not in wanted]:
            await self._proxies.pop(key).envoy.stop()
        troubles: dict[Ref, Programmed] = {}
        for each in served:
            programmed = await self._serve(each)
            if not programmed.ok:
                troubles[ref_of(GATEWAYS, each.gateway)] = programmed
            if self._is_current(GATEWAYS, each.gateway):
                fresh = Served(gateway=self._latest(GATEWAYS, each.gateway), doors=each.doors)
                self._write(gateway_update(fresh, programmed, self._address, self._clock.now_s()))
        for resource, route, said in routes:
            if self._is_current(resource, route):
                told = [_with_trouble(row, troubles.get(row.gateway)) for row in said]
                latest = self._latest(resource, route)
                self._write(route_update(resource, latest, told, self._clock.now_s()))

    async def _serve(self, served: Served) -> Programmed:
        """One Gateway's proxy runs and has taken over what the objects say; or why not."""
        proxy = self._proxies.get(_key(served))
        now_s = self._clock.now_s()
        try:
            if proxy is None:
                directory = self._state / _key(served)[2]
                node = f"{namespace_of(served.gateway)}/{name_of(served.gateway)}"
                proxy = _Proxy(envoy=Envoy(find_envoy(), directory, node, self._address))
                self._proxies[_key(served)] = proxy
            if not proxy.envoy.runs:
                if now_s < proxy.again_s:
                    return proxy.loaded
                proxy.again_s, proxy.rest_s = now_s + proxy.rest_s, min(LONGEST_REST_S, proxy.rest_s * 2)
                proxy.counts = {}
                await proxy.envoy.start()
            refused = await proxy.envoy.load(config_of(self._view, served), now_s)
        except HostError as error:
            said = Programmed(ok=False, reason="NoResources", message=f"{error.message}: {error.remedy}")
            if proxy is not None:
                proxy.loaded = said
            return said
        proxy.rest_s = REST_S
        proxy.loaded = Programmed(ok=not refused, reason="Invalid" if refused else "Programmed", message=refused)
        return proxy.loaded

    async def _count(self) -> None:
        while True:
            if self._proxies and self._clock.now_s() - self._asked_s < ASKED_S:
                for proxy in list(self._proxies.values()):
                    if proxy.envoy.runs:
                        proxy.counts = await proxy.envoy.requests() or proxy.counts
                        proxy.reading += 1
            await asyncio.sleep(COUNT_S)

    def _is_current(self, resource: str, obj: Obj) -> bool:
        """Whether the object is still of the generation that was served: if not, another round follows."""
        latest = self._store.get(ref_of(resource, obj))
        return latest is not None and latest["metadata"].get("generation") == obj["metadata"].get("generation")

    def _latest(self, resource: str, obj: Obj) -> Obj:
        return self._store.get(ref_of(resource, obj)) or obj

    def _write(self, write: Update | None) -> None:
        if write is not None:
            self._perform(write)

    def _perform(self, write: Write) -> None:
        try:
            self._performer.perform(write)
        except StatusError as error:
            _LOG.info("a status was not written: %s", error.message)
            self._wake.set()


def _key(served: Served) -> tuple[str, str, str]:
    metadata = served.gateway["metadata"]
    return namespace_of(served.gateway), name_of(served.gateway), str(metadata["uid"])


def _with_trouble(row: ParentSaid, trouble: Programmed | None) -> ParentSaid:
    """A route that its proxy does not serve is not accepted, whatever else is said."""
    if trouble is None or not row.said[0].ok:
        return row
    said = Said(type="Accepted", ok=False, reason="Pending", message=trouble.message)
    return ParentSaid(parent=row.parent, gateway=row.gateway, said=(said, *row.said[1:]))
