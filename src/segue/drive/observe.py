"""Makes a Snapshot of a Deployment and all that belongs to it: one round of calls, two where it is the first look.

Rule: it reads and never writes; what it could not read is an error, never an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from segue.drain.judge import Evidence
from segue.drive.flow import Flow, ask, body_of, get
from segue.drive.pair import PairEyes, find_beside
from segue.drive.route_eyes import RouteEyes
from segue.model.errors import StatusError
from segue.model.http import ApiResponse
from segue.model.objects import Obj
from segue.model.services import Endpoint, Service, endpoints_of
from segue.model.workloads import ORPHAN_OF, Deployment, Lease, Pod, ReplicaSet
from segue.release.beside import Beside
from segue.release.memory import memory_of
from segue.release.snapshot import Checked, Measured, Snapshot
from segue.release.weights import Weights


@dataclass(slots=True, kw_only=True)
class Observer:
    """Looks at one Deployment, again and again. `holder_is_gone` knows the Lease holders of this machine that died."""

    namespace: str
    name: str
    me: str
    holder_is_gone: Callable[[str], bool]
    selector_query: str = ""
    service_names: tuple[str, ...] = ()
    old_set: str = ""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    drain_began_s: float | None = None
    checked: Checked | None = None
    measured: Measured | None = None
    beside: Beside | None = None  # known to whoever plans it; else what is under way tells
    pair: PairEyes | None = None
    route: Weights | None = None  # known to whoever plans with one; else what is under way tells
    route_eyes: RouteEyes | None = None

    def observe(self) -> Flow[Snapshot]:
        """The cluster now; both Deployments where this name is of two that a release goes between."""
        if self.pair is None and not self.selector_query:
            self.look_at(self.beside or (yield from find_beside(self.namespace, self.name)))
        if self.pair is not None:
            return (yield from self._observe_pair(self.pair))
        if not self.selector_query:
            both = get(self._apps("deployments", self.name)), get(self._core("services"))
            _, (found, services) = yield from ask(*both)
            deployment = Deployment(obj=self._deployment(found))
            self.selector_query = deployment.selector_query
            self._learn(deployment, services)
        now_s, responses = yield from ask(
            get(self._apps("deployments", self.name)),
            get(self._apps("replicasets"), labelSelector=self.selector_query),
            get(self._core("pods"), labelSelector=self.selector_query),
            get(self._core("pods"), labelSelector=f"{ORPHAN_OF}={self.name[:63].rstrip('-._')}"),
            get(self._core("services")),
            get(f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/segue-{self.name}"),
            *(
                get(
                    f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices",
                    labelSelector=f"kubernetes.io/service-name={service}",
                )
                for service in self.service_names
            ),
            *((get(self._apps("replicasets", self.old_set)),) if self.old_set else ()),
        )
        deployment = Deployment(obj=self._deployment(responses[0]))
        memory = memory_of(deployment.annotations)
        sets = [ReplicaSet(obj=obj) for obj in _items(responses[1], "ReplicaSet")]
        if self.old_set and all(one.name != self.old_set for one in sets) and responses[-1].code != 404:
            sets.append(ReplicaSet(obj=body_of(responses[-1])))
        wanted = memory.old_set if memory else ""
        if wanted and wanted != self.old_set:
            self.old_set = wanted
            return (yield from self.observe())
        slices = responses[6 : 6 + len(self.service_names)]
        seen = self.service_names
        self._learn(deployment, responses[4])
        if seen != self.service_names:
            return (yield from self.observe())
        snapshot = self._snapshot(now_s, deployment, sets, responses, slices)
        weights = Weights.of(memory.route) if memory is not None and memory.route else self.route
        if weights is None:
            return snapshot
        if self.route_eyes is None:
            self.route_eyes = RouteEyes(namespace=self.namespace, weights=weights)
        return replace(snapshot, route=(yield from self.route_eyes.look(weights)))

    def look_at(self, found: Beside | str) -> None:
        """Look at two Deployments from now on, by their app's name, or at the one of this name."""
        if isinstance(found, Beside):
            self.name = found.app
            self.pair = PairEyes(namespace=self.namespace, beside=found)
        else:
            self.name = found

    def _observe_pair(self, eyes: PairEyes) -> Flow[Snapshot]:
        pair = yield from eyes.look(self.me)
        return replace(
            pair,
            holder_gone=pair.lease is not None and self.holder_is_gone(pair.lease.holder),
            evidence=self.evidence,
            checked=self.checked,
            measured=self.measured,
            drain_began_s=self.drain_began_s,
        )

    def _snapshot(
        self,
        now_s: float,
        deployment: Deployment,
        sets: list[ReplicaSet],
        responses: tuple[ApiResponse, ...],
        slices: tuple[ApiResponse, ...],
    ) -> Snapshot:
        pods = {pod.name: pod for response in responses[2:4] for pod in map(_pod, _items(response, "Pod"))}
        services = [Service(obj=obj) for obj in _items(responses[4], "Service")]
        lease = None if responses[5].code == 404 else Lease(obj=body_of(responses[5], "reading the Lease"))
        endpoints: dict[str, tuple[Endpoint, ...]] = {
            name: endpoints_of(_items(response, "EndpointSlice"))
            for name, response in zip(self.service_names, slices, strict=True)
        }
        return Snapshot(
            now_s=now_s,
            me=self.me,
            deployment=deployment,
            sets=tuple(sets),
            pods=tuple(pods.values()),
            services=tuple(service for service in services if service.name in self.service_names),
            endpoints=endpoints,
            lease=lease,
            holder_gone=lease is not None and self.holder_is_gone(lease.holder),
            evidence=self.evidence,
            checked=self.checked,
            measured=self.measured,
            drain_began_s=self.drain_began_s,
        )

    def _learn(self, deployment: Deployment, services: ApiResponse) -> None:
        found = [Service(obj=obj) for obj in _items(services, "Service")]
        self.service_names = tuple(sorted(one.name for one in found if one.selects_version(deployment.pod_labels)))

    def _deployment(self, response: ApiResponse) -> Obj:
        if response.code == 404:
            raise StatusError(404, "NotFound", f"there is no Deployment {self.name} in namespace {self.namespace}")
        return body_of(response, f"reading Deployment {self.name}")

    def _apps(self, plural: str, name: str = "") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def _core(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}"


def _pod(obj: Obj) -> Pod:
    return Pod(obj=obj)


def _items(response: ApiResponse, kind: str) -> list[Obj]:
    # Items of a list carry no kind of their own in JSON answers of an API server.
    return list(body_of(response, f"listing {kind}s").get("items") or [])
