"""Whether roles allow something: rules and bindings as the store holds them, read anew for each question.

Nothing here knows HTTP. Whoever is in the group system:masters is not asked for roles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segue.cluster.store import Store
from segue.model.objects import Obj, Ref, label_selector_matches, labels_of, name_of, namespace_of

GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"
ACCOUNT = "system:serviceaccount:"
CLUSTER_ROLES, ROLES = f"clusterroles.{GROUP}", f"roles.{GROUP}"
CLUSTER_BINDINGS, BINDINGS = f"clusterrolebindings.{GROUP}", f"rolebindings.{GROUP}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for: a verb on a resource, or on a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def whole_resource(self) -> str:
        """With its subresource: "pods/log"."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`reason` says which binding allows it, `trouble` which roles could not be found."""

    allowed: bool
    reason: str = ""
    trouble: str = ""


def judge(store: Store, person: Person, wish: Wish) -> Verdict:
    """Whether somebody's roles allow it."""
    if MASTERS in person.groups:
        return Verdict(allowed=True)
    trouble: list[str] = []
    for binding, subject in _bindings_of(store, person, wish.namespace):
        rules = _rules_of(store, binding)
        if rules is None:
            reference = binding["roleRef"]
            kind = f"{str(reference['kind']).lower()}.{GROUP}"
            trouble.append(f'{kind} "{reference["name"]}" not found')
        elif any(_covers(rule, wish) for rule in rules):
            return Verdict(allowed=True, reason=f"RBAC: allowed by {_shown(binding)} to {subject}")
    said = trouble[0] if len(trouble) == 1 else f"[{', '.join(trouble)}]"
    return Verdict(allowed=False, trouble=f"RBAC: {said}" if trouble else "")


def rules_for(store: Store, person: Person, namespace: str) -> tuple[list[Obj], str]:
    """All rules that somebody's bindings give in a namespace, and which roles could not be found."""
    if MASTERS in person.groups:
        return [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ], ""
    found: list[Obj] = []
    missing: list[str] = []
    for binding, _ in _bindings_of(store, person, namespace):
        rules = _rules_of(store, binding)
        if rules is None:
            missing.append(
                f'{str(binding["roleRef"]["kind"]).lower()}.{GROUP} "{binding["roleRef"]["name"]}" not found'
            )
        found += rules or []
    return found, ", ".join(missing)


def _bindings_of(store: Store, person: Person, namespace: str) -> Iterator[tuple[Obj, str]]:
    """The bindings that name this person, for the whole cluster first; with the subject by which they do."""
    bindings = store.all_of(CLUSTER_BINDINGS)
    if namespace:
        bindings = [*bindings, *store.all_of(BINDINGS, namespace)]
    for binding in bindings:
        for subject in binding.get("subjects") or []:
            if _is(subject, person, namespace_of(binding)):
                name = str(subject["name"])
                where = subject.get("namespace") or namespace_of(binding)
                account = subject["kind"] == "ServiceAccount"
                yield binding, f'{subject["kind"]} "{name}/{where}"' if account else f'{subject["kind"]} "{name}"'
                break


def _is(subject: Obj, person: Person, namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return subject["name"] in {"*", person.name}
        case "Group":
            return subject["name"] in person.groups
        case "ServiceAccount":
            return person.name == f"{ACCOUNT}{subject.get('namespace') or namespace}:{subject['name']}"
        case _:
            return False


def _rules_of(store: Store, binding: Obj) -> list[Obj] | None:
    """The rules of a binding's role, those of the roles that a ClusterRole gathers among them; None without a role."""
    reference = binding["roleRef"]
    if reference["kind"] == "Role":
        role = store.get(Ref(resource=ROLES, namespace=namespace_of(binding), name=reference["name"]))
        return None if role is None else role.get("rules") or []
    role = store.get(Ref(resource=CLUSTER_ROLES, namespace="", name=reference["name"]))
    return None if role is None else _gathered(store, role, {name_of(role)})


def _gathered(store: Store, role: Obj, seen: set[str]) -> list[Obj]:
    rules: list[Obj] = list(role.get("rules") or [])
    selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    for other in store.all_of(CLUSTER_ROLES) if selectors else []:
        wanted = any(label_selector_matches(selector, labels_of(other)) for selector in selectors)
        if wanted and name_of(other) not in seen:
            seen.add(name_of(other))
            rules += _gathered(store, other, seen)
    return rules


def _covers(rule: Obj, wish: Wish) -> bool:
    if not _has(rule.get("verbs"), wish.verb):
        return False
    if wish.path:
        return any(_path_covers(url, wish.path) for url in rule.get("nonResourceURLs") or [])
    resources = rule.get("resources") or []
    named = wish.whole_resource in resources or "*" in resources
    named = named or (bool(wish.subresource) and f"*/{wish.subresource}" in resources)
    names = rule.get("resourceNames")
    return named and _has(rule.get("apiGroups"), wish.group) and (not names or wish.name in names)


def _has(values: list[str] | None, wanted: str) -> bool:
    return values is not None and (wanted in values or "*" in values)


def _path_covers(url: str, path: str) -> bool:
    return url in {"*", path} or (url.endswith("*") and path.startswith(url[:-1]))


def _shown(binding: Obj) -> str:
    reference = binding["roleRef"]
    role = f'{reference["kind"]} "{reference["name"]}"'
    where = namespace_of(binding)
    return (
        f'RoleBinding "{name_of(binding)}/{where}" of {role}'
        if where
        else (f'ClusterRoleBinding "{name_of(binding)}" of {role}')
    )
