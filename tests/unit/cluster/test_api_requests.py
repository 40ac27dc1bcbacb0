"""Requests and their answers: routes, verbs, lists and pages, forms, users, patches on every subresource."""

from __future__ import annotations

import pytest

from segue.cluster.api.results import VIEWER, Answer
from segue.model.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, ApiRequest
from segue.model.objects import Obj
from tests.unit.cluster.api_world import DEPLOYMENTS, ApiWorld, deployment

PODS = "/api/v1/namespaces/default/pods"
WEB = "/apis/apps/v1/namespaces/default/deployments/web"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def world_with(*names: str) -> ApiWorld:
    world = ApiWorld()
    for name in names:
        world.run_pod(name)
    return world


def with_web() -> ApiWorld:
    world = ApiWorld()
    assert world.call("POST", WEB.rpartition("/")[0], deployment()).code == 201
    return world


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/readyz", 200),
        ("/livez", 200),
        ("/healthz", 200),
        ("/version", 200),
        ("/api", 200),
        ("/api/v1", 200),
        ("/apis", 200),
        ("/apis/apps", 200),
        ("/apis/apps/v1", 200),
        ("/apis/segue.dev/v1", 200),
        ("/apis/segue.dev/v1/cluster", 200),
        ("/apis/segue.dev/v1/timeline?after=4", 200),
        ("/openapi/v3", 200),
        ("/openapi/v3/apis/apps/v1", 200),
        ("/openapi/v2", 200),
        ("/api/v2", 404),
        ("/apis/nope", 404),
        ("/apis/apps/v2", 404),
        ("/nope", 404),
        ("/api/v1/nope", 404),
        ("/apis/segue.dev/v1/nope", 404),
        ("/openapi/v3/apis/nope/v1", 404),
        ("/apis/segue.dev/v1/timeline?after=x", 400),
    ],
)
def test_documents_are_where_kubernetes_has_them(path: str, code: int) -> None:
    assert ApiWorld().call("GET", path).code == code


def test_every_kind_of_discovery_can_be_listed() -> None:
    world = ApiWorld()
    for group in world.call("GET", "/apis").body["groups"]:
        listed = world.call("GET", f"/apis/{group['preferredVersion']['groupVersion']}").body
        for resource in listed["resources"]:
            if "list" in resource["verbs"]:
                answer = world.call("GET", f"/apis/{listed['groupVersion']}/{resource['name']}")
                assert (answer.code, answer.body["kind"]) == (200, f"{resource['kind']}List")


def test_aggregated_discovery_names_the_same_resources_as_the_old_one() -> None:
    world = ApiWorld()
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = world.call("GET", "/apis", accept=accept)
    new = {
        (item["metadata"]["name"], one["resource"])
        for item in answer.body["items"]
        for one in item["versions"][0]["resources"]
    }
    old = {
        (group["name"], one["name"])
        for group in world.call("GET", "/apis").body["groups"]
        for one in world.call("GET", f"/apis/{group['preferredVersion']['groupVersion']}").body["resources"]
        if "/" not in one["name"]
    }

    assert new == old and answer.content_type == accept


def test_a_list_is_paged_by_limit_and_continue() -> None:
    world = world_with("a", "b", "c")
    first = world.call("GET", f"{PODS}?limit=2")
    query = {"limit": "2", "continue": first.body["metadata"]["continue"]}
    second = world.server.handle(ApiRequest(method="GET", path=PODS, query=query))

    assert isinstance(second, Answer)
    assert [one["metadata"]["name"] for one in first.body["items"]] == ["a", "b"]
    assert first.body["metadata"]["remainingItemCount"] == 1
    assert [one["metadata"]["name"] for one in second.body["items"]] == ["c"]


def test_a_damaged_continue_is_gone() -> None:
    assert world_with("a").call("GET", f"{PODS}?continue=xxx").code == 410


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=app==x", ["a", "b"]),
        ("labelSelector=app!=x", []),
        ("labelSelector=app in (x,y)", ["a", "b"]),
        ("labelSelector=app notin (x)", []),
        ("labelSelector=!app", []),
        ("labelSelector=app", ["a", "b"]),
        ("fieldSelector=metadata.name==b", ["b"]),
        ("fieldSelector=metadata.name!=b", ["a"]),
        ("fieldSelector=status.phase=Running,spec.nodeName=n1", ["a", "b"]),
        ("fieldSelector=spec.nodeName=n2", []),
    ],
)
def test_selectors_choose(query: str, names: list[str]) -> None:
    answer = world_with("a", "b").call("GET", f"{PODS}?{query}")
    found = [one["metadata"]["name"] for one in answer.body.get("items", [])]

    assert found == names


@pytest.mark.parametrize("query", ["fieldSelector=spec.nope=1", "labelSelector=a b", "limit=x", "resourceVersion=x"])
def test_a_query_that_makes_no_sense_is_refused(query: str) -> None:
    assert ApiWorld().call("GET", f"{PODS}?{query}").code == 400


def test_a_future_version_has_to_be_waited_for() -> None:
    answer = ApiWorld().call("GET", f"{PODS}?resourceVersion=9999")

    assert (answer.code, answer.body["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


def test_a_table_has_kubernetes_columns_and_metadata() -> None:
    table = world_with("a").call("GET", PODS, accept=TABLE).body
    shown = [one["name"] for one in table["columnDefinitions"] if one["priority"] == 0]

    assert (table["kind"], shown) == ("Table", ["Name", "Ready", "Status", "Restarts", "Age"])
    assert table["rows"][0]["cells"][:5] == ["a", "0/1", "Running", "0", "0s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_metadata_alone_is_enough_for_those_who_ask_so() -> None:
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    answer = world_with("a").call("GET", PODS, accept=accept).body

    assert answer["kind"] == "PartialObjectMetadataList" and "spec" not in answer["items"][0]


def test_a_form_that_is_not_offered_is_not_acceptable() -> None:
    assert ApiWorld().call("GET", PODS, accept="text/html").code == 406


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MERGE_PATCH, {"spec": {"replicas": 4}}),
        (STRATEGIC_PATCH, {"spec": {"replicas": 4}}),
        (JSON_PATCH, [{"op": "replace", "path": "/spec/replicas", "value": 4}]),
    ],
)
@pytest.mark.parametrize("subresource", ["", "/scale"])
def test_all_patches_work_on_an_object_and_on_its_scale(
    content_type: str, body: Obj | list[Obj], subresource: str
) -> None:
    world = with_web()
    answer = world.call("PATCH", f"{WEB}{subresource}", body, content_type=content_type)

    assert (answer.code, answer.body["spec"]["replicas"]) == (200, 4)
    assert world.call("GET", WEB).body["spec"]["replicas"] == 4


def test_a_status_patch_changes_the_status_only() -> None:
    world = with_web()
    body: Obj = {"spec": {"replicas": 9}, "status": {"replicas": 2}}
    answer = world.call("PATCH", f"{WEB}/status", body, content_type=MERGE_PATCH)

    assert (answer.body["spec"]["replicas"], answer.body["status"]) == (1, {"replicas": 2})


def test_a_failed_test_operation_is_unprocessable_and_changes_nothing() -> None:
    world = with_web()
    body: list[Obj] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]
    answer = world.call("PATCH", WEB, body, content_type=JSON_PATCH)

    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert world.call("GET", WEB).body["spec"]["replicas"] == 1


def test_a_patch_with_an_old_version_is_a_conflict() -> None:
    body: Obj = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 4}}

    assert with_web().call("PATCH", WEB, body, content_type=MERGE_PATCH).code == 409


def test_an_apply_needs_to_know_whose_it_is() -> None:
    answer = with_web().call("PATCH", WEB, {}, content_type=APPLY_PATCH)

    assert (answer.code, answer.body["details"]["causes"][0]["field"]) == (422, "fieldManager")


def test_an_unknown_field_in_a_strict_patch_is_refused() -> None:
    body: Obj = {"spec": {"foo": 1}}
    answer = with_web().call("PATCH", f"{WEB}?fieldValidation=Strict", body, content_type=MERGE_PATCH)

    assert answer.code == 422 and 'unknown field "spec.foo"' in answer.body["message"]


def test_an_unknown_field_is_warned_of_by_default() -> None:
    answer = ApiWorld().call("POST", WEB.rpartition("/")[0], deployment(foo=1))

    assert (answer.code, answer.warnings) == (201, ('unknown field "spec.foo"',))


def test_a_collection_is_deleted_by_its_selector() -> None:
    world = world_with("a", "b")
    world.call("DELETE", f"{PODS}?fieldSelector=metadata.name=a&gracePeriodSeconds=0")

    assert [one["metadata"]["name"] for one in world.store.all_of("pods")] == ["b"]


def test_an_eviction_is_a_delete_with_grace() -> None:
    world = world_with("a")
    answer = world.call("POST", f"{PODS}/a/eviction", {"metadata": {"name": "a"}})

    assert answer.code == 201 and world.store.all_of("pods")[0]["metadata"]["deletionGracePeriodSeconds"] == 30


def test_a_bound_pod_cannot_be_bound_again() -> None:
    answer = world_with("a").call("POST", f"{PODS}/a/binding", {"metadata": {"name": "a"}, "target": {"name": "n2"}})

    assert answer.code == 409 and 'already assigned to node "n1"' in answer.body["message"]


def test_a_reader_may_read_and_not_write() -> None:
    world = with_web()
    read = world.call_as(VIEWER, "GET", WEB)
    written = world.call_as(VIEWER, "DELETE", WEB)

    assert read.code == 200
    assert (written.code, written.body["reason"]) == (403, "Forbidden")
    assert written.body["message"] == (
        'deployments.apps "web" is forbidden: User "segue-viewer" cannot delete resource "deployments" '
        'in API group "apps" in the namespace "default"'
    )
    assert len(world.store.all_of(DEPLOYMENTS)) == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("PUT", PODS, 405), ("POST", f"{PODS}/a", 405), ("GET", f"{PODS}/none", 404), ("TRACE", PODS, 405)],
)
def test_a_verb_in_the_wrong_place_is_refused(method: str, path: str, code: int) -> None:
    assert ApiWorld().call(method, path, {}).code == code


def test_a_name_that_is_not_the_urls_is_refused() -> None:
    answer = with_web().call("PUT", WEB, deployment("other"))

    assert answer.code == 400 and "does not match the name on the URL" in answer.body["message"]


def test_a_namespace_that_is_not_the_urls_is_refused() -> None:
    elsewhere = {**deployment(), "metadata": {"name": "web", "namespace": "kube-system"}}

    assert ApiWorld().call("POST", WEB.rpartition("/")[0], elsewhere).code == 400
