"""get, list and watch: the store seen through selectors, pages and forms. Never writes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from segue.cluster.api.forms import Form, form_of
from segue.cluster.api.results import Answer, Result, WatchStart
from segue.cluster.api.routes import Route
from segue.cluster.api.selectors import parse_selectors
from segue.cluster.api.watching import Watch, WatchScope
from segue.cluster.refusals import bad_request, missing, no_such_path
from segue.cluster.scale import scale_of
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, Ref, name_of, namespace_of
from segue.ports import Clock

_TRUE = {"true", "1"}
_WATCH_S = 3000.0  # within Kubernetes' 1,800 to 3,600 s
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)


class _Continue(msgspec.Struct, frozen=True):
    """Where a list goes on: behind this object, as of this version."""

    version: int
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    objects: list[Obj]
    metadata: Obj


class Reader:
    """Answers everything that changes nothing."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def read(self, route: Route, request: ApiRequest, verb: str) -> Result:
        """One get, list or watch."""
        form = form_of(request)
        if verb == "watch":
            return WatchStart(watch=self._watch(route, request, form))
        if verb == "get":
            return self._get(route, form)
        if route.kind.plural == "bindings":
            raise StatusError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        page = self.page(route, request.query)
        return Answer(code=200, body=form.many(route.kind, page.objects, page.metadata, self._clock.now_s()))

    def page(self, route: Route, query: Mapping[str, str]) -> Page:
        """The objects of a collection that match, up to `limit`, from `continue` on."""
        begin = _continue_of(query.get("continue", ""))
        version = begin.version if begin else self._list_version(query)
        objects = self._store.all_of(route.kind.resource, route.namespace)
        matches = parse_selectors(route.kind.resource, query)
        if matches is not None:
            objects = [obj for obj in objects if matches(obj)]
        if begin is not None:
            after = begin.namespace, begin.name
            objects = [obj for obj in objects if (namespace_of(obj), name_of(obj)) > after]
        metadata: Obj = {"resourceVersion": str(version)}
        limit = _whole(query.get("limit") or "0", "limit")
        if limit and len(objects) > limit:
            last = objects[limit - 1]
            token = _Continue(version=version, namespace=namespace_of(last), name=name_of(last))
            metadata["continue"] = base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()
            metadata["remainingItemCount"] = len(objects) - limit
            objects = objects[:limit]
        return Page(objects=objects, metadata=metadata)

    def _get(self, route: Route, form: Form) -> Answer:
        kind = route.kind
        obj = self._store.get(Ref(resource=kind.resource, namespace=route.namespace, name=route.name))
        if obj is None:
            raise missing(kind, route.name)
        match route.subresource:
            case "":
                return Answer(code=200, body=form.one(kind, obj, now_s=self._clock.now_s()))
            case "status" if kind.status:
                return Answer(code=200, body=obj)
            case "scale" if kind.scale:
                return Answer(code=200, body=scale_of(obj))
            case _:
                raise no_such_path()

    def _list_version(self, query: Mapping[str, str]) -> int:
        """The version a fresh list is of; an exact old one is gone (410), a future one has to be waited for (504)."""
        asked = query.get("resourceVersion") or "0"
        wanted = _whole(asked, "resourceVersion")
        self._must_have_come(wanted)
        exact = query.get("resourceVersionMatch") == "Exact"
        if exact and wanted != self._store.version:
            raise StatusError(410, "Expired", f"The resourceVersion for the provided list is too old: {wanted}")
        return self._store.version

    def _must_have_come(self, wanted: int) -> None:
        if wanted > self._store.version:
            message = f"Timeout: Too large resource version: {wanted}, current: {self._store.version}"
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            raise StatusError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})

    def _watch(self, route: Route, request: ApiRequest, form: Form) -> Watch:
        query = request.query
        kind = route.kind
        selectors = dict(query)
        if route.name:
            selectors["fieldSelector"] = f"metadata.name={route.name}"
        timeout = query.get("timeoutSeconds")
        scope = WatchScope(
            kind=kind,
            namespace=route.namespace,
            matches=parse_selectors(kind.resource, selectors),
            render=lambda obj, first: form.one(kind, obj, now_s=self._clock.now_s(), headed=first),
            bookmarks=query.get("allowWatchBookmarks") in _TRUE,
            timeout_s=float(_whole(timeout, "timeoutSeconds")) if timeout and timeout != "0" else _WATCH_S,
        )
        watch = Watch(scope)
        asked = query.get("resourceVersion") or "0"
        version = _whole(asked, "resourceVersion")
        self._must_have_come(version)
        if query.get("sendInitialEvents") in _TRUE:
            if query.get("resourceVersionMatch") != "NotOlderThan":
                raise bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            objects = self._store.all_of(kind.resource, route.namespace)
            watch.add_state(objects, version=self._store.version, marked=scope.bookmarks)
        elif version == 0 and query.get("sendInitialEvents") != "false":
            objects = self._store.all_of(kind.resource, route.namespace)
            watch.add_state(objects, version=self._store.version, marked=False)
        elif version:
            self._resume(watch, version)
        return watch

    def _resume(self, watch: Watch, version: int) -> None:
        try:
            watch.add_events(list(self._store.events_after(version)))
        except StatusError as gone:
            watch.add_refusal(gone)


def _continue_of(token: str) -> _Continue | None:
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=_Continue)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise StatusError(410, "Expired", _EXPIRED) from None


def _whole(text: str, key: str) -> int:
    if not text.isdecimal():
        raise bad_request(f'{key}: Invalid value: "{text}": must be a whole number')
    return int(text)
