from __future__ import annotations

from base64 import b64encode

import pytest

from segue.cluster.node.environment import ConfigError, Place
from segue.cluster.node.volumes import VolumeFile, files_of, mounts_of
from segue.model.objects import Obj, Ref

PLACE = Place(ip="10.1.0.7", node_name="node-1", node_ip="10.10.0.1")
OBJECTS: dict[Ref, Obj] = {
    Ref(resource="configmaps", namespace="shop", name="settings"): {"data": {"b": "two", "a": "one"}},
    Ref(resource="secrets", namespace="shop", name="keys"): {"data": {"key": b64encode(b"\x00raw").decode()}},
}


def pod(*volumes: Obj) -> Obj:
    made: Obj = {"metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}}, "spec": {"volumes": volumes}}
    return made


def files(**volume: object) -> tuple[VolumeFile, ...]:
    return files_of(pod(), {"name": "it", **volume}, PLACE, OBJECTS.get)


def test_an_empty_dir_is_empty() -> None:
    assert files(emptyDir={}) == ()


def test_a_config_map_has_a_file_per_key() -> None:
    assert files(configMap={"name": "settings", "defaultMode": 0o600}) == (
        VolumeFile(path="a", data=b"one", mode=0o600),
        VolumeFile(path="b", data=b"two", mode=0o600),
    )


def test_items_choose_keys_and_paths() -> None:
    chosen = files(configMap={"name": "settings", "items": [{"key": "b", "path": "deep/two.txt", "mode": 0o400}]})

    assert chosen == (VolumeFile(path="deep/two.txt", data=b"two", mode=0o400),)


def test_secrets_downward_fields_and_projections() -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    sources = [
        {"secret": {"name": "keys"}},
        {"downwardAPI": {"items": items}},
        {"serviceAccountToken": {"path": "token"}},
    ]

    assert files(secret={"secretName": "keys"}) == (VolumeFile(path="key", data=b"\x00raw", mode=0o644),)
    assert [(one.path, one.data) for one in files(projected={"sources": sources})] == [
        ("key", b"\x00raw"),
        ("labels", b'a="b"'),
    ]


@pytest.mark.parametrize(
    ("volume", "complaint"),
    [
        ({"configMap": {"name": "nobody"}}, 'configmap "nobody" not found'),
        ({"secret": {"secretName": "nobody"}}, 'secret "nobody" not found'),
        ({"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}}, "has no key z"),
        ({"configMap": {"name": "settings", "items": [{"key": "a", "path": "../z"}]}}, "leads out"),
        ({"hostPath": {"path": "/"}}, "no volumes of kind hostPath"),
    ],
)
def test_what_cannot_be_is_refused(volume: Obj, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        files(**volume)


def test_optional_sources_may_be_missing() -> None:
    assert files(configMap={"name": "nobody", "optional": True}) == ()


def test_outer_mounts_come_before_inner_ones() -> None:
    container: Obj = {
        "volumeMounts": [
            {"name": "it", "mountPath": "/data/cache/"},
            {"name": "it", "mountPath": "/data", "subPath": "part"},
        ]
    }

    assert [mount.path for mount in mounts_of(pod({"name": "it"}), container)] == ["/data", "/data/cache"]


def test_a_mount_of_no_volume_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        mounts_of(pod(), {"volumeMounts": [{"name": "it", "mountPath": "/data"}]})
