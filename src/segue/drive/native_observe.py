"""Makes a snapshot of a StatefulSet or a DaemonSet and all that belongs to it; and finds which one a name means.

Rule: it reads and never writes; what it could not read is an error, never an empty list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.errors import StatusError
from segue.model.http import ApiResponse
from segue.model.natives import DAEMON_SET, PLURALS, STATEFUL_SET, Native, Revision
from segue.model.objects import Obj, controller_of, uid_of
from segue.model.services import Service, endpoints_of
from segue.model.workloads import Lease, Pod, selector_query
from segue.release.native_snapshot import NativeSnapshot


def native_named(
    namespace: str, said: str, me: str, holder_is_gone: Callable[[str], bool]
) -> Flow[NativeObserver | None]:
    """The StatefulSet or DaemonSet that a command line names; None where it means a Deployment, or nothing there is."""
    kind, _, name = said.rpartition("/")
    if not kind:
        apps = f"/apis/apps/v1/namespaces/{namespace}"
        _, (deployment,) = yield from ask(get(f"{apps}/deployments/{name}"))
        if deployment.code != 404:
            return None
        kinds = (STATEFUL_SET, DAEMON_SET)
        _, found = yield from ask(*(get(f"{apps}/{PLURALS[one]}/{name}") for one in kinds))
        kind = next((one for one, answer in zip(kinds, found, strict=True) if answer.code < 400), "")
    if not kind:
        return None
    return NativeObserver(kind=kind, namespace=namespace, name=name, me=me, holder_is_gone=holder_is_gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeObserver:
    """Looks at one StatefulSet or DaemonSet. `holder_is_gone` knows the Lease holders of this machine that died."""

    kind: str
    namespace: str
    name: str
    me: str
    holder_is_gone: Callable[[str], bool]

    @property
    def path(self) -> str:
        """The object's own path."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/{PLURALS[self.kind]}/{self.name}"

    def observe(self) -> Flow[NativeSnapshot]:
        """The cluster now. The object is read before what belongs to it: what it has been seen to ask for is there."""
        _, (found,) = yield from ask(get(self.path))
        if found.code == 404:
            raise StatusError(404, "NotFound", f"there is no {self.kind} {self.name} in namespace {self.namespace}")
        native = Native(kind=self.kind, obj=body_of(found, f"reading {self.kind} {self.name}"))
        core, query = f"/api/v1/namespaces/{self.namespace}", selector_query(native.spec.get("selector") or {})
        now_s, answers = yield from ask(
            get(f"/apis/apps/v1/namespaces/{self.namespace}/controllerrevisions"),
            get(f"{core}/pods", labelSelector=query),
            get(f"{core}/services"),
            get(f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/segue-{native.lease}"),
            get(f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"),
        )
        revisions = [Revision(obj=obj) for obj in _items(answers[0], "ControllerRevision")]
        pods = [
            Pod(obj=obj) for obj in _items(answers[1], "Pod") if (controller_of(obj) or {}).get("uid") == native.uid
        ]
        services = [Service(obj=obj) for obj in _items(answers[2], "Service")]
        slices = _items(answers[4], "EndpointSlice")
        lease = None if answers[3].code == 404 else Lease(obj=body_of(answers[3], "reading the Lease"))
        labels = [native.pod_labels, *(pod.labels for pod in pods)]
        chosen = tuple(one for one in services if any(one.selects_pod(each) for each in labels))
        seen = NativeSnapshot(
            now_s=now_s,
            me=self.me,
            native=native,
            revisions=tuple(one for one in revisions if one.owner_uid == uid_of(native.obj)),
            pods=tuple(pods),
            services=chosen,
            endpoints={one.name: endpoints_of([each for each in slices if _belongs(each, one.name)]) for one in chosen},
            lease=lease,
            holder_gone=lease is not None and self.holder_is_gone(lease.holder),
        )
        return _within_ordinals(seen)


def _belongs(one: Obj, service: str) -> bool:
    return bool((one["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service)


def _within_ordinals(seen: NativeSnapshot) -> NativeSnapshot:
    """Without pods of a StatefulSet that are beyond its replicas: a scale-down is its controller's own."""
    if seen.native.kind != STATEFUL_SET:
        return seen
    kept = tuple(pod for pod in seen.pods if 0 <= seen.place(pod) < seen.native.desired)
    return replace(seen, pods=kept)


def _items(response: ApiResponse, kind: str) -> list[Obj]:
    return list(body_of(response, f"listing {kind}s").get("items") or [])
