"""Typed, read-only views of what its own controller replaces pod by pod: StatefulSet, DaemonSet, their revisions.

Rule 1: a view holds what it was made from (`obj`) and never changes it.
Rule 2: the API says which version a pod is of by one label; a StatefulSet writes its revision's whole name there, a
DaemonSet only the hash in it. Nobody but this module knows that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from segue.model.objects import (
    Obj,
    copy_of,
    labels_of,
)
from segue.model.views import ObjectView, WorkloadView
from segue.model.workloads import Pod

STATEFUL_SET = "StatefulSet"
DAEMON_SET = "DaemonSet"
PLURALS = {STATEFUL_SET: "statefulsets", DAEMON_SET: "daemonsets"}
RELEASED = {"Deployment": "deployments", **PLURALS}  # all kinds whose pods segue replaces
REVISION_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Native(WorkloadView):
    """A StatefulSet or a DaemonSet as the API server stores it (defaults filled in)."""

    kind: str

    @property
    def said(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind} {self.name}"

    @property
    def lease(self) -> str:
        """What its Lease is named after: a Deployment may have the same name."""
        return f"{self.name}.{self.kind.lower()}"

    @property
    def template(self) -> Obj:
        """spec.template."""
        return cast("Obj", self.spec["template"])

    @property
    def pod_labels(self) -> dict[str, str]:
        """Labels of its template."""
        return labels_of(self.template)

    @property
    def desired(self) -> int:
        """How many pods there are to be: replicas, or the nodes that its controller has counted."""
        if self.kind == STATEFUL_SET:
            return int(self.spec.get("replicas", 1))
        return int(self.status.get("desiredNumberScheduled") or 0)

    @property
    def start(self) -> int:
        """spec.ordinals.start: the first ordinal."""
        return int((self.spec.get("ordinals") or {}).get("start") or 0)

    @property
    def strategy(self) -> Obj:
        """spec.updateStrategy."""
        return cast("Obj", self.spec.get("updateStrategy") or {})


def partition_of(strategy: Obj) -> int:
    """An updateStrategy's partition: so many of the lowest ordinals stay as they are."""
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def surge_of(strategy: Obj) -> int | str:
    """An updateStrategy's maxSurge, 0 where pods may not overlap on a node."""
    found: int | str = (strategy.get("rollingUpdate") or {}).get("maxSurge") or 0
    return 0 if found == "0%" else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision(ObjectView):
    """A ControllerRevision: one template that the workload has had."""

    @property
    def number(self) -> int:
        """Its number; going back to a template gives its revision a new one."""
        return int(self.obj.get("revision") or 0)

    @property
    def short(self) -> str:
        """The hash in its name, for people."""
        return self.name.rpartition("-")[2]

    @property
    def template(self) -> Obj:
        """The pod template that it keeps, without what Go's encoder adds."""
        kept: Obj = self.obj["data"]["spec"]["template"]
        return plain({key: value for key, value in kept.items() if key != "$patch"})

    def bears(self, pod: Pod) -> bool:
        """Whether a pod is of this version."""
        label = pod.labels.get(REVISION_LABEL, "")
        return bool(label) and label in {self.name, self.short}


def plain(template: Obj) -> Obj:
    """A template without keys that say nothing: null is what a typed encoder writes for a field that is not set."""
    copied = copy_of(template)
    _drop_nulls(copied)
    return copied


def _drop_nulls(value: object) -> None:
    if isinstance(value, dict):
        for key in [key for key, inner in value.items() if inner is None]:
            del value[key]
        for inner in value.values():
            _drop_nulls(inner)
    elif isinstance(value, list):
        for inner in value:
            _drop_nulls(inner)


def stop_sleep_s(template: Obj) -> float | None:
    """How long the preStop hooks of a template sleep, the shortest of its containers: 0.0 where one has none, None
    where a hook is of another kind, whose time nobody can read from here."""
    found: list[float | None] = []
    for container in (template.get("spec") or {}).get("containers") or []:
        hook: Mapping[str, Obj] = (container.get("lifecycle") or {}).get("preStop") or {}
        if not hook:
            found.append(0.0)
        elif "sleep" in hook:
            found.append(float(hook["sleep"].get("seconds") or 0))
        else:
            found.append(_slept_by(hook))
    if not found or 0.0 in found:
        return 0.0
    known = [each for each in found if each is not None]
    return min(known) if len(known) == len(found) else None


def _slept_by(hook: Mapping[str, Obj]) -> float | None:
    words = " ".join((hook.get("exec") or {}).get("command") or []).split()
    if len(words) >= 2 and words[-2].rpartition("/")[2] == "sleep":
        try:
            return float(words[-1].removesuffix("s"))
        except ValueError:
            return None
    return None
