"""What a DaemonSet must hold. Reads one object."""

from __future__ import annotations

from segue.cluster.refusals import Cause, invalid_value, required, shown
from segue.cluster.validation.workloads import negative_causes, selector_causes, share_causes, template_causes
from segue.model.objects import Obj, label_selector_matches


def daemon_set_causes(obj: Obj) -> list[Cause]:
    """What is off in a DaemonSet."""
    spec = obj.get("spec") or {}
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    causes = selector_causes(selector or {}, "spec.selector")
    if selector is None or (not causes and not label_selector_matches(selector, labels)):
        detail = "`selector` does not match template `labels`"
        causes.append(invalid_value("spec.template.metadata.labels", labels, detail))
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.append(invalid_value("spec.selector", selector, "empty selector is invalid for daemonset"))
    causes += template_causes(spec, "DaemonSet")
    causes += negative_causes(spec, "minReadySeconds", "revisionHistoryLimit")
    return causes + _strategy_causes(spec.get("updateStrategy") or {})


def _strategy_causes(strategy: Obj) -> list[Cause]:
    match strategy.get("type"):
        case "OnDelete":
            return []
        case "RollingUpdate":
            return _rolling_causes(strategy.get("rollingUpdate") or {}, "spec.updateStrategy.rollingUpdate")
        case other:
            value = f'{{"Type":{shown(other)},"RollingUpdate":{shown(strategy.get("rollingUpdate"))}}}'
            message = f'Unsupported value: {value}: supported values: "RollingUpdate", "OnDelete"'
            return [Cause(reason="FieldValueNotSupported", field="spec.updateStrategy", message=message)]


def _rolling_causes(rolling: Obj, path: str) -> list[Cause]:
    """Either pods may be away or there may be more of them, not both and not neither."""
    causes: list[Cause] = []
    numbers: dict[str, int] = {}
    for key in ("maxUnavailable", "maxSurge"):
        amount = rolling.get(key, 0)
        faults = share_causes(amount, f"{path}.{key}")
        causes += faults
        numbers[key] = 0
        if isinstance(amount, int):
            numbers[key] = amount
        elif not faults:
            numbers[key] = int(amount.removesuffix("%"))
            if numbers[key] > 100:
                causes.append(invalid_value(f"{path}.{key}", amount, "must not be greater than 100%"))
    if numbers["maxUnavailable"] and numbers["maxSurge"]:
        detail = "may not be set when maxUnavailable is non-zero"
        causes.append(invalid_value(f"{path}.maxSurge", rolling["maxSurge"], detail))
    elif not numbers["maxUnavailable"] and not numbers["maxSurge"]:
        causes.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return causes
