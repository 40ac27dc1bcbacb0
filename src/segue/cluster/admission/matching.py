"""Which requests a policy or a binding is about: rules of resources and operations, selectors. Functions of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from segue.cluster.kinds import Kind
from segue.model.objects import Obj, label_selector_matches, labels_of

Operation: TypeAlias = Literal["CREATE", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One write that policies are asked about; `obj` is None for a deletion, `old` None for a creation."""

    kind: Kind  # of the object: for a scale that of the Scale
    resource: Kind  # whose path the call names
    subresource: str
    operation: Operation
    namespace: str
    name: str
    obj: Obj | None
    old: Obj | None
    user: Obj
    dry_run: bool
    options: Obj | None = None  # as the caller wrote them

    def told(self) -> Obj:
        """The variable `request` of expressions."""
        kind = {"group": self.kind.group, "version": self.kind.version, "kind": self.kind.kind}
        resource = {
            "group": self.resource.group,
            "version": self.resource.version,
            "resource": self.resource.plural,
        }
        return {
            "kind": kind,
            "resource": resource,
            "subResource": self.subresource,
            "requestKind": kind,
            "requestResource": resource,
            "requestSubResource": self.subresource,
            "name": self.name,
            "namespace": self.namespace,
            "operation": self.operation,
            "userInfo": self.user,
            "dryRun": self.dry_run,
            "options": self.options,
        }


def matches(constraints: Obj, request: Request, namespace: Obj | None) -> bool:
    """Whether the request is one of those that matchConstraints (or matchResources) name."""
    rules = constraints.get("resourceRules")
    if rules and not any(_rule_matches(rule, request) for rule in rules):
        return False
    if any(_rule_matches(rule, request) for rule in constraints.get("excludeResourceRules") or []):
        return False
    return _in_namespace(constraints.get("namespaceSelector") or {}, request, namespace) and _labelled(
        constraints.get("objectSelector") or {}, request
    )


def _rule_matches(rule: Obj, request: Request) -> bool:
    resource = request.resource
    names = rule.get("resourceNames")
    return (
        _has(rule.get("operations"), request.operation)
        and _has(rule.get("apiGroups"), resource.group)
        and _has(rule.get("apiVersions"), resource.version)
        and any(_resource_matches(one, request) for one in rule.get("resources") or [])
        and rule.get("scope", "*") in {"*", "Namespaced" if resource.namespaced else "Cluster"}
        and (not names or request.name in names)
    )


def _resource_matches(pattern: str, request: Request) -> bool:
    resource, _, subresource = pattern.partition("/")
    return resource in {"*", request.resource.plural} and subresource in _all_of(request.subresource)


def _all_of(subresource: str) -> set[str]:
    return {"*", subresource}


def _has(values: list[str] | None, wanted: str) -> bool:
    return values is not None and (wanted in values or "*" in values)


def _in_namespace(selector: Obj, request: Request, namespace: Obj | None) -> bool:
    if request.resource.plural == "namespaces":
        labels: Mapping[str, str] = labels_of(request.obj or request.old or {})
    elif namespace is None:
        return True  # what lies in no namespace is not chosen by namespaces
    else:
        labels = labels_of(namespace)
    return label_selector_matches(selector, labels)


def _labelled(selector: Obj, request: Request) -> bool:
    """Whether the object's labels fit, or those it had."""
    states = [labels_of(state) for state in (request.obj, request.old) if state is not None]
    return any(label_selector_matches(selector, labels) for labels in states)
