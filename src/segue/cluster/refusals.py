"""The API server's ways to say no, as StatusErrors in Kubernetes' own words; never decides when to say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from segue.cluster.kinds import Kind
from segue.model.errors import StatusError
from segue.model.objects import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One broken field: `field` its path, `message` what kubectl prints behind it."""

    reason: str
    field: str
    message: str


def required(field: str, detail: str = "") -> Cause:
    """A field that must be there."""
    return Cause(reason="FieldValueRequired", field=field, message=_joined("Required value", detail))


def invalid_value(field: str, value: object, detail: str) -> Cause:
    """A value that breaks a rule."""
    return Cause(reason="FieldValueInvalid", field=field, message=f"Invalid value: {shown(value)}: {detail}")


def unsupported(field: str, value: object, supported: Sequence[str]) -> Cause:
    """A value outside a closed set."""
    among = ", ".join(shown(one) for one in sorted(supported))
    message = f"Unsupported value: {shown(value)}: supported values: {among}"
    return Cause(reason="FieldValueNotSupported", field=field, message=message)


def duplicate(field: str, value: object) -> Cause:
    """A value that must be unique."""
    return Cause(reason="FieldValueDuplicate", field=field, message=f"Duplicate value: {shown(value)}")


def forbidden_field(field: str, detail: str) -> Cause:
    """A field that may not be set here."""
    return Cause(reason="FieldValueForbidden", field=field, message=f"Forbidden: {detail}")


def shown(value: object) -> str:
    """A value as messages print it: JSON."""
    return msgspec.json.encode(value, order="sorted").decode()


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with every broken field."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: Obj = {
        "name": name,
        "group": kind.group,
        "kind": kind.kind,
        "causes": [{"reason": one.reason, "message": one.message, "field": one.field} for one in causes],
    }
    return StatusError(422, "Invalid", f'{kind.group_kind} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def conflict(kind: Kind, name: str, why: str) -> StatusError:
    """409 on an object that is there."""
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, {"name": name, "group": kind.group, "kind": kind.plural})


def lost_object(kind: Kind, name: str, what: str, wanted: str, got: str) -> StatusError:
    """409 of a DELETE whose precondition does not hold; it names the kind where others name the resource."""
    how = "deleted and then recreated" if what == "UID" else "modified"
    why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({got})"
    message = f'Operation cannot be fulfilled on {kind.group_kind} "{name}": {why}. The object might have been {how}'
    return StatusError(409, "Conflict", message, {"name": name, "group": kind.group, "kind": kind.kind})


def invalid_scale(name: str, replicas: int) -> StatusError:
    """422 of a Scale, whatever it scales."""
    cause = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
    message = f'Scale.autoscaling "{name}" is invalid: {cause.field}: {cause.message}'
    told: Obj = {"reason": cause.reason, "message": cause.message, "field": cause.field}
    return StatusError(
        422, "Invalid", message, {"name": name, "group": "autoscaling", "kind": "Scale", "causes": [told]}
    )


def invalid_options(kind: str, cause: Cause) -> StatusError:
    """422 of DeleteOptions, PatchOptions and their kin."""
    message = f'{kind}.meta.k8s.io "" is invalid: {cause.field}: {cause.message}'
    told: Obj = {"reason": cause.reason, "message": cause.message, "field": cause.field}
    return StatusError(422, "Invalid", message, {"group": "meta.k8s.io", "kind": kind, "causes": [told]})


def forbidden(kind: Kind, name: str, why: str) -> StatusError:
    """403 on one object."""
    message = f'{kind.resource} "{name}" is forbidden: {why}'
    return StatusError(403, "Forbidden", message, {"name": name, "group": kind.group, "kind": kind.plural})


def missing(kind: Kind, name: str) -> StatusError:
    """404 of an object."""
    details: Obj = {"name": name, "group": kind.group, "kind": kind.plural}
    return StatusError(404, "NotFound", f'{kind.resource} "{name}" not found', details)


def no_such_path() -> StatusError:
    """404 of a URL that leads nowhere."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> StatusError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message)


def unsupported_media(got: str, accepted: Sequence[str]) -> StatusError:
    """415: the body's content type is not one that is understood here."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", f"{message} (got {got})")


def undecodable(kind: Kind, why: str) -> StatusError:
    """400 for an object that cannot be read as its kind."""
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def _joined(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head
