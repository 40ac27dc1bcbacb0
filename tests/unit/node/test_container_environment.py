from __future__ import annotations

from base64 import b64encode

import pytest

from segue.cluster.node.environment import DEFAULT_PATH, Command, ConfigError, Place, command_of, expanded
from segue.model.objects import Obj, Ref

PLACE = Place(ip="10.1.0.7", node_name="node-1", node_ip="10.10.0.1")
POD: Obj = {
    "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "web", "tier": "front"}},
    "spec": {},
}
OBJECTS: dict[Ref, Obj] = {
    Ref(resource="configmaps", namespace="shop", name="settings"): {"data": {"COLOUR": "blue", "SIZE": "9"}},
    Ref(resource="secrets", namespace="shop", name="keys"): {"data": {"KEY": b64encode(b"s3cret").decode()}},
}


def composed(**container: object) -> Command:
    image = (("server",), ("--default",), {"VERSION": "v1"})
    return command_of(POD, {"name": "app", **container}, image, PLACE, OBJECTS.get)


def test_without_a_word_from_the_pod_the_image_decides() -> None:
    command = composed()

    assert command.argv == ("server", "--default")
    assert command.env == {"PATH": DEFAULT_PATH, "HOME": "/root", "HOSTNAME": "web", "VERSION": "v1"}
    assert command.cwd == "/"


def test_args_replace_the_default_arguments_only() -> None:
    assert composed(args=["--mine"]).argv == ("server", "--mine")


def test_a_command_replaces_entrypoint_and_default_arguments() -> None:
    assert composed(command=["other"]).argv == ("other",)
    assert composed(command=["other"], args=["--mine"]).argv == ("other", "--mine")


def test_variables_are_expanded_in_values_and_arguments() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2$(NOBODY)"},
        {"name": "C", "value": "$$(A)"},
    ]
    command = composed(env=env, args=["$(B)", "$$", "$(C"])

    assert command.env["B"] == "12$(NOBODY)"
    assert command.env["C"] == "$(A)"
    assert command.argv == ("server", "12$(NOBODY)", "$", "$(C")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels", 'app="web"\ntier="front"'),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.1.0.7"),
        ("status.hostIP", "10.10.0.1"),
    ],
)
def test_the_downward_api(path: str, value: str) -> None:
    env = [{"name": "IT", "valueFrom": {"fieldRef": {"fieldPath": path}}}]

    assert composed(env=env).env["IT"] == value


def test_a_field_that_is_none_is_refused() -> None:
    env = [{"name": "IT", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]

    with pytest.raises(ConfigError, match=r"status\.phase"):
        composed(env=env)


def test_config_maps_and_secrets_by_key_and_whole() -> None:
    env = [
        {"name": "SHADE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOUR"}}},
        {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "KEY"}}},
    ]
    sources = [{"prefix": "MY_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}]
    found = composed(env=env, envFrom=sources).env

    assert (found["SHADE"], found["PASS"], found["MY_SIZE"], found["KEY"]) == ("blue", "s3cret", "9", "s3cret")


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"configMapKeyRef": {"name": "nobody", "key": "A"}}, 'configmap "nobody" not found'),
        ({"secretKeyRef": {"name": "nobody", "key": "A"}}, 'secret "nobody" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "A"}}, "couldn't find key A in ConfigMap shop/settings"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(env: Obj, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        composed(env=[{"name": "IT", "valueFrom": env}])


def test_unless_it_is_optional() -> None:
    optional = {"configMapKeyRef": {"name": "nobody", "key": "A", "optional": True}}
    found = composed(
        env=[{"name": "IT", "valueFrom": optional}], envFrom=[{"secretRef": {"name": "x", "optional": True}}]
    )

    assert "IT" not in found.env


def test_resources_of_the_container() -> None:
    env = [{"name": "IT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}]

    assert composed(env=env, resources={"limits": {"memory": "64Mi"}}).env["IT"] == "64Mi"


def test_a_dollar_sign_is_spelt_as_two() -> None:
    assert expanded("$$$$ $(A) $A", {"A": "1"}) == "$$ 1 $A"


def test_where_the_api_server_is_comes_before_what_the_spec_says_of_it() -> None:
    api = (("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443"))
    place = Place(ip="10.1.0.7", node_name="node-1", node_ip="10.10.0.1", api=api)
    env = [
        {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
        {"name": "URL", "value": "https://$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)"},
    ]
    command = command_of(POD, {"name": "app", "env": env}, (("server",), (), {}), place, OBJECTS.get)

    assert command.env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert command.env["URL"] == "https://10.96.0.1:6443"
