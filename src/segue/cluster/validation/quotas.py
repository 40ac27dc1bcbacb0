"""What a ResourceQuota must be."""

from __future__ import annotations

from segue.cluster.quotas.amounts import amount
from segue.cluster.quotas.usage import COUNTED, OF_PODS
from segue.cluster.refusals import Cause, invalid_value
from segue.model.objects import Obj

_SCOPES = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"}
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_MEASURED = OF_PODS - {"pods"} | {"requests.storage"}  # all others are counted in whole numbers


def quota_causes(quota: Obj) -> list[Cause]:
    """Why this quota may not be."""
    spec = quota.get("spec") or {}
    causes: list[Cause] = []
    for name, text in sorted((spec.get("hard") or {}).items()):
        causes += _limit_causes(f"spec.hard[{name}]", name, text)
    return causes + _scope_causes(spec)


def _limit_causes(field: str, name: str, text: str) -> list[Cause]:
    if name not in COUNTED and "/" not in name:
        return [
            invalid_value(field, name, "must be a standard resource type or fully qualified"),
            invalid_value(field, name, "must be a standard resource for quota"),
        ]
    limit = amount(text)
    if limit.value < 0:
        return [invalid_value(field, str(text), "must be greater than or equal to 0")]
    if name in COUNTED - _MEASURED and limit.value != int(limit.value):
        return [invalid_value(field, str(limit), "must be an integer")]
    return []


def _scope_causes(spec: Obj) -> list[Cause]:
    scopes = spec.get("scopes") or []
    if any(scope not in _SCOPES for scope in scopes):
        return [invalid_value("spec.scopes", scopes, "unsupported scope")]
    causes = [
        invalid_value("spec.scopes", scopes, "unsupported scope applied to resource")
        for name in sorted(spec.get("hard") or {})
        if scopes and not (name == "pods" or (name in OF_PODS and "BestEffort" not in scopes))
    ]
    if any(pair <= set(scopes) for pair in _OPPOSITES):
        causes.append(invalid_value("spec.scopes", scopes, "conflicting scopes"))
    return causes
