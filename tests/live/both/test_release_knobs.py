"""The knobs that a release turns on a Deployment: pin, brake, detach, orphan, abort. Ids are those of the mechanism."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from segue.model.objects import Obj, condition_of, seconds_of
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import HASH, complete, hash_of, ready, roll, strategy, wait_sizes, wait_until
from tests.live.both.world import Place, Watched, condition, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "A1-detach": "A ReplicaSet whose own label no longer matches is let go with its pods; with its label it is taken"
    " back. Let go before the template changes, the Deployment makes a second one of the same template.",
    "A3-orphan": "A pod whose label no longer matches lives on alone; lowering its ReplicaSet by one at once deletes"
    " the pod that replaces it, not one that serves.",
    "B1-brake": "An abort under a brake that the old pods have outlived takes serving new pods at once.",
    "B2-abort": "Brake, take back, old template with the user's fields in one write: the new pods go, the old stay."
    " A size changed meanwhile makes the taking back a scaling event.",
    "B5-together": "minReadySeconds alone holds nothing back: maxUnavailable 0 must come in the same write.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
_MERGE = "application/merge-patch+json"
USER = {"minReadySeconds": 0, "progressDeadlineSeconds": 600, **strategy("25%", "25%")}
BRAKE = {"minReadySeconds": 2147483646, "progressDeadlineSeconds": 2147483647, **strategy("100%", 0)}


def pin(place: Place, replica_set: Obj | None) -> None:
    """Point the Service at one ReplicaSet's pods; None takes the pin off."""
    value = None if replica_set is None else hash_of(replica_set)
    place.patch("services", "web", {"spec": {"selector": {HASH: value}}})


def relabel(place: Place, replica_set: Obj, label: str) -> None:
    """Give the ReplicaSet object another label: its selector and its pods keep theirs."""
    place.patch("replicasets", replica_set["metadata"]["name"], {"metadata": {"labels": {"app": label}}})


def detach(place: Place, replica_set: Obj) -> float:
    """Let the Deployment let go of it; seconds until it has."""
    began_s = time.monotonic()
    relabel(place, replica_set, "detached")
    name = replica_set["metadata"]["name"]
    wait_until(lambda: not rollouts.owners(place.get("replicasets", name)), what="its owner to let go")
    return time.monotonic() - began_s


def attach(place: Place, replica_set: Obj) -> None:
    """Let the Deployment take it back."""
    relabel(place, replica_set, "web")
    name = replica_set["metadata"]["name"]
    wait_until(lambda: rollouts.owners(place.get("replicasets", name)), what="its owner to take it back")


def scale_set(place: Place, replica_set: Obj, replicas: int) -> None:
    """Scale a ReplicaSet itself."""
    place.patch(
        "replicasets", replica_set["metadata"]["name"], {"spec": {"replicas": replicas}}, sub="scale", kind=_MERGE
    )


def served(told: Watched) -> list[set[str]]:
    """Names of the ready endpoints after each write of a slice."""
    return [
        {each["targetRef"]["name"] for each in one.object.get("endpoints") or [] if each["conditions"]["ready"]}
        for one in list(told.happenings)
        if one.type != "DELETED"
    ]


def begin(place: Place, replicas: int = 3) -> Obj:
    """A Service and a complete Deployment of v1 that it selects; the ReplicaSet."""
    place.create(manifests.service("web", selector={"app": "web"}))
    ready(place, rollouts.deployment("web", replicas))
    wait_until(lambda: len(place.endpoints("web")) == replicas, what="the endpoints")
    return rollouts.sets(place, "web")[0]


def release(place: Place, old: Obj) -> Obj:
    """Pin, brake with the new template, detach, brake off: all new pods come up and nobody touches the old ones."""
    pin(place, old)
    roll(place, "web", BRAKE, rollouts.template())
    wait_until(lambda: len(rollouts.sets(place, "web")) == 2, what="the new ReplicaSet")
    detach(place, old)
    roll(place, "web", USER)
    complete(place, "web")
    return rollouts.sets(place, "web")[0]


@pytest.mark.states("A1-detach")
def test_a_release_by_detaching_never_has_fewer_ready_endpoints(place: Place) -> None:
    old = begin(place)
    with place.watch("endpointslices") as told:
        wait_until(lambda: served(told), what="the endpoints")
        new = release(place, old)
        place.kubectl("rollout", "status", "deployment/web")
        middle = place.get("deployments", "web")
        place.kubectl("scale", "deployment/web", "--replicas=2")
        complete(place, "web")
        place.kubectl("scale", "deployment/web", "--replicas=3")
        complete(place, "web")
        pin(place, new)
        wait_until(lambda: served(told)[-1].isdisjoint(served(told)[0]), what="the switch")
        scale_set(place, old, 0)
        wait_until(lambda: not place.get("replicasets", old["metadata"]["name"])["status"]["replicas"], what="old at 0")
        attach(place, old)
        pin(place, None)
        wait_until(lambda: HASH not in place.get("services", "web")["spec"]["selector"], what="no pin")

    steps = served(told)
    assert min(len(step) for step in steps) == 3
    assert all(len(step & steps[0]) in (0, 3) for step in steps), "old and new were mixed"
    assert condition(middle, "Available") == "True"
    assert [middle["status"][key] for key in ("replicas", "updatedReplicas", "availableReplicas")] == [3, 3, 3]
    after = place.get("deployments", "web")
    assert "collisionCount" not in after["status"]
    assert rollouts.sizes(place, "web") == [0, 3]
    place.kubectl("rollout", "undo", "deployment/web")
    complete(place, "web")
    assert [each["metadata"]["uid"] for each in rollouts.sets(place, "web")][-1] == old["metadata"]["uid"]


@pytest.mark.states("A1-detach")
def test_what_is_detached_is_healed_and_taken_back(place: Place, measured: Callable[[str, float, str], None]) -> None:
    old = begin(place)
    release(place, old)
    pods = rollouts.pods_of(place, old)

    place.delete("pods", pods[0]["metadata"]["name"], grace_s=1)
    wait_until(lambda: len([each for each in rollouts.pods_of(place, old) if is_ready(each)]) == 3, what="healing")
    place.wait_ready_pods(6)
    sizes = place.get("replicasets", old["metadata"]["name"])["spec"]["replicas"]
    scale_set(place, old, 0)
    attach(place, old)

    found = rollouts.owners(place.get("replicasets", old["metadata"]["name"]))
    owner = place.get("deployments", "web")
    assert sizes == 3
    assert found == [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "web",
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    history = place.kubectl("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["1", "2"]
    measured("relabelled until let go", _let_go(place), "s")


def _let_go(place: Place) -> float:
    return detach(place, rollouts.sets(place, "web")[0])


@pytest.mark.states("A1-detach")
def test_detached_before_the_template_changes_it_collides(place: Place) -> None:
    old = begin(place, 2)

    detach(place, old)

    wait_until(lambda: place.get("deployments", "web")["status"].get("collisionCount") == 1, what="a collision")
    complete(place, "web")
    twin = rollouts.sets(place, "web")[0]
    assert hash_of(twin) != hash_of(old)
    assert _bare(twin) == _bare(old)
    assert len(place.wait_ready_pods(4)) == 4


@pytest.mark.states("A3-orphan")
def test_an_orphan_lives_on_and_the_pod_that_replaces_it_goes(place: Place) -> None:
    """Under the brake with surge 1: one new pod comes for each old one that leaves."""
    old = begin(place)
    roll(place, "web", BRAKE, strategy(1, 0), rollouts.template())
    wait_sizes(place, "web", 3, 1)
    place.wait_ready_pods(4)

    with place.watch("pods") as told:
        wait_until(lambda: len(told.happenings) >= 4, what="the pods of before")
        victims = [pod["metadata"]["name"] for pod in rollouts.pods_of(place, old)]
        for left, name in zip((2, 1), victims[:2], strict=True):
            place.patch(
                "pods", name, {"metadata": {"labels": {"app": "orphan"}}, "spec": {"activeDeadlineSeconds": 3600}}
            )
            scale_set(place, old, left)
            wait_sizes(place, "web", left, 4 - left)
            place.wait_ready_pods(4, "app=web")
        wait_until(lambda: len(rollouts.deleted(told)) == 2, what="both replacements to go")

    assert not set(rollouts.deleted(told)) & set(victims)
    for name in victims[:2]:
        orphan = place.get("pods", name)
        assert is_ready(orphan) and not rollouts.owners(orphan)
    assert len(place.endpoints("web")) == 4


@pytest.mark.states("A3-orphan")
def test_an_orphan_ends_by_its_deadline_and_stays_as_a_failed_pod(place: Place) -> None:
    place.create(manifests.pod("orphan"))
    pod = place.wait_ready("orphan")
    age_s = int(time.time() - seconds_of(pod["status"]["startTime"]))

    place.patch("pods", "orphan", {"spec": {"activeDeadlineSeconds": age_s + 2}})

    wait_until(lambda: place.get("pods", "orphan")["status"]["phase"] == "Failed", limit_s=60.0, what="its end")
    status = place.get("pods", "orphan")["status"]
    assert status["reason"] == "DeadlineExceeded"
    assert condition(place.get("pods", "orphan"), "Ready") == "False"


@pytest.mark.states("B1-brake")
def test_an_abort_under_a_brake_that_is_outlived_takes_serving_pods(place: Place) -> None:
    old = begin(place)
    before = place.get("deployments", "web")["spec"]["template"]
    wait_until(lambda: all(_ready_s(pod) > 6.5 for pod in rollouts.pods_of(place, old)), what="old pods of some age")
    roll(place, "web", {**BRAKE, "minReadySeconds": 6}, rollouts.template())
    new = wait_sizes(place, "web", 3, 3)[1]
    scale_set(place, old, 2)
    serving = wait_until(lambda: _ready_pods(place, new, 3), what="three new pods")

    with place.watch("pods") as told:
        patch = [{"op": "replace", "path": "/spec/template", "value": before}]
        place.patch("deployments", "web", patch, kind="application/json-patch+json")
        wait_until(lambda: rollouts.deleted(told), what="a deletion")

    assert set(rollouts.deleted(told)) <= {pod["metadata"]["name"] for pod in serving}


@pytest.mark.states("B2-abort")
def test_the_order_of_an_abort_that_loses_nothing(place: Place) -> None:
    old = begin(place)
    before = place.get("deployments", "web")["spec"]["template"]

    with place.watch("endpointslices") as slices, place.watch("replicasets") as sets:
        wait_until(lambda: served(slices), what="the endpoints")
        new = release(place, old)
        roll(place, "web", BRAKE)
        wait_until(lambda: _braked(place), what="the brake to be seen")
        attach(place, old)
        patch = [{"op": "replace", "path": "/spec/template", "value": before}]
        patch += [{"op": "replace", "path": f"/spec/{key}", "value": value} for key, value in USER.items() if value]
        patch += [{"op": "remove", "path": "/spec/minReadySeconds"}]
        place.patch("deployments", "web", patch, kind="application/json-patch+json")
        complete(place, "web")
        pin(place, None)
        wait_until(lambda: HASH not in place.get("services", "web")["spec"]["selector"], what="no pin")
        rollouts.caught_up(place, sets, "replicasets")

    assert served(slices)[-1] == served(slices)[0] and min(len(step) for step in served(slices)) == 3
    assert {each.object["spec"]["replicas"] for each in sets.of(old["metadata"]["name"])} == {3}
    assert place.get("replicasets", new["metadata"]["name"])["spec"]["replicas"] == 0
    after = place.get("deployments", "web")
    assert "collisionCount" not in after["status"]
    assert hash_of(rollouts.sets(place, "web")[-1]) == hash_of(old)


@pytest.mark.states("B2-abort")
def test_taken_back_in_another_size_it_is_scaled_at_once(place: Place) -> None:
    old = begin(place, 4)
    release(place, old)
    place.kubectl("scale", "deployment/web", "--replicas=2")
    complete(place, "web")
    roll(place, "web", BRAKE)
    wait_until(lambda: _braked(place), what="the brake to be seen")

    attach(place, old)

    name = old["metadata"]["name"]
    left = wait_until(lambda: 4 - place.get("replicasets", name)["spec"]["replicas"], what="a scaling event")
    assert left >= 2


@pytest.mark.states("B5-together")
def test_min_ready_seconds_alone_does_not_hold_an_old_pod(place: Place) -> None:
    old = begin(place, 4)

    with place.watch("pods") as told:
        roll(place, "web", {"minReadySeconds": 500}, rollouts.template())
        wait_sizes(place, "web", 3, 2)
        gone = told.wait(lambda each: "deletionTimestamp" in each.object["metadata"]).name

    assert gone.startswith(old["metadata"]["name"])


def _ready_pods(place: Place, replica_set: Obj, count: int) -> list[Obj]:
    pods = [pod for pod in rollouts.pods_of(place, replica_set) if is_ready(pod)]
    return pods if len(pods) == count else []


def _ready_s(pod: Obj) -> float:
    found = condition_of(pod, "Ready") or {}
    return time.time() - seconds_of(found["lastTransitionTime"])


def _braked(place: Place) -> bool:
    """What an abort waits for: the brake is seen, and none of the new pods counts as available."""
    found = place.get("deployments", "web")
    seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
    return bool(seen and "availableReplicas" not in found["status"])


def _bare(replica_set: Obj) -> Obj:
    template: Obj = replica_set["spec"]["template"]
    labels = {key: value for key, value in template["metadata"]["labels"].items() if key != HASH}
    return {"labels": labels, "spec": template["spec"]}
