"""Creating, updating and refusing objects: generation, defaults, guards, field checks, namespaces."""

from __future__ import annotations

import pytest

from segue.cluster.registry import Options, Patch
from segue.cluster.writes import Create, Delete, Say, Update
from segue.model.errors import StatusError
from segue.model.http import STRATEGIC_PATCH
from segue.model.objects import Obj, Ref, copy_of
from tests.unit.cluster.api_world import DEPLOYMENTS, ApiWorld, deployment, service

STRICT = Options(fields="Strict")


def make(world: ApiWorld, **spec: object) -> Obj:
    return world.registry.create(DEPLOYMENTS, deployment(**spec))


def refusal(world: ApiWorld, resource: str, obj: Obj, options: Options = STRICT) -> StatusError:
    with pytest.raises(StatusError) as raised:
        world.registry.create(resource, obj, options=options)
    return raised.value


def test_a_created_object_has_an_identity_and_the_first_generation() -> None:
    made = make(ApiWorld())

    assert made["metadata"]["uid"] and made["metadata"]["creationTimestamp"] == "2026-09-21T14:13:20Z"
    assert made["metadata"]["generation"] == 1 and made["metadata"]["namespace"] == "default"


def test_an_open_deployment_gets_kubernetes_defaults() -> None:
    spec = make(ApiWorld())["spec"]

    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30


def test_writing_the_same_again_is_no_write() -> None:
    world = ApiWorld()
    made = make(world)

    assert world.registry.update(DEPLOYMENTS, deployment()) is made


def test_a_changed_spec_counts_a_generation_and_a_changed_status_does_not() -> None:
    world = ApiWorld()
    made = make(world)
    scaled = world.registry.update(DEPLOYMENTS, {**made, "spec": {**made["spec"], "replicas": 3}})
    told = world.registry.update(DEPLOYMENTS, {**scaled, "status": {"replicas": 3}}, subresource="status")

    assert (scaled["metadata"]["generation"], told["metadata"]["generation"]) == (2, 2)
    assert told["status"] == {"replicas": 3}


def test_a_stored_object_is_never_changed_by_its_successor() -> None:
    world = ApiWorld()
    made = make(world)
    remembered = copy_of(made)
    world.registry.update(DEPLOYMENTS, {**made, "spec": {**made["spec"], "replicas": 3}})
    world.registry.patch(
        Ref(resource=DEPLOYMENTS, namespace="default", name="web"),
        Patch(content_type=STRATEGIC_PATCH, body={"metadata": {"labels": {"x": "y"}}, "spec": {"paused": True}}),
    )
    world.registry.delete(Ref(resource=DEPLOYMENTS, namespace="default", name="web"), propagation="Foreground")

    assert made == remembered


def test_a_plain_update_leaves_the_status_and_a_status_update_leaves_the_spec() -> None:
    world = ApiWorld()
    made = make(world)
    world.registry.update(DEPLOYMENTS, {**made, "status": {"replicas": 7}})
    stored = world.store.get(Ref(resource=DEPLOYMENTS, namespace="default", name="web"))
    told = world.registry.update(DEPLOYMENTS, {**made, "spec": {}, "status": {"replicas": 2}}, subresource="status")

    assert stored is made
    assert told["spec"] == made["spec"]


def test_an_old_version_is_a_conflict() -> None:
    world = ApiWorld()
    made = make(world)
    world.registry.update(DEPLOYMENTS, {**made, "spec": {**made["spec"], "replicas": 3}})
    with pytest.raises(StatusError, match="the object has been modified") as raised:
        world.registry.update(DEPLOYMENTS, {**made, "spec": {**made["spec"], "replicas": 4}})

    assert (raised.value.code, raised.value.reason) == (409, "Conflict")


def test_a_second_object_of_a_name_is_refused() -> None:
    world = ApiWorld()
    make(world)

    assert refusal(world, DEPLOYMENTS, deployment()).reason == "AlreadyExists"


def test_a_dry_run_leaves_nothing() -> None:
    world = ApiWorld()
    world.registry.create(DEPLOYMENTS, deployment(), options=Options(dry_run=True))

    assert world.store.all_of(DEPLOYMENTS) == []


def test_an_unknown_field_is_refused_by_its_path_where_it_is_checked() -> None:
    broken = deployment()
    broken["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    found = refusal(ApiWorld(), DEPLOYMENTS, broken)

    assert found.code == 400
    assert found.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.template.spec.containers[0].imagee"'
    )


def test_an_unknown_field_is_warned_of_and_dropped_where_it_is_not_strict() -> None:
    world = ApiWorld()
    heard: list[str] = []
    made = world.registry.create(DEPLOYMENTS, deployment(foo=1), options=Options(fields="Warn", warn=heard.append))

    assert heard == ['unknown field "spec.foo"'] and "foo" not in made["spec"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicas": "3"}, "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"paused": "yes"}, "cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool"),
        ({"template": []}, "cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_as_go_refuses_it(change: dict[str, object], words: str) -> None:
    assert words in refusal(ApiWorld(), DEPLOYMENTS, deployment(**change)).message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"selector": {"matchLabels": {"a": "b"}}}, "`selector` does not match template `labels`"),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}, "may not be 0 when `maxSurge` is 0"),
        ({"strategy": {"rollingUpdate": {"maxSurge": "x%"}}}, "a valid percent string"),
        ({"minReadySeconds": 600}, "must be greater than minReadySeconds"),
        ({"replicas": -1}, "must be greater than or equal to 0"),
        ({"strategy": {"type": "Never"}}, 'Unsupported value: "Never": supported values: "Recreate", "RollingUpdate"'),
    ],
)
def test_a_deployment_that_cannot_be_is_refused(change: dict[str, object], words: str) -> None:
    found = refusal(ApiWorld(), DEPLOYMENTS, deployment(**change))

    assert found.code == 422 and words in found.message


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"image": ""}, "spec.containers[0].image: Required value"),
        ({"livenessProbe": {"httpGet": {"port": 1}, "successThreshold": 2}}, "must be 1"),
        ({"readinessProbe": {"httpGet": {"port": 0}}}, "must be between 1 and 65535, inclusive"),
        ({"readinessProbe": {"periodSeconds": 1}}, "must specify a handler type"),
        (
            {"readinessProbe": {"httpGet": {"port": 1}, "terminationGracePeriodSeconds": 3}},
            "must not be set for readiness",
        ),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, "less than terminationGracePeriodSeconds (30)"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, 'Not found: "v"'),
        ({"name": "A"}, "a lowercase RFC 1123 label"),
    ],
)
def test_a_container_that_cannot_be_is_refused(container: Obj, words: str) -> None:
    pod: Obj = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", **container}]}}

    assert words in refusal(ApiWorld(), "pods", pod).message


def test_a_prestop_sleep_as_long_as_the_grace_is_legal() -> None:
    container: Obj = {"name": "c", "image": "i", "lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}
    pod = ApiWorld().registry.create("pods", {"metadata": {"name": "p"}, "spec": {"containers": [container]}})

    assert pod["status"]["phase"] == "Pending"


def test_a_selector_stands() -> None:
    world = ApiWorld()
    make(world)
    changed = deployment(selector={"matchLabels": {"app": "web", "more": "x"}})
    changed["spec"]["template"]["metadata"]["labels"]["more"] = "x"
    with pytest.raises(StatusError, match="field is immutable") as raised:
        world.registry.update(DEPLOYMENTS, changed)

    assert raised.value.code == 422


def test_a_namespace_must_be_there_and_stay() -> None:
    world = ApiWorld()
    world.registry.create("namespaces", {"metadata": {"name": "leaving"}})
    world.registry.delete(Ref(resource="namespaces", namespace="", name="leaving"))
    missing = refusal(world, DEPLOYMENTS, {**deployment(), "metadata": {"name": "web", "namespace": "nowhere"}})
    leaving = refusal(world, DEPLOYMENTS, {**deployment(), "metadata": {"name": "web", "namespace": "leaving"}})

    assert (missing.code, missing.message) == (404, 'namespaces "nowhere" not found')
    assert (leaving.code, leaving.details["causes"][0]["reason"]) == (403, "NamespaceTerminating")


def test_a_namespace_gets_its_service_account() -> None:
    world = ApiWorld()
    world.registry.create("namespaces", {"metadata": {"name": "new"}})

    assert [one["metadata"]["name"] for one in world.store.all_of("serviceaccounts", "new")] == ["default"]


def test_an_empty_terminating_namespace_leaves_when_it_is_deleted_again() -> None:
    world = ApiWorld()
    world.registry.create("namespaces", {"metadata": {"name": "new"}})
    ref = Ref(resource="namespaces", namespace="", name="new")
    world.registry.perform(Delete(ref=ref))
    world.registry.perform(Delete(ref=ref))
    still = world.store.get(ref)
    world.registry.perform(Delete(ref=Ref(resource="serviceaccounts", namespace="new", name="default")))
    world.registry.perform(Delete(ref=ref))

    assert still is not None and still["status"]["phase"] == "Terminating"
    assert world.store.get(ref) is None


def test_a_generated_name_is_prefixed_and_its_own() -> None:
    world = ApiWorld()
    pod: Obj = {"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    names = {world.registry.create("pods", pod)["metadata"]["name"] for _ in range(20)}

    assert len(names) == 20 and all(name.startswith("web-") and len(name) == 9 for name in names)


def test_controllers_write_through_the_same_door() -> None:
    world = ApiWorld()
    world.registry.perform(Create(resource=DEPLOYMENTS, obj=deployment()))
    made = world.store.all_of(DEPLOYMENTS)[0]
    world.registry.perform(Update(resource=DEPLOYMENTS, obj={**made, "status": {"replicas": 1}}, status=True))
    with pytest.raises(StatusError):
        world.registry.perform(Update(resource=DEPLOYMENTS, obj={**made, "spec": {**made["spec"], "replicas": 2}}))

    assert world.store.all_of(DEPLOYMENTS)[0]["status"] == {"replicas": 1}


def test_a_scheduler_binds_a_pod_by_an_update_and_only_once() -> None:
    world = ApiWorld()
    pod = world.registry.create(
        "pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    chosen = copy_of(pod)
    chosen["spec"]["nodeName"] = "n1"
    world.registry.perform(Update(resource="pods", obj=chosen))
    bound = world.store.all_of("pods")[0]
    moved = copy_of(bound)
    moved["spec"]["nodeName"] = "n2"

    assert bound["spec"]["nodeName"] == "n1" and bound["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(StatusError, match="pod updates may not change fields"):
        world.registry.perform(Update(resource="pods", obj=moved))


def test_equal_sayings_are_counted_up_and_others_are_not() -> None:
    world = ApiWorld()
    pod = world.run_pod()
    say = Say(about=pod, about_resource="pods", kind="Normal", reason="Pulled", message="m", component="kubelet")
    world.registry.perform(say)
    world.clock.at_s += 5
    world.registry.perform(say)
    world.clock.at_s += 601
    world.registry.perform(say)
    counts = [event["count"] for event in world.store.all_of("events")]

    assert sorted(counts) == [1, 2]


def test_a_secret_that_is_not_base64_is_refused_and_its_content_not_repeated() -> None:
    found = refusal(ApiWorld(), "secrets", {"metadata": {"name": "s"}, "data": {"k": "not base64!"}})

    assert found.code == 422 and "not base64!" not in found.message


def test_what_an_update_leaves_alone_is_not_kept_twice() -> None:
    world = ApiWorld()
    made = make(world)
    labelled = copy_of(made)
    labelled["metadata"]["labels"] = {"a": "b"}

    assert world.registry.update(DEPLOYMENTS, labelled)["spec"] is made["spec"]


def test_a_bare_service_is_a_cluster_ip_of_the_range() -> None:
    spec = ApiWorld().registry.create("services", service())["spec"]

    assert spec["clusterIP"].startswith("10.96.") and spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


@pytest.mark.parametrize("cost", ["+1", "01", "1.5", "-0", "2147483648", "much", ""])
def test_a_deletion_cost_that_is_no_plain_int32_is_refused_in_pods_and_templates(cost: str) -> None:
    world = ApiWorld()
    annotations = {"controller.kubernetes.io/pod-deletion-cost": cost}
    made = deployment()
    made["spec"]["template"]["metadata"]["annotations"] = annotations
    pod: Obj = {"metadata": {"name": "p", "annotations": annotations}, "spec": made["spec"]["template"]["spec"]}

    refused = [refusal(world, DEPLOYMENTS, made), refusal(world, "pods", pod)]

    assert [error.reason for error in refused] == ["Invalid", "Invalid"]
    assert all("must be a 32bit integer" in error.message for error in refused)


@pytest.mark.parametrize("cost", ["0", "-1", "7", "-2147483648", "2147483647"])
def test_a_deletion_cost_that_is_a_plain_int32_is_taken(cost: str) -> None:
    world = ApiWorld()
    made = deployment()
    made["spec"]["template"]["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": cost}

    assert world.registry.create(DEPLOYMENTS, made)["metadata"]["generation"] == 1


def test_what_a_typed_server_leaves_out_where_it_is_empty_is_left_out() -> None:
    made = deployment(minReadySeconds=0, paused=False)
    template = made["spec"]["template"]
    template["metadata"]["annotations"] = {}
    template["spec"] |= {"hostNetwork": False, "nodeSelector": {}}
    template["spec"]["containers"][0] |= {"env": [{"name": "A", "value": ""}], "command": [], "tty": False}

    spec = ApiWorld().registry.create(DEPLOYMENTS, made)["spec"]

    inner = spec["template"]["spec"]
    assert not {"minReadySeconds", "paused"} & spec.keys()
    assert "annotations" not in spec["template"]["metadata"]
    assert not {"hostNetwork", "nodeSelector"} & inner.keys()
    assert inner["containers"][0]["env"] == [{"name": "A"}]
    assert not {"command", "tty"} & inner["containers"][0].keys()


def test_a_zero_that_says_something_is_kept() -> None:
    made = deployment(replicas=0)
    made["spec"]["template"]["spec"]["automountServiceAccountToken"] = False
    header = {"name": "X", "value": ""}
    probe = {"httpGet": {"path": "/", "port": 80, "httpHeaders": [header]}}
    made["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe

    spec = ApiWorld().registry.create(DEPLOYMENTS, made)["spec"]

    inner = spec["template"]["spec"]
    assert spec["replicas"] == 0
    assert inner["automountServiceAccountToken"] is False
    assert inner["containers"][0]["readinessProbe"]["httpGet"]["httpHeaders"] == [header]


def test_a_patch_to_a_wrong_type_is_invalid_where_an_object_would_be_unreadable() -> None:
    world = ApiWorld()
    make(world)
    ref = Ref(resource=DEPLOYMENTS, namespace="default", name="web")

    with pytest.raises(StatusError) as raised:
        world.registry.patch(ref, Patch(content_type=STRATEGIC_PATCH, body={"spec": {"replicas": "x"}}))

    assert (raised.value.code, raised.value.details["causes"][0]["field"]) == (422, "patch")
    assert "cannot unmarshal string into Go struct field" in raised.value.message


def test_a_negative_scale_is_an_invalid_scale() -> None:
    world = ApiWorld()
    make(world)
    ref = Ref(resource=DEPLOYMENTS, namespace="default", name="web")
    patch = Patch(content_type=STRATEGIC_PATCH, body={"spec": {"replicas": -1}})

    with pytest.raises(StatusError, match=r'Scale.autoscaling "web" is invalid: spec.replicas') as raised:
        world.registry.patch(ref, patch, subresource="scale")

    assert raised.value.details["kind"] == "Scale"
