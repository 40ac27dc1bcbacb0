"""Questions about users and their rights: what `kubectl auth can-i` and `auth whoami` ask. Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.cluster.api.access import Gate, person_of
from segue.cluster.api.results import Answer, ApiUser
from segue.cluster.refusals import bad_request, invalid_value, method_not_allowed, no_such_path
from segue.cluster.rights.rules import Person, Verdict, Wish, rules_for
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
# Group to its reviews: resource, kind, whether it lies in a namespace.
REVIEWS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    AUTHENTICATION: (
        ("selfsubjectreviews", "SelfSubjectReview", False),
        ("tokenreviews", "TokenReview", False),
    ),
    AUTHORIZATION: (
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", True),
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
        ("subjectaccessreviews", "SubjectAccessReview", False),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """Answers reviews; `user_of` says whose token it is."""

    store: Store
    gate: Gate
    user_of: Callable[[str], ApiUser | None]

    def review(self, request: ApiRequest, user: ApiUser) -> Answer:
        """One review; StatusError 404, 405 or 403 where it cannot be had."""
        group, resource, kind, namespace = _target(request.path)
        if request.method != "POST":
            raise method_not_allowed()
        self.gate.check(user, Wish(verb="create", group=group, resource=resource, namespace=namespace))
        body = request.body if isinstance(request.body, dict) else {}
        spec: Obj = body.get("spec") or {}
        match resource:
            case "selfsubjectreviews":
                status: Obj = {"userInfo": user_info(user)}
            case "tokenreviews":
                status = self._token(str(spec.get("token") or ""))
            case "selfsubjectrulesreviews":
                status = self._rules(user, str(spec.get("namespace") or ""))
            case "selfsubjectaccessreviews":
                status = _told(self.gate.allows(user, _wish(spec)))
            case _:
                if not spec.get("user") and not spec.get("groups"):
                    raise _invalid("spec.user", "", "at least one of user or group must be specified")
                asked = ApiUser(name=str(spec.get("user") or ""), groups=tuple(spec.get("groups") or ()))
                status = _told(self.gate.allows(asked, _wish(spec)))
        answer: Obj = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {}}
        if resource != "selfsubjectreviews":
            answer["spec"] = spec
        return Answer(code=201, body=answer | {"status": status})

    def _rules(self, user: ApiUser, namespace: str) -> Obj:
        if not namespace:
            raise bad_request("no namespace on request")
        person = person_of(user) if user.writes else Person(name=user.name, groups=user.groups)
        rules, missing = rules_for(self.store, person, namespace)
        if not user.writes:
            rules = [*rules, {"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}]
        named = ("verbs", "apiGroups", "resources", "resourceNames")
        status: Obj = {
            "resourceRules": [
                {key: rule[key] for key in named if rule.get(key)} for rule in rules if rule.get("resources")
            ],
            "nonResourceRules": [
                {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
                for rule in rules
                if rule.get("nonResourceURLs")
            ],
            "incomplete": bool(missing),
        }
        return status | ({"evaluationError": missing} if missing else {})

    def _token(self, token: str) -> Obj:
        found = self.user_of(token) if token else None
        if found is None:
            return {"user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": user_info(found)}


def is_review(path: str) -> bool:
    """Whether a path is one of these groups' resources."""
    return any(path.startswith(f"/apis/{group}/v1/") for group in REVIEWS)


def _target(path: str) -> tuple[str, str, str, str]:
    _, _, group, _, *rest = path.split("/")
    namespace = ""
    if len(rest) == 3 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    for resource, kind, namespaced in REVIEWS[group]:
        if rest == [resource] and namespaced == bool(namespace):
            return group, resource, kind, namespace
    raise no_such_path()


def _wish(spec: Obj) -> Wish:
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (asked is None) == (path is None):
        raise _invalid("spec", None, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
    if path is not None:
        return Wish(verb=str(path.get("verb") or ""), path=str(path.get("path") or ""))
    keys = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Wish(**{key: str((asked or {}).get(key) or "") for key in keys})


def _invalid(field: str, value: object, why: str) -> StatusError:
    """422 of a review."""
    cause = invalid_value(field, value, why)
    told: Obj = {"reason": cause.reason, "message": cause.message, "field": cause.field}
    message = f'.{AUTHORIZATION} "" is invalid: {field}: {cause.message}'
    return StatusError(422, "Invalid", message, {"group": AUTHORIZATION, "causes": [told]})


def _told(verdict: Verdict) -> Obj:
    status: Obj = {"allowed": verdict.allowed}
    if verdict.reason:
        status["reason"] = verdict.reason
    if verdict.trouble:
        status["evaluationError"] = f"rbac: {verdict.trouble}"
        status.setdefault("reason", f"rbac: {verdict.trouble}")
    return status


def user_info(user: ApiUser) -> Obj:
    """A user as reviews and policies see him."""
    info: Obj = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.token_id:
        info["extra"] = {"authentication.kubernetes.io/credential-id": [f"JTI={user.token_id}"]}
    return info
