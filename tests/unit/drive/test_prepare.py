"""The server's refusals, told at the line of the file that they speak of."""

from __future__ import annotations

import pytest

from segue.drive.prepare import LAST_APPLIED, Placed, check_service, manifest_fault, target_of
from segue.model.errors import Forbidden, ManifestError, Refused
from segue.model.http import ApiResponse
from segue.model.manifest import Document, parse
from segue.model.objects import Obj
from segue.model.workloads import Deployment

TEXT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: three
  template:
    spec:
      containers:
      - name: web
        imagee: web:1
"""
(DOCUMENT,) = parse(TEXT, file="web.yaml")


def status(code: int, message: str, causes: list[Obj] | None = None) -> ApiResponse:
    return ApiResponse(code=code, body={"code": code, "message": message, "details": {"causes": causes or []}})


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (
            status(400, 'strict decoding error: unknown field "spec.template.spec.containers[0].imagee"'),
            "web.yaml:11 $.spec.template.spec.containers[0].imagee",
        ),
        (
            status(422, "invalid", [{"field": "spec.template.spec.containers[0].image", "message": "Required value"}]),
            "web.yaml:10 $.spec.template.spec.containers[0].image",
        ),
        (
            status(
                400, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
            ),
            "web.yaml:6 $.spec.replicas",
        ),
        (
            status(
                422,
                'Deployment.apps "web" is invalid: patch: Invalid value: '
                '"{\\"spec\\":{\\"replicas\\":\\"three\\"}}": json: '
                "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
                [{"field": "patch", "message": 'Invalid value: "{...}": json: cannot unmarshal string'}],
            ),
            "web.yaml:6 $.spec.replicas",
        ),
        (status(400, "something else"), "web.yaml:1 $"),
    ],
)
def test_a_refusal_is_told_at_its_line(answer: ApiResponse, place: str) -> None:
    error = manifest_fault(DOCUMENT, answer)

    assert isinstance(error, ManifestError)
    assert str(error.place) == place
    assert error.remedy
    assert "Invalid value" not in error.message  # never the whole object


def test_a_lack_of_rights_is_no_fault_of_the_file() -> None:
    assert isinstance(manifest_fault(DOCUMENT, status(403, "forbidden")), Forbidden)


def service(selector: str) -> tuple[Placed, Document]:
    text = f"apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector: {{{selector}}}\n"
    (document,) = parse(text, file="svc.yaml")
    return Placed(document=document, namespace="shop", collection="/api/v1/namespaces/shop/services"), document


TEMPLATE: Obj = {"metadata": {"labels": {"app": "web"}}}


def test_a_service_of_these_pods_is_good() -> None:
    placed, _ = service("app: web")

    check_service(placed, None, [TEMPLATE], [])


def test_a_service_that_selects_nothing_is_named_with_its_line() -> None:
    placed, _ = service("app: nobody")

    with pytest.raises(ManifestError, match="selects nothing") as caught:
        check_service(placed, None, [TEMPLATE], [])
    assert str(caught.value.place) == "svc.yaml:6 $.spec.selector"
    assert "app=web" in caught.value.remedy


def test_a_service_that_would_jump_to_other_pods_is_refused() -> None:
    placed, document = service("app: web")
    live: Obj = {**document.obj, "spec": {"selector": {"app": "old", "pod-template-hash": "x"}}}

    with pytest.raises(Refused, match="jump"):
        check_service(placed, live, [TEMPLATE], [])


def test_what_kubectl_apply_would_have_noted_is_noted_letter_by_letter() -> None:
    (document,) = parse(
        "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: web}\nspec: {note: '<ü>'}\n", file="web.yaml"
    )
    live = Deployment(
        obj={"metadata": {"name": "web", "namespace": "shop", "annotations": {LAST_APPLIED: "{}"}}, "spec": {}}
    )

    noted = target_of(document, live, {"spec": {"template": {}}}).metadata["annotations"][LAST_APPLIED]

    assert noted == (
        '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{},"name":"web","namespace":"shop"},'
        '"spec":{"note":"\\u003cü\\u003e"}}\n'
    )


def test_what_was_never_applied_gets_no_note() -> None:
    live = Deployment(obj={"metadata": {"name": "web", "namespace": "shop"}, "spec": {}})

    assert target_of(DOCUMENT, live, {"spec": {"template": {}}}).metadata["annotations"] == {}
