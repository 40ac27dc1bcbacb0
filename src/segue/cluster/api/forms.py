"""In which form an object travels: whole, as metadata only, or as a Table, by what the request accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segue.cluster.kinds import Kind
from segue.cluster.tables import metadata_only, table_of
from segue.model.errors import StatusError
from segue.model.http import ApiRequest
from segue.model.objects import Obj

_SUPPORTED = "application/json, application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form; `include` is what a Table's rows carry besides their cells."""

    name: Literal["object", "table", "metadata"]
    include: str = "Metadata"

    def one(self, kind: Kind, obj: Obj, *, now_s: float, headed: bool = True) -> Obj:
        """One object in this form."""
        match self.name:
            case "table":
                table = table_of(kind, [obj], now_s=now_s, include=self.include, headed=headed)
                table["metadata"] = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
                return table
            case "metadata":
                return metadata_only(obj)
            case "object":
                return obj

    def many(self, kind: Kind, objects: Sequence[Obj], metadata: Obj, now_s: float) -> Obj:
        """A list in this form."""
        match self.name:
            case "table":
                return {**table_of(kind, objects, now_s=now_s, include=self.include), "metadata": metadata}
            case "metadata":
                return {
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                    "items": [metadata_only(obj) for obj in objects],
                }
            case "object":
                return {
                    "kind": f"{kind.kind}List",
                    "apiVersion": kind.api_version,
                    "metadata": metadata,
                    "items": [_item(obj) for obj in objects],
                }


def _item(obj: Obj) -> Obj:
    """An object of a list: what kind it is of, the list says."""
    return {key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}}


def form_of(request: ApiRequest) -> Form:
    """The first form of the Accept header that is offered here; StatusError 406 where none is."""
    for part in request.accept.split(","):
        media, *parameters = [one.strip() for one in part.split(";")]
        wanted = dict(one.split("=", 1) for one in parameters if "=" in one)
        if media not in {"application/json", "*/*", "application/*", ""}:
            continue
        match wanted.get("as", ""):
            case "Table" if wanted.get("v") == "v1":
                return Form(name="table", include=request.query.get("includeObject") or "Metadata")
            case "PartialObjectMetadata" | "PartialObjectMetadataList" if wanted.get("v") == "v1":
                return Form(name="metadata")
            case "":
                return Form(name="object")
            case _:
                continue
    raise StatusError(406, "NotAcceptable", f"only the following media types are accepted: {_SUPPORTED}")
