"""create, update, patch, delete and their subresources: the query of a call turned into a registry's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from segue.cluster.api.forms import form_of
from segue.cluster.api.images import Complaint, image_warnings
from segue.cluster.api.reading import Reader
from segue.cluster.api.results import Answer
from segue.cluster.api.routes import Route
from segue.cluster.controllers import disruption
from segue.cluster.deletion import Deletion, Propagation
from segue.cluster.eviction import evict
from segue.cluster.kinds import GATEWAY_GROUP, Kind, kind_of
from segue.cluster.options import FieldValidation, Options, Patch, Subresource
from segue.cluster.refusals import (
    Cause,
    bad_request,
    forbidden_field,
    invalid_options,
    invalid_value,
    method_not_allowed,
    no_such_path,
    required,
    unsupported,
    unsupported_media,
)
from segue.cluster.registry import Registry
from segue.cluster.rights.tokens import Tokens
from segue.cluster.store import Store
from segue.model.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, ApiRequest
from segue.model.objects import Obj, Ref, is_terminating, labels_of, name_of, namespace_of, rfc3339, uid_of

_PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_MANAGER_BYTES_MAX = 128
_FALSE = {"false", "0"}
_OPTIONS = {"PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
_PROPAGATIONS = {"Background", "Foreground", "Orphan"}
_WITH_PODS = {"pods", "deployments.apps", "replicasets.apps"}
_FIELD_VALIDATIONS = {"Ignore", "Warn", "Strict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterPorts:
    """What writing needs besides the registry: what is wrong with an image, and who signs tokens."""

    complaint: Complaint
    tokens: Tokens


class Writer:
    """Performs everything that changes something."""

    def __init__(self, registry: Registry, store: Store, reader: Reader, ports: WriterPorts) -> None:
        self._registry = registry
        self._store = store
        self._reader = reader
        self._complaint = ports.complaint
        self._tokens = ports.tokens

    def write(self, route: Route, request: ApiRequest, verb: str, user: Obj) -> Answer:
        """One changing call; `user` is who makes it, as a UserInfo."""
        warnings: list[str] = []
        options = Options(
            dry_run=_dry_run(request.query, _OPTIONS.get(request.method, "CreateOptions")),
            fields=_field_validation(request.query),
            warn=warnings.append,
            manager=_manager(request, _OPTIONS.get(request.method, "CreateOptions")),
            user=user,
            asked=_asked(request),
        )
        match verb:
            case "create":
                code, body = 201, self._create(route, request, options)
            case "update":
                code, body = 200, self._update(route, request, options)
            case "patch":
                code, body = self._patch(route, request, options)
            case "delete":
                code, body = 200, self._delete(route, request, options)
            case _:
                code, body = 200, self._delete_collection(route, request, options)
        if body.get("kind") == route.kind.kind and not route.subresource:
            if verb != "delete" and route.kind.resource in _WITH_PODS:
                warnings += image_warnings(body, self._complaint)
            body = form_of(request).one(route.kind, body, now_s=self._registry.now_s())
        return Answer(code=code, body=body, warnings=tuple(warnings))

    def _create(self, route: Route, request: ApiRequest, options: Options) -> Obj:
        obj = _object_in(request)
        if route.kind.plural == "bindings" or route.subresource == "binding":
            return self._bind(route, obj, options)
        if route.kind.resource == "pods" and route.subresource == "eviction":
            return self._evict(route, obj, options)
        if route.kind.resource == "serviceaccounts" and route.subresource == "token":
            account = self._registry.read(Ref(resource="serviceaccounts", namespace=route.namespace, name=route.name))
            return self._tokens.issue(account, obj, token_id=self._registry.new_uid(), now_s=self._registry.now_s())
        if route.name:
            raise no_such_path()
        return self._registry.create(route.kind.resource, obj, namespace=route.namespace, options=options)

    def _update(self, route: Route, request: ApiRequest, options: Options) -> Obj:
        obj = _object_in(request)
        name = name_of(obj)
        if name != route.name:
            raise bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({route.name})"
                if name
                else "name must be provided"
            )
        return self._registry.update(
            route.kind.resource,
            obj,
            namespace=route.namespace,
            subresource=_subresource(route),
            options=options,
        )

    def _patch(self, route: Route, request: ApiRequest, options: Options) -> tuple[int, Obj]:
        content_type = request.content_type.partition(";")[0].strip()
        known = _PATCHES if route.kind.group != GATEWAY_GROUP else tuple(p for p in _PATCHES if p != STRATEGIC_PATCH)
        if content_type not in known:
            raise unsupported_media(content_type, known)
        body = request.body
        if body is None:
            raise bad_request("a patch needs a body")
        force = _patch_force(request.query, applies=content_type == APPLY_PATCH)
        patch = Patch(content_type=content_type, body=cast("Obj | Sequence[Obj]", body), force=force)
        ref = Ref(resource=route.kind.resource, namespace=route.namespace, name=route.name)
        if content_type == APPLY_PATCH:
            written, new = self._registry.apply(ref, patch, subresource=_subresource(route), options=options)
            return (201 if new else 200), written
        return 200, self._registry.patch(ref, patch, subresource=_subresource(route), options=options)

    def _delete(self, route: Route, request: ApiRequest, options: Options) -> Obj:
        if route.subresource:
            raise method_not_allowed()
        ref = Ref(resource=route.kind.resource, namespace=route.namespace, name=route.name)
        obj, gone = self._registry.delete_with(ref, _deletion_of(request), options)
        return _deleted(route.kind, obj) if gone else obj

    def _delete_collection(self, route: Route, request: ApiRequest, options: Options) -> Obj:
        page = self._reader.page(route, request.query)
        how = _deletion_of(request)
        for obj in page.objects:
            ref = Ref(resource=route.kind.resource, namespace=namespace_of(obj), name=name_of(obj))
            if self._store.get(ref) is not None:
                self._registry.delete_with(ref, how, options)
        kind = route.kind
        metadata = {"resourceVersion": str(self._store.version)}
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": page.objects,
        }

    def _bind(self, route: Route, obj: Obj, options: Options) -> Obj:
        name = route.name or name_of(obj)
        node = (obj.get("target") or {}).get("name")
        if not node:
            raise bad_request("target.name: Required value")
        ref = Ref(resource="pods", namespace=route.namespace, name=name)
        self._registry.bind(ref, node, dry_run=options.dry_run)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _evict(self, route: Route, obj: Obj, options: Options) -> Obj:
        """B1: the one call that asks the budgets; then a delete with the pod's own grace, or the one asked for."""
        if name_of(obj) != route.name:
            raise bad_request("name in URL does not match name in Eviction object")
        how = _options_of(obj.get("deleteOptions") or {})
        ref = Ref(resource="pods", namespace=route.namespace, name=route.name)
        pod = self._registry.read(ref)
        budgets = [
            budget
            for budget in self._store.all_of(disruption.RESOURCE)
            if namespace_of(budget) == route.namespace and disruption.protects(budget, labels_of(pod))
        ]
        granted = evict(pod, budgets, self._registry.now_s())
        dry_run = options.dry_run or how.dry_run
        if not dry_run:
            if granted.budget is not None:
                self._registry.update(disruption.RESOURCE, granted.budget, subresource="status")
            self._mark_disrupted(ref)
        deletion = Deletion(grace_s=how.grace_s, uid=how.uid, version=how.version, dry_run=dry_run)
        self._registry.delete_with(ref, deletion, options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _mark_disrupted(self, ref: Ref) -> None:
        """A pod that is evicted says so by a condition before it is marked deleted (B6)."""
        pod = self._registry.read(ref)
        status = pod.get("status") or {}
        if is_terminating(pod) or status.get("phase") in {"Succeeded", "Failed"}:
            return
        told = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": rfc3339(self._registry.now_s()),
        }
        others = [each for each in status.get("conditions") or [] if each.get("type") != told["type"]]
        marked = {**pod, "status": {**status, "conditions": [*others, told]}}
        self._registry.update(ref.resource, marked, subresource="status")


def _object_in(request: ApiRequest) -> Obj:
    if request.content_type.partition(";")[0].strip() not in {"application/json", ""}:
        raise unsupported_media(request.content_type, ("application/json",))
    if not isinstance(request.body, dict):
        raise bad_request("the object provided is unrecognized: the body must be a JSON object")
    return request.body


def _subresource(route: Route) -> Subresource:
    kind = route.kind
    match route.subresource:
        case "":
            return ""
        case "status" if kind.status:
            return "status"
        case "scale" if kind.scale:
            return "scale"
        case "finalize" if kind.resource == "namespaces":
            return "finalize"
        case _:
            raise no_such_path()


def _asked(request: ApiRequest) -> Obj:
    """The options object that a call's query amounts to: only what the caller has said is in it."""
    told: Obj = {"kind": _OPTIONS.get(request.method, "CreateOptions"), "apiVersion": "meta.k8s.io/v1"}
    if request.query.get("dryRun"):
        told["dryRun"] = [request.query["dryRun"]]
    return told | {key: request.query[key] for key in ("fieldManager", "fieldValidation") if request.query.get(key)}


def _dry_run(query: Mapping[str, str], options: str) -> bool:
    asked = query.get("dryRun", "")
    if asked not in {"", "All"}:
        raise invalid_options(options, unsupported("dryRun", [asked], ["All"]))
    return asked == "All"


def _manager(request: ApiRequest, options: str) -> str:
    """Who will own what the call changes: as he names himself, else as his program does."""
    named = request.query.get("fieldManager", "")
    if len(named.encode()) > _MANAGER_BYTES_MAX:
        words = f"Too long: may not be more than {_MANAGER_BYTES_MAX} bytes"
        raise invalid_options(options, Cause(reason="FieldValueTooLong", field="fieldManager", message=words))
    if not named and request.content_type.startswith(APPLY_PATCH):
        raise invalid_options(options, required("fieldManager", "is required for apply patch"))
    program = request.user_agent.partition("/")[0].encode()[:_MANAGER_BYTES_MAX].decode(errors="ignore")
    return named or "".join(letter for letter in program if letter.isprintable())


def _patch_force(query: Mapping[str, str], *, applies: bool) -> bool:
    if "force" in query and not applies:
        raise invalid_options("PatchOptions", forbidden_field("force", "may not be specified for non-apply patch"))
    return "force" in query and query["force"].lower() not in _FALSE


def _field_validation(query: Mapping[str, str]) -> FieldValidation:
    asked = query.get("fieldValidation") or "Warn"
    if asked not in _FIELD_VALIDATIONS:
        raise bad_request(
            f'fieldValidation: Unsupported value: "{asked}": supported values: "Ignore", "Strict", "Warn"'
        )
    return cast("FieldValidation", asked)


def _deletion_of(request: ApiRequest) -> Deletion:
    body = request.body if isinstance(request.body, dict) else {}
    query = request.query
    asked = dict(body)
    if "gracePeriodSeconds" in query:
        if not query["gracePeriodSeconds"].lstrip("-").isdecimal():
            raise bad_request("gracePeriodSeconds must be a whole number")
        asked["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
    if "propagationPolicy" in query:
        asked["propagationPolicy"] = query["propagationPolicy"]
    if _dry_run(query, "DeleteOptions"):
        asked["dryRun"] = ["All"]
    return _options_of(asked)


def _options_of(body: Obj) -> Deletion:
    """A metav1.DeleteOptions as a value."""
    preconditions = body.get("preconditions") or {}
    propagation = body.get("propagationPolicy") or "Background"
    if propagation not in _PROPAGATIONS:
        words = f'Unsupported value: "{propagation}": supported values: "Foreground", "Background", "Orphan", "nil"'
        cause = Cause(reason="FieldValueNotSupported", field="propagationPolicy", message=words)
        raise invalid_options("DeleteOptions", cause)
    if body.get("orphanDependents") is not None and body.get("propagationPolicy"):
        words = "orphanDependents and deletionPropagation cannot be both set"
        raise invalid_options("DeleteOptions", invalid_value("propagationPolicy", propagation, words))
    if body.get("orphanDependents") is True:
        propagation = "Orphan"
    grace_s = body.get("gracePeriodSeconds")
    if grace_s is not None and (not isinstance(grace_s, int) or isinstance(grace_s, bool)):
        raise bad_request("gracePeriodSeconds must be a whole number")
    return Deletion(
        grace_s=grace_s,
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        propagation=cast("Propagation", propagation),
        dry_run=bool(body.get("dryRun")),
    )


def _deleted(kind: Kind, obj: Obj) -> Obj:
    assert kind_of(kind.resource) is kind
    details = {"name": name_of(obj), "group": kind.group, "kind": kind.plural, "uid": uid_of(obj)}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
