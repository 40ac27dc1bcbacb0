"""Pin, switch and unpin are guarded JSON patches of one key."""

from __future__ import annotations

from segue.model.objects import Obj
from segue.model.services import Service
from segue.route.selector import point


def service(**selector: str) -> Service:
    obj: Obj = {
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"},
        "spec": {"selector": {"app": "web", **selector}},
    }
    return Service(obj=obj)


GUARD = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
PATH = "/spec/selector/pod-template-hash"


def test_a_pin_adds_one_key_to_the_service_that_was_looked_at() -> None:
    request = point(service(), "abc")

    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/shop/services/web")
    assert request.body == [GUARD, {"op": "add", "path": PATH, "value": "abc"}]


def test_an_unpin_removes_it() -> None:
    request = point(service(**{"pod-template-hash": "abc"}), "")

    assert request.body == [GUARD, {"op": "remove", "path": PATH}]


def test_an_unpin_of_what_is_not_pinned_changes_nothing() -> None:
    assert point(service(), "").body == [GUARD]
