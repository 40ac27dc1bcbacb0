"""From a document and a patch of any of the three old kinds to a new document, and what is refused of it."""

from __future__ import annotations

from segue.cluster.fields import examine, without_nulls
from segue.cluster.kinds import Kind
from segue.cluster.options import Patch
from segue.cluster.patch import PatchError, json_patch, merge_patch
from segue.cluster.refusals import bad_request, invalid_value, shown
from segue.cluster.strategic import strategic_patch
from segue.model.errors import StatusError
from segue.model.http import JSON_PATCH, MERGE_PATCH
from segue.model.objects import Obj


def patched(model: str, document: Obj, patch: Patch, kind: Kind) -> Obj:
    """The document with the patch carried out, by the patch's content type."""
    try:
        if patch.content_type == JSON_PATCH:
            if not isinstance(patch.body, list):
                raise bad_request("a JSON patch must be a list of operations")
            return json_patch(document, patch.body)
        if not isinstance(patch.body, dict):
            raise bad_request(f"a patch of {kind.kind} must be an object, not {shown(patch.body)[:80]}")
        if patch.content_type == MERGE_PATCH:
            return merge_patch(document, patch.body)
        return strategic_patch(model, document, patch.body)
    except PatchError as error:
        message = "the server rejected our request due to an error in our request"
        causes: list[Obj] = [{"reason": "UnexpectedServerResponse", "field": "patch", "message": str(error)}]
        raise StatusError(422, "Invalid", message, {"causes": causes}) from error


def check_patched_fields(model: str, made: Obj, patch: Patch, *, strict: bool) -> None:
    """422 where a patch brings a value of a wrong type, or, strictly, a field that is unknown."""
    report = examine(model, without_nulls(made))
    if report.mistyped or (strict and report.unknown):
        listed = ", ".join(f'unknown field "{path}"' for path in report.unknown)
        message = report.mistyped or f"strict decoding error: {listed}"
        cause = invalid_value("patch", patch.body, message)
        raise StatusError(
            422,
            "Invalid",
            f' "" is invalid: {cause.field}: {cause.message}',
            {"causes": [{"reason": cause.reason, "field": cause.field, "message": cause.message}]},
        )
