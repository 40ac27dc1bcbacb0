"""Who may do what. Today two users: one who may do everything and one who may only read. Roles will come in here."""

from __future__ import annotations

from segue.cluster.api.results import Answer, ApiUser
from segue.cluster.api.routes import Route
from segue.cluster.refusals import no_such_path
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj

_READING = {"get", "list", "watch"}


def authorize(user: ApiUser, verb: str, route: Route) -> None:
    """Raise 403 in Kubernetes' words where the user may not."""
    if user.writes or verb in _READING:
        return
    kind = route.kind
    resource = f"{kind.plural}/{route.subresource}" if route.subresource else kind.plural
    where = f'in the namespace "{route.namespace}"' if route.namespace else "at the cluster scope"
    subject = f'{kind.resource} "{route.name}"' if route.name else kind.resource
    message = (
        f'{subject} is forbidden: User "{user.name}" cannot {verb} resource "{resource}" '
        f'in API group "{kind.group}" {where}'
    )
    details: Obj = {"name": route.name, "group": kind.group, "kind": kind.plural}
    raise StatusError(403, "Forbidden", message, details)


def unauthorized() -> StatusError:
    """401: no token, or one that nobody was given."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def review(request: ApiRequest, user: ApiUser) -> Answer:
    """POST selfsubjectaccessreviews: what `kubectl auth can-i` asks."""
    if not request.path.rstrip("/").endswith("/selfsubjectaccessreviews") or request.method != "POST":
        raise no_such_path()
    body = request.body if isinstance(request.body, dict) else {}
    spec = body.get("spec") or {}
    verb = (spec.get("resourceAttributes") or spec.get("nonResourceAttributes") or {}).get("verb", "")
    allowed = user.writes or verb in _READING
    status: Obj = {"allowed": allowed}
    if not allowed:
        status["reason"] = f'"{user.name}" may only read'
    answer: Obj = {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": spec,
        "status": status,
    }
    return Answer(code=201, body=answer)
