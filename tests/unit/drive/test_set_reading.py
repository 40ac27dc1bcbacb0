"""What `check --live` reads of a cluster: everything that is judged together, as somebody wrote it."""

from __future__ import annotations

import pytest

from segue.drive.flow import Answer, Calls
from segue.drive.set_reading import read_set
from segue.model.errors import Forbidden
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj

SCALED: Obj = {"manager": "kube-controller-manager", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
SAID: Obj = {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}


def web(*owners: Obj, **annotations: str) -> Obj:
    metadata: Obj = {"name": "web", "managedFields": list(owners), "annotations": annotations}
    return {"metadata": metadata, "spec": {"replicas": 7}}


def read(objects: dict[str, list[Obj]], *, code: int = 404) -> list[Obj]:
    """Answer what is asked from these lists, by plural; what is not there with this code."""

    def answer(request: ApiRequest) -> ApiResponse:
        plural = request.path.rpartition("/")[2]
        if plural in objects:
            return ApiResponse(code=200, body={"items": objects[plural]})
        return ApiResponse(code=code, body={"kind": "Status", "reason": "Forbidden", "message": "no"})

    flow = read_set("shop")
    asked = next(flow)
    while True:
        assert isinstance(asked, Calls)
        assert all(request.method == "GET" for request in asked.requests)
        try:
            asked = flow.send(Answer(now_s=0.0, responses=tuple(map(answer, asked.requests))))
        except StopIteration as end:
            found: list[Obj] = end.value
            return found


def test_objects_say_what_they_are() -> None:
    found = read(
        {"deployments": [web()], "services": [{"metadata": {"name": "web"}}], "httproutes": [{"metadata": {}}]}
    )

    assert [(one["apiVersion"], one["kind"]) for one in found] == [
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ]


@pytest.mark.parametrize(
    ("deployment", "replicas"),
    [
        (web(SCALED), None),
        (web(SAID), 7),
        (web(SCALED, SAID), 7),
        (web(), 7),
        (web(SCALED, **{"kubectl.kubernetes.io/last-applied-configuration": '{"spec":{"replicas":2}}'}), 7),
    ],
    ids=["an autoscaler", "an apply", "both", "nobody knows", "an older apply"],
)
def test_replicas_that_only_an_autoscaler_set_are_nobodys_word(deployment: Obj, replicas: int | None) -> None:
    (found,) = read({"deployments": [deployment]})

    assert found["spec"].get("replicas") == replicas
    assert deployment["spec"]["replicas"] == 7, "what was read is never changed"


def test_what_may_not_be_read_is_an_error() -> None:
    with pytest.raises(Forbidden):
        read({}, code=403)
