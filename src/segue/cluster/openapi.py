"""The least OpenAPI that kubectl needs: that every kind's PATCH knows `fieldValidation` and `dryRun`.

With it kubectl leaves field checks to the server, and makes its strategic patches from the types it was built with.
Schemas are not published.
"""

from __future__ import annotations

from segue.cluster.kinds import Kind, find_resource, group_versions
from segue.model.objects import Obj

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_INFO: Obj = {"title": "Kubernetes", "version": "v1.37.2"}


def index() -> Obj:
    """GET /openapi/v3."""
    paths: Obj = {}
    for group, version in group_versions():
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
    return {"paths": paths}


def document(group: str, version: str) -> Obj | None:
    """GET /openapi/v3/apis/GROUP/VERSION."""
    kinds = group_versions().get((group, version))
    if kinds is None:
        return None
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {_path(kind): _operations(kind, 3) for kind in kinds},
        "components": {"schemas": {}},
    }


def document_v2() -> Obj:
    """GET /openapi/v2."""
    kinds = [kind for listed in group_versions().values() for kind in listed]
    paths: Obj = {_path(kind): _operations(kind, 2) for kind in kinds}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": {}}


def _path(kind: Kind) -> str:
    assert find_resource(kind.group, kind.version, kind.plural) == kind
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    where = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"{root}{where}/{kind.plural}/{{name}}"


def _operations(kind: Kind, edition: int) -> Obj:
    typed: Obj = {"schema": {"type": "string"}} if edition == 3 else {"type": "string"}
    return {
        "patch": {
            "operationId": f"patch{kind.kind}",
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "parameters": [{"name": name, "in": "query", **typed} for name in ("dryRun", "fieldValidation")],
            "responses": {"200": {"description": "OK"}},
        }
    }
