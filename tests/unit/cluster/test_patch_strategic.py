"""Strategic merge patches: merge keys and directives, as kubectl apply sends them."""

from __future__ import annotations

import pytest

from segue.cluster.patch import PatchError
from segue.cluster.strategic import strategic_patch
from segue.model.objects import Obj


def on_pod(document: Obj, patch: Obj) -> Obj:
    return strategic_patch("core_v1.PodSpec", document, patch)


def containers(*names: str) -> Obj:
    return {"containers": [{"name": name, "image": f"{name}:1"} for name in names]}


def names_of(spec: Obj) -> list[str]:
    return [one["name"] for one in spec["containers"]]


def test_containers_merge_by_name() -> None:
    patched = on_pod(containers("a", "b"), {"containers": [{"name": "b", "image": "b:2"}]})

    assert {one["name"]: one["image"] for one in patched["containers"]} == {"a": "a:1", "b": "b:2"}


def test_a_new_container_is_added_and_a_deleted_one_leaves() -> None:
    patch: Obj = {"containers": [{"name": "c", "image": "c:1"}, {"name": "a", "$patch": "delete"}]}

    assert set(names_of(on_pod(containers("a", "b"), patch))) == {"b", "c"}


def test_an_order_given_is_kept_and_strangers_keep_their_place() -> None:
    patch: Obj = {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}

    assert names_of(on_pod(containers("a", "b", "c"), patch)) == ["b", "c", "a"]


def test_an_order_alone_moves_what_is_there() -> None:
    patch: Obj = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}

    assert names_of(on_pod(containers("a", "b"), patch)) == ["b", "a"]


def test_a_list_without_a_merge_key_is_replaced() -> None:
    patched = on_pod({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]})

    assert patched["tolerations"] == [{"key": "b"}]


def test_a_list_can_be_replaced_as_a_whole() -> None:
    patch: Obj = {"containers": [{"$patch": "replace"}, {"name": "z", "image": "z:1"}]}

    assert on_pod(containers("a", "b"), patch) == containers("z")


def test_plain_values_merge_as_a_set_and_leave_by_name() -> None:
    before: Obj = {"finalizers": ["a", "b"]}
    added = strategic_patch("meta_v1.ObjectMeta", before, {"finalizers": ["c"]})
    removed = strategic_patch("meta_v1.ObjectMeta", before, {"$deleteFromPrimitiveList/finalizers": ["a"]})

    assert sorted(added["finalizers"]) == ["a", "b", "c"]
    assert removed["finalizers"] == ["b"]


def test_retained_keys_push_out_the_others() -> None:
    before: Obj = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch: Obj = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}

    assert strategic_patch("apps_v1.DeploymentSpec", before, patch)["strategy"] == {"type": "Recreate"}


def test_null_removes_and_replace_replaces_a_map() -> None:
    before: Obj = {"nodeSelector": {"a": "1", "b": "2"}, "hostname": "h"}
    removed = on_pod(before, {"nodeSelector": {"a": None}, "hostname": None})
    replaced = on_pod(before, {"nodeSelector": {"$patch": "replace", "z": "1"}})

    assert removed == {"nodeSelector": {"b": "2"}}
    assert replaced["nodeSelector"] == {"z": "1"}


def test_a_map_can_be_deleted() -> None:
    assert on_pod({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "delete"}}) == {}


def test_service_ports_merge_by_port_and_keep_their_node_port() -> None:
    before: Obj = {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}
    patched = strategic_patch("core_v1.ServiceSpec", before, {"ports": [{"port": 80, "name": "http"}]})

    assert patched["ports"] == [{"port": 80, "protocol": "TCP", "nodePort": 30080, "name": "http"}]


def test_conditions_merge_by_type() -> None:
    before: Obj = {"conditions": [{"type": "A", "status": "True"}]}
    patched = strategic_patch("core_v1.PodStatus", before, {"conditions": [{"type": "B", "status": "True"}]})

    assert sorted(one["type"] for one in patched["conditions"]) == ["A", "B"]


def test_an_item_without_its_merge_key_is_refused() -> None:
    with pytest.raises(PatchError, match="does not contain declared merge key: name"):
        on_pod(containers("a"), {"containers": [{"image": "x"}]})


def test_an_unknown_directive_is_refused() -> None:
    with pytest.raises(PatchError, match="unknown patch type found"):
        on_pod(containers("a"), {"$patch": "shuffle"})


def test_a_document_is_not_changed_by_its_patch() -> None:
    before = containers("a")
    on_pod(before, {"containers": [{"name": "a", "image": "a:9", "ports": [{"containerPort": 1}]}]})

    assert before == containers("a")
