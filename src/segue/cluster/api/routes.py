"""From a URL to what it names. Knows the shape of Kubernetes' paths; never whether the object exists."""

from __future__ import annotations

from dataclasses import dataclass

from segue.cluster.kinds import Kind, find_resource
from segue.cluster.refusals import no_such_path

_OF_NAMESPACES = {"status", "finalize"}  # below /namespaces/NAME, everything else is a resource in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One resource URL: a collection (no name), an object, or a subresource of it."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False  # the old /watch/ form


def parse_route(path: str) -> Route:
    """The resource behind a path below /api/v1 or /apis/GROUP/VERSION; StatusError 404 where there is none."""
    parts = [part for part in path.split("/") if part]
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        if len(parts) < 3:
            raise no_such_path()
        group, version, rest = parts[1], parts[2], parts[3:]
    watch = bool(rest) and rest[0] == "watch"
    rest = rest[1:] if watch else rest
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in _OF_NAMESPACES):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        raise no_such_path()
    kind = find_resource(group, version, rest[0])
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    if name and kind.namespaced and not namespace:
        raise no_such_path()
    subresource = rest[2] if len(rest) > 2 else ""
    return Route(kind=kind, namespace=namespace, name=name, subresource=subresource, watch=watch)
