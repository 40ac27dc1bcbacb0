"""Groups that somebody else serves: an APIService names a Service, and a GET goes on to one of its endpoints."""

from __future__ import annotations

from segue.cluster.api.results import Proxied
from segue.cluster.metrics.custom import aggregated, backend_of
from segue.cluster.refusals import method_not_allowed
from segue.cluster.rights.rules import Wish
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.http import ApiRequest


def is_aggregated(path: str, store: Store) -> bool:
    """Whether an APIService sends a path elsewhere."""
    parts = path.split("/")
    return len(parts) > 3 and parts[1] == "apis" and aggregated(store, parts[2], parts[3]) is not None


def wish_of(request: ApiRequest) -> Wish:
    """What such a call asks for."""
    verb = {"GET": "get", "HEAD": "get"}.get(request.method, request.method.lower())
    match request.path.strip("/").split("/")[1:]:
        case [group, _, "namespaces", namespace, resource, name, subresource]:
            return Wish(
                verb=verb, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
            )
        case _:
            return Wish(verb=verb, path=request.path)


def passed_on(request: ApiRequest, store: Store) -> Proxied:
    """Where it goes; StatusError 503 where no endpoint is there."""
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed()
    _, _, group, version, *_ = request.path.split("/")
    backend = backend_of(store, group, version)
    if not backend:
        raise StatusError(503, "ServiceUnavailable", "service unavailable")
    return Proxied(url=backend + request.path)
