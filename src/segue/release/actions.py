"""Everything a release may do, as values: a closed union, each of them exactly one API request.

Rule 1: each action names the object it was decided on; the request fails where that object has changed since.
Rule 2: nothing else writes. What is not here, segue does not do to a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from segue.model.objects import Obj
from segue.model.services import Service
from segue.model.workloads import Deployment, Lease, Pod, ReplicaSet
from segue.release.memory import Memory
from segue.route.shares import Split

BRAKE_S = 2_147_483_646  # the largest minReadySeconds below its progress deadline: a brake must not run out (A1)
NO_DEADLINE_S = 2_147_483_647  # "no deadline" to the Deployment controller
SURGE: Obj = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
SETTINGS = ("strategy", "minReadySeconds", "progressDeadlineSeconds")
OUT = "segue-detached"
PURPOSE = "segue.dev/purpose"
SAMPLER = "segue-sampler"
SAMPLER_LASTS_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeLease:
    """Become, or stay, the one who drives."""

    namespace: str
    deployment: str
    me: str
    now_s: float
    lasts_s: int
    lease: Lease | None
    purpose: str = ""  # written when a release begins: what the memory says, for the moment after it is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class DropLease:
    """Let somebody else drive."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Pin or switch a Service to one version; "" unpins it."""

    service: Service
    pod_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakePreview:
    """A Service beside the others that reaches the new version only: for tests before the switch."""

    like: Service
    name: str
    deployment: str
    pod_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPreview:
    """Delete the preview Service that `MakePreview` made."""

    service: Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Write the memory and nothing else."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Take the memory off: the last trace of a release."""

    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """Take the memory off a ReplicaSet, too: its controller copies the Deployment's annotations there, and
    `kubectl rollout undo` would copy them back."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """Template, surge and brake in one patch: all new pods come up, no old one goes (M5, B5)."""

    deployment: Deployment
    template: Obj
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """Surge and brake without a template: the way back begins (B2)."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """The brake with room for `surge` more pods, none at 0: the Deployment raises the version of its template by what
    the other one has shrunk, and ends nothing (M8)."""

    deployment: Deployment
    surge: int
    template: Obj | None = None
    memory: Memory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Another template with strategy Recreate: all old pods end before a new one begins (D10)."""

    deployment: Deployment
    template: Obj
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeSet:
    """The brake on one ReplicaSet: its pods count as unavailable before its template comes back, so that the way back
    does not end the others at once (B1)."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """The way back has ended: the brake comes off, settings and metadata are what they were."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The brake comes off: the Deployment's spec is the user's own again."""

    deployment: Deployment
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """Old template and old settings in one patch: the new pods, being unavailable, go first (B2)."""

    deployment: Deployment
    template: Obj
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """A label on the ReplicaSet object changes: the Deployment lets it go, its pods keep serving and healing (A1)."""

    replica_set: ReplicaSet
    deployment: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Its labels come back: the Deployment adopts it again; its counts are told, so this is no scaling event (B2). Its
    template is the Deployment's own again, without a gate."""

    replica_set: ReplicaSet
    labels: dict[str, str]
    desired: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldBack:
    """What a detached ReplicaSet makes from now on is given no node, or is again: the pods that take the place of
    orphaned ones for a moment start no process, and end at once. Its other pods are left alone."""

    replica_set: ReplicaSet
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """A ReplicaSet's replicas."""

    replica_set: ReplicaSet
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTo:
    """A Deployment's replicas; `memory` where it speaks of them."""

    deployment: Deployment
    replicas: int
    memory: Memory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A Service's whole selector, changed in one write: by the version label and without a pin, or as it was."""

    service: Service
    selector: dict[str, str]
    says: str  # which version that is, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class SetShares:
    """A route sends the new version this share."""

    kind: str
    route: Obj
    split: Split
    forces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PutSharesBack:
    """A route says again what it said before the release."""

    kind: str
    route: Obj
    app: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDeployment:
    """A Deployment beside the old one, with the memory and without pods: nothing moves."""

    body: Obj
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDeployment:
    """Delete a Deployment without pods, and its ReplicaSets with it."""

    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A pod leaves its ReplicaSet and its Services alive; it ends by itself after `deadline_s` of age (A3)."""

    pod: Pod
    deployment: str
    labels: tuple[str, ...]
    deadline_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPod:
    """Delete one pod, with its own grace unless a shorter one is said."""

    pod: Pod
    grace_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSet:
    """Delete a ReplicaSet without pods, which an aborted release had made: no version to go back to."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSampler:
    """An ephemeral container in a pod that will be ended anyway: it shares the pod's network, so what arrives there can
    be seen although the pod's own image has no shell. It cannot be taken out again; it ends by itself."""

    pod: Pod
    name: str
    image: str


Action: TypeAlias = (
    TakeLease
    | DropLease
    | Point
    | MakePreview
    | EndPreview
    | Remember
    | Forget
    | Clean
    | Surge
    | Brake
    | Ramp
    | Replace
    | BrakeSet
    | Settle
    | Release
    | PutBack
    | Detach
    | Attach
    | HoldBack
    | Resize
    | ScaleTo
    | Select
    | SetShares
    | PutSharesBack
    | AddDeployment
    | EndDeployment
    | Orphan
    | EndPod
    | EndSet
    | AddSampler
)


def detach_key(selector: Obj) -> str:
    """The label whose change takes an object out of a selector, "" where changing a label cannot do that."""
    named: dict[str, str] = selector.get("matchLabels") or {}
    if named:
        return min(named)
    return next((str(e["key"]) for e in selector.get("matchExpressions") or [] if e["operator"] == "In"), "")
