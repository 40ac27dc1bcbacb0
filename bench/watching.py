"""What a cluster showed while something was rolled out: pods and endpoints with the moment at which each change came.

Watches the API as any client may, so it works on every cluster. Never writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType

import httpx2 as httpx
import msgspec
from lightkube.config.client_adapter import user_auth, verify_cluster

from segue.host.client import find_config
from segue.model.objects import Obj, is_ready, is_terminating, labels_of, name_of
from segue.model.services import endpoints_of
from segue.model.workloads import HASH_LABEL

_AGAIN_S = 0.2


@dataclass(slots=True, kw_only=True)
class PodSeen:
    """One pod's life, in seconds since the epoch; 0.0 for what has not come about."""

    version: str  # its pod-template-hash
    made_s: float
    ready_s: float = 0.0  # first time
    ending_s: float = 0.0
    gone_s: float = 0.0
    restarts: int = 0


@dataclass(slots=True, kw_only=True)
class Sight:
    """Everything seen so far. `alive` counts pods whose phase is not terminal, those on their way out too."""

    pods: dict[str, PodSeen] = field(default_factory=dict)
    endpoints: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    alive: list[tuple[float, int]] = field(default_factory=list)
    _phases: dict[str, bool] = field(default_factory=dict)
    _slices: dict[str, Obj] = field(default_factory=dict)

    def pod(self, kind: str, obj: Obj, at_s: float) -> None:
        """One event about a pod."""
        name = name_of(obj)
        seen = self.pods.setdefault(name, PodSeen(version=labels_of(obj).get(HASH_LABEL, ""), made_s=at_s))
        if is_ready(obj) and not is_terminating(obj):
            seen.ready_s = seen.ready_s or at_s
        if is_terminating(obj):
            seen.ending_s = seen.ending_s or at_s
        if kind == "DELETED":
            seen.gone_s = at_s
        states = obj.get("status", {}).get("containerStatuses") or []
        seen.restarts = max(seen.restarts, sum(int(state.get("restartCount") or 0) for state in states))
        placed = bool(obj["spec"].get("nodeName"))  # what a scheduling gate keeps from all nodes costs nothing
        over = kind == "DELETED" or obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        self._phases[name] = placed and not over
        self.alive.append((at_s, sum(self._phases.values())))

    def slice(self, kind: str, obj: Obj, at_s: float) -> None:
        """One event about an EndpointSlice."""
        if kind == "DELETED":
            self._slices.pop(name_of(obj), None)
        else:
            self._slices[name_of(obj)] = obj
        ready = frozenset(one.pod for one in endpoints_of(list(self._slices.values())) if one.ready)
        self.endpoints.append((at_s, ready))

    def first_served_by(self, wanted: Callable[[str], bool], since_s: float) -> float:
        """When every ready endpoint first was a wanted pod; 0.0 where that never came."""
        return next(
            (at_s for at_s, ready in self.endpoints if at_s >= since_s and ready and all(map(wanted, ready))), 0.0
        )

    def peak(self, since_s: float) -> int:
        """Most pods on nodes at once from a moment on."""
        before = [count for at_s, count in self.alive if at_s < since_s]
        return max([count for at_s, count in self.alive if at_s >= since_s] + before[-1:], default=0)


class Watching:
    """Watches the pods and EndpointSlices of one namespace while its block runs."""

    def __init__(self, kubeconfig: str, namespace: str, service: str) -> None:
        config = find_config(kubeconfig)
        tls = verify_cluster(config.cluster, config.user, config.abs_file)  # type: ignore[arg-type]  # FileStr is a str
        self._http = httpx.AsyncClient(
            base_url=str(config.cluster.server), verify=tls, auth=user_auth(config.user), timeout=None
        )
        self.sight = Sight()
        self._ways: tuple[tuple[str, dict[str, str], Callable[[str, Obj, float], None]], ...] = (
            (f"/api/v1/namespaces/{namespace}/pods", {}, self.sight.pod),
            (
                f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                {"labelSelector": f"kubernetes.io/service-name={service}"},
                self.sight.slice,
            ),
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Sight:
        for path, query, note in self._ways:
            listed = (await self._http.get(path, params=query)).json()
            for obj in listed.get("items") or []:
                note("ADDED", obj, time.time())
            version = str(listed["metadata"]["resourceVersion"])
            self._tasks.append(asyncio.create_task(self._follow(path, query, version, note)))
        return self.sight

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _follow(
        self, path: str, query: dict[str, str], version: str, note: Callable[[str, Obj, float], None]
    ) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                async for event in self._events(path, {**query, "watch": "true", "resourceVersion": version}):
                    version = str(event["object"]["metadata"]["resourceVersion"])
                    note(str(event["type"]), event["object"], time.time())
            await asyncio.sleep(_AGAIN_S)

    async def _events(self, path: str, query: dict[str, str]) -> AsyncIterator[Obj]:
        async with self._http.stream("GET", path, params=query) as answer:
            async for line in answer.aiter_lines():
                event: Obj = msgspec.json.decode(line)
                assert event["type"] != "ERROR", f"the watch of {path} broke: {event}"
                yield event
