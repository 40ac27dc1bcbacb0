"""A small world for laws of releases: the real store, registry, API and controllers, a trivial kubelet and data plane.

Time is virtual. Traffic is a number of new connections per second, spread over the pods that the data plane knows;
what it sends to a pod that is ending or gone is lost. The tool may be killed at any of its requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from segue.analysis.values import Sample
from segue.cluster.api.results import Answer as ApiAnswer
from segue.cluster.api.results import PodCall
from segue.cluster.api.server import ApiPorts, ApiServer
from segue.cluster.manager import Manager
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.cluster.writes import Delete, Update
from segue.drive.driver import Driver
from segue.drive.flow import Answer, Ask, AskWords, Calls, Check, Flow, Measure, Progress, ReadPods, Sleep
from segue.model.errors import StatusError
from segue.model.http import ApiRequest, ApiResponse
from segue.model.manifest import parse
from segue.model.objects import Obj, Ref, copy_of, is_ready, is_terminating, labels_of, name_of, rfc3339, selects
from segue.release.plan import Approach
from segue.release.snapshot import Checked

T = TypeVar("T")
TICK_S = 0.02
CALL_S = 0.004
TIMER_ONLY = "timer"

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: test
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app/name: test
  template:
    metadata:
      labels:
        app/name: test
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: service
        image: host.org/images/grace:{tag}
        ports:
        - containerPort: 10002
        readinessProbe:
          httpGet:
            path: /health
            port: 10002
---
apiVersion: v1
kind: Service
metadata:
  name: test
spec:
  ports:
  - port: 10002
  selector:
    app/name: test
"""


def manifest(tag: str, replicas: int = 3) -> str:
    return MANIFEST.format(tag=tag, replicas=replicas)


class Killed(Exception):
    """The tool died."""


@dataclass
class VirtualClock:
    at_s: float = 1_800_000_000.0

    def now_s(self) -> float:
        return self.at_s


@dataclass
class CountingChance:
    count: int = 0

    def uid(self) -> str:
        self.count += 1
        return f"00000000-0000-4000-8000-{self.count:012d}"

    def suffix(self, length: int) -> str:
        self.count += 1
        letters = "bcdfghjklmnpqrstvwxz2456789"
        number, text = self.count * 7919, ""
        for _ in range(length):
            number, digit = divmod(number, len(letters))
            text += letters[digit]
        return text

    def below(self, bound: int) -> int:
        self.count += 1
        return (self.count * 7919) % bound


@dataclass
class World:
    """`broken` images never become Ready; `lag_s` is how long the data plane takes to follow an EndpointSlice; `refuse`
    may answer a request in the cluster's place."""

    start_s: float = 0.6
    stop_s: float = 0.3
    rate: float = 200.0
    lag_s: float = 0.1
    sources: bool = True
    broken: frozenset[str] = frozenset({"host.org/images/grace:broken"})
    clock: VirtualClock = field(default_factory=VirtualClock)
    watch: list[Callable[[World], None]] = field(default_factory=list)
    verdict: Checked | None = None  # what the first check will say
    later: tuple[Checked, ...] = ()  # and the others, one after the other; else the same
    checks: list[Check] = field(default_factory=list)
    measure: Callable[[Measure], Mapping[str, Sample]] = lambda _: {}  # what sources say
    measures: list[Measure] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)  # by pod: connections that stay open
    idle: dict[str, int] = field(default_factory=dict)  # by pod: open ones on which nothing has moved for a minute
    refuse: Callable[[ApiRequest], ApiResponse | None] = lambda _: None

    def __post_init__(self) -> None:
        self.chance = CountingChance()
        self.store = Store()
        self.registry = Registry(self.store, self.clock, self.chance)
        ports = ApiPorts(clock=self.clock, timeline=lambda _: {}, cluster=dict, flows=lambda _: {})
        self.api = ApiServer(self.registry, self.store, ports)
        self.manager = Manager(self.store, self.registry, self.chance)
        self.sent = 0.0
        self.lost = 0.0
        self.lost_when: list[tuple[float, str]] = []
        self.arrived: dict[str, float] = {}
        self.known: list[tuple[float, frozenset[str]]] = []
        self.began: dict[str, float] = {}
        self.ending: dict[str, float] = {}
        self.requests = 0
        self.kill_at: int | None = None
        self.progress: list[Progress] = []
        self.next_ip = 1
        self._node()

    def _node(self) -> None:
        node: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}, "spec": {}}
        made = self.registry.create("nodes", node)
        status: Obj = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"pods": "500", "cpu": "8", "memory": "16Gi"},
            "capacity": {"pods": "500", "cpu": "8", "memory": "16Gi"},
        }
        self.registry.perform(Update(resource="nodes", obj={**made, "status": status}, status=True))

    # --- time -------------------------------------------------------------------------------------------------

    def run_for(self, for_s: float) -> None:
        end_s = self.clock.at_s + for_s
        while self.clock.at_s < end_s - 1e-9:
            step_s = min(TICK_S, end_s - self.clock.at_s)
            self.clock.at_s += step_s
            self._tick(step_s)

    def _tick(self, step_s: float) -> None:
        for _ in range(50):
            wake_s = self.manager.step(self.clock.at_s)
            if wake_s is None or wake_s > 0:
                break
        self._kubelet()
        self._traffic(step_s)
        for look in self.watch:
            look(self)

    # --- kubelet ----------------------------------------------------------------------------------------------

    def _kubelet(self) -> None:
        for pod in self.store.all_of("pods"):
            if not pod.get("spec", {}).get("nodeName"):
                continue
            uid = pod["metadata"]["uid"]
            if is_terminating(pod):
                self._end(pod, uid)
            elif not is_ready(pod):
                self._start(pod, uid)

    def _start(self, pod: Obj, uid: str) -> None:
        began_s = self.began.setdefault(uid, self.clock.at_s)
        if not pod["status"].get("podIP"):
            self.next_ip += 1
            self._status(pod, ip=f"10.0.{self.next_ip // 250}.{self.next_ip % 250 + 2}", ready=False)
        elif self.clock.at_s >= began_s + self.start_s and pod["spec"]["containers"][0]["image"] not in self.broken:
            self._status(pod, ip=pod["status"]["podIP"], ready=True)

    def _status(self, pod: Obj, *, ip: str, ready: bool) -> None:
        fresh = copy_of(pod)
        others = [c for c in fresh["status"].get("conditions", []) if c["type"] not in {"Ready", "ContainersReady"}]
        at = rfc3339(self.clock.at_s)
        value = "True" if ready else "False"
        fresh["status"] |= {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                *others,
                {"type": "ContainersReady", "status": value, "lastTransitionTime": at},
                {"type": "Ready", "status": value, "lastTransitionTime": at},
            ],
            "containerStatuses": [
                {
                    "name": "service",
                    "ready": ready,
                    "restartCount": 0,
                    "image": pod["spec"]["containers"][0]["image"],
                    "imageID": "",
                    "state": {"running": {"startedAt": at}},
                }
            ],
        }
        self._perform(Update(resource="pods", obj=fresh, status=True))

    def _end(self, pod: Obj, uid: str) -> None:
        began_s = self.ending.setdefault(uid, self.clock.at_s)
        if self.clock.at_s >= began_s + self.stop_s:
            ref = Ref(resource="pods", namespace=pod["metadata"]["namespace"], name=name_of(pod))
            self._perform(Delete(ref=ref, uid=uid, grace_s=0))

    def _perform(self, write: Update | Delete) -> None:
        try:
            self.registry.perform(write)
        except StatusError as error:
            assert error.code in {404, 409}, error

    # --- data plane and traffic -------------------------------------------------------------------------------

    def endpoints(self, service: str = "test") -> frozenset[str]:
        return frozenset(
            endpoint["targetRef"]["name"]
            for one in self.store.all_of("endpointslices.discovery.k8s.io", "default")
            if labels_of(one).get("kubernetes.io/service-name") == service
            for endpoint in one.get("endpoints") or []
            if endpoint["conditions"]["ready"]
        )

    def backends(self) -> frozenset[str]:
        """What the data plane sends to: the endpoints of `lag_s` ago."""
        while len(self.known) > 1 and self.known[1][0] <= self.clock.at_s - self.lag_s:
            self.known.pop(0)
        return self.known[0][1] if self.known else frozenset()

    def _traffic(self, step_s: float) -> None:
        now = self.endpoints()
        if not self.known or self.known[-1][1] != now:
            self.known.append((self.clock.at_s, now))
        backends = self.backends()
        if not backends or not self.rate:
            return
        amount = self.rate * step_s
        self.sent += amount
        for name in backends:
            pod = self.store.get(Ref(resource="pods", namespace="default", name=name))
            if pod is None or is_terminating(pod) or not is_ready(pod):
                self.lost += amount / len(backends)
                self.lost_when.append((self.clock.at_s, name))
            else:
                self.arrived[name] = self.arrived.get(name, 0.0) + amount / len(backends)

    # --- body of a flow ---------------------------------------------------------------------------------------

    def drive(self, flow: Flow[T], *, kill_at: int | None = None) -> T:
        """Run a flow to its end; it is killed just before its request number `kill_at`."""
        self.requests, self.kill_at = 0, kill_at
        try:
            asked = next(flow)
            while True:
                asked = flow.send(self.answer(asked))
        except StopIteration as end:
            result: T = end.value
            return result

    def answer(self, asked: Ask) -> Answer:
        match asked:
            case Calls(requests=requests):
                responses = tuple(self._call(request) for request in requests)
                self.run_for(CALL_S)
                return Answer(now_s=self.clock.at_s, responses=responses)
            case ReadPods(looks=looks):
                return Answer(now_s=self.clock.at_s, texts={look.pod: "no such command" for look in looks})
            case AskWords(words=words):
                return Answer(now_s=self.clock.at_s, texts=dict.fromkeys(words, "nobody answers"))
            case Check():
                self.checks.append(asked)
                self.run_for(0.2)
                number, polls = divmod(len(self.checks), 3)  # it runs for three looks
                found = self.later[number - 2] if 2 <= number < len(self.later) + 2 else self.verdict
                return Answer(now_s=self.clock.at_s, checked=None if polls else found)
            case Measure():
                self.measures.append(asked)
                return Answer(now_s=self.clock.at_s, samples=self.measure(asked))
            case Sleep(for_s=for_s):
                self.run_for(max(for_s, TICK_S))
            case Progress():
                self.progress.append(asked)
        return Answer(now_s=self.clock.at_s)

    def _call(self, request: ApiRequest) -> ApiResponse:
        if request.method != "GET" and not request.path.endswith("reviews"):  # a question that is no write
            self.requests += 1
            if self.kill_at is not None and self.requests > self.kill_at:
                raise Killed
        refused = self.refuse(request)
        if refused is not None:
            return refused
        result = self.api.handle(request)
        if isinstance(result, PodCall):
            if not self.sources:
                return ApiResponse(code=404, body={"message": "no such path", "code": 404})
            rows = [
                {"localPort": 10002, "remote": "10.9.0.1", "remotePort": 40000 + number, "state": "ESTABLISHED"}
                for number in range(self.held.get(result.name, 0))
            ]
            idle = {"state": "ESTABLISHED", "bytesReceived": 80, "bytesSent": 120}
            idle |= {"idleReceivedMs": 60_010, "idleSentMs": 60_000}
            rows += [
                {"localPort": 10002, "remote": "10.9.0.2", "remotePort": 50000 + number, **idle}
                for number in range(self.idle.get(result.name, 0))
            ]
            arrived = int(self.arrived.get(result.name, 0.0))
            return ApiResponse(code=200, body={"passiveOpens": arrived, "connections": rows})
        assert isinstance(result, ApiAnswer)
        # As a client gets it: through JSON, which is also the quickest copy there is
        return ApiResponse(code=result.code, body=msgspec.json.decode(msgspec.json.encode(result.body)))

    # --- shortcuts --------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Obj | list[Obj] | None = None, content_type: str = "") -> Obj:
        request = ApiRequest(method=method, path=path, body=body, content_type=content_type or "application/json")
        answer = self.api.handle(request)
        assert isinstance(answer, ApiAnswer)
        assert answer.code < 400, answer.body
        return answer.body

    def apply(self, text: str) -> None:
        """First apply of a manifest, then until everything is Ready and reached."""
        for document in parse(text, file="test.yaml"):
            plural = "deployments" if document.kind == "Deployment" else "services"
            root = "/apis/apps/v1" if document.kind == "Deployment" else "/api/v1"
            self.call("POST", f"{root}/namespaces/default/{plural}", copy_of(document.obj))
        self.run_for(self.start_s + 4.0)
        assert len(self.backends()) == self.deployment()["spec"]["replicas"]

    def deployment(self) -> Obj:
        found = self.store.get(Ref(resource="deployments.apps", namespace="default", name="test"))
        assert found is not None
        return found

    def service(self) -> Obj:
        found = self.store.get(Ref(resource="services", namespace="default", name="test"))
        assert found is not None
        return found

    def pods(self) -> list[Obj]:
        selector: dict[str, str] = self.deployment()["spec"]["selector"]["matchLabels"]
        return [pod for pod in self.store.all_of("pods", "default") if selects(selector, labels_of(pod))]

    def images(self) -> set[str]:
        return {pod["spec"]["containers"][0]["image"].partition(":")[2] for pod in self.pods()}

    def leases(self) -> list[Obj]:
        found = self.store.all_of("leases.coordination.k8s.io", "default")
        return [lease for lease in found if name_of(lease).startswith("segue-")]


def driver(
    me: str = "tester",
    *,
    dead: frozenset[str] = frozenset(),
    timeout_s: float | None = None,
    approach: Approach | None = None,
) -> Driver:
    asked = replace(approach or Approach(), timeout_s=timeout_s)
    return Driver(me=me, holder_is_gone=lambda holder: holder in dead, approach=asked)
