"""What a watcher is told: from now, from a version, from the beginning; through selectors; in which form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.cluster.api.watching import Watch
from segue.cluster.store import EVENTS_KEPT, StoreEvent
from segue.model.objects import Obj, copy_of
from tests.unit.cluster.api_world import ApiWorld, deployment, pod_ref

PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def follow(world: ApiWorld, watch: Watch) -> Callable[[], list[tuple[str, str]]]:
    """What the watch has told so far, as (change, name)."""
    told = [(frame["type"], frame["object"]["metadata"].get("name", "")) for frame in watch.backlog]

    def hear(event: StoreEvent) -> None:
        frame = watch.frame_of(event)
        if frame is not None:
            told.append((frame["type"], frame["object"]["metadata"]["name"]))

    world.store.subscribe(hear)
    return lambda: told


def test_a_watch_without_a_version_begins_with_what_is_there() -> None:
    world = ApiWorld()
    world.run_pod("a")
    told = follow(world, world.watch(PODS))
    world.run_pod("b")

    assert told() == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("MODIFIED", "b")]


def test_a_watch_from_a_version_hears_what_came_after_it() -> None:
    world = ApiWorld()
    world.run_pod("a")
    version = world.store.version
    world.run_pod("b")
    told = follow(world, world.watch(f"{PODS}?resourceVersion={version}"))

    assert told() == [("ADDED", "b"), ("MODIFIED", "b"), ("MODIFIED", "b")]


def test_a_watch_hears_only_its_kind_and_namespace() -> None:
    world = ApiWorld()
    told = follow(world, world.watch(PODS))
    world.registry.create("deployments.apps", deployment())
    world.registry.create(
        "pods",
        {"metadata": {"name": "x", "namespace": "kube-system"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    )

    assert told() == []


def test_an_object_that_leaves_a_selector_is_deleted_for_its_watcher() -> None:
    world = ApiWorld()
    pod = world.run_pod("a")
    told = follow(world, world.watch(f"{PODS}?labelSelector=app=x"))
    moved = copy_of(pod)
    moved["metadata"]["labels"] = {"app": "y"}
    left = world.registry.update("pods", moved)
    back = copy_of(left)
    back["metadata"]["labels"] = {"app": "x"}
    world.registry.update("pods", back)

    assert told() == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


def test_one_object_is_watched_by_its_name() -> None:
    world = ApiWorld()
    world.run_pod("a")
    world.run_pod("b")
    told = follow(world, world.watch(f"{PODS}?fieldSelector=metadata.name=b"))
    world.registry.delete(pod_ref("b"), grace_s=0)
    world.registry.delete(pod_ref("a"), grace_s=0)

    assert told() == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


def test_a_streamed_list_ends_with_its_bookmark() -> None:
    world = ApiWorld()
    world.run_pod("a")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    last = world.watch(f"{PODS}?{query}").backlog[-1]

    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert last["object"]["metadata"]["resourceVersion"] == str(world.store.version)


def test_a_streamed_list_without_its_match_is_refused() -> None:
    assert ApiWorld().call("GET", f"{PODS}?watch=true&sendInitialEvents=true").code == 400


def test_a_version_that_is_no_longer_kept_is_an_error_event() -> None:
    world = ApiWorld()
    pod = world.run_pod("a")
    for _ in range(EVENTS_KEPT + 1):
        world.store.put("pods", pod)
    (frame,) = world.watch(f"{PODS}?resourceVersion=3").backlog

    assert (frame["type"], frame["object"]["code"], frame["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_version_that_is_still_kept_is_told_in_order() -> None:
    world = ApiWorld()
    version = world.store.version
    for name in ("a", "b", "c"):
        world.run_pod(name)
    versions = [event.version for event in world.store.events_after(version)]

    assert versions == list(range(version + 1, world.store.version + 1))


def test_a_watch_of_the_future_has_to_wait() -> None:
    assert ApiWorld().call("GET", f"{PODS}?watch=true&resourceVersion=99999").code == 504


def test_a_watched_table_is_headed_once() -> None:
    world = ApiWorld()
    world.run_pod("a")
    world.run_pod("b")
    first, second = (frame["object"] for frame in world.watch(PODS, accept=TABLE).backlog)

    assert first["columnDefinitions"] and not second["columnDefinitions"]
    assert second["rows"][0]["cells"][0] == "b"


@pytest.mark.parametrize(
    ("query", "expected_s"), [("timeoutSeconds=5", 5.0), ("timeoutSeconds=0", 3000.0), ("", 3000.0)]
)
def test_a_watch_lasts_as_long_as_it_is_asked_to(query: str, expected_s: float) -> None:
    assert ApiWorld().watch(f"{PODS}?{query}").scope.timeout_s == expected_s


def test_events_of_an_old_form_of_watch_path_are_the_same() -> None:
    world = ApiWorld()
    world.run_pod("a")

    assert len(world.watch("/api/v1/watch/namespaces/default/pods").backlog) == 1


def test_what_a_watcher_is_told_is_the_stored_object_itself() -> None:
    world = ApiWorld()
    pod: Obj = world.run_pod("a")

    assert world.watch(PODS).backlog[0]["object"] is pod
