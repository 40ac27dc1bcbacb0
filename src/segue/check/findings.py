"""What a rule is and what it finds: values, so that every output and every fix is made of the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from segue.check.reading import part
from segue.model.marked import Node, place_of, written
from segue.model.objects import Obj

PAGES = "docs/reference/rules"
IGNORE = "segue.dev/ignore-"
Path = tuple[str | int, ...]


class Severity(StrEnum):
    """How bad: requests are lost for certain in the stated event; likely or under load; worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


# Kinds that rules read, and the API groups that mean them: Knative has a Service, OpenKruise a StatefulSet.
_HOMES: dict[str, tuple[str, ...]] = {
    "ConfigMap": ("",),
    "DaemonSet": ("apps", "extensions"),
    "Deployment": ("apps", "extensions"),
    "DeploymentConfig": ("apps.openshift.io", ""),
    "GRPCRoute": ("gateway.networking.k8s.io",),
    "HTTPRoute": ("gateway.networking.k8s.io",),
    "HorizontalPodAutoscaler": ("autoscaling", "extensions"),
    "Ingress": ("networking.k8s.io", "extensions"),
    "Namespace": ("",),
    "PersistentVolumeClaim": ("",),
    "PodDisruptionBudget": ("policy",),
    "ReplicaSet": ("apps", "extensions"),
    "ReplicationController": ("",),
    "Route": ("route.openshift.io", ""),
    "Service": ("",),
    "StatefulSet": ("apps",),
    "TCPRoute": ("gateway.networking.k8s.io",),
    "TLSRoute": ("gateway.networking.k8s.io",),
}

RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One object, where it came from, and where its parts stand there (no node: it was read from a cluster)."""

    obj: Obj = field(repr=False)
    file: str
    line: int = 0
    node: Node | None = field(default=None, repr=False)
    namespace: str = ""

    @property
    def kind(self) -> str:
        """kind; of another API group than Kubernetes' own one of that name, KIND.GROUP, as kubectl writes it."""
        kind = str(self.obj.get("kind") or "")
        return kind if self.group in _HOMES.get(kind, (self.group,)) else f"{kind}.{self.group}"

    @property
    def group(self) -> str:
        """The API group, without its version."""
        version = str(self.obj.get("apiVersion") or "")
        return version.rpartition("/")[0]

    @property
    def name(self) -> str:
        """metadata.name."""
        metadata = self.obj.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else ""

    @property
    def title(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"

    def annotation(self, key: str) -> str:
        """One of metadata.annotations, or ""."""
        value = part(self.obj, "metadata", "annotations").get(key)
        return value if isinstance(value, str) else ""

    def line_of(self, path: Path) -> int:
        """Where a path stands."""
        return place_of(self.node, path) if self.node is not None else 0

    def finding(
        self, rule: Rule, path: Path, message: str, *, remedy: str, severity: Severity | None = None
    ) -> Finding:
        """A finding about this object, as severe as its rule where nothing else is said."""
        return Finding(
            rule=rule,
            severity=severity or rule.severity,
            source=self,
            path=path,
            message=message,
            remedy=remedy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of a fix: put a value at a path (whatever is there), or take it away (no `keep`)."""

    source: Source
    path: Path
    value: object = None
    remove: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """How a finding goes away: changes and new objects that are safe to apply, or a question to a person."""

    changes: tuple[Change, ...] = ()
    objects: tuple[tuple[Source, Obj], ...] = ()  # put beside this one, in its file
    question: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, with everything its page says. `check` is what judges; the registry keeps it beside."""

    id: str
    name: str
    severity: Severity
    says: str  # one line for lists
    why: str  # what is lost, when, and by which mechanism
    instead: str  # what to write
    facts: tuple[str, ...]
    is_safe: bool = False  # whether `segue fix` repairs it by itself
    unshown: str = ""  # an error: why no live test shows its loss

    @property
    def family(self) -> str:
        """Which family it belongs to."""
        return FAMILIES[self.id[2]]

    @property
    def page(self) -> str:
        """Its page."""
        return f"{PAGES}/{self.id}.md"


FAMILIES = {
    "1": "Shutdown",
    "2": "Probes",
    "3": "Rollout",
    "4": "Replicas and disruption",
    "5": "Services and routes",
    "6": "The manifest itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule, one place, the numbers of this very manifest."""

    rule: Rule
    severity: Severity
    source: Source = field(repr=False)
    path: Path
    message: str
    remedy: str
    numbers: Mapping[str, int | float | str] = field(default_factory=dict)
    fix: Fix = field(default_factory=Fix, repr=False)

    @property
    def line(self) -> int:
        """The line of its path, or of what is nearest."""
        return self.source.line_of(self.path)

    @property
    def where(self) -> str:
        """file:line, or what stands for it where the object came from a cluster."""
        return f"{self.source.file}:{self.line}" if self.line else self.source.file

    @property
    def shown_path(self) -> str:
        """The path as text."""
        return written(self.path)

    @property
    def is_repaired(self) -> bool:
        """Whether `segue fix` repairs it by itself."""
        return bool(self.fix.changes or self.fix.objects)
