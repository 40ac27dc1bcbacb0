"""One workload with all that stands around it, in effective numbers: what the rules of a workload look at.

Rule: every number a finding shows comes from here, so that all rules mean the same by n, S, G, P and Q.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from segue.check.findings import Change, Finding, Fix, Path, Source
from segue.check.joined import Joined, carries_requests, is_headless, port_carries
from segue.check.pods import Container, PreStop
from segue.check.reading import labels, part, rows, seconds, share, text, whole
from segue.check.settings import Settings
from segue.model.objects import Obj

PROPAGATION = "segue.dev/propagation-seconds"
LONGEST = "segue.dev/longest-request-seconds"
START = "segue.dev/start-seconds"
DRAIN = "segue.dev/drain-seconds"
SERVED = "segue.dev/served"
POD: Path = ("spec", "template", "spec")
_IP_TARGETS = (
    ("alb.ingress.kubernetes.io/target-type", "ip"),
    ("service.beta.kubernetes.io/aws-load-balancer-nlb-target-type", "ip"),
    ("service.beta.kubernetes.io/aws-load-balancer-type", "nlb-ip"),
)
_OWN_DRAIN = re.compile(
    r"(?:shutdown|drain|termination|lame-?duck|pre-?stop)[-_.]?(?:delay|wait|sleep|duration|seconds|period)?"
    r"(?:[-_.](?:duration|seconds|period))?[=: ]+\"?(\d+)(m?)s?\"?(?:$|\s)",
    re.IGNORECASE,
)


@dataclass(slots=True, kw_only=True)
class Known:
    """A number, and whether somebody said it or it is assumed."""

    value: float
    is_said: bool


@dataclass(kw_only=True)
class Case:
    """A workload in its set."""

    source: Source
    joined: Joined = field(repr=False)
    settings: Settings = field(repr=False)

    @cached_property
    def spec(self) -> Obj:
        """spec."""
        return part(self.source.obj, "spec")

    @cached_property
    def pod(self) -> Obj:
        """spec.template.spec."""
        return part(self.spec, "template", "spec")

    @cached_property
    def pod_labels(self) -> dict[str, str]:
        """Labels of its pods."""
        return labels(self.spec, "template", "metadata", "labels")

    @cached_property
    def containers(self) -> list[Container]:
        """Its containers."""
        return [
            Container(raw=row, path=(*POD, "containers", at)) for at, row in enumerate(rows(self.pod, "containers"))
        ]

    @cached_property
    def sidecars(self) -> list[Container]:
        """Its restartable init containers (T20)."""
        found = enumerate(rows(self.pod, "initContainers"))
        return [
            Container(raw=row, path=(*POD, "initContainers", at), is_native_sidecar=True)
            for at, row in found
            if row.get("restartPolicy") == "Always"
        ]

    @cached_property
    def all_services(self) -> list[Source]:
        """Every Service that selects its pods."""
        return self.joined.services_of(self.source)

    @cached_property
    def services(self) -> list[Source]:
        """The Services whose clients lose requests with it: no headless, no UDP-only, no metrics-only ones."""
        return [one for one in self.all_services if carries_requests(one) and not is_headless(one)]

    @cached_property
    def is_served(self) -> bool:
        """Whether requests of somebody reach it through a Service."""
        return bool(self.services) or self._annotation(SERVED) == "true"

    @cached_property
    def served_by(self) -> str:
        """The Services, in words."""
        names = [one.name for one in self.services]
        return f"Service {' and '.join(names)}" if len(names) < 3 else f"{len(names)} Services ({names[0]}, ...)"

    @cached_property
    def owners(self) -> list[tuple[Container, object]]:
        """The containers that answer the Services' ports, each with such a port."""
        found: dict[Path, tuple[Container, object]] = {}
        apps = [one for one in self.containers if not one.is_proxy] or self.containers
        for service in self.services:
            for row in rows(service.obj, "spec", "ports"):
                port = row.get("targetPort", row.get("port"))
                owner = next((one for one in [*self.containers, *self.sidecars] if one.owns(port)), None)
                if owner is None and len(apps) == 1:
                    owner = apps[0]
                if owner is not None and port_carries(row):
                    found.setdefault(owner.path, (owner, port))
        if not found and self.is_served and apps:
            found[apps[0].path] = (apps[0], None)
        return list(found.values())

    @cached_property
    def scalers(self) -> list[Source]:
        """HorizontalPodAutoscalers."""
        return self.joined.scalers_of(self.source)

    @cached_property
    def budgets(self) -> list[Source]:
        """PodDisruptionBudgets."""
        return self.joined.budgets_of(self.source)

    @cached_property
    def fronts(self) -> list[Source]:
        """Ingresses and routes in front of its Services."""
        return [front for service in self.all_services for front in self.joined.fronts_of(service)]

    # -- numbers -------------------------------------------------------------------------------------------------------

    @cached_property
    def n(self) -> int:
        """Effective replicas: what an autoscaler guarantees, else spec.replicas, else 1."""
        if self.scalers:
            return max(whole(part(one.obj, "spec"), "minReplicas", 1) for one in self.scalers)
        return whole(self.spec, "replicas", 1)

    @property
    def n_said(self) -> str:
        """Where n comes from."""
        if self.scalers:
            return f"minReplicas {self.n}"
        return f"replicas {self.n}" + ("" if "replicas" in self.spec else " (the default)")

    @cached_property
    def strategy_path(self) -> Path:
        """Where its rolling update stands."""
        if self.source.kind in {"StatefulSet", "DaemonSet"}:
            return ("spec", "updateStrategy", "rollingUpdate")
        if self.source.kind == "DeploymentConfig":
            return ("spec", "strategy", "rollingParams")
        return ("spec", "strategy", "rollingUpdate")

    @cached_property
    def strategy(self) -> str:
        """RollingUpdate, Recreate or OnDelete."""
        said = text(part(self.spec, self.strategy_path[1]), "type")  # type: ignore[arg-type]  # steps here are keys
        return {"Rolling": "RollingUpdate", "": "RollingUpdate"}.get(said, said)

    @cached_property
    def rolling(self) -> Obj:
        """maxSurge and maxUnavailable as written."""
        return part(self.source.obj, *(str(step) for step in self.strategy_path))

    @cached_property
    def surge(self) -> int:
        """maxSurge as a number of pods, rounded up (D2)."""
        said = share(self.rolling.get("maxSurge", "25%"), self.n, up=True)
        return said if said is not None else -(-self.n * 25 // 100)

    @cached_property
    def unavailable(self) -> int:
        """maxUnavailable as a number of pods, rounded down, 1 where both would be 0, at most all (D2)."""
        said = share(self.rolling.get("maxUnavailable", "25%"), self.n, up=False)
        found = said if said is not None else self.n * 25 // 100
        if found == 0 and self.surge == 0:
            found = 1
        return min(found, self.n)

    @cached_property
    def grace_s(self) -> int:
        """G: terminationGracePeriodSeconds."""
        return whole(self.pod, "terminationGracePeriodSeconds", 30)

    @cached_property
    def grace_said(self) -> str:
        """G in words."""
        default = "" if "terminationGracePeriodSeconds" in self.pod else " (the default)"
        return f"terminationGracePeriodSeconds {self.grace_s}{default}"

    @cached_property
    def propagation(self) -> Known:
        """P: how long clients go on sending new connections to a pod that is being ended."""
        said = seconds(self._annotation(PROPAGATION))
        if said is not None:
            return Known(value=said, is_said=True)
        key = "loadBalancerPropagationSeconds" if self.has_ip_targets else "propagationSeconds"
        return Known(value=self.settings.number(key), is_said=key in self.settings.known)

    @cached_property
    def longest(self) -> Known:
        """Q: the longest request."""
        return self._said(LONGEST, "longestRequestSeconds")

    @cached_property
    def start(self) -> Known:
        """How long a container needs before it answers."""
        return self._said(START, "startSeconds")

    @property
    def margin_s(self) -> float:
        """M."""
        return self.settings.number("marginSeconds")

    @property
    def p_s(self) -> int:
        """P in whole seconds, as manifests have them."""
        return math.ceil(self.propagation.value)

    @cached_property
    def own_drain_s(self) -> float | None:
        """How long the application itself goes on accepting after the stop signal, where that is said somewhere."""
        said = seconds(self._annotation(DRAIN))
        if said is not None:
            return said
        for container in self.containers:
            env = (f"{text(row, 'name')}={text(row, 'value')}" for row in rows(container.raw, "env"))
            for words in [*container.words, *env]:
                if found := _OWN_DRAIN.search(words):
                    return int(found[1]) * (60 if found[2] == "m" else 1)
        return self._lame_duck()

    def _lame_duck(self) -> float | None:
        for volume in rows(self.pod, "volumes"):
            name = text(part(volume, "configMap"), "name")
            config = self.joined.named("ConfigMap", name, self.source.namespace) if name else None
            if config is not None:
                for said in labels(config.obj, "data").values():
                    if found := re.search(r"\blameduck\s+(\d+)s", said):
                        return float(found[1])
        return None

    def waited_s(self, hook: PreStop) -> float | None:
        """S: how long a pod that is ended still accepts: preStop, then what the application waits by itself."""
        if hook.slept_s is None:
            return None
        return hook.slept_s + (self.own_drain_s or 0.0)

    @cached_property
    def has_ip_targets(self) -> bool:
        """Whether a cloud load balancer sends to pod addresses, past the node's rules."""
        for one in [*self.all_services, *self.fronts]:
            if any(one.annotation(key) == value for key, value in _IP_TARGETS):
                return True
            if '"ingress"' in one.annotation("cloud.google.com/neg") or "exposed_ports" in one.annotation(
                "cloud.google.com/neg"
            ):
                return True
        return False

    def _said(self, annotation: str, setting: str) -> Known:
        said = seconds(self._annotation(annotation))
        if said is not None:
            return Known(value=said, is_said=True)
        return Known(value=self.settings.number(setting), is_said=setting in self.settings.known)

    def _annotation(self, key: str) -> str:
        return self.source.annotation(key) or labels(self.spec, "template", "metadata", "annotations").get(key, "")

    # -- findings ------------------------------------------------------------------------------------------------------

    def change(self, path: Path, value: object) -> Change:
        """Put a value at a path of this workload."""
        return Change(source=self.source, path=path, value=value)

    def raised_grace(self, waited_s: float) -> tuple[Change, ...]:
        """The change that makes terminationGracePeriodSeconds long enough for S, nothing where it is already."""
        needed = self.needed_grace_s(waited_s)
        return () if self.grace_s >= needed else (self.change((*POD, "terminationGracePeriodSeconds"), needed),)

    def needed_grace_s(self, waited_s: float) -> int:
        """S + Q + M in whole seconds."""
        return math.ceil(waited_s + self.longest.value + self.margin_s)


def with_fix(finding: Finding, fix: Fix, **numbers: float | str) -> Finding:
    """The finding with its fix and the numbers used."""
    return replace(finding, fix=fix, numbers={**finding.numbers, **numbers})


def cases(joined: Joined, settings: Settings) -> Iterator[Case]:
    """Every workload of a set."""
    for source in joined.sources:
        if source.kind in {"Deployment", "StatefulSet", "DaemonSet", "DeploymentConfig"}:
            yield Case(source=source, joined=joined, settings=settings)


def counted(number: float, noun: str) -> str:
    """1 pod, 2 pods, 2.5 s."""
    shown = f"{number:g}"
    return f"{shown} {noun}" if noun == "s" or number == 1 else f"{shown} {noun}s"
