"""How much one object counts for in a quota, and in which quotas. Functions of objects; nothing is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from segue.cluster.kinds import KINDS, kind_of
from segue.cluster.quotas.amounts import ONE, Amount, Amounts, added, amounts, larger, total
from segue.model.objects import Obj

RESOURCE = "resourcequotas"
# Counted under their plain name, too, as they were before `count/` came.
_BY_NAME = {"configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets"}
_BY_NAME |= {"services"}
_OF_SERVICES = {"services.loadbalancers", "services.nodeports"}
COMPUTE = ("cpu", "memory", "ephemeral-storage")
OF_PODS = frozenset({"pods", *COMPUTE, *(f"{of}.{name}" for of in ("requests", "limits") for name in COMPUTE)})
COUNTED = frozenset(
    {f"count/{kind.resource}" for kind in KINDS if kind.namespaced} | _BY_NAME | _OF_SERVICES | OF_PODS
) | {"requests.storage"}
_STORAGE_OF_CLASS = ".storageclass.storage.k8s.io/"


def is_counted(name: str) -> bool:
    """Whether a quota's resource is one that is counted here; others are kept without a figure."""
    return name in COUNTED or (name.startswith("requests.") and "/" in name) or _STORAGE_OF_CLASS in name


def usage_of(resource: str, obj: Obj) -> Amounts:
    """What the object counts for."""
    counted: Amounts = {f"count/{kind_of(resource).resource}": ONE}
    match resource:
        case "pods":
            if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                return counted
            return counted | {"pods": ONE} | _of_pod(obj["spec"])
        case "services":
            return counted | {"services": ONE} | _of_service(obj["spec"])
        case "persistentvolumeclaims":
            return counted | {resource: ONE} | _of_claim(obj.get("spec") or {})
        case _:
            return counted | ({resource: ONE} if resource in _BY_NAME else {})


def counts_in(quota: Obj, resource: str, obj: Obj) -> bool:
    """Whether the quota is about this object at all: its scopes choose among pods."""
    spec = quota["spec"]
    wanted: list[tuple[str, str, list[str]]] = [(scope, "Exists", []) for scope in spec.get("scopes") or []]
    wanted += [
        (each["scopeName"], each["operator"], each.get("values") or [])
        for each in (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    ]
    return not wanted or (resource == "pods" and all(_in_scope(obj["spec"], *each) for each in wanted))


def unnamed(quota: Obj, pod: Obj) -> dict[str, list[str]]:
    """What the quota limits and the pod's containers leave open: resource to names of containers."""
    spec = pod["spec"]
    found: dict[str, list[str]] = {}
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        given = _named(container.get("resources") or {})
        for name in sorted((quota["spec"].get("hard") or {}).keys() & (OF_PODS - {"pods"})):
            if name not in given:
                found.setdefault(name, []).append(container["name"])
    return found


def _named(resources: Obj) -> Amounts:
    """Requests under their two names, limits under theirs."""
    requests, limits = amounts(resources.get("requests") or {}), amounts(resources.get("limits") or {})
    named: Amounts = {}
    for name, value in requests.items():
        if name in COMPUTE:
            named[name] = value
        named[f"requests.{name}"] = value
    return named | {f"limits.{name}": value for name, value in limits.items() if name in COMPUTE}


def _of_pod(spec: Obj) -> Amounts:
    """What its containers ask for together, or the largest that runs before them."""
    running = total(_each(spec.get("containers")))
    started: Amounts = {}
    beside: Amounts = {}
    for container in spec.get("initContainers") or []:
        own = _named(container.get("resources") or {})
        if container.get("restartPolicy") == "Always":  # a sidecar stays for good
            running, beside = added(running, own), added(beside, own)
            started = larger(started, beside)
        else:
            started = larger(started, added(beside, own))
    overhead = _named({"requests": spec.get("overhead") or {}, "limits": spec.get("overhead") or {}})
    return added(larger(running, started), overhead)


def _each(containers: Iterable[Obj] | None) -> Iterator[Amounts]:
    for container in containers or []:
        yield _named(container.get("resources") or {})


def _of_service(spec: Obj) -> Amounts:
    ports = spec.get("ports") or []
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": Amount(Decimal(len(ports)))}
        case "LoadBalancer":
            given = [port for port in ports if spec.get("allocateLoadBalancerNodePorts", True) or port.get("nodePort")]
            return {"services.nodeports": Amount(Decimal(len(given))), "services.loadbalancers": ONE}
        case _:
            return {}


def _of_claim(spec: Obj) -> Amounts:
    storage = amounts((spec.get("resources") or {}).get("requests") or {}).get("storage")
    storage_class = spec.get("storageClassName")
    found: Amounts = {"requests.storage": storage} if storage is not None else {}
    if storage_class:
        found[f"{storage_class}{_STORAGE_OF_CLASS}persistentvolumeclaims"] = ONE
        if storage is not None:
            found[f"{storage_class}{_STORAGE_OF_CLASS}requests.storage"] = storage
    return found


def _in_scope(spec: Obj, scope: str, operator: str, values: list[str]) -> bool:
    match scope:
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _is_best_effort(spec)
        case "NotBestEffort":
            return not _is_best_effort(spec)
        case "PriorityClass":
            given = spec.get("priorityClassName") or ""
            return {
                "Exists": bool(given),
                "DoesNotExist": not given,
                "In": given in values,
                "NotIn": given not in values,
            }[operator]
        case _:  # CrossNamespacePodAffinity: pods here have none
            return False


def _is_best_effort(spec: Obj) -> bool:
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return not any(
        (container.get("resources") or {}).get(kind) for container in containers for kind in ("requests", "limits")
    )
