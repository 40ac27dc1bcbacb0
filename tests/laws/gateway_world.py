"""The small world with a gateway: it takes a route over a moment after it has changed, spreads requests, counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.cluster.api.server import ApiPorts, ApiServer
from segue.cluster.gateway.attaching import CLASSES, CONTROLLER, GATEWAYS, HTTP_ROUTES, parents_of
from segue.cluster.gateway.status import route_update
from segue.model.objects import Obj, Ref, copy_of, is_ready, is_terminating
from tests.laws.release_world import World

ROUTE = Ref(resource=HTTP_ROUTES, namespace="default", name="test")
TAKES_OVER_S = 0.1


@dataclass
class GatewayWorld(World):
    """`loaded`: the rules the gateway serves now; `epoch` counts how often it began anew."""

    loaded: list[Obj] = field(default_factory=list)
    generation: int = 0
    changed_s: float = 0.0
    epoch: int = 0
    counted: dict[str, float] = field(default_factory=dict)
    reached: dict[str, list[tuple[float, frozenset[str]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        ports = ApiPorts(
            clock=self.clock, timeline=lambda _: {}, cluster=dict, flows=lambda _: {}, route_requests=self._requests
        )
        self.api = ApiServer(self.registry, self.store, ports)

    def open(self) -> None:
        """A Gateway before Service `test`."""
        spec: Obj = {"controllerName": CONTROLLER}
        self.registry.create(CLASSES, {"metadata": {"name": "segue"}, "spec": spec})
        listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
        door: Obj = {"metadata": {"name": "door"}, "spec": {"gatewayClassName": "segue", "listeners": listeners}}
        self.registry.create(GATEWAYS, door)
        rules = [{"backendRefs": [{"name": "test", "port": 10002}]}]
        route: Obj = {"metadata": {"name": "test"}, "spec": {"parentRefs": [{"name": "door"}], "rules": rules}}
        self.registry.create(HTTP_ROUTES, route)
        self.run_for(1.0)
        assert self.loaded

    def route(self) -> Obj:
        """The route as it is now."""
        found = self.store.get(ROUTE)
        assert found is not None
        return found

    def restart_gateway(self) -> None:
        """Its counters begin anew."""
        self.epoch += 1
        self.counted.clear()

    def _requests(self, _resource: str, _namespace: str, _name: str) -> Obj:
        counts = {name: int(count) for name, count in self.counted.items()}
        return {"epoch": str(self.epoch), "reading": int(self.clock.at_s / 0.1), "requests": counts}

    def _gateway(self) -> None:
        route = self.store.get(ROUTE)
        if route is None:
            return
        generation = int(route["metadata"]["generation"])
        if generation != self.generation:
            self.generation, self.changed_s = generation, self.clock.at_s
        if self.clock.at_s < self.changed_s + TAKES_OVER_S:
            return
        self.loaded = copy_of(route)["spec"]["rules"]
        said = parents_of(self.manager.view, route, "HTTPRoute")
        write = route_update(HTTP_ROUTES, route, said, self.clock.at_s)
        if write is not None:
            self.registry.perform(write)

    def _traffic(self, step_s: float) -> None:
        if not self.loaded and self.store.get(ROUTE) is None:
            super()._traffic(step_s)
            return
        rate, self.rate = self.rate, 0.0
        super()._traffic(step_s)  # what the data plane knows of the Service itself
        self.rate = rate
        self._gateway()
        for rule in self.loaded[-1:]:
            refs = rule["backendRefs"]
            total = sum(ref["weight"] for ref in refs)
            for ref in refs:
                if ref["weight"]:
                    self._send(ref["name"], self.rate * step_s * ref["weight"] / total, shared=len(refs) > 1)

    def _send(self, service: str, amount: float, *, shared: bool) -> None:
        known = self.reached.setdefault(service, [])
        now = self.endpoints(service)
        if not known or known[-1][1] != now:
            known.append((self.clock.at_s, now))
        while len(known) > 1 and known[1][0] <= self.clock.at_s - self.lag_s:
            known.pop(0)
        self.sent += amount
        if shared:
            self.counted[service] = self.counted.get(service, 0.0) + amount
        if not known[0][1]:
            self.lost += amount
            self.lost_when.append((self.clock.at_s, f"Service {service} reaches nobody"))
            return
        for name in known[0][1]:
            pod = self.store.get(Ref(resource="pods", namespace="default", name=name))
            if pod is None or is_terminating(pod) or not is_ready(pod):
                self.lost += amount / len(known[0][1])
                self.lost_when.append((self.clock.at_s, name))
            else:
                self.arrived[name] = self.arrived.get(name, 0.0) + amount / len(known[0][1])
