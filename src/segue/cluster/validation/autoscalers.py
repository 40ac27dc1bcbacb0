"""What a HorizontalPodAutoscaler must hold. Reads one object."""

from __future__ import annotations

from collections.abc import Callable

from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, unsupported
from segue.model.objects import Obj
from segue.model.quantities import quantity

_WINDOW_MAX_S, _PERIOD_MAX_S = 3600, 1800
_POLICIES, _CHOICES = ["Percent", "Pods"], ["Disabled", "Max", "Min"]
_EITHER = "must set either a target raw value or a target utilization"
_NOT_BOTH = "may not set both a target raw value and a target utilization"


def autoscaler_causes(obj: Obj) -> list[Cause]:
    """What is off in an autoscaler."""
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    causes = []
    if least is not None and least < 0:
        causes.append(invalid_value("spec.minReplicas", least, "must be greater than or equal to 0"))
    if most == 0:
        causes.append(required("spec.maxReplicas"))
    elif most < 0:
        causes.append(invalid_value("spec.maxReplicas", most, "must be greater than or equal to 1"))
    if least is not None and most < least:
        causes.append(invalid_value("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    causes += _reference_causes("spec.scaleTargetRef", target)
    if "/" not in (target.get("apiVersion") or "") and target.get("kind") != "ReplicationController":
        words = "apiVersion must specify API group"
        causes.append(invalid_value("spec.scaleTargetRef.apiVersion", target.get("apiVersion", ""), words))
    metrics = spec.get("metrics") or []
    for index, metric in enumerate(metrics):
        causes += _metric_causes(f"spec.metrics[{index}]", metric)
    if least == 0 and not any(metric.get("type") in {"Object", "External"} for metric in metrics):
        words = "must specify at least one Object or External metric to support scaling to zero replicas"
        causes.append(forbidden_field("spec.metrics", words))
    behavior = spec.get("behavior") or {}
    for way in ("scaleUp", "scaleDown"):
        if behavior.get(way) is not None:
            causes += _rules_causes(f"spec.behavior.{way}", behavior[way])
    return causes


def _reference_causes(path: str, reference: Obj) -> list[Cause]:
    return [required(f"{path}.{key}") for key in ("kind", "name") if not reference.get(key)]


def _rules_causes(path: str, rules: Obj) -> list[Cause]:
    causes = []
    window = rules.get("stabilizationWindowSeconds")
    field = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        causes.append(invalid_value(field, window, "must be greater than or equal to zero"))
    if window is not None and window > _WINDOW_MAX_S:
        causes.append(invalid_value(field, window, f"must be less than or equal to {_WINDOW_MAX_S}"))
    choice = rules.get("selectPolicy")
    if choice is not None and choice not in _CHOICES:
        causes.append(unsupported(f"{path}.selectPolicy", choice, _CHOICES))
    policies = rules.get("policies") or []
    if not policies:
        causes.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        causes += _policy_causes(f"{path}.policies[{index}]", policy)
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity(tolerance) < 0:
        causes.append(invalid_value(f"{path}.tolerance", str(tolerance), "must be greater than or equal to 0"))
    return causes


def _policy_causes(path: str, policy: Obj) -> list[Cause]:
    causes = []
    if policy.get("type") not in _POLICIES:
        causes.append(unsupported(f"{path}.type", policy.get("type", ""), _POLICIES))
    value, period = policy.get("value") or 0, policy.get("periodSeconds") or 0
    if value <= 0:
        causes.append(invalid_value(f"{path}.value", value, "must be greater than zero"))
    if period <= 0:
        causes.append(invalid_value(f"{path}.periodSeconds", period, "must be greater than zero"))
    if period > _PERIOD_MAX_S:
        causes.append(invalid_value(f"{path}.periodSeconds", period, f"must be less than or equal to {_PERIOD_MAX_S}"))
    return causes


def _metric_causes(path: str, metric: Obj) -> list[Cause]:
    kind = metric.get("type") or ""
    causes = [] if kind else [required(f"{path}.type", "must specify a metric source type")]
    if kind not in _SOURCES:
        causes.append(unsupported(f"{path}.type", kind, list(_SOURCES)))
    keys = {name: name[0].lower() + name[1:] for name in _SOURCES}
    present = [
        name for name in ("Object", "External", "Pods", "Resource", "ContainerResource") if metric.get(keys[name])
    ]
    if present:
        causes += _SOURCES[present[0]](f"{path}.{keys[present[0]]}", metric[keys[present[0]]])
    if kind in _SOURCES and kind not in present:
        causes.append(required(f"{path}.{keys[kind]}", "must populate information for the given metric source"))
    if len(present) != 1:
        others = [keys[name] for name in present if name != kind]
        causes += [forbidden_field(f"{path}.{key}", "must populate the given metric source only") for key in others]
    return causes


def _resource_causes(path: str, source: Obj) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name", "must specify a resource name")]
    if path.endswith(".containerResource") and not source.get("container"):
        causes.append(required(f"{path}.container", "must specify a container"))
    target = source.get("target") or {}
    causes += _target_causes(f"{path}.target", target)
    given = [key for key in ("averageUtilization", "averageValue") if target.get(key) is not None]
    if not given:
        causes.append(required(f"{path}.target.averageUtilization", _EITHER))
    elif len(given) == 2:
        causes.append(forbidden_field(f"{path}.target.averageValue", _NOT_BOTH))
    return causes


def _pods_causes(path: str, source: Obj) -> list[Cause]:
    causes = _named_causes(path, source)
    if (source.get("target") or {}).get("averageValue") is None:
        causes.append(required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
    return causes


def _object_causes(path: str, source: Obj) -> list[Cause]:
    causes = _reference_causes(f"{path}.describedObject", source.get("describedObject") or {})
    causes += _named_causes(path, source)
    target = source.get("target") or {}
    if target.get("value") is None and target.get("averageValue") is None:
        causes.append(required(f"{path}.target.averageValue", "must set either a target value or averageValue"))
    return causes


def _external_causes(path: str, source: Obj) -> list[Cause]:
    causes = _named_causes(path, source)
    target = source.get("target") or {}
    given = [key for key in ("value", "averageValue") if target.get(key) is not None]
    if not given:
        words = "must set either a target value for metric or a per-pod target"
        causes.append(required(f"{path}.target.averageValue", words))
    elif len(given) == 2:
        words = "may not set both a target value for metric and a per-pod target"
        causes.append(forbidden_field(f"{path}.target.value", words))
    return causes


def _named_causes(path: str, source: Obj) -> list[Cause]:
    name = (source.get("metric") or {}).get("name")
    causes = [] if name else [required(f"{path}.metric.name", "must specify a metric name")]
    return causes + _target_causes(f"{path}.target", source.get("target") or {})


def _target_causes(path: str, target: Obj) -> list[Cause]:
    kind = target.get("type") or ""
    causes = [] if kind else [required(f"{path}.type", "must specify a metric target type")]
    if kind not in {"Utilization", "Value", "AverageValue"}:
        causes.append(invalid_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    causes += [
        invalid_value(f"{path}.{key}", str(target[key]), "must be positive")
        for key in ("value", "averageValue")
        if target.get(key) is not None and quantity(target[key]) <= 0
    ]
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        causes.append(invalid_value(f"{path}.averageUtilization", share, "must be greater than 0"))
    return causes


_SOURCES: dict[str, Callable[[str, Obj], list[Cause]]] = {
    "ContainerResource": _resource_causes,
    "External": _external_causes,
    "Object": _object_causes,
    "Pods": _pods_causes,
    "Resource": _resource_causes,
}
