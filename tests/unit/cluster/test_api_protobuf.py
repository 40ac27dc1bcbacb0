"""Objects as kubectl's typed commands send them: recorded bytes in, the JSON object out."""

from __future__ import annotations

import base64

import pytest

from segue.cluster.api.protobuf import decode
from segue.model.errors import StatusError


def field(number: int, value: bytes | int) -> bytes:
    """One protobuf field, written out by hand."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\x00" + field(1, type_meta) + field(2, raw) + field(3, b"") + field(4, b"")


METADATA = field(1, field(1, b"web") + field(2, b"") + field(8, b"") + field(11, field(1, b"app") + field(2, b"web")))


def test_a_config_map_is_read_with_its_data() -> None:
    obj = decode(envelope("v1", "ConfigMap", METADATA + field(2, field(1, b"k") + field(2, b"v"))))

    assert obj == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "data": {"k": "v"},
    }


def test_a_secrets_bytes_become_base64() -> None:
    obj = decode(envelope("v1", "Secret", METADATA + field(2, field(1, b"k") + field(2, b"\xff\x00"))))

    assert base64.b64decode(obj["data"]["k"]) == b"\xff\x00"


def test_inlined_structs_stand_in_their_parent_and_pointers_keep_their_zero() -> None:
    handler = field(1, field(2, field(1, b"/health") + field(2, field(1, 0) + field(2, 10002))))
    probe = handler + field(2, 0) + field(4, 5)
    container = field(1, b"c") + field(2, b"i:1") + field(11, probe)
    pod_spec = field(2, container) + field(4, 0)
    template = field(1, b"") + field(2, pod_spec)
    obj = decode(envelope("apps/v1", "Deployment", METADATA + field(2, field(1, 0) + field(3, template) + field(5, 0))))
    spec = obj["spec"]

    assert spec["replicas"] == 0 and "minReadySeconds" not in spec
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 0
    assert spec["template"]["spec"]["containers"] == [
        {
            "name": "c",
            "image": "i:1",
            "readinessProbe": {"httpGet": {"path": "/health", "port": 10002}, "periodSeconds": 5},
        }
    ]


def test_delete_options_are_read_under_any_version() -> None:
    obj = decode(envelope("v1", "DeleteOptions", field(1, -1) + field(4, b"Orphan")))

    assert (obj["gracePeriodSeconds"], obj["propagationPolicy"]) == (-1, "Orphan")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        b"k8s\x00\xff",
        envelope("v1", "Nothing", b""),
        envelope("v1", "ConfigMap", b"\x0a\x7f"),
        envelope("v1", "ConfigMap", field(1, 5)),
        envelope("v1", "ConfigMap", b"\x0b"),
    ],
)
def test_bytes_that_are_no_object_are_a_bad_request(data: bytes) -> None:
    with pytest.raises(StatusError) as raised:
        decode(data)

    assert raised.value.code == 400
