"""A Kubernetes API request and its answer as values, the same on both sides of the wire.

Whoever drives a release yields `ApiRequest`s and is fed `ApiResponse`s; the embedded cluster's API takes the one and
returns the other. Nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segue.model.objects import Obj

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# How the embedded cluster's warning about an image that nothing can start begins, after the path of the field.
NO_SUCH_IMAGE = "no entry of the image map matches"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One call: `path` without query, `body` already parsed (a list for a JSON patch), `accept` as sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Obj | list[Obj] | None = None
    content_type: str = JSON
    accept: str = JSON
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """Its answer: `code` is the HTTP status, `body` the parsed JSON object (a metav1.Status where it failed).

    `warnings` are the texts of its Warning headers.
    """

    code: int
    body: Obj
    warnings: tuple[str, ...] = ()
