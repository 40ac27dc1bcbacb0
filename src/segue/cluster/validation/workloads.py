"""What Deployments, ReplicaSets and their kin must hold. Reads one object, and the one it takes the place of."""

from __future__ import annotations

import base64
import math
import re

from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, unsupported
from segue.cluster.validation.metadata import label_causes
from segue.cluster.validation.pods import deletion_cost_causes, lasting_pod_causes, pod_spec_causes
from segue.model.objects import Obj, label_selector_matches

_NOT_NEGATIVE = "must be greater than or equal to 0"
_OPERATORS = ["DoesNotExist", "Exists", "In", "NotIn"]
_PERCENT = re.compile("[0-9]+%")
_PERCENT_WORDS = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)


def deployment_causes(obj: Obj) -> list[Cause]:
    """What is off in a Deployment."""
    spec = obj.get("spec") or {}
    causes = workload_causes(obj)
    causes += _strategy_causes(spec.get("strategy") or {}, spec.get("replicas", 1))
    ready, deadline = spec.get("minReadySeconds", 0), spec.get("progressDeadlineSeconds")
    if deadline is not None:
        if deadline < 0:
            causes.append(invalid_value("spec.progressDeadlineSeconds", deadline, _NOT_NEGATIVE))
        if deadline <= ready:  # D13
            detail = "must be greater than minReadySeconds"
            causes.append(invalid_value("spec.progressDeadlineSeconds", deadline, detail))
    return causes


def replica_set_causes(obj: Obj) -> list[Cause]:
    """What is off in a ReplicaSet; its template may stay away (it may be given later)."""
    return workload_causes(obj)


def workload_causes(obj: Obj) -> list[Cause]:
    """What holds for all that own pods by a selector and a template."""
    spec = obj.get("spec") or {}
    causes = negative_causes(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is None:
        causes.append(required("spec.selector"))
    else:
        faults = selector_causes(selector, "spec.selector")
        causes += faults
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            kind = obj.get("kind", "workload").lower()
            causes.append(invalid_value("spec.selector", selector, f"empty selector is invalid for {kind}"))
        elif not faults and not label_selector_matches(selector, labels):
            detail = "`selector` does not match template `labels`"
            causes.append(invalid_value("spec.template.metadata.labels", labels, detail))
    return causes + template_causes(spec, "ReplicaSet")


def template_causes(spec: Obj, owner: str) -> list[Cause]:
    """What is off in the template of pods that are to run for ever; `owner` is the kind that keeps them."""
    template = spec.get("template") or {}
    causes = label_causes((template.get("metadata") or {}).get("labels") or {}, "spec.template.labels")
    causes += deletion_cost_causes(template.get("metadata") or {}, "spec.template")
    inner, path = template.get("spec") or {}, "spec.template.spec"
    return causes + pod_spec_causes(inner, path) + lasting_pod_causes(inner, path, owner)


def negative_causes(spec: Obj, *keys: str, path: str = "spec") -> list[Cause]:
    """Numbers that may not be below zero."""
    return [
        invalid_value(f"{path}.{key}", spec[key], _NOT_NEGATIVE)
        for key in keys
        if spec.get(key) is not None and spec[key] < 0
    ]


def workload_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """D16: a selector stands."""
    old, new = before["spec"].get("selector"), obj["spec"].get("selector")
    return [] if old == new else [invalid_value("spec.selector", new, "field is immutable")]


def secret_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """A Secret's type stands; an immutable one stands as a whole."""
    causes = config_map_update_causes(obj, before)
    if obj.get("type") != before.get("type"):
        causes.append(invalid_value("type", obj.get("type"), "field is immutable"))
    return causes


def config_map_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """An immutable ConfigMap's data stands."""
    if not before.get("immutable"):
        return []
    if not obj.get("immutable"):
        return [forbidden_field("immutable", "field is immutable when `immutable` is set")]
    return [
        forbidden_field(key, "field is immutable when `immutable` is set")
        for key in ("data", "binaryData")
        if obj.get(key) != before.get(key)
    ]


def secret_causes(obj: Obj) -> list[Cause]:
    """A Secret's data is base64."""
    causes: list[Cause] = []
    for key, value in (obj.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            causes.append(invalid_value(f"data[{key}]", "<secret contents redacted>", "must be base64"))
    return causes


def lease_causes(obj: Obj) -> list[Cause]:
    """A Lease's numbers."""
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        causes.append(invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if spec.get("leaseTransitions", 0) < 0:
        causes.append(invalid_value("spec.leaseTransitions", spec["leaseTransitions"], _NOT_NEGATIVE))
    return causes


def budget_causes(obj: Obj) -> list[Cause]:
    """A PodDisruptionBudget names one bound, not both."""
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        return [invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
    return []


def selector_causes(selector: Obj, path: str) -> list[Cause]:
    """What is off in a LabelSelector."""
    causes = label_causes(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or []):
        where = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator"), expression.get("values") or []
        if operator in {"In", "NotIn"} and not values:
            causes.append(required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in {"Exists", "DoesNotExist"} and values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden_field(f"{where}.values", detail))
        elif operator not in _OPERATORS:
            causes.append(invalid_value(f"{where}.operator", operator or "", "not a valid selector operator"))
        if not expression.get("key"):
            causes.append(required(f"{where}.key"))
    return causes


def _strategy_causes(strategy: Obj, replicas: int) -> list[Cause]:
    path = "spec.strategy"
    match strategy.get("type"):
        case "Recreate":
            if strategy.get("rollingUpdate") is not None:
                detail = "may not be specified when strategy `type` is 'Recreate'"
                return [forbidden_field(f"{path}.rollingUpdate", detail)]
            return []
        case "RollingUpdate":
            rolling = strategy.get("rollingUpdate") or {}
        case other:
            return [unsupported(f"{path}.type", other or "", ["Recreate", "RollingUpdate"])]
    causes: list[Cause] = []
    for key in ("maxUnavailable", "maxSurge"):
        causes += share_causes(rolling.get(key, 0), f"{path}.rollingUpdate.{key}")
    if not causes:
        unavailable = rolling.get("maxUnavailable", 0)
        if isinstance(unavailable, str) and int(unavailable[:-1]) > 100:
            causes.append(
                invalid_value(f"{path}.rollingUpdate.maxUnavailable", unavailable, "must not be greater than 100%")
            )
        if _literal(unavailable) == 0 and _literal(rolling.get("maxSurge", 0)) == 0:  # D2
            detail = "may not be 0 when `maxSurge` is 0"
            causes.append(invalid_value(f"{path}.rollingUpdate.maxUnavailable", unavailable, detail))
    return causes


def share_causes(value: object, path: str) -> list[Cause]:
    """A number of pods, or a percentage."""
    if isinstance(value, str):
        return [] if _PERCENT.fullmatch(value) else [invalid_value(path, value, _PERCENT_WORDS)]
    if isinstance(value, int) and value < 0:
        return [invalid_value(path, value, _NOT_NEGATIVE)]
    return []


def _literal(value: object) -> int:
    """A share's number as it is written: "25%" is 25, not a count of pods (literal 0/0 is refused, D2)."""
    if isinstance(value, str):
        return int(value[:-1])
    return math.floor(value) if isinstance(value, int | float) else 0
