"""A Service's selector as a switch: pin it to one version, switch it to another, unpin it.

Every pod of a Deployment carries `pod-template-hash`; adding the hash of the only version to the selector moves
nothing, changing it later moves all endpoints in one update (M6).
Never patched by apply: `spec.selector` is an atomic map, so somebody's forced apply takes the key away (B6). A JSON
patch with a test on resourceVersion can only change the selector that was looked at.
"""

from __future__ import annotations

from segue.model.http import JSON_PATCH, ApiRequest
from segue.model.objects import Obj, namespace_of
from segue.model.services import Service
from segue.model.workloads import HASH_LABEL

POINTER = f"/spec/selector/{HASH_LABEL}"


def point(service: Service, pod_hash: str) -> ApiRequest:
    """Pin or switch the Service to one version; "" unpins it."""
    operations: list[Obj] = [{"op": "test", "path": "/metadata/resourceVersion", "value": service.version}]
    if pod_hash:
        operations.append({"op": "add", "path": POINTER, "value": pod_hash})
    elif service.pinned_to:
        operations.append({"op": "remove", "path": POINTER})
    return ApiRequest(
        method="PATCH",
        path=f"/api/v1/namespaces/{namespace_of(service.obj)}/services/{service.name}",
        query={"fieldManager": "segue"},
        body=operations,
        content_type=JSON_PATCH,
    )
