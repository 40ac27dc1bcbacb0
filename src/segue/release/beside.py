"""Two Deployments of one app side by side: their names, the label that tells their pods apart, both seen at once.

Version V of app A is Deployment `A-V`, whose selector and pods carry the label `version: V`; of it an app is known
again in each later run, and nothing else has to be written down. What began without the label keeps its own name.

Rule 1: what is deleted without being asked for bears such a name, has no pods, and was not brought by kubectl apply.
Rule 2: the memory lies on the new Deployment, which is made without pods: before it is there nothing has changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from segue.model.objects import Obj, annotations_of, labels_of, selects
from segue.model.services import Service
from segue.model.workloads import HASH_LABEL, Deployment, Pod, ReplicaSet
from segue.release.snapshot import Snapshot

VERSION_LABEL = "version"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How the user names versions: `version` is "" where the manifest tells."""

    version: str = ""
    label: str = VERSION_LABEL
    delete_old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One release from Deployment `old` to Deployment `new`."""

    app: str
    label: str
    version: str  # "" for the one that began without: then the Services know it by its hash while there are two
    new: str
    old: str
    made: bool = True  # the new Deployment exists because of this release: going back deletes it
    delete_old: bool = False
    selectors: Mapping[str, dict[str, str]] = field(default_factory=dict)  # of the Services, as they were
    total: int = 0  # pods of both versions that are to serve, of a canary
    noted: int = 0  # replicas of the one that shrinks when the other was made larger: any other number is somebody's
    back: bool = False  # the new one is the one that shrinks

    @staticmethod
    def of(obj: Obj) -> Beside:
        """As a memory holds it."""
        return Beside(**obj)

    def as_obj(self) -> Obj:
        """For a memory."""
        return dataclasses.asdict(self)

    def selects_new(self, selector: Mapping[str, str], pod_hash: str = "") -> dict[str, str]:
        """A Service's selector that reaches the new version alone."""
        own = {self.label: self.version} if self.version else {HASH_LABEL: pod_hash} if pod_hash else {}
        return {**self.common(selector), **own}

    def common(self, selector: Mapping[str, str]) -> dict[str, str]:
        """A Service's selector that reaches every version."""
        return {key: value for key, value in selector.items() if key not in {self.label, HASH_LABEL}}


def label_of_app(app: str, obj: Obj) -> str:
    """The label by which a Deployment is a version of an app, "" where it is none."""
    labels: dict[str, str] = obj["spec"].get("selector", {}).get("matchLabels") or {}
    return next((key for key in sorted(labels) if version_of_app(app, key, obj)), "")


def version_of_app(app: str, label: str, obj: Obj) -> str:
    """Which version of an app a Deployment is, "" where it is none."""
    version: str = (obj["spec"].get("selector", {}).get("matchLabels") or {}).get(label, "")
    return version if version and obj["metadata"]["name"] == f"{app}-{version}" else ""


def is_spare(beside: Beside, obj: Obj) -> bool:
    """Whether a Deployment is a version of this app that an earlier release has left at 0."""
    known = version_of_app(beside.app, beside.label, obj) and obj["metadata"]["name"] not in {beside.new, beside.old}
    return bool(known) and obj["spec"].get("replicas") == 0 and LAST_APPLIED not in annotations_of(obj)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Snapshot):
    """Both Deployments at one moment. `deployment` is the new one, or the old one as long as that is all there is."""

    beside: Beside
    old: Deployment | None
    new: Deployment | None
    spare: tuple[Deployment, ...] = ()

    def sets_of(self, deployment: Deployment | None) -> tuple[ReplicaSet, ...]:
        """The ReplicaSets one of them owns."""
        return tuple(one for one in self.sets if deployment is not None and one.owner_uid == deployment.uid)

    def pods_under(self, deployment: Deployment | None) -> tuple[Pod, ...]:
        """The pods one of them owns."""
        uids = {one.uid for one in self.sets_of(deployment)}
        return tuple(pod for pod in self.pods if pod.owner_uid in uids)

    def alive_in(self, deployment: Deployment | None) -> tuple[Pod, ...]:
        """Its pods that do not leave."""
        return tuple(pod for pod in self.pods_under(deployment) if pod.alive and not pod.orphaned)

    def ready_in(self, deployment: Deployment | None) -> tuple[Pod, ...]:
        """Its pods that are Ready."""
        return tuple(pod for pod in self.alive_in(deployment) if pod.ready)

    def current(self, deployment: Deployment) -> ReplicaSet | None:
        """Its ReplicaSet of its own template (D11)."""
        return next((one for one in self.sets_of(deployment) if one.template == deployment.template), None)

    def is_followed(self, deployment: Deployment) -> bool:
        """Whether its controller has given its size to its ReplicaSets."""
        return deployment.observed and sum(one.replicas for one in self.sets_of(deployment)) == deployment.replicas

    def is_settled(self, deployment: Deployment) -> bool:
        """Whether the controllers have followed, those of its ReplicaSets, too: nobody owns what left."""
        let_go = all(not pod.owner_uid for pod in self.pods if pod.orphaned and not pod.ended)
        return let_go and self.is_followed(deployment)

    def served(self, names: tuple[str, ...]) -> tuple[Service, ...]:
        """The Services of these names."""
        return tuple(one for one in self.services if one.name in names)


def concerns(beside: Beside, service: Service, *labels: Mapping[str, str]) -> bool:
    """Whether a Service reaches pods with one of these sets of labels, whatever their version."""
    selector = beside.common(service.selector)
    return bool(selector) and any(selects(selector, each) for each in labels)


def pod_labels_of(obj: Obj) -> dict[str, str]:
    """The labels of a Deployment's pods."""
    return labels_of(obj["spec"]["template"])
