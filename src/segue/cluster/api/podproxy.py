"""GET through the API to a port of a pod: /api/v1/namespaces/NS/pods/[SCHEME:]NAME[:PORT]/proxy/PATH.

Knows the shape of these paths and which address is meant; the host knocks there.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.cluster.api.results import Proxied
from segue.cluster.refusals import bad_request, method_not_allowed
from segue.cluster.registry import Registry
from segue.cluster.rights.rules import Wish
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    namespace: str
    scheme: str
    name: str
    port: str
    path: str


def is_proxied(path: str) -> bool:
    """Whether a path goes through to a pod."""
    return _target(path) is not None


def wish_of(request: ApiRequest) -> Wish:
    """What such a call asks for."""
    target = _target(request.path)
    assert target is not None
    verb = {"GET": "get", "HEAD": "get"}.get(request.method, request.method.lower())
    return Wish(verb=verb, group="", resource="pods", subresource="proxy", namespace=target.namespace, name=target.name)


def proxied(request: ApiRequest, registry: Registry) -> Proxied:
    """The URL that is meant; StatusError where there is no such pod, or it has no address."""
    target = _target(request.path)
    assert target is not None
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed()
    pod = registry.read(Ref(resource="pods", namespace=target.namespace, name=target.name))
    ip = str(pod.get("status", {}).get("podIP") or "")
    if target.scheme not in {"", "http", "https"} or (target.port and not target.port.isdecimal()):
        raise bad_request(f'invalid pod request "{request.path.split("/")[6]}"')
    if not ip:
        raise StatusError(400, "BadRequest", "address not allowed")
    port = target.port or str(_first_port(pod) or 80)
    return Proxied(url=f"{target.scheme or 'http'}://{ip}:{port}/{target.path}")


def _first_port(pod: Obj) -> int:
    ports = [port for one in pod["spec"].get("containers") or [] for port in one.get("ports") or []]
    return int(ports[0]["containerPort"]) if ports else 0


def _target(path: str) -> _Target | None:
    match path.split("/"):
        case ["", "api", "v1", "namespaces", namespace, "pods", said, "proxy", *rest]:
            scheme, name, port = _parts(said)
            return _Target(namespace=namespace, scheme=scheme, name=name, port=port, path="/".join(rest))
        case _:
            return None


def _parts(said: str) -> tuple[str, str, str]:
    """NAME, NAME:PORT or SCHEME:NAME:PORT, where the port may be empty."""
    match said.split(":"):
        case [scheme, name, port]:
            return scheme, name, port
        case [name, port]:
            return "", name, port
        case _:
            return "", said, ""
