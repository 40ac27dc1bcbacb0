"""Looks at two Deployments of one app, side by side, and at all that belongs to either: one round of calls.

Rule: it reads and never writes. Which two they are is told by the memory of what is under way, or by whoever plans it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj, annotations_of, name_of
from segue.model.services import Endpoint, Service, endpoints_of
from segue.model.workloads import ORPHAN_OF, Deployment, Lease, Pod, ReplicaSet
from segue.release.beside import Beside, Pair, concerns, is_spare, label_of_app, version_of_app
from segue.release.memory import memory_of


def items_of(response: ApiResponse, what: str) -> list[Obj]:
    """The objects of a list."""
    return list(body_of(response, f"listing {what}").get("items") or [])


def find_beside(namespace: str, name: str) -> Flow[Beside | str]:
    """What is under way side by side that this name is of: the app's or that of either Deployment.

    Else the name of one Deployment: of an app whose versions are Deployments of their own it is the one with pods.
    """
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/segue-{name}"
    _, (found, driven) = yield from ask(get(f"/apis/apps/v1/namespaces/{namespace}/deployments"), get(lease))
    if found.code == 403:  # who may not list them has none side by side that could be found
        return name
    deployments = items_of(found, "Deployments")
    for obj in deployments:
        memory = memory_of(annotations_of(obj))
        if memory is not None and memory.beside:
            beside = Beside.of(memory.beside)
            if name in {beside.app, beside.new, beside.old}:
                return beside
    serving = [obj for obj in deployments if obj["spec"].get("replicas", 1)]
    versions = [obj for obj in serving if label_of_app(name, obj)]
    if len(versions) != 1 or any(name_of(obj) == name for obj in serving):
        return name
    one = name_of(versions[0])
    if driven.code != 200:
        return one
    # Somebody who drove this app has died after the memory was gone: what is left is under the app's name.
    label = label_of_app(name, versions[0])
    return Beside(app=name, label=label, version=version_of_app(name, label, versions[0]), new=one, old=one)


@dataclass(slots=True, kw_only=True)
class PairEyes:
    """Looks at them again and again. What a Deployment's pods were is known on when it is gone."""

    namespace: str
    beside: Beside
    selectors: dict[str, str] = field(default_factory=dict)  # labelSelector queries, by Deployment
    labels: dict[str, dict[str, str]] = field(default_factory=dict)  # of their pods
    services: tuple[str, ...] = ()

    def look(self, me: str) -> Flow[Pair]:
        """Both of them now."""
        if not self.selectors:
            _, (found, services) = yield from ask(get(self._apps("deployments")), get(self._core("services")))
            self._learn(items_of(found, "Deployments"), items_of(services, "Services"))
        asked = self._asked()
        now_s, answers = yield from ask(*asked)
        queries, seen = len(self.selectors), self.services
        deployments, services_now = items_of(answers[0], "Deployments"), items_of(answers[1], "Services")
        slices = answers[3 : 3 + len(seen)]
        rest = answers[3 + len(seen) :]
        if self._learn(deployments, services_now):
            return (yield from self.look(me))
        sets = {name_of(obj): ReplicaSet(obj=obj) for one in rest[:queries] for obj in items_of(one, "ReplicaSets")}
        pods = {name_of(obj): Pod(obj=obj) for one in rest[queries:] for obj in items_of(one, "Pods")}
        by_name = {name_of(obj): Deployment(obj=obj) for obj in deployments}
        old, new = by_name.get(self.beside.old), by_name.get(self.beside.new)
        either = new or old
        if either is None:
            either = Deployment(obj=body_of((yield from self._missing()), f"Deployment {self.beside.new}"))
        endpoints: dict[str, tuple[Endpoint, ...]] = {
            name: endpoints_of(items_of(one, "EndpointSlices")) for name, one in zip(seen, slices, strict=True)
        }
        return Pair(
            now_s=now_s,
            me=me,
            deployment=either,
            sets=tuple(sets.values()),
            pods=tuple(pods.values()),
            services=tuple(Service(obj=obj) for obj in services_now if name_of(obj) in seen),
            endpoints=endpoints,
            lease=None if answers[2].code == 404 else Lease(obj=body_of(answers[2], "reading the Lease")),
            beside=self.beside,
            old=old,
            new=new,
            spare=tuple(Deployment(obj=obj) for obj in deployments if is_spare(self.beside, obj)),
        )

    def _missing(self) -> Flow[ApiResponse]:
        _, (answer,) = yield from ask(get(f"{self._apps('deployments')}/{self.beside.new}"))
        return answer

    def _asked(self) -> tuple[ApiRequest, ...]:
        names = ",".join(dict.fromkeys(name[:63].rstrip("-._") for name in (self.beside.old, self.beside.new)))
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"
        return (
            get(self._apps("deployments")),
            get(self._core("services")),
            get(f"{leases}/segue-{self.beside.app}"),
            *(get(slices, labelSelector=f"kubernetes.io/service-name={name}") for name in self.services),
            *(get(self._apps("replicasets"), labelSelector=query) for query in self.selectors.values()),
            *(get(self._core("pods"), labelSelector=query) for query in self.selectors.values()),
            get(self._core("pods"), labelSelector=f"{ORPHAN_OF} in ({names})"),
        )

    def _learn(self, deployments: list[Obj], services: list[Obj]) -> bool:
        """Note what to ask for; whether that is more or less than was asked for."""
        before = (dict(self.selectors), self.services)
        for obj in deployments:
            if name_of(obj) in {self.beside.old, self.beside.new}:
                one = Deployment(obj=obj)
                self.selectors[one.name], self.labels[one.name] = one.selector_query, one.pod_labels
        found = [Service(obj=obj) for obj in services]
        labels = self.labels.values()
        self.services = tuple(sorted(one.name for one in found if concerns(self.beside, one, *labels)))
        return before != (self.selectors, self.services)

    def _apps(self, plural: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}"

    def _core(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}"
