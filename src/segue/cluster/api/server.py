"""One request in, one result out: the Kubernetes API over a registry and its store.

Rule 1: nothing here opens a socket or waits; a watch and a call to a pod come back as values for the host to serve.
Rule 2: every refusal is a Status object with Kubernetes' code, reason and words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from segue.cluster import openapi
from segue.cluster.api import aggregated, discovery, metrics, podproxy
from segue.cluster.api.access import Gate, wish_of
from segue.cluster.api.images import Complaint
from segue.cluster.api.podcalls import pod_call
from segue.cluster.api.reading import Reader
from segue.cluster.api.results import ADMIN, Answer, ApiUser, PodCall, Result
from segue.cluster.api.reviews import Reviewer, is_review, user_info
from segue.cluster.api.routes import Route, parse_route
from segue.cluster.api.writing import Writer, WriterPorts
from segue.cluster.kinds import GATEWAY_GROUP
from segue.cluster.metrics.readings import Readings
from segue.cluster.refusals import method_not_allowed, no_such_path
from segue.cluster.registry import Registry
from segue.cluster.rights.rules import Wish
from segue.cluster.rights.tokens import Tokens
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref
from segue.ports import Clock

Report: TypeAlias = Callable[[], Obj]
Timeline: TypeAlias = Callable[[int], Obj]
Flows: TypeAlias = Callable[[bool | None], Obj]
RouteRequests: TypeAlias = Callable[[str, str, str], Obj]
_HEALTH = {"/healthz", "/livez", "/readyz"}
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_POD_CALLS = {"log", "exec", "attach"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPorts:
    """What the API asks of the rest of the cluster: the time, happenings after a number, the cluster's state.

    `route_requests` tells what a route's backends were sent. `flows` switches the recording of connections on or off
    (None only asks) and answers what it is. `complaint` says what is wrong with an image; `token_secret` signs the
    tokens of service accounts; `readings` tell what pods use.
    """

    clock: Clock
    timeline: Timeline
    cluster: Report
    flows: Flows
    complaint: Complaint = field(default=lambda _image: "")
    token_secret: bytes = b""
    readings: Readings = field(default_factory=Readings)
    route_requests: RouteRequests | None = None


class ApiServer:
    """The API; `ready` is turned true by the host once the cluster serves."""

    def __init__(self, registry: Registry, store: Store, ports: ApiPorts) -> None:
        self._registry = registry
        self._ports = ports
        self.store = store
        self.ready = True
        self._reader = Reader(store, ports.clock)
        self._tokens = Tokens(ports.token_secret, store)
        self._writer = Writer(
            registry, store, self._reader, WriterPorts(complaint=ports.complaint, tokens=self._tokens)
        )
        self._gate = Gate(store)
        self._reviewer = Reviewer(store=store, gate=self._gate, user_of=self.user_of)
        self._metrics = metrics.MetricsReader(store=store, gate=self._gate, readings=ports.readings, clock=ports.clock)

    def handle(self, request: ApiRequest, user: ApiUser = ADMIN) -> Result:
        """Answer one request of a user who is known."""
        try:
            return self._handle(request, user)
        except StatusError as refusal:
            return Answer(code=refusal.code, body=refusal.body())

    def user_of(self, token: str) -> ApiUser | None:
        """The service account that a bearer token was given to, None where it is none of ours or no longer good."""
        account = self._tokens.account_of(token, self._ports.clock.now_s())
        if account is None:
            return None
        return ApiUser(name=account.name, groups=account.groups, uid=account.uid, token_id=account.token_id)

    def acting_as(self, user: ApiUser, name: str, groups: Sequence[str], request: ApiRequest) -> ApiUser:
        """The user as whom a call wants to be made (`kubectl --as`); StatusError 403 where it may not."""
        return self._gate.person(user, name, groups, _wish(request))

    def is_open(self, path: str) -> bool:
        """Whether a path is answered without a token, as Kubernetes opens health and version to all."""
        return path.partition("/")[0] == "" and (_health_root(path) in _HEALTH or path in {"/version", "/version/"})

    def _handle(self, request: ApiRequest, user: ApiUser) -> Result:
        path = request.path.rstrip("/") or "/"
        if aggregated.is_aggregated(path, self.store):
            self._gate.check(user, aggregated.wish_of(request))
            return aggregated.passed_on(request, self.store)
        if path == "/apis" or path.startswith(("/apis/segue.dev", "/openapi")) or not _is_resource_path(path):
            return self._document(path, request, user)
        if is_review(path):
            return self._reviewer.review(request, user)
        if metrics.is_metrics(path):
            return self._metrics.read(request, user)
        if podproxy.is_proxied(request.path):
            self._gate.check(user, podproxy.wish_of(request))
            return podproxy.proxied(request, self._registry)
        return self._resource(parse_route(path), request, user)

    def _document(self, path: str, request: ApiRequest, user: ApiUser) -> Result:
        if _health_root(path) in _HEALTH:
            return self._health(path, request.query)
        self._gate.check(user, _wish(request))
        if path == "/apis/segue.dev/v1/flows" and request.method == "PUT":
            return self._switch_flows(request, user)
        if request.method not in {"GET", "HEAD"}:
            raise method_not_allowed()
        if path.startswith("/apis/segue.dev/"):
            return self._own(path, request, user)
        in_one = "as=APIGroupDiscoveryList" in request.accept and "v=v2;" in f"{request.accept};".replace(",", ";")
        if in_one and path in {"/api", "/apis"}:
            content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return Answer(code=200, body=discovery.aggregated(core=path == "/api"), content_type=content_type)
        if path == "/openapi/v2" and "json" not in request.accept:
            # kubectl asks for the old document only to learn that a kind is unknown: an empty one says so.
            return Answer(code=200, body={}, text="", content_type=openapi.PROTOBUF_V2)
        found = _openapi(path) if path.startswith("/openapi/") else _discovery(path)
        if found is None:
            raise no_such_path()
        return Answer(code=200, body=found)

    def _health(self, path: str, query: Mapping[str, str]) -> Answer:
        if self.ready or path.startswith("/livez"):
            verbose = "verbose" in query
            text = f"[+]ping ok\n[+]store ok\n{path[1:]} check passed\n" if verbose else "ok"
            return Answer(code=200, body={}, text=text, content_type="text/plain; charset=utf-8")
        return Answer(code=500, body={}, text="[-]cluster is starting\n", content_type="text/plain; charset=utf-8")

    def _own(self, path: str, request: ApiRequest, user: ApiUser) -> Result:
        """The group segue.dev: what no Kubernetes offers and a proof needs."""
        match path.split("/")[3:]:
            case ["v1"]:
                body = discovery.resource_list(discovery.OWN_GROUP, "v1")
                assert body is not None
                return Answer(code=200, body=body)
            case ["v1", "timeline"]:
                after = request.query.get("after", "0")
                if not after.isdecimal():
                    raise StatusError(400, "BadRequest", f"after must be a whole number, not {after!r}")
                return Answer(code=200, body=self._ports.timeline(int(after)))
            case ["v1", "cluster"]:
                return Answer(code=200, body=self._ports.cluster())
            case ["v1", "flows"]:
                return Answer(code=200, body=self._ports.flows(None))
            case ["v1", "namespaces", namespace, "pods", name, "traffic"]:
                self._registry.read(Ref(resource="pods", namespace=namespace, name=name))
                return PodCall(verb="traffic", namespace=namespace, name=name)
            case ["v1", "namespaces", namespace, "httproutes" | "grpcroutes" as resource, name, "requests"] if (
                self._ports.route_requests is not None
            ):
                self._registry.read(Ref(resource=f"{resource}.{GATEWAY_GROUP}", namespace=namespace, name=name))
                return Answer(code=200, body=self._ports.route_requests(resource, namespace, name))
            case _:
                raise no_such_path()

    def _switch_flows(self, request: ApiRequest, user: ApiUser) -> Answer:
        body = request.body if isinstance(request.body, dict) else {}
        if not isinstance(body.get("on"), bool):
            raise StatusError(400, "BadRequest", 'the body must be {"on": true} or {"on": false}')
        return Answer(code=200, body=self._ports.flows(body["on"]))

    def _resource(self, route: Route, request: ApiRequest, user: ApiUser) -> Result:
        verb = _verb(route, request)
        self._gate.check(user, wish_of(verb, route))
        if route.kind.resource == "pods" and route.subresource in _POD_CALLS:
            return pod_call(route, request, self._registry)
        if verb in {"get", "list", "watch"}:
            return self._reader.read(route, request, verb)
        return self._writer.write(route, request, verb, user_info(user))


def _wish(request: ApiRequest) -> Wish:
    """What a call asks for, whatever its path is."""
    path = request.path.rstrip("/") or "/"
    if path.startswith("/apis/segue.dev/v1/"):
        resource = path.split("/")[-1]
        return Wish(verb="get" if request.method == "GET" else "update", group=discovery.OWN_GROUP, resource=resource)
    if metrics.is_metrics(path):
        return metrics.wish_of(request)
    if podproxy.is_proxied(request.path):
        return podproxy.wish_of(request)
    if _is_resource_path(path) and not is_review(path):
        route = parse_route(path)
        return wish_of(_verb(route, request), route)
    return Wish(verb={"HEAD": "get"}.get(request.method, request.method.lower()), path=path)


def _discovery(path: str) -> Obj | None:
    match path.split("/")[1:]:
        case [""]:
            return {"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}
        case ["version"]:
            return discovery.VERSION
        case ["api"]:
            return discovery.api_versions()
        case ["apis"]:
            return discovery.group_list()
        case ["api", version]:
            return discovery.resource_list("", version)
        case ["apis", group]:
            return discovery.group_document(group)
        case ["apis", group, version]:
            return discovery.resource_list(group, version)
        case _:
            return None


def _openapi(path: str) -> Obj | None:
    match path.split("/")[2:]:
        case ["v3"]:
            return openapi.index()
        case ["v3", "api", version]:
            return openapi.document("", version)
        case ["v3", "apis", group, version]:
            return openapi.document(group, version)
        case ["v2"]:
            return openapi.document_v2()
        case _:
            return None


def _verb(route: Route, request: ApiRequest) -> str:
    """Kubernetes' verb of a request; running something in a pod creates, whatever the method says."""
    if route.subresource in {"exec", "attach"}:
        return "create"
    method = "GET" if request.method == "HEAD" else request.method
    verb = _VERBS.get(method)
    if verb is None:
        raise method_not_allowed()
    if verb == "get":
        if route.watch or request.query.get("watch") in {"true", "1"}:
            return "watch"
        return "get" if route.name else "list"
    if not route.name:
        if verb == "delete":
            return "deletecollection"
        if verb != "create":
            raise method_not_allowed()
    elif verb == "create" and not route.subresource:
        raise method_not_allowed()
    return verb


def _is_resource_path(path: str) -> bool:
    parts = path.split("/")
    return (parts[1] == "api" and len(parts) > 3) or (parts[1] == "apis" and len(parts) > 4)


def _health_root(path: str) -> str:
    return "/" + path.split("/")[1] if path.startswith("/") else path
