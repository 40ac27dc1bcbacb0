"""The scale subresource: the autoscaling/v1 Scale of a workload, and the workload with other replicas. Never writes."""

from __future__ import annotations

from segue.cluster.kinds import Kind
from segue.model.objects import Obj, copy_of

SCALE = Kind(group="autoscaling", version="v1", plural="scales", kind="Scale", model="autoscaling_v1.Scale")


def scale_of(obj: Obj) -> Obj:
    """The Scale of a workload."""
    metadata = {
        key: obj["metadata"][key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in obj["metadata"]
    }
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": selector_text(obj["spec"].get("selector") or {}),
        },
    }


def with_replicas(obj: Obj, scale: Obj) -> Obj:
    """A copy of the workload with the Scale's replicas; its resourceVersion guards the write."""
    changed = copy_of(obj)
    changed["spec"]["replicas"] = (scale.get("spec") or {}).get("replicas") or 0
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        changed["metadata"]["resourceVersion"] = version
    return changed


def selector_text(selector: Obj) -> str:
    """A selector in the words of a query: `app=x,tier in (a,b),!old`."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
        match expression["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case _:
                parts.append(f"!{key}")
    return ",".join(parts)
