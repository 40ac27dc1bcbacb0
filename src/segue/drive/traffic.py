"""Who talks to pods now: `segue traffic`, and what metrics are made of. Read, never changed.

The Collector and the judge are the engine's own, so what is shown is what a drain would be decided by.
Rule: a pod of which nothing can be seen is told of, too, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from segue.drain.judge import NOTHING_SEEN, Evidence, Policy
from segue.drain.sights import Sight, sight_of
from segue.drive.evidence import Collector
from segue.drive.flow import Flow, Sleep, ask, body_of, get
from segue.model.errors import StatusError
from segue.model.objects import Obj
from segue.model.services import Service
from segue.model.workloads import Deployment, Pod, selector_query
from segue.release.snapshot import Snapshot

LOOK_EVERY_S = 0.5
OBSERVE_EVERY_S = 2.0  # new pods are found this late
_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """All pods that were asked for, at one moment."""

    at_s: float
    sights: tuple[Sight, ...]

    def as_obj(self) -> list[Obj]:
        """For machines."""
        return [sight.as_obj() for sight in self.sights]


@dataclass(slots=True, kw_only=True)
class Eyes:
    """Looks at the pods of one workload, at one pod (`kind` "Pod"), or at all of a namespace (no name)."""

    namespace: str
    kind: str = ""  # of the name; "": the first workload or pod of that name
    name: str = ""
    policy: Policy = field(default_factory=Policy)
    began_s: float | None = None
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    observed_s: float = float("-inf")
    collector: Collector = field(init=False)

    def __post_init__(self) -> None:
        self.collector = Collector(namespace=self.namespace, policy=self.policy)

    def watch(self, for_s: float) -> Flow[Traffic]:
        """Look again and again for so long; what was seen."""
        traffic = yield from self.look()
        while self.began_s is not None and traffic.at_s - self.began_s < for_s:
            left_s = self.began_s + for_s - traffic.at_s
            yield Sleep(for_s=max(0.02, min(LOOK_EVERY_S, left_s)))
            traffic = yield from self.look()
        return traffic

    def look(self) -> Flow[Traffic]:
        """Look once."""
        answer = yield Sleep(for_s=0)
        now_s = answer.now_s
        if now_s - self.observed_s >= OBSERVE_EVERY_S:
            self.observed_s = now_s
            yield from self._observe()
        self.began_s = now_s if self.began_s is None else self.began_s
        now_s = yield from self.collector.sample(self.pods, self._snapshot(now_s), now_s)
        evidence = self.collector.evidence(now_s, self.began_s)
        return Traffic(at_s=now_s, sights=tuple(self._sight(pod, evidence, now_s) for pod in self.pods))

    def _sight(self, pod: Pod, evidence: Mapping[str, Evidence], now_s: float) -> Sight:
        found = evidence.get(pod.name) or replace(NOTHING_SEEN, trouble=_unwatched(pod))
        return sight_of(pod.name, self.collector.watches.get(pod.name), found, now_s, self.policy)

    def _observe(self) -> Flow[None]:
        """The pods and the Services, as they are now."""
        _, (found,) = yield from ask(get(self._core("services")))
        self.services = tuple(Service(obj=obj) for obj in body_of(found, "listing Services").get("items") or [])
        pods = yield from self._pods()
        self.pods = tuple(sorted((pod for pod in pods if not pod.ended), key=lambda pod: pod.name))
        present = {pod.name for pod in self.pods}
        for name in set(self.collector.watches) - present:
            del self.collector.watches[name]

    def _pods(self) -> Flow[list[Pod]]:
        if not self.name:
            return (yield from self._list(""))
        kinds = (self.kind,) if self.kind else (*_PLURALS, "Pod")
        for kind in kinds:
            path = self._core("pods") if kind == "Pod" else self._apps(_PLURALS[kind])
            _, (found,) = yield from ask(get(f"{path}/{self.name}"))
            if found.code == 404:
                continue
            obj = body_of(found, f"reading {kind} {self.name}")
            if kind == "Pod":
                return [Pod(obj=obj)]
            return (yield from self._list(selector_query(obj["spec"].get("selector") or {})))
        what = self.kind or "Deployment, StatefulSet, DaemonSet or Pod"
        raise StatusError(404, "NotFound", f"there is no {what} {self.name} in namespace {self.namespace}")

    def _list(self, query: str) -> Flow[list[Pod]]:
        asked = {"labelSelector": query} if query else {}
        _, (found,) = yield from ask(get(self._core("pods"), **asked))
        return [Pod(obj=obj) for obj in body_of(found, "listing pods").get("items") or []]

    def _snapshot(self, now_s: float) -> Snapshot:
        """What the Collector asks of a cluster; no release is under way in it."""
        labels = [pod.labels for pod in self.pods]
        return Snapshot(
            now_s=now_s,
            me="",
            deployment=Deployment(obj={"metadata": {"name": self.name}, "spec": {}}),
            sets=(),
            pods=self.pods,
            services=tuple(one for one in self.services if any(one.selects_version(each) for each in labels)),
            endpoints={},
        )

    def _core(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}"

    def _apps(self, plural: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}"


def _unwatched(pod: Pod) -> str:
    if pod.host_network:
        return "it shares the node's network, whose counters say nothing about it"
    return "it is being deleted" if pod.terminating else "it has no address yet"
