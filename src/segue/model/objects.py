"""Kubernetes objects as they travel: plain JSON, and the few questions every room asks of them.

Rule 1: an object that a store or a snapshot holds is never changed in place; copy first (`copy_of`).
Rule 2: nothing here knows a kind in particular; typed views of workloads live in `workloads`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias, cast

Obj: TypeAlias = dict[str, Any]  # type: ignore[explicit-any]  # raw Kubernetes JSON: its shape is checked at the API by field tables


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ref:
    """One object: `resource` is the plural with its group ("pods", "deployments.apps")."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.namespace}/{self.name}" if self.namespace else f"{self.resource}/{self.name}"


def copy_of(obj: Obj) -> Obj:
    """A deep copy that may be changed, but for its managedFields: nobody changes those in place, and they are long."""
    owners = obj.get("metadata", {}).get("managedFields")
    return copy.deepcopy(obj, {id(owners): owners} if owners else None)


def name_of(obj: Obj) -> str:
    """metadata.name, or "" where there is none yet."""
    return cast("str", obj.get("metadata", {}).get("name") or "")


def namespace_of(obj: Obj) -> str:
    """metadata.namespace, "" for cluster-scoped objects."""
    return cast("str", obj.get("metadata", {}).get("namespace") or "")


def uid_of(obj: Obj) -> str:
    """metadata.uid, or ""."""
    return cast("str", obj.get("metadata", {}).get("uid") or "")


def version_of(obj: Obj) -> str:
    """metadata.resourceVersion, or ""."""
    return cast("str", obj.get("metadata", {}).get("resourceVersion") or "")


def labels_of(obj: Obj) -> dict[str, str]:
    """metadata.labels, {} where there are none."""
    return cast("dict[str, str]", obj.get("metadata", {}).get("labels") or {})


def annotations_of(obj: Obj) -> dict[str, str]:
    """metadata.annotations, {} where there are none."""
    return cast("dict[str, str]", obj.get("metadata", {}).get("annotations") or {})


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference with `controller: true`, or None."""
    for owner in obj.get("metadata", {}).get("ownerReferences") or []:
        if owner.get("controller"):
            return cast("Obj", owner)
    return None


def is_terminating(obj: Obj) -> bool:
    """Whether metadata.deletionTimestamp is set (T1)."""
    return bool(obj.get("metadata", {}).get("deletionTimestamp"))


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a plain label map (Service.spec.selector) selects these labels; an empty one selects nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def label_selector_matches(selector: Obj, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (matchLabels and matchExpressions) matches these labels; an empty one matches all."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _expression_holds(expression: Obj, labels: Mapping[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    values: list[str | None] = expression.get("values") or []
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def condition_of(obj: Obj, kind: str) -> Obj | None:
    """status.conditions[type=kind], or None."""
    for condition in obj.get("status", {}).get("conditions") or []:
        if condition.get("type") == kind:
            return cast("Obj", condition)
    return None


def is_ready(pod: Obj) -> bool:
    """Whether a pod's Ready condition is True."""
    condition = condition_of(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def rfc3339(at_s: float) -> str:
    """Kubernetes' metav1.Time: whole seconds in UTC."""
    return _rfc3339(int(at_s))


@lru_cache(maxsize=64)  # what happens at the same time is written often in the same second
def _rfc3339(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(at_s: float) -> str:
    """Kubernetes' metav1.MicroTime."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()
