"""Server-side apply: who owns which field, who may change it, and what goes when nobody wants it any more."""

from __future__ import annotations

import json

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.rollouts import wait_until
from tests.live.both.test_api_answers import MP, ask
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "Apply-owners": "managedFields tells after every write who owns which field, by Update and by Apply apart.",
    "Apply-conflicts": "An apply that would change another's field is 409 with a cause per field, unless it is forced.",
    "Apply-removal": "What an applier no longer names goes if nobody else owns it, and goes back to its default.",
    "Apply-lists": "Lists with keys merge item by item, sets value by value, all others are owned as a whole.",
    "Apply-refusals": "A configuration with an unknown field, a wrong type, an item twice or another name is refused.",
    "Apply-kubectl": "kubectl apply --server-side creates, conflicts, forces, and takes over from client-side apply.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "Apply-owners": "embedded: a Deployment's revision annotation stands in an entry of its own (real: in that of the"
    " status); a null in a configuration owns nothing (real: its field); a status brings no annotations (real: it may)",
    "Apply-refusals": "embedded: a fraction for a whole number is 400 and another uid 409 (real: 500 and 422)",
}
AP = "application/apply-patch+yaml"


def web(**spec: object) -> Obj:
    """A Deployment without pods, as somebody applies it."""
    container: Obj = {
        "name": "c",
        "image": f"{manifests.PUPPET}:v1",
        "env": [{"name": "A", "value": "1"}],
        "ports": [{"containerPort": 80}],
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template} | spec,
    }


def data(name: str, **values: str) -> Obj:
    """A ConfigMap."""
    made: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return made | ({"data": values} if values else {})


def apply(place: Place, obj: Obj, manager: str, *, force: bool = False, sub: str = "") -> tuple[int, Obj]:
    """Apply an object in somebody's name."""
    resource = {"Scale": "deployments"}.get(obj["kind"], obj["kind"].lower() + "s")
    path = place.path(resource, obj["metadata"]["name"], sub)
    return ask(place, "PATCH", f"{path}?fieldManager={manager}{'&force=true' if force else ''}", obj, AP)


def owners(obj: Obj) -> dict[tuple[str, str, str], Obj]:
    """Fields by manager, operation and subresource; the controllers' left out: when they write is chance."""
    return {
        (each["manager"], each["operation"], each.get("subresource", "")): each["fieldsV1"]
        for each in obj["metadata"].get("managedFields", [])
        if each["manager"] != "kube-controller-manager"
    }


@pytest.mark.states("Apply-owners")
def test_an_applier_owns_what_he_names_and_an_updater_what_he_changes(place: Place) -> None:
    code, made = apply(place, web(), "one")
    again, same = apply(place, web(), "one")
    place.patch("deployments", "web?fieldManager=two", {"metadata": {"labels": {"a": "b"}}}, kind=MP)
    changed = place.patch("deployments", "web?fieldManager=two", {"spec": {"paused": True}}, kind=MP)

    container: Obj = {
        ".": {},
        "f:name": {},
        "f:image": {},
        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
    template = {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:containers": {'k:{"name":"c"}': container}}}
    one = {"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": template}}
    two = {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:paused": {}}}
    assert (code, again) == (201, 200)
    assert owners(made) == owners(same) == {("one", "Apply", ""): one}
    assert owners(changed) == {("one", "Apply", ""): one, ("two", "Update", ""): two}
    assert {each["fieldsType"] for each in changed["metadata"]["managedFields"]} == {"FieldsV1"}


@pytest.mark.states("Apply-owners")
def test_who_creates_owns_the_defaults_too_but_not_what_the_server_gives(place: Place) -> None:
    service = manifests.service("web")
    code, made = ask(place, "POST", place.path("services") + "?fieldManager=maker", service)

    port: Obj = {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}
    spec = {
        "f:internalTrafficPolicy": {},
        "f:ports": {".": {}, 'k:{"port":80,"protocol":"TCP"}': port},
        "f:selector": {},
        "f:sessionAffinity": {},
        "f:type": {},
    }
    assert code == 201
    assert owners(made) == {("maker", "Update", ""): {"f:spec": spec}}


@pytest.mark.states("Apply-owners")
def test_the_node_owns_a_pods_status_and_the_controller_its_spec(place: Place) -> None:
    place.create(manifests.replica_set("puppet", 1))
    pod = place.wait_ready_pods(1)[0]

    entries = {
        (each["manager"], each.get("subresource", "")): each["fieldsV1"] for each in pod["metadata"]["managedFields"]
    }

    made, told = entries["kube-controller-manager", ""], entries["kubelet", "status"]
    container = made["f:spec"]["f:containers"]['k:{"name":"puppet"}']
    assert set(made) == {"f:metadata", "f:spec"}
    assert {"f:image", "f:imagePullPolicy", "f:readinessProbe", "f:resources"} <= set(container)
    assert {"f:generateName", "f:labels", "f:ownerReferences"} == set(made["f:metadata"])
    assert {"f:conditions", "f:containerStatuses", "f:phase", "f:podIP", "f:podIPs", "f:startTime"} <= set(
        told["f:status"]
    )
    assert 'k:{"type":"Ready"}' in told["f:status"]["f:conditions"]
    assert "f:nodeName" not in made["f:spec"]


@pytest.mark.states("Apply-owners")
def test_a_scale_is_owned_by_who_scaled(place: Place) -> None:
    apply(place, web(), "one")
    place.kubectl("scale", "deployment/web", "--replicas=1")
    scale: Obj = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 0}}
    refused = apply(place, scale, "three", sub="scale")
    forced = apply(place, scale, "three", sub="scale", force=True)[0]

    replicas: Obj = {"f:spec": {"f:replicas": {}}}
    found = owners(place.get("deployments", "web"))
    assert refused[0] == 409 and 'conflict with "kubectl" with subresource "scale"' in refused[1]["message"]
    assert forced == 200
    assert found["three", "Apply", "scale"] == replicas
    assert "f:replicas" not in found["one", "Apply", ""]["f:spec"]
    assert ("kubectl", "Update", "scale") not in found


@pytest.mark.states("Apply-owners")
def test_managed_fields_can_be_forgotten_and_the_first_apply_begins_anew(place: Place) -> None:
    place.create(data("d", a="1"))
    forgot = place.patch("configmaps", "d", {"metadata": {"managedFields": [{}]}}, kind=MP)
    still = place.patch("configmaps", "d", {"data": {"b": "2"}}, kind=MP)
    code, told = apply(place, data("d", a="9"), "one")

    assert "managedFields" not in forgot["metadata"] and "managedFields" not in still["metadata"]
    assert (code, told["message"]) == (
        409,
        'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a',
    )


@pytest.mark.states("Apply-conflicts")
def test_a_conflict_names_each_field_and_its_owner(place: Place) -> None:
    apply(place, web(), "one")
    other = web(replicas=1)
    other["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2"

    code, told = apply(place, other, "two")

    value = '.spec.template.spec.containers[name="c"].env[name="A"].value'
    assert (code, told["reason"]) == (409, "Conflict")
    assert told["message"] == f'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.replicas\n- {value}'
    assert told["details"] == {
        "causes": [
            {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": field}
            for field in (".spec.replicas", value)
        ]
    }
    assert place.get("deployments", "web")["spec"]["replicas"] == 0


@pytest.mark.states("Apply-conflicts")
def test_who_forces_takes_the_field_and_who_agrees_shares_it(place: Place) -> None:
    apply(place, data("d", a="1", b="1"), "one")
    shared = apply(place, data("d", a="1"), "two")[1]
    refused = apply(place, data("d", a="2"), "two")
    forced = apply(place, data("d", a="2"), "two", force=True)[1]
    place.patch("configmaps", "d?fieldManager=three", {"data": {"b": "3"}}, kind=MP)
    lost = apply(place, data("d", b="1"), "one")

    assert owners(shared) == {
        ("one", "Apply", ""): {"f:data": {"f:a": {}, "f:b": {}}},
        ("two", "Apply", ""): {"f:data": {"f:a": {}}},
    }
    assert refused[0] == 409 and refused[1]["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert owners(forced)["one", "Apply", ""] == {"f:data": {"f:b": {}}}
    assert lost[0] == 409
    assert lost[1]["message"] == 'Apply failed with 1 conflict: conflict with "three" using v1: .data.b'


@pytest.mark.states("Apply-removal")
def test_what_nobody_names_any_more_goes(place: Place) -> None:
    apply(place, data("d", a="1", b="1", c="1"), "one")
    apply(place, data("d", b="1"), "two")
    place.patch("configmaps", "d?fieldManager=three", {"data": {"d": "1"}}, kind=MP)

    fewer = apply(place, data("d", c="1"), "one")[1]
    none = apply(place, data("d"), "one")[1]

    assert fewer["data"] == {"b": "1", "c": "1", "d": "1"}
    assert none["data"] == {"b": "1", "d": "1"}


@pytest.mark.states("Apply-removal")
def test_a_field_without_an_owner_goes_back_to_its_default(place: Place) -> None:
    apply(place, web(minReadySeconds=5, revisionHistoryLimit=3), "one")
    smaller = web()
    del smaller["spec"]["replicas"]
    del smaller["spec"]["template"]["spec"]["containers"][0]["env"]

    code, told = apply(place, smaller, "one")

    spec = told["spec"]
    assert (code, spec["replicas"], spec["revisionHistoryLimit"]) == (200, 1, 10)
    assert "minReadySeconds" not in spec
    assert "env" not in spec["template"]["spec"]["containers"][0]
    assert spec["template"]["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"


@pytest.mark.states("Apply-lists")
def test_items_merge_by_their_keys_and_stand_in_the_applied_order(place: Place) -> None:
    def ports(*names: tuple[int, str]) -> Obj:
        made = manifests.service("web")
        made["spec"] = {"ports": [{"port": port, "name": name} for port, name in names]}
        return made

    apply(place, ports((80, "a"), (81, "b"), (82, "c")), "one")
    merged = apply(place, ports((82, "c"), (83, "d"), (80, "a")), "two")[1]["spec"]["ports"]
    left = apply(place, ports((80, "a")), "one")[1]["spec"]["ports"]

    assert [each["port"] for each in merged] == [81, 82, 83, 80]
    assert [each["port"] for each in left] == [82, 83, 80]
    assert {each["protocol"] for each in left} == {"TCP"}


@pytest.mark.states("Apply-lists")
def test_a_set_is_owned_value_by_value_and_a_plain_list_as_a_whole(place: Place) -> None:
    def finalizers(*names: str) -> Obj:
        return {**data("d"), "metadata": {"name": "d", "finalizers": list(names)}}

    apply(place, finalizers("test.dev/a", "test.dev/b"), "one")
    both = apply(place, finalizers("test.dev/c"), "two")[1]
    one_less = apply(place, finalizers("test.dev/b"), "one")[1]
    place.patch("configmaps", "d", {"metadata": {"finalizers": None}}, kind=MP)
    pod = manifests.pod("p")
    pod["spec"]["containers"][0] |= {"command": ["sleep", "1"]}
    made = apply(place, pod, "one")[1]

    assert both["metadata"]["finalizers"] == ["test.dev/a", "test.dev/b", "test.dev/c"]
    assert owners(both)["two", "Apply", ""] == {"f:metadata": {"f:finalizers": {'v:"test.dev/c"': {}}}}
    assert one_less["metadata"]["finalizers"] == ["test.dev/b", "test.dev/c"]
    container = owners(made)["one", "Apply", ""]["f:spec"]["f:containers"]['k:{"name":"puppet"}']
    assert container["f:command"] == {}


@pytest.mark.states("Apply-refusals")
def test_a_configuration_that_is_none_is_refused_alike(place: Place) -> None:
    twice = web()
    twice["spec"]["template"]["spec"]["containers"] *= 2
    bad: dict[str, Obj] = {
        "unknown": web(nonsense=1),
        "number": web(replicas="x"),
        "text": web(strategy={"type": 5}),
        "list": web(template={"spec": {"containers": "x"}}),
        "twice": twice,
        "name": {**web(), "metadata": {"name": "other"}},
        "no name": {**web(), "metadata": {}},
        "kind": {**web(), "kind": "ReplicaSet"},
        "owners": {**web(), "metadata": {"name": "web", "managedFields": []}},
        "range": web(replicas=-1),
    }
    path = place.path("deployments", "web")

    told = {name: ask(place, "PATCH", f"{path}?fieldManager=one", obj, AP) for name, obj in bad.items()}

    typed = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): "
    assert {name: (code, body.get("reason"), body["message"]) for name, (code, body) in told.items()} == {
        "unknown": (500, None, typed + ".spec.nonsense: field not declared in schema"),
        "number": (500, None, typed + ".spec.replicas: expected numeric (int or float), got string"),
        "text": (500, None, typed + ".spec.strategy.type: expected string, got &value.valueUnstructured{Value:5}"),
        "list": (500, None, typed + ".spec.template.spec.containers: expected list, got &{x}"),
        "twice": (500, None, typed + '.spec.template.spec.containers: duplicate entries for key [name="c"]'),
        "name": (400, "BadRequest", "the name of the object (other) does not match the name on the URL (web)"),
        "no name": (
            400,
            "BadRequest",
            "the name of the object (web based on URL) was undeterminable: name must be provided",
        ),
        "kind": (400, "BadRequest", "invalid object type: apps/v1, Kind=ReplicaSet"),
        "owners": (400, "BadRequest", "metadata.managedFields must be nil"),
        "range": (
            422,
            "Invalid",
            'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        ),
    }
    assert not place.get("deployments", "web")


@pytest.mark.states("Apply-refusals")
def test_the_options_of_an_apply_are_checked(place: Place) -> None:
    path = place.path("deployments", "web")

    nobody = ask(place, "PATCH", path, web(), AP)
    forced = ask(place, "PATCH", f"{path}?force=true", {"spec": {}}, MP)
    dry = ask(place, "PATCH", f"{path}?fieldManager=one&dryRun=All", web(), AP)

    assert (nobody[0], nobody[1]["details"]["causes"][0]["field"]) == (422, "fieldManager")
    assert (forced[0], forced[1]["details"]["causes"][0]["field"]) == (422, "force")
    assert dry[0] == 201 and not place.get("deployments", "web")


@pytest.mark.states("Apply-kubectl")
def test_kubectl_applies_conflicts_and_forces(place: Place) -> None:
    text = json.dumps(web())
    created = place.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    place.kubectl("scale", "deployment/web", "--replicas=1")
    refused = place.run("kubectl", "apply", "--server-side", "-f", "-", stdin=text)
    differs = place.run("kubectl", "diff", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    place.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    hidden = place.kubectl("get", "deployment/web", "-o", "yaml")
    shown = place.kubectl("get", "deployment/web", "-o", "yaml", "--show-managed-fields")

    assert created == "deployment.apps/web serverside-applied\n"
    assert refused.returncode == 1
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused.stderr
    assert differs.returncode == 1 and "-  replicas: 1\n+  replicas: 0\n" in differs.stdout
    assert "managedFields" not in hidden and "operation: Apply" in shown
    assert place.get("deployments", "web")["spec"]["replicas"] == 0


@pytest.mark.states("Apply-kubectl")
def test_server_side_apply_takes_over_from_client_side_apply(place: Place) -> None:
    first, second = web(paused=True), web(minReadySeconds=7)
    place.kubectl("apply", "-f", "-", stdin=json.dumps(first))
    place.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(second))
    wait_until(lambda: place.get("deployments", "web"), what="the Deployment")
    taken = place.get("deployments", "web")
    place.kubectl("apply", "-f", "-", stdin=json.dumps(web(replicas=0)))
    back = place.get("deployments", "web")

    names = {(manager, operation) for manager, operation, _ in owners(taken)}
    note = taken["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert names == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
    assert "paused" not in taken["spec"] and taken["spec"]["minReadySeconds"] == 7
    assert json.loads(note)["spec"]["minReadySeconds"] == 7
    assert "minReadySeconds" not in back["spec"]
