"""Owners of fields: the algebra of their sets, what a write changes hands of, and what an apply comes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.cluster.kinds import kind_of
from segue.cluster.ownership.managers import Author, applied, created, updated
from segue.cluster.ownership.sets import contains, difference, intersection, paths, shown_path, union
from segue.cluster.ownership.shapes import shape_of
from segue.cluster.ownership.walks import changes, merged
from segue.cluster.registry import Acting, Options, Patch
from segue.cluster.writes import Create, Say, Update
from segue.model.errors import StatusError
from segue.model.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH
from segue.model.objects import Obj, Ref
from tests.unit.cluster.api_world import NOON_S, ApiWorld, HandClock, deployment, pod_ref, service

STEPS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
CONFIG = Ref(resource="configmaps", namespace="default", name="c")


def member_sets(depth: int = 3) -> st.SearchStrategy[frozenset[tuple[str, ...]]]:
    return st.frozensets(st.lists(STEPS, min_size=1, max_size=depth).map(tuple), max_size=8)


def tree(members: frozenset[tuple[str, ...]]) -> Obj:
    made: Obj = {}
    for path in members:
        single: Obj = {}
        for step in reversed(path):
            single = {step: single}
        made = union(made, single)
    return made


@given(member_sets(), member_sets())
def test_sets_are_those_of_their_paths(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> None:
    one, two = tree(left), tree(right)

    assert set(paths(one)) == left
    assert set(paths(union(one, two))) == left | right
    assert set(paths(difference(one, two))) == left - right
    assert set(paths(intersection(one, two))) == left & right
    assert all(contains(one, path) for path in left)


def test_a_path_is_shown_as_kubernetes_shows_it() -> None:
    path = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")

    assert shown_path(path) == '.spec.ports[port=80,protocol="TCP"].name'
    assert shown_path(("f:metadata", "f:finalizers", 'v:"a"')) == '.metadata.finalizers[="a"]'


@pytest.mark.parametrize(
    ("live", "wanted", "result"),
    [
        ("axb", "ba", "xba"),
        ("ab", "cb", "acb"),
        ("bx", "bc", "bxc"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
        ("abc", "cda", "bcda"),
    ],
)
def test_items_stand_in_the_applied_order(live: str, wanted: str, result: str) -> None:
    def spec(names: str) -> Obj:
        return {"spec": {"containers": [{"name": name} for name in names]}}

    made = merged(shape_of("core_v1.Pod"), spec(live), spec(wanted))

    assert made == spec(result)


def test_what_is_equal_changes_no_hands() -> None:
    pod: Obj = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}

    assert changes(shape_of("core_v1.Pod"), pod, {**pod}) == ({}, {})


def test_items_with_the_same_key_are_owned_together() -> None:
    def env(*values: str) -> Obj:
        return {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": value} for value in values]}]}}

    touched, removed = changes(shape_of("core_v1.Pod"), env("1", "2"), env("1", "3"))

    assert touched == {"f:spec": {"f:containers": {'k:{"name":"c"}': {"f:env": {'k:{"name":"A"}': {}}}}}}
    assert removed == {}


def test_many_updaters_share_an_entry_and_appliers_never_do() -> None:
    kind = kind_of("configmaps")
    obj: Obj = {"metadata": {"name": "c"}, "data": {"k0": "0"}}
    entries = list(created(kind, obj, Author(manager="m00", now_s=NOON_S)))
    for number in range(1, 14):
        after = {**obj, "data": {**obj["data"], f"k{number}": "1"}}
        author = Author(manager=f"m{number:02}", now_s=NOON_S + number)
        entries = list(updated(kind, obj, after, entries, author))
        obj = after

    names = [entry["manager"] for entry in entries]
    assert names == ["ancient-changes", *(f"m{number:02}" for number in range(5, 14))]
    assert entries[0]["fieldsV1"]["f:data"] == {".": {}, **{f"f:k{number}": {} for number in range(5)}}


def test_writing_the_same_again_costs_no_new_entries() -> None:
    kind = kind_of("configmaps")
    before: Obj = {"metadata": {"name": "c"}, "data": {"k": "0"}}
    author = Author(manager="m", now_s=NOON_S)
    entries = created(kind, before, author)

    again = updated(kind, before, {**before, "data": {"k": "1"}}, entries, author)
    later = updated(kind, before, {**before, "data": {"k": "1"}}, entries, Author(manager="m", now_s=NOON_S + 1))

    assert again is entries
    assert [entry["time"] for entry in later] == ["2026-09-21T14:13:21Z"]
    assert later[0]["fieldsV1"] is entries[0]["fieldsV1"]


def test_a_program_owns_what_it_writes_and_the_server_nothing() -> None:
    world = ApiWorld()
    controller, kubelet = Acting(world.registry, "kube-controller-manager"), Acting(world.registry, "kubelet")
    spec: Obj = {"containers": [{"name": "c", "image": "i:1"}]}
    controller.perform(Create(resource="pods", obj={"metadata": {"name": "p", "namespace": "default"}, "spec": spec}))
    bound = world.registry.bind(pod_ref(), "n1")
    kubelet.perform(Update(resource="pods", obj={**bound, "status": {"phase": "Running"}}, status=True))
    controller.perform(
        Say(about=bound, about_resource="pods", kind="Normal", reason="r", message="m", component="kubelet")
    )

    pod = world.registry.read(pod_ref())
    fields = {entry["manager"]: entry["fieldsV1"] for entry in pod["metadata"]["managedFields"]}
    assert fields["kubelet"] == {"f:status": {"f:phase": {}}}
    assert "f:nodeName" not in fields["kube-controller-manager"]["f:spec"]
    event = world.store.all_of("events")[0]
    assert [entry["manager"] for entry in event["metadata"]["managedFields"]] == ["kubelet"]
    assert (
        "managedFields" not in world.registry.read(Ref(resource="namespaces", namespace="", name="default"))["metadata"]
    )


def test_a_caller_is_known_by_his_program_where_he_names_nobody() -> None:
    world = ApiWorld()
    path = "/api/v1/namespaces/default/services"

    named = world.call("POST", f"{path}?fieldManager=me", service("a"), user_agent="curl/8 (x)").body
    program = world.call("POST", path, service("b"), user_agent="curl/8 (x)").body
    nobody = world.call("POST", path, service("c")).body

    names = [one["metadata"]["managedFields"][0]["manager"] for one in (named, program, nobody)]
    assert names == ["me", "curl", "unknown"]


def test_an_apply_without_change_writes_nothing() -> None:
    world = ApiWorld()
    patch = Patch(content_type=APPLY_PATCH, body={"apiVersion": "v1", "kind": "ConfigMap", **named_data(a="1")})
    first, new = world.registry.apply(CONFIG, patch, options=Options(manager="one"))
    version = world.store.version
    world.clock.at_s += 60
    again, new_again = world.registry.apply(CONFIG, patch, options=Options(manager="one"))

    assert (new, new_again) == (True, False)
    assert again == first and world.store.version == version


def test_kubectl_may_take_what_its_annotation_names() -> None:
    kind = kind_of("configmaps")
    note = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1"}}'
    live: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": note}},
        "data": {"a": "1", "b": "1"},
    }
    live["metadata"]["managedFields"] = created(kind, live, Author(manager="kubectl-client-side-apply", now_s=NOON_S))
    config: Obj = {"apiVersion": "v1", "kind": "ConfigMap", **named_data(a="2")}

    taken = applied(kind, live, config, Author(manager="kubectl", now_s=NOON_S), force=False)

    assert taken.obj["data"] == {"a": "2", "b": "1"}
    with pytest.raises(StatusError, match=r"conflict with .kubectl-client-side-apply. using v1: \.data\.a"):
        applied(kind, live, config, Author(manager="other", now_s=NOON_S), force=False)
    with pytest.raises(StatusError, match=r"\.data\.b"):
        more: Obj = {"apiVersion": "v1", "kind": "ConfigMap", **named_data(a="2", b="2")}
        applied(kind, live, more, Author(manager="kubectl", now_s=NOON_S), force=False)


def test_owners_that_a_caller_sends_are_taken_where_they_can_be_read() -> None:
    world = ApiWorld()
    world.registry.create("configmaps", named_data(a="1"), options=Options(manager="one"))
    entry = world.registry.read(CONFIG)["metadata"]["managedFields"][0]
    renamed = {"op": "replace", "path": "/metadata/managedFields", "value": [{**entry, "manager": "two"}]}
    broken = {"metadata": {"managedFields": [{"manager": "x"}]}}

    sent = world.registry.patch(CONFIG, Patch(content_type=JSON_PATCH, body=[renamed]), options=Options(manager="z"))
    kept = world.registry.patch(CONFIG, Patch(content_type=MERGE_PATCH, body=broken), options=Options(manager="z"))

    assert [one["manager"] for one in sent["metadata"]["managedFields"]] == ["two"]
    assert kept == sent


def test_a_clock_that_stands_still_still_tells_owners_apart() -> None:
    world = ApiWorld(clock=HandClock())
    world.call("POST", "/apis/apps/v1/namespaces/default/deployments?fieldManager=b", deployment())
    patch: Obj = {"spec": {"paused": True}}
    path = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=a"
    told = world.call("PATCH", path, patch, content_type=MERGE_PATCH).body

    assert [one["manager"] for one in told["metadata"]["managedFields"]] == ["a", "b"]


def named_data(**values: str) -> Obj:
    return {"metadata": {"name": "c", "namespace": "default"}, "data": values}
