"""What a user sees and is left with: each action told once, and a history of versions that have served."""

from __future__ import annotations

from collections import Counter

import pytest

from segue.drive.command import abort, release, retire, undo
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.running import document_of_running
from segue.model.errors import Refused, StatusError, UsageError
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj, annotations_of, name_of
from segue.release.decision import Done, Stopped
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import _release


def served(*tags: str) -> World:
    """A world in which these versions have served, one after the other."""
    world = World()
    world.apply(manifest(tags[0]))
    for tag in tags[1:]:
        world.drive(_release(tag, driver()))
        world.run_for(3.0)
    return world


def stop_in_the_middle(world: World, tag: str) -> None:
    world.broken = frozenset({f"host.org/images/grace:{tag}"})
    (outcome,) = world.drive(_release(tag, driver(timeout_s=1.0)))
    assert isinstance(outcome.end, Stopped)


def versions(world: World) -> set[str]:
    return {
        str(one["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]
        for one in world.store.all_of("replicasets.apps", "default")
    }


def go_back(world: World) -> Outcome:
    outcome = world.drive(undo("default", "test", None, driver()))
    world.run_for(2.0)
    return outcome


def test_undo_after_an_abort_goes_to_the_version_that_served_before() -> None:
    world = served("v1", "v2")
    stop_in_the_middle(world, "v3")
    world.drive(abort("default", "test", driver()))

    assert versions(world) == {"v1", "v2"}
    assert isinstance(go_back(world).end, Done)
    assert world.images() == {"v1"}
    assert world.lost == 0


def test_a_version_that_served_once_stays_in_the_history_when_its_second_release_is_aborted() -> None:
    world = served("v1", "v2", "v1")
    stop_in_the_middle(world, "v2")
    world.drive(abort("default", "test", driver()))

    assert versions(world) == {"v1", "v2"}


def test_who_may_not_delete_replica_sets_can_abort_all_the_same() -> None:
    world = served("v1")
    stop_in_the_middle(world, "v2")

    def forbid(request: ApiRequest) -> ApiResponse | None:
        if request.method != "DELETE" or "/replicasets/" not in request.path:
            return None
        return ApiResponse(code=403, body={"reason": "Forbidden", "message": "no"})

    world.refuse = forbid
    outcome = world.drive(abort("default", "test", driver()))
    world.run_for(2.0)

    assert isinstance(outcome.end, Done)
    assert world.images() == {"v1"}
    assert versions(world) == {"v1", "v2"}


def test_an_action_that_met_a_conflict_is_told_once() -> None:
    world = served("v1")
    met: list[str] = []

    def conflict(request: ApiRequest) -> ApiResponse | None:
        """The first write of each object is refused."""
        if request.method != "PATCH" or "dryRun" in request.query or request.path in met:
            return None
        met.append(request.path)
        body: Obj = {"reason": "Conflict", "message": "the object has been modified"}
        return ApiResponse(code=409, body=body)

    world.refuse = conflict
    world.progress.clear()
    (outcome,) = world.drive(_release("v2", driver()))
    told = Counter(one.action for one in world.progress if one.action)

    assert isinstance(outcome.end, Done)
    assert len(met) >= 3
    assert [action for action, count in told.items() if count > 1] == []
    assert [entry.action for entry in outcome.journal.actions] == list(told)


def test_pods_that_came_up_late_have_their_own_time_and_are_named_when_it_is_over() -> None:
    """The release begins with a wait of 2 s: the Deployment has just changed."""
    world = served("v1")
    path = "/apis/apps/v1/namespaces/default/deployments/test"
    world.call("PATCH", path, {"spec": {"replicas": 4}}, "application/merge-patch+json")
    world.run_for(0.1)
    world.broken = frozenset({"host.org/images/grace:v2"})
    (outcome,) = world.drive(_release("v2", driver(timeout_s=3.0)))

    assert isinstance(outcome.end, Stopped)
    assert outcome.end.message.startswith("0 of 3 new pods are Ready after 3 s"), outcome.end.message


def test_an_abort_gives_labels_and_annotations_back_that_the_manifest_had_brought() -> None:
    world = served("v1")
    path = "/apis/apps/v1/namespaces/default/deployments/test"
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    world.call("PATCH", path, {"metadata": {"annotations": note}}, "application/merge-patch+json")
    before = world.deployment()["metadata"]["annotations"]
    stop_in_the_middle(world, "v2")
    meanwhile = world.deployment()["metadata"]["annotations"]
    world.drive(abort("default", "test", driver()))

    assert meanwhile["kubectl.kubernetes.io/last-applied-configuration"] != "{}"
    revision = "deployment.kubernetes.io/revision"
    assert world.deployment()["metadata"]["annotations"] | {revision: ""} == before | {revision: ""}


# -- what runs, with another image -------------------------------------------------------------------------------------


def _change(driving: Driver, *images: str) -> Flow[tuple[Outcome, ...]]:
    document = yield from document_of_running(driving.observer("default", "test"), images)
    preparation = yield from prepare((document,), "default", driving)
    return (yield from release(preparation, driving))


def test_what_runs_is_released_with_another_image_and_nothing_else_changes() -> None:
    world = served("v1")
    before = world.deployment()
    (outcome,) = world.drive(_change(driver(), "grace=v2"))
    world.run_for(3.0)
    after = world.deployment()

    assert isinstance(outcome.end, Done)
    assert (world.images(), world.lost) == ({"v2"}, 0)
    container = {**before["spec"]["template"]["spec"]["containers"][0], "image": "host.org/images/grace:v2"}
    template = before["spec"]["template"]
    template = {**template, "spec": {**template["spec"], "containers": [container]}}
    assert after["spec"] == {**before["spec"], "template": template}


def test_it_goes_on_after_a_crash_anywhere_with_the_same_words() -> None:
    whole = served("v1")
    whole.drive(_change(driver(), "grace=v2"))
    for kill_at in range(whole.requests):
        world = served("v1")
        try:
            world.drive(_change(driver("first"), "grace=v2"), kill_at=kill_at)
        except Killed:
            world.run_for(7.0)
            world.drive(_change(driver("second", dead=frozenset({"first"})), "grace=v2"))
        world.run_for(3.0)

        assert (world.images(), world.lost) == ({"v2"}, 0), f"killed before write {kill_at}"
        assert "segue.dev/release" not in annotations_of(world.deployment()), f"killed before write {kill_at}"
        assert world.deployment()["spec"] == whole.deployment()["spec"], f"killed before write {kill_at}"


def test_in_the_middle_of_a_release_that_stopped_what_serves_is_what_runs() -> None:
    world = served("v1")
    stop_in_the_middle(world, "v3")
    outcomes = world.drive(_change(driver(), "grace=v2"))
    world.run_for(3.0)

    assert isinstance(outcomes[-1].end, Done)
    assert (world.images(), world.lost) == ({"v2"}, 0)


def test_a_container_that_is_not_there_is_told_with_those_that_are() -> None:
    world = served("v1")
    with pytest.raises(UsageError, match="no container or image of Deployment test is called sidecar") as caught:
        world.drive(_change(driver(), "sidecar=v2"))
    assert caught.value.remedy == "its containers are service"
    with pytest.raises(UsageError, match="nothing would change"):
        world.drive(_change(driver()))


# -- one pod -----------------------------------------------------------------------------------------------------------


def test_a_pod_that_is_not_there_or_that_nobody_replaces_is_refused() -> None:
    world = served("v1")
    with pytest.raises(StatusError, match='pods "nobody" not found'):
        world.drive(retire("default", "nobody", driver()))
    alone: Obj = {"metadata": {"name": "alone", "namespace": "default", "labels": {"app": "other"}}}
    world.registry.create("pods", {**alone, "spec": {"containers": [{"name": "a", "image": "host.org/a:1"}]}})
    with pytest.raises(Refused, match="belongs to no Deployment"):
        world.drive(retire("default", "alone", driver()))


def test_a_release_under_way_is_finished_before_a_pod_is_retired() -> None:
    world = served("v1")
    stop_in_the_middle(world, "v3")
    pod = name_of(world.store.all_of("pods", "default")[0])
    outcome = world.drive(retire("default", pod, driver()))

    assert isinstance(outcome.end, Stopped)
    assert outcome.end.error == "conflict"
    assert world.lost == 0


def test_another_pod_is_ready_before_the_retired_one_leaves() -> None:
    world = served("v1")
    victim = name_of(world.store.all_of("pods", "default")[0])
    fewest = [3]
    world.watch.append(lambda seen: fewest.append(len(seen.endpoints())))
    outcome = world.drive(retire("default", victim, driver()))

    assert isinstance(outcome.end, Done)
    assert outcome.end.message == f"pod {victim} is gone, 3 pods are Ready"
    assert (min(fewest), world.lost) == (3, 0)
