"""Discovery documents: which groups, versions and resources there are, in the old form and in the aggregated one.

The group segue.dev is listed without resources: what it answers are not objects, so kubectl must not list them.
"""

from __future__ import annotations

from segue.cluster.api.reviews import AUTHENTICATION, REVIEWS
from segue.cluster.kinds import KINDS, Kind, group_versions
from segue.cluster.metrics import objects as metrics
from segue.model.objects import Obj

OWN_GROUP = "segue.dev"
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_STATUS_VERBS = ["get", "patch", "update"]
# Subresources beyond status and scale: (name, group, version, kind, verbs).
_SUBRESOURCES: dict[str, tuple[tuple[str, str, str, str, list[str]], ...]] = {
    "pods": (
        ("attach", "", "v1", "PodAttachOptions", ["create", "get"]),
        ("binding", "", "v1", "Binding", ["create"]),
        ("eviction", "policy", "v1", "Eviction", ["create"]),
        ("exec", "", "v1", "PodExecOptions", ["create", "get"]),
        ("log", "", "v1", "Pod", ["get"]),
        ("proxy", "", "v1", "PodProxyOptions", ["get"]),
    ),
    "namespaces": (("finalize", "", "v1", "Namespace", ["update"]),),
    "serviceaccounts": (("token", AUTHENTICATION, "v1", "TokenRequest", ["create"]),),
}
VERSION: Obj = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.2",
    "gitCommit": "embedded",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}


def api_versions() -> Obj:
    """GET /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list() -> Obj:
    """GET /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*one) for one in _groups()]}


def group_document(name: str) -> Obj | None:
    """GET /apis/GROUP."""
    for group, version in _groups():
        if group == name:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, version)}
    return None


def resource_list(group: str, version: str) -> Obj | None:
    """GET /api/v1 and /apis/GROUP/VERSION."""
    if (group, version) not in _known():
        return None
    resources: list[Obj] = []
    for kind in group_versions().get((group, version), []):
        resources.append(_resource(kind))
        resources += [_subresource(kind, one) for one in _subresources(kind)]
    resources += _reviews(group) + [_resource(kind) for kind in _measured(group)]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def aggregated(*, core: bool) -> Obj:
    """GET /api and /apis as apidiscovery.k8s.io/v2: everything in one answer."""
    items: list[Obj] = []
    for group, version in _known():
        if (group == "") is core:
            kinds = group_versions().get((group, version), [])
            resources = [_aggregated_resource(kind) for kind in kinds if kind.plural != "bindings"]
            resources += [_aggregated_review(group, one) for one in _reviews(group)]
            resources += [_aggregated_resource(kind) for kind in _measured(group)]
            items.append(
                {
                    "metadata": {"name": group, "creationTimestamp": None},
                    "versions": [{"version": version, "resources": resources, "freshness": "Current"}],
                }
            )
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _known() -> list[tuple[str, str]]:
    return [
        *dict.fromkeys((kind.group, kind.version) for kind in KINDS),
        *((group, "v1") for group in REVIEWS),
        (metrics.GROUP, metrics.VERSION),
        (OWN_GROUP, "v1"),
    ]


def _groups() -> list[tuple[str, str]]:
    return [one for one in _known() if one[0]]


def _group(group: str, version: str) -> Obj:
    named: Obj = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resource(kind: Kind) -> Obj:
    entry: Obj = {
        "name": kind.plural,
        "singularName": "" if kind in metrics.KINDS else kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    return entry


def _verbs(kind: Kind) -> list[str]:
    if kind in metrics.KINDS:
        return ["get", "list"]
    return ["create"] if kind.plural == "bindings" else _VERBS


def _measured(group: str) -> tuple[Kind, ...]:
    """What is measured and never stored."""
    return metrics.KINDS if group == metrics.GROUP else ()


def _subresources(kind: Kind) -> list[tuple[str, str, str, str, list[str]]]:
    found = [*_SUBRESOURCES.get(kind.resource, ())]
    if kind.scale:
        found.append(("scale", "autoscaling", "v1", "Scale", _STATUS_VERBS))
    if kind.status:
        found.append(("status", kind.group, kind.version, kind.kind, _STATUS_VERBS))
    return found


def _subresource(kind: Kind, one: tuple[str, str, str, str, list[str]]) -> Obj:
    name, group, version, answer_kind, verbs = one
    entry: Obj = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": answer_kind,
        "verbs": verbs,
    }
    if (group, version) != (kind.group, kind.version):
        entry |= {"group": group, "version": version}
    return entry


def _aggregated_resource(kind: Kind) -> Obj:
    entry: Obj = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": "" if kind in metrics.KINDS else kind.singular,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    below: list[Obj] = [
        {
            "subresource": name,
            "responseKind": {"group": group, "version": version, "kind": answer_kind},
            "verbs": verbs,
        }
        for name, group, version, answer_kind, verbs in _subresources(kind)
    ]
    if below:
        entry["subresources"] = below
    return entry


def _reviews(group: str) -> list[Obj]:
    return [
        {
            "name": resource,
            "singularName": resource.removesuffix("s"),
            "namespaced": namespaced,
            "kind": kind,
            "verbs": ["create"],
        }
        for resource, kind, namespaced in REVIEWS.get(group, ())
    ]


def _aggregated_review(group: str, one: Obj) -> Obj:
    return {
        "resource": one["name"],
        "responseKind": {"group": group, "version": "v1", "kind": one["kind"]},
        "scope": "Namespaced" if one["namespaced"] else "Cluster",
        "singularResource": one["singularName"],
        "verbs": one["verbs"],
    }
