"""The small world with StatefulSets and DaemonSets: several nodes, and pods whose preStop hooks let them serve on.

A pod that is ending answers as long as its preStop hook sleeps; what is sent to it after that is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from segue.cluster.writes import Update
from segue.drive.command import release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.native_observe import NativeObserver
from segue.drive.proposing import prepare
from segue.model.manifest import parse
from segue.model.natives import PLURALS, RELEASED, stop_sleep_s
from segue.model.objects import Obj, Ref, annotations_of, copy_of, is_ready, is_terminating, name_of
from tests.laws.release_world import World

MANIFEST = """
apiVersion: apps/v1
kind: {kind}
metadata:
  name: test
spec:
  {head}
  selector:
    matchLabels:
      app/name: test
  {strategy}
  template:
    metadata:
      labels:
        app/name: test
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: service
        image: host.org/images/grace:{tag}
        {hook}
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
SURGES = "updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
HOOK = "lifecycle: {preStop: {sleep: {seconds: 2}}}"


def native_manifest(kind: str, tag: str, *, replicas: int = 3, strategy: str = "", hook: str = HOOK) -> str:
    """A StatefulSet or a DaemonSet `test` behind a Service."""
    head = f"serviceName: test\n  replicas: {replicas}" if kind == "StatefulSet" else ""
    return MANIFEST.format(kind=kind, tag=tag, head=head, strategy=strategy, hook=hook)


@dataclass
class NativeWorld(World):
    """`kind` is what serves."""

    kind: str = "StatefulSet"
    nodes: int = 3
    lag_s: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        for number in range(2, self.nodes + 1):
            node: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node{number}"}, "spec": {}}
            made = self.registry.create("nodes", node)
            status = copy_of(self.store.all_of("nodes")[0])["status"]
            self.registry.perform(Update(resource="nodes", obj={**made, "status": status}, status=True))

    def begin(self, text: str) -> None:
        """First apply, then until everything is Ready and reached."""
        for document in parse(text, file="test.yaml"):
            root = "/api/v1" if document.kind == "Service" else "/apis/apps/v1"
            plural = RELEASED.get(document.kind, "services")
            self.call("POST", f"{root}/namespaces/default/{plural}", copy_of(document.obj))
        self.run_for(12.0)
        assert len(self.backends()) == 3

    def native(self) -> Obj:
        found = self.store.get(Ref(resource=f"{PLURALS[self.kind]}.apps", namespace="default", name="test"))
        assert found is not None
        return found

    def pods(self) -> list[Obj]:
        return self.store.all_of("pods", "default")

    def observer(self, driving: Driver) -> NativeObserver:
        return NativeObserver(
            kind=self.kind, namespace="default", name="test", me=driving.me, holder_is_gone=driving.holder_is_gone
        )

    def marks(self) -> list[str]:
        """What of segue's is on any object."""
        objects = [self.native(), *self.store.all_of("controllerrevisions.apps", "default")]
        found = [name_of(one) for one in objects if any("segue" in key for key in annotations_of(one))]
        return found + [name_of(one) for one in self.leases()]

    def _end(self, pod: Obj, uid: str) -> None:
        began_s = self.ending.setdefault(uid, self.clock.at_s)
        if self.clock.at_s >= began_s + (stop_sleep_s(pod) or 0.0):
            super()._end(pod, uid)

    def answers(self, pod: Obj | None) -> bool:
        """Whether what is sent to a pod now is answered."""
        if pod is None or not is_ready(pod):
            return False
        ending_s = self.ending.get(pod["metadata"]["uid"])
        return not is_terminating(pod) or self.clock.at_s < (ending_s or 0.0) + (stop_sleep_s(pod) or 0.0)

    def _traffic(self, step_s: float) -> None:
        now = self.endpoints()
        if not self.known or self.known[-1][1] != now:
            self.known.append((self.clock.at_s, now))
        backends = self.backends()
        for name in backends:
            amount = self.rate * step_s / len(backends)
            self.sent += amount
            if not self.answers(self.store.get(Ref(resource="pods", namespace="default", name=name))):
                self.lost += amount
                self.lost_when.append((self.clock.at_s, name))


@dataclass
class Away:
    """Counts the most pods that did not serve at any moment, and the most there were; `early` are pods that began to
    end while the data plane did not know all others that were Ready."""

    most: int = 0
    alive: int = 0
    early: list[str] = field(default_factory=list)
    ending: set[str] = field(default_factory=set)

    def __call__(self, world: World) -> None:
        pods = world.store.all_of("pods", "default")
        known = world.backends()
        fresh = [pod for pod in pods if is_terminating(pod) and pod["metadata"]["uid"] not in self.ending]
        if fresh and any(name_of(pod) not in known for pod in pods if is_ready(pod) and not is_terminating(pod)):
            self.early += map(name_of, fresh)
        self.ending |= {pod["metadata"]["uid"] for pod in fresh}
        serving = sum(is_ready(pod) and not is_terminating(pod) for pod in pods)
        self.most = max(self.most, 3 - serving)
        self.alive = max(self.alive, sum(not is_terminating(pod) for pod in pods))


def released(text: str, driving: Driver) -> Flow[tuple[Outcome, ...]]:
    """segue release -f."""
    preparation = yield from prepare(parse(text, file="test.yaml"), "default", driving)
    return (yield from release(preparation, driving))


def tags(world: NativeWorld) -> list[str]:
    """The image tag of each pod that stays, in the order of their names."""
    pods = sorted((pod for pod in world.pods() if not is_terminating(pod)), key=name_of)
    return [pod["spec"]["containers"][0]["image"].partition(":")[2] for pod in pods]


Look = Callable[[World], None]
