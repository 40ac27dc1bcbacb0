"""What the API says to writes that a release makes, and to those that it must not: codes, reasons, fields."""

from __future__ import annotations

import http.client
import json
from contextlib import closing

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests, rollouts
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "API-answers": "Refused writes have one code, reason and field on both; guards by version and uid hold.",
    "API-patches": "A JSON patch whose test fails changes nothing; replacing a member that is not there sets it.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "API-answers": "embedded: a list of a strategic patch without"
    " its merge key is 422 (real: 500 without a reason); numbers beyond int32 and times in another form than"
    " Go's are taken (real: 422 and 400); a PUT creates no Service (real: 201); a continue token"
    " that is none is 410 (real: 400); a pod condition's type is not checked (real: 422); an"
    " unknown group answers with a Status (real: plain text)",
    "API-patches": "embedded: the 422 of a JSON patch says why among its causes (real: no causes)",
}
SM = "application/strategic-merge-patch+json"
MP = "application/merge-patch+json"
JP = "application/json-patch+json"
_STALE = {"op": "test", "path": "/metadata/resourceVersion", "value": "1"}


def ask(place: Place, method: str, path: str, body: object = None, media: str = "application/json") -> tuple[int, Obj]:
    """One call, whatever it answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", place.world.api_port, timeout=30)) as way:
        way.request(method, path, None if body is None else json.dumps(body), {"Content-Type": media} if body else {})
        answer = way.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.states("API-answers", "API-patches")
@pytest.mark.parametrize(
    ("patch", "media", "code", "reason", "field"),
    [
        ([_STALE, {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}], JP, 422, "Invalid", None),
        ([{"op": "remove", "path": "/spec/nothing"}], JP, 422, "Invalid", None),
        ([{"op": "replace", "path": "/spec/minReadySeconds", "value": 1}], JP, 200, "", None),
        ({"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}, MP, 409, "Conflict", None),
        ({"spec": {"replicas": -1}}, MP, 422, "Invalid", "spec.replicas"),
        ({"spec": {"replicas": "x"}}, MP, 422, "Invalid", "patch"),
        ({"spec": {"minReadySeconds": -1}}, MP, 422, "Invalid", "spec.minReadySeconds"),
        ({"spec": {"revisionHistoryLimit": -1}}, MP, 422, "Invalid", "spec.revisionHistoryLimit"),
        ({"spec": {"progressDeadlineSeconds": 0}}, MP, 422, "Invalid", "spec.progressDeadlineSeconds"),
        (
            {"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}},
            MP,
            422,
            "Invalid",
            "spec.template.metadata.labels",
        ),
        (
            {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
            MP,
            422,
            "Invalid",
            "spec.template.spec.restartPolicy",
        ),
        ({"spec": {"strategy": {"type": "Recreate"}}}, MP, 422, "Invalid", "spec.strategy.rollingUpdate"),
        ({"spec": {}}, "application/json", 415, "UnsupportedMediaType", None),
    ],
)
def test_a_patch_of_a_deployment_is_answered_alike(
    place: Place, patch: object, media: str, code: int, reason: str, field: str | None
) -> None:
    place.create(manifests.deployment("web", 0))
    rollouts.complete(place, "web")
    before = place.get("deployments", "web")

    got, told = ask(place, "PATCH", place.path("deployments", "web"), patch, media)

    assert (got, told.get("reason", "")) == (code, reason), told.get("message")
    if field is not None:
        assert told["details"]["causes"][0]["field"] == field
    if code != 200:
        assert place.get("deployments", "web")["spec"] == before["spec"]
        assert "labels" not in place.get("deployments", "web")["metadata"]


@pytest.mark.states("API-answers")
def test_writes_that_miss_their_object_are_answered_alike(place: Place) -> None:
    place.create(manifests.pod("web"), manifests.service("web"))
    place.wait_ready("web")
    pod, service = place.path("pods", "web"), place.path("services", "web")
    none = {"name": "none", "kind": "pods"}
    evicted: Obj = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other"}}
    stale = {**place.get("services", "web")}
    stale["metadata"] = {**stale["metadata"], "resourceVersion": "1"}
    answers = {
        "twice": ask(place, "POST", place.path("pods"), manifests.pod("web")),
        "none": ask(place, "GET", place.path("pods", "none")),
        "delete none": ask(place, "DELETE", place.path("pods", "none")),
        "stale": ask(place, "PUT", service, stale),
        "other uid": ask(place, "DELETE", pod, {"preconditions": {"uid": "x"}}),
        "other version": ask(place, "DELETE", pod, {"preconditions": {"resourceVersion": "1"}}),
        "both": ask(place, "DELETE", pod, {"propagationPolicy": "Foreground", "orphanDependents": True}),
        "policy": ask(place, "DELETE", pod, {"propagationPolicy": "Sideways"}),
        "dry": ask(place, "DELETE", pod + "?dryRun=Some"),
        "evict other": ask(place, "POST", pod + "/eviction", evicted),
        "label": ask(place, "PATCH", pod, {"metadata": {"labels": {"a": "b c"}}}, SM),
        "grace": ask(place, "PATCH", pod, {"spec": {"terminationGracePeriodSeconds": 1}}, SM),
        "deadline": ask(place, "PATCH", pod, {"spec": {"activeDeadlineSeconds": 0}}, SM),
        "no name": ask(place, "POST", place.path("pods"), {**manifests.pod("x"), "metadata": {}}),
    }

    assert {name: (code, told["reason"]) for name, (code, told) in answers.items()} == {
        "twice": (409, "AlreadyExists"),
        "none": (404, "NotFound"),
        "delete none": (404, "NotFound"),
        "stale": (409, "Conflict"),
        "other uid": (409, "Conflict"),
        "other version": (409, "Conflict"),
        "both": (422, "Invalid"),
        "policy": (422, "Invalid"),
        "dry": (422, "Invalid"),
        "evict other": (400, "BadRequest"),
        "label": (422, "Invalid"),
        "grace": (422, "Invalid"),
        "deadline": (422, "Invalid"),
        "no name": (422, "Invalid"),
    }
    assert answers["none"][1]["details"] == answers["delete none"][1]["details"] == none
    assert "does not match the UID in record" in answers["other uid"][1]["message"]
    assert "deletionTimestamp" not in place.get("pods", "web")["metadata"]


@pytest.mark.states("API-answers")
def test_objects_of_a_list_do_not_say_their_kind(place: Place) -> None:
    place.create(manifests.service("web"))

    assert [sorted(each) for each in place.all("services")] == [["metadata", "spec", "status"]]
    assert place.get("services", "web")["kind"] == "Service"
