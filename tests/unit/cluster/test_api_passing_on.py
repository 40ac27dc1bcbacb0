"""Calls that go on to a pod, or to who serves a group that an APIService names."""

from __future__ import annotations

import pytest

from segue.cluster.api.results import Answer, ApiUser, Proxied
from segue.model.http import ApiRequest
from segue.model.objects import Obj, copy_of
from tests.unit.cluster.api_world import ApiWorld

PODS = "/api/v1/namespaces/default/pods"
GROUP = "/apis/custom.metrics.k8s.io/v1beta2"
STRANGER = ApiUser(name="nobody", groups=("system:authenticated",))


def with_pod(ip: str = "10.244.0.2") -> ApiWorld:
    world = ApiWorld()
    container: Obj = {"name": "web", "image": "i", "ports": [{"containerPort": 8080}, {"containerPort": 9090}]}
    pod: Obj = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [container]}}
    made = copy_of(world.registry.create("pods", pod))
    if ip:
        made["status"] = {**made.get("status", {}), "podIP": ip, "phase": "Running"}
        world.registry.update("pods", made, subresource="status")
    return world


def asked(world: ApiWorld, path: str, method: str = "GET", user: ApiUser | None = None) -> Proxied | Answer:
    request = ApiRequest(method=method, path=path)
    result = world.server.handle(request, user) if user else world.server.handle(request)
    assert isinstance(result, Proxied | Answer)
    return result


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("web:8080/proxy/a/b", "http://10.244.0.2:8080/a/b"),
        ("web/proxy/", "http://10.244.0.2:8080/"),
        ("web/proxy", "http://10.244.0.2:8080/"),
        ("https:web:8443/proxy/x", "https://10.244.0.2:8443/x"),
        ("http:web:/proxy/x", "http://10.244.0.2:8080/x"),
    ],
)
def test_a_pod_is_meant_by_name_port_and_scheme(path: str, url: str) -> None:
    assert asked(with_pod(), f"{PODS}/{path}") == Proxied(url=url)


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("none:80/proxy/", "GET", 404),
        ("web:8080/proxy/", "POST", 405),
        ("web:http/proxy/", "GET", 400),
        ("ftp:web:21/proxy/", "GET", 400),
    ],
)
def test_what_cannot_be_asked_is_refused(path: str, method: str, code: int) -> None:
    found = asked(with_pod(), f"{PODS}/{path}", method)

    assert isinstance(found, Answer)
    assert found.code == code


def test_a_pod_without_an_address_cannot_be_asked() -> None:
    found = asked(with_pod(ip=""), f"{PODS}/web:8080/proxy/")

    assert isinstance(found, Answer)
    assert found.code == 400


def test_who_may_not_read_through_pods_is_refused() -> None:
    found = asked(with_pod(), f"{PODS}/web:8080/proxy/", user=STRANGER)

    assert isinstance(found, Answer)
    assert (found.code, "pods/proxy" in found.body["message"]) == (403, True)


def registered(*addresses: str) -> ApiWorld:
    world = ApiWorld()
    meta = {"name": "adapter", "namespace": "default"}
    group: Obj = {
        "metadata": {"name": "v1beta2.custom.metrics.k8s.io"},
        "spec": {
            "group": "custom.metrics.k8s.io",
            "version": "v1beta2",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {**meta, "port": 443},
        },
    }
    slice_: Obj = {
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": "adapter"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": address != "10.0.0.8"}} for address in addresses
        ],
        "ports": [{"name": "https", "port": 9378}],
    }
    world.registry.create("apiservices.apiregistration.k8s.io", group)
    world.registry.create("endpointslices.discovery.k8s.io", slice_)
    return world


def test_a_group_that_an_apiservice_names_goes_to_its_first_ready_endpoint() -> None:
    world = registered("10.0.0.8", "10.0.0.9")
    path = f"{GROUP}/namespaces/shop/pods/*/some_metric"

    assert asked(world, path) == Proxied(url=f"https://10.0.0.9:9378{path}")
    assert asked(world, GROUP) == Proxied(url=f"https://10.0.0.9:9378{GROUP}")


def test_without_an_endpoint_it_is_unavailable_and_without_an_apiservice_it_is_not_there() -> None:
    away, none = asked(registered(), GROUP), asked(ApiWorld(), f"{GROUP}/namespaces/shop/pods/*/m")
    assert isinstance(away, Answer)
    assert isinstance(none, Answer)

    assert (away.code, none.code) == (503, 404)


def test_such_a_group_has_its_own_rights() -> None:
    found = asked(registered("10.0.0.9"), f"{GROUP}/namespaces/shop/pods/*/m", user=STRANGER)

    assert isinstance(found, Answer)
    assert found.code == 403
