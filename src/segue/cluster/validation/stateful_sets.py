"""What a StatefulSet and a ControllerRevision must hold. Reads one object, and the one it takes the place of."""

from __future__ import annotations

from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, shown, unsupported
from segue.cluster.validation.metadata import dns_label_causes
from segue.cluster.validation.workloads import negative_causes, selector_causes, share_causes, template_causes
from segue.model.objects import Obj, label_selector_matches

_POLICIES = ("OrderedReady", "Parallel")
_STANDING = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


def stateful_set_causes(obj: Obj) -> list[Cause]:
    """What is off in a StatefulSet."""
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    policy = spec.get("podManagementPolicy")
    if policy not in _POLICIES:
        causes.append(invalid_value("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    causes += _strategy_causes(spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for key in ("whenDeleted", "whenScaled"):
        if retention.get(key) not in {"Retain", "Delete"}:
            path = f"spec.persistentVolumeClaimRetentionPolicy.{key}"
            causes.append(unsupported(path, retention.get(key), ["Retain", "Delete"]))
    if spec.get("volumeClaimTemplates"):
        # Nothing here binds a claim: a pod that waited for one would wait for ever.
        detail = "this cluster has no persistent volumes; use an emptyDir volume in the template"
        causes.append(forbidden_field("spec.volumeClaimTemplates", detail))
    causes += negative_causes(spec, "replicas", "minReadySeconds")
    causes += negative_causes({"ordinals.start": (spec.get("ordinals") or {}).get("start")}, "ordinals.start")
    if spec.get("serviceName"):
        causes += dns_label_causes(spec["serviceName"], "spec.serviceName")
    return causes + _selector_causes(spec) + template_causes(spec, "StatefulSet")


def stateful_set_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """What stands from the beginning: selector, claims, Service name and pod management."""
    old, new = before["spec"], obj["spec"]
    return [
        invalid_value(f"spec.{key}", new.get(key), "field is immutable")
        for key in _STANDING
        if (old.get(key) or None) != (new.get(key) or None)
    ]


def controller_revision_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """A revision's data stands."""
    if obj.get("data") == before.get("data"):
        return []
    return [invalid_value("data", obj.get("data"), "field is immutable")]


def _selector_causes(spec: Obj) -> list[Cause]:
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    causes = [required("spec.selector")] if selector is None else selector_causes(selector, "spec.selector")
    faulty = bool(causes)
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(invalid_value("spec.selector", selector, "empty selector is invalid for statefulset"))
    elif selector is None or (not faulty and not label_selector_matches(selector, labels)):
        detail = "`selector` does not match template `labels`"
        causes.append(invalid_value("spec.template.metadata.labels", labels, detail))
    return causes


def _strategy_causes(strategy: Obj) -> list[Cause]:
    path, kind, rolling = "spec.updateStrategy", strategy.get("type"), strategy.get("rollingUpdate")
    match kind:
        case "OnDelete" if rolling is not None:
            unavailable = shown(rolling.get("maxUnavailable"))
            value = f'{{"Partition":{rolling.get("partition", 0)},"MaxUnavailable":{unavailable}}}'
            message = f"Invalid value: {value}: only allowed for updateStrategy 'RollingUpdate'"
            return [Cause(reason="FieldValueInvalid", field=f"{path}.rollingUpdate", message=message)]
        case "OnDelete":
            return []
        case "RollingUpdate":
            return _rolling_causes(rolling or {}, f"{path}.rollingUpdate")
        case _:
            value = f'{{"Type":{shown(kind)},"RollingUpdate":{shown(rolling)}}}'
            message = f"Invalid value: {value}: must be 'RollingUpdate' or 'OnDelete'"
            return [Cause(reason="FieldValueInvalid", field=path, message=message)]


def _rolling_causes(rolling: Obj, path: str) -> list[Cause]:
    causes = negative_causes(rolling, "partition", path=path)
    amount, where = rolling.get("maxUnavailable"), f"{path}.maxUnavailable"
    if amount is None:
        return causes
    faults = share_causes(amount, where)
    percent = int(amount.removesuffix("%")) if isinstance(amount, str) and not faults else None
    causes += faults
    if (isinstance(amount, str) and not percent) or amount == 0:
        causes.append(invalid_value(where, amount, "cannot be 0"))
    if percent is not None and percent > 100:
        causes.append(invalid_value(where, amount, "must not be greater than 100%"))
    return causes
