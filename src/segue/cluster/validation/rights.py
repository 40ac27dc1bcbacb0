"""What roles and their bindings must be."""

from __future__ import annotations

from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, unsupported
from segue.model.objects import Obj

_GROUP = "rbac.authorization.k8s.io"
_GROUP_OF = {"ServiceAccount": "", "User": _GROUP, "Group": _GROUP}


def role_causes(role: Obj) -> list[Cause]:
    """Why this Role may not be."""
    return _rules(role, namespaced=True)


def cluster_role_causes(role: Obj) -> list[Cause]:
    """Why this ClusterRole may not be."""
    return _rules(role, namespaced=False)


def binding_causes(binding: Obj) -> list[Cause]:
    """Why this RoleBinding may not be."""
    return _binding(binding, ("Role", "ClusterRole"))


def cluster_binding_causes(binding: Obj) -> list[Cause]:
    """Why this ClusterRoleBinding may not be."""
    return _binding(binding, ("ClusterRole",))


def binding_update_causes(binding: Obj, before: Obj) -> list[Cause]:
    """The role of a binding stays."""
    now, then = binding.get("roleRef"), before.get("roleRef")
    if now == then or not isinstance(now, dict):
        return []
    shown = {"APIGroup": now.get("apiGroup", ""), "Kind": now.get("kind", ""), "Name": now.get("name", "")}
    return [invalid_value("roleRef", shown, "field is immutable")]


def _rules(role: Obj, *, namespaced: bool) -> list[Cause]:
    rules = [(f"rules[{index}]", rule) for index, rule in enumerate(role.get("rules") or [])]
    causes = [cause for field, rule in rules for cause in _rule(field, rule, namespaced=namespaced)]
    return causes + [required(f"{field}.verbs") for field, rule in rules if not rule.get("verbs")]


def _rule(field: str, rule: Obj, *, namespaced: bool) -> list[Cause]:
    urls = rule.get("nonResourceURLs")
    if urls and namespaced:
        detail = "namespaced rules cannot apply to non-resource URLs"
        return [invalid_value(f"{field}.nonResourceURLs", urls, detail)]
    if urls:
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            return [invalid_value(f"{field}.nonResourceURLs", urls, detail)]
        return []
    return [
        required(f"{field}.{name}", f"resource rules must supply at least one {word}")
        for name, word in (("apiGroups", "api group"), ("resources", "resource"))
        if not rule.get(name)
    ]


def _binding(binding: Obj, kinds: tuple[str, ...]) -> list[Cause]:
    reference = binding.get("roleRef") or {}
    causes = []
    if reference.get("apiGroup") != _GROUP:
        causes.append(unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), [_GROUP]))
    if reference.get("kind") not in kinds:
        causes.append(unsupported("roleRef.kind", reference.get("kind", ""), kinds))
    if not reference.get("name"):
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(binding.get("subjects") or []):
        causes += _subject(f"subjects[{index}]", subject, bool(binding["metadata"].get("namespace")))
    return causes


def _subject(field: str, subject: Obj, namespaced: bool) -> list[Cause]:
    causes = [] if subject.get("name") else [required(f"{field}.name")]
    kind = subject.get("kind", "")
    if kind not in _GROUP_OF:
        return [*causes, unsupported(f"{field}.kind", kind, list(_GROUP_OF))]
    if subject.get("apiGroup", "") != _GROUP_OF[kind]:
        causes.append(unsupported(f"{field}.apiGroup", subject.get("apiGroup", ""), [_GROUP_OF[kind]]))
    if kind == "ServiceAccount" and not subject.get("namespace") and not namespaced:
        causes.append(required(f"{field}.namespace"))
    if kind != "ServiceAccount" and subject.get("namespace"):
        causes.append(forbidden_field(f"{field}.namespace", ""))
    return causes
