"""The roles and bindings that every cluster has (default_roles.json, made by tools/make_default_roles.py)."""

from __future__ import annotations

import pkgutil

import msgspec

from segue.cluster.kinds import find_kind
from segue.cluster.registry import Registry
from segue.model.objects import Obj, Ref, name_of


def ensure_default_roles(registry: Registry) -> None:
    """Make those that are missing; those that somebody changed are left as they are."""
    data = pkgutil.get_data("segue.cluster.rights", "default_roles.json")
    assert data is not None, "the table is part of the package"
    for obj in msgspec.json.decode(data, type=list[Obj]):
        kind = find_kind(obj["apiVersion"], obj["kind"])
        assert kind is not None
        if registry.store.get(Ref(resource=kind.resource, namespace="", name=name_of(obj))) is None:
            registry.create(kind.resource, obj)
