"""A registry and an API over an empty store, with a clock that a test moves and chance that counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.cluster.api import Answer, ApiPorts, ApiServer, ApiUser, WatchStart
from segue.cluster.api.results import ADMIN
from segue.cluster.api.watching import Watch
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref

NOON_S = 1_790_000_000.0  # 2026-09-21T14:13:20Z
DEPLOYMENTS = "deployments.apps"


class HandClock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.at_s = NOON_S

    def now_s(self) -> float:
        return self.at_s


class CountedChance:
    """Chance without chance: everything is the next number."""

    def __init__(self) -> None:
        self._next = 0

    def uid(self) -> str:
        self._next += 1
        return f"00000000-0000-4000-8000-{self._next:012}"

    def suffix(self, length: int) -> str:
        self._next += 1
        return f"{self._next:0{length}}"[-length:].translate(str.maketrans("0123456789", "bcdfghjklm"))

    def below(self, bound: int) -> int:
        self._next += 1
        return self._next % bound


@dataclass
class ApiWorld:
    """Everything an API test needs."""

    clock: HandClock = field(default_factory=HandClock)
    store: Store = field(default_factory=Store)
    registry: Registry = field(init=False)
    server: ApiServer = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(self.store, self.clock, CountedChance())
        ports = ApiPorts(
            clock=self.clock,
            timeline=lambda after: {"next": after, "items": []},
            cluster=lambda: {"mode": "test"},
            flows=lambda on: {"on": bool(on)},
        )
        self.server = ApiServer(self.registry, self.store, ports)

    def call(self, method: str, url: str, body: Obj | list[Obj] | None = None, **more: str) -> Answer:
        """One request that is answered; `url` may carry a query, `accept` and `content_type` come by name."""
        path, _, text = url.partition("?")
        query = dict(part.split("=", 1) for part in text.split("&") if part)
        request = ApiRequest(method=method, path=path, query=query, body=body, **more)
        result = self.server.handle(request)
        assert isinstance(result, Answer), result
        return result

    def call_as(self, user: ApiUser, method: str, path: str, body: Obj | None = None) -> Answer:
        result = self.server.handle(ApiRequest(method=method, path=path, body=body), user)
        assert isinstance(result, Answer), result
        return result

    def watch(self, url: str, accept: str = "application/json") -> Watch:
        path, _, text = url.partition("?")
        query = {"watch": "true", **dict(part.split("=", 1) for part in text.split("&") if part)}
        result = self.server.handle(ApiRequest(method="GET", path=path, query=query, accept=accept), ADMIN)
        assert isinstance(result, WatchStart), result
        return result.watch

    def run_pod(self, name: str = "p", *, node: str = "n1", grace_s: int = 30) -> Obj:
        """A pod that is scheduled and running."""
        spec: Obj = {"containers": [{"name": "c", "image": "i:1"}], "terminationGracePeriodSeconds": grace_s}
        pod = self.registry.create("pods", {"metadata": {"name": name, "labels": {"app": "x"}}, "spec": spec})
        ref = Ref(resource="pods", namespace="default", name=name)
        bound = self.registry.bind(ref, node)
        running = {**bound, "status": {**pod["status"], "phase": "Running", "podIP": "10.1.0.9"}}
        return self.registry.update("pods", running, subresource="status")


def deployment(name: str = "web", /, **spec: object) -> Obj:
    """A small Deployment."""
    template: Obj = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def service(name: str = "web", /, **spec: object) -> Obj:
    """A small Service."""
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec}}


def pod_ref(name: str = "p") -> Ref:
    return Ref(resource="pods", namespace="default", name=name)
