"""What a Deployment is, counts and says: D1, D2, D5, D9 to D14, D16."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj, condition_of
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import (
    complete,
    held,
    pods_of,
    ready,
    roll,
    running,
    set_ready,
    strategy,
    wait_sizes,
    wait_until,
)
from tests.live.both.world import Happening, Place, condition, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "D1": "A bare Deployment has 1 replica, rolls with 25 % and 25 %, keeps 10 ReplicaSets and waits 600 s.",
    "D2": "Surge is rounded up, unavailable down; where both come out as 0, one pod may be unavailable.",
    "D5": "minReadySeconds puts off when a pod counts as available, not when it gets traffic.",
    "D9": "Pods on their way out are no replicas; terminatingReplicas counts them, and nothing waits for them.",
    "D10": "Recreate starts no new pod before the last old pod has ended; its object may still be there.",
    "D11": "A new ReplicaSet comes with another template only; other fields of the spec start no rollout.",
    "D12": "Going back takes the old ReplicaSet again; those beyond the history limit go once the rollout is complete.",
    "D13": "No progress for so long turns Progressing False, and nothing is stopped or rolled back.",
    "D14": "A rollout is complete while its old pods still terminate.",
    "D16": "A selector stands; deleting a Deployment deletes its pods.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {
    "D11": "The text of a pod-template-hash differs (ours hashes the JSON of the template, upstream a dump of the Go"
    " value); it is equal for equal templates on both, which is all a release reads.",
}


def progressing(place: Place, name: str) -> tuple[str, str]:
    """Status and reason of the condition Progressing."""
    found = condition_of(place.get("deployments", name), "Progressing") or {}
    return str(found.get("status", "")), str(found.get("reason", ""))


# -- defaults and bounds ---------------------------------------------------------------------------------------------


@pytest.mark.states("D1")
def test_a_bare_deployment_gets_the_defaults(place: Place) -> None:
    made = rollouts.deployment("web", 1)
    del made["spec"]["replicas"]
    place.create(made)

    spec = place.get("deployments", "web")["spec"]

    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert "minReadySeconds" not in spec


@pytest.mark.states("D2")
@pytest.mark.parametrize(
    ("replicas", "bounds", "old", "new"),
    [
        (1, {}, 1, 1),
        (2, {}, 2, 1),
        (4, {}, 3, 2),
        (5, {}, 4, 3),
        pytest.param(8, {}, 6, 4, marks=pytest.mark.full),
        pytest.param(10, {}, 8, 5, marks=pytest.mark.full),
        (1, strategy(0, "25%"), 0, 1),
        (3, strategy(0, "25%"), 2, 1),
        (3, strategy("40%", "40%"), 2, 3),
        (2, strategy(0, 5), 0, 2),
    ],
    ids=["1", "2", "4", "5", "8", "10", "1-nothing", "3-nothing", "3-both", "2-more-than-all"],
)
def test_a_rollout_that_never_gets_ready_stops_at_its_bounds(
    place: Place, replicas: int, bounds: Obj, old: int, new: int
) -> None:
    """What is left of the old is replicas - unavailable; the new ones take surge and unavailable."""
    ready(place, rollouts.deployment("web", replicas, spec=bounds))

    roll(place, "web", held())

    sets = wait_sizes(place, "web", old, new)
    running(place, sets[1], new)
    assert rollouts.sizes(place, "web") == [old, new]


@pytest.mark.states("D2")
@pytest.mark.parametrize("bounds", [(0, 0), ("0%", 0), ("0%", "0%")], ids=["00", "0%0", "0%0%"])
def test_a_rollout_that_may_not_move_is_refused(place: Place, bounds: tuple[int | str, int | str]) -> None:
    made = rollouts.deployment("web", 1, spec=strategy(*bounds))

    code, told = place.world.call("POST", place.path("deployments"), made)

    assert (code, told["reason"]) == (422, "Invalid")
    assert told["details"]["causes"][0]["field"] == "spec.strategy.rollingUpdate.maxUnavailable"


# -- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.states("D5")
def test_a_pod_has_traffic_before_it_counts_as_available(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    with place.watch("endpointslices") as slices, place.watch("replicasets") as sets:
        place.create(
            manifests.service(selector={"app": "web"}), rollouts.deployment("web", 1, spec={"minReadySeconds": 3})
        )
        complete(place, "web")

    served = slices.wait(lambda each: any(e["conditions"]["ready"] for e in each.object.get("endpoints") or []))
    seen = sets.wait(lambda each: (each.object.get("status") or {}).get("readyReplicas"))
    available = sets.wait(lambda each: (each.object.get("status") or {}).get("availableReplicas"))
    # Ready's time has whole seconds, so up to one of the three may be over already
    assert available.at_s - served.at_s > 1.7
    assert available.at_s - seen.at_s > 1.7
    measured("endpoint ready until available, minReadySeconds 3", available.at_s - served.at_s, "s")


@pytest.mark.states("D9")
def test_pods_on_their_way_out_are_no_replicas_but_are_counted(place: Place) -> None:
    ready(place, rollouts.deployment("web", 3, grace_s=4, strings="term=ignore"))

    with place.watch("deployments") as told:
        place.kubectl("scale", "deployment", "web", "--replicas=1")
        counted = told.wait(lambda each: _status(each, "terminatingReplicas") == 2)
        there = place.all("pods")
        sets = rollouts.sets(place, "web")
        told.wait(lambda each: each.at_s > counted.at_s and _status(each, "terminatingReplicas") == 0)

    assert (_status(counted, "replicas"), _status(counted, "readyReplicas")) == (1, 1)
    assert [sum("deletionTimestamp" in pod["metadata"] for pod in there), len(there)] == [2, 3]
    assert (sets[0]["status"]["replicas"], sets[0]["status"]["terminatingReplicas"]) == (1, 2)


@pytest.mark.states("D9")
def test_a_rollout_waits_for_no_terminating_pod(place: Place) -> None:
    """More pods than replicas + surge are there: those on their way out come on top."""
    spec = strategy(1, 0)
    ready(place, rollouts.deployment("web", 3, grace_s=6, strings="term=ignore", spec=spec))

    with place.watch("pods") as told:
        roll(place, "web", rollouts.template(strings="term=ignore"))
        complete(place, "web")
        there = place.all("pods")

    assert len(there) > 4
    assert len(rollouts.deleted(told)) == 3
    for pod in there:
        place.delete("pods", pod["metadata"]["name"], grace_s=0)


@pytest.mark.states("D9")
def test_there_is_no_policy_by_which_new_pods_wait_for_old_ones(place: Place) -> None:
    made = rollouts.deployment("web", 1, spec={"podReplacementPolicy": "TerminationComplete"})

    code, told = place.world.call("POST", place.path("deployments") + "?fieldValidation=Strict", made)

    assert code == 400
    assert 'unknown field "spec.podReplacementPolicy"' in told["message"]


@pytest.mark.states("D10")
def test_recreate_starts_no_new_pod_before_the_last_old_one_has_ended(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    ready(place, rollouts.deployment("web", 2, strings="term=2", spec={"strategy": {"type": "Recreate"}}))

    with place.watch("pods") as told:
        wait_until(lambda: len(told.happenings) >= 2, what="the pods of before")
        old = {each.name for each in told.happenings}
        roll(place, "web", rollouts.template())
        complete(place, "web")

    ended = [told.wait(lambda each, name=name: each.name == name and _has_ended(each)).at_s for name in old]  # type: ignore[misc]
    first = next(each for each in told.happenings if each.type == "ADDED" and each.name not in old)
    assert first.at_s >= max(ended)
    gone = [each for each in told.happenings if each.type == "DELETED" and each.name in old]
    measured("last old pod ended until first new pod", first.at_s - max(ended), "s")
    measured("last old pod gone until first new pod", first.at_s - gone[-1].at_s, "s")


# -- revisions -------------------------------------------------------------------------------------------------------


@pytest.mark.states("D11")
def test_only_another_template_makes_another_replica_set(place: Place) -> None:
    ready(place, rollouts.deployment("web", 1))
    first = rollouts.sets(place, "web")

    roll(
        place,
        "web",
        {"replicas": 2, "minReadySeconds": 1, "paused": True, "progressDeadlineSeconds": 60},
        strategy(2, 1),
    )
    roll(place, "web", {"paused": False, "revisionHistoryLimit": 3})
    complete(place, "web")
    same = rollouts.sets(place, "web")
    roll(place, "web", {"template": {"metadata": {"annotations": {"a": "b"}}}})
    complete(place, "web")
    both = rollouts.sets(place, "web")

    assert [rollouts.hash_of(each) for each in same] == [rollouts.hash_of(first[0])]
    assert same[0]["spec"]["minReadySeconds"] == 1
    assert [rollouts.revision(each) for each in both] == [1, 2]
    assert rollouts.hash_of(both[0]) == rollouts.hash_of(first[0]) != rollouts.hash_of(both[1])


@pytest.mark.states("D11")
def test_one_order_of_variables_is_not_another(place: Place) -> None:
    one, two = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    made = rollouts.deployment("web", 0)
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [one, two]
    place.create(made)
    wait_sizes(place, "web", 0)

    found = place.get("deployments", "web")
    del found["metadata"]["resourceVersion"]
    found["spec"]["template"]["spec"]["containers"][0]["env"] = [two, one]
    code, _ = place.world.call("PUT", place.path("deployments", "web"), found)

    assert code == 200
    wait_sizes(place, "web", 0, 0)


@pytest.mark.states("D12")
def test_going_back_takes_the_replica_set_of_then(place: Place) -> None:
    ready(place, rollouts.deployment("web", 2, spec=strategy(1, 0)))
    old = place.wait_ready_pods(2)
    roll(place, "web", rollouts.template("v2"))
    complete(place, "web")
    first, second = rollouts.sets(place, "web")

    place.kubectl("rollout", "undo", "deployment/web")
    complete(place, "web")

    after = rollouts.sets(place, "web")
    assert [each["metadata"]["uid"] for each in after] == [second["metadata"]["uid"], first["metadata"]["uid"]]
    assert [rollouts.revision(each) for each in after] == [2, 3]
    assert after[1]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    assert rollouts.revision(place.get("deployments", "web")) == 3
    assert not {pod["metadata"]["uid"] for pod in old} & {pod["metadata"]["uid"] for pod in place.wait_ready_pods(2)}
    history = place.kubectl("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["2", "3"]


@pytest.mark.states("D12")
def test_the_history_is_cut_once_the_rollout_is_complete(place: Place) -> None:
    ready(place, rollouts.deployment("web", 1, spec={"revisionHistoryLimit": 0, **strategy(1, 0)}))
    roll(place, "web", held("v2"))
    wait_sizes(place, "web", 1, 1)
    roll(place, "web", held("v3"))
    sets = wait_sizes(place, "web", 1, 0, 1)
    wait_until(lambda: not rollouts.sets(place, "web")[1]["status"]["replicas"], what="the second to be empty")

    # The second is empty and beyond the limit, but the rollout goes on
    pods = running(place, sets[2], 1)
    assert len(rollouts.sets(place, "web")) == 3
    set_ready(place, pods)

    wait_sizes(place, "web", 1)
    undone = place.run("kubectl", "rollout", "undo", "deployment/web")
    assert undone.returncode == 1
    assert "no rollout history found" in undone.stderr


# -- progress --------------------------------------------------------------------------------------------------------


@pytest.mark.states("D13")
def test_no_progress_is_told_after_the_deadline_and_stops_nothing(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    spec = {"progressDeadlineSeconds": 3, **strategy(1, 0)}
    ready(place, rollouts.deployment("web", 2, spec=spec), rollouts.deployment("idle", 1, spec=spec))

    with place.watch("deployments") as told:
        roll(place, "web", held())
        roll(place, "idle", held(), {"paused": True})
        late = told.wait(lambda each: each.name == "web" and _reason(each) == ("False", "ProgressDeadlineExceeded"))
        moved = [each for each in told.of("web") if each.at_s < late.at_s][-1]
    status = place.run("kubectl", "rollout", "status", "deployment/web", "--timeout=5s")
    sizes = rollouts.sizes(place, "web")
    set_ready(place, running(place, rollouts.sets(place, "web")[1], 1))

    wait_until(lambda: progressing(place, "web") == ("True", "ReplicaSetUpdated"), what="progress again")
    assert 2.0 <= late.at_s - moved.at_s < 9
    assert sizes == [2, 1]
    assert (status.returncode, "exceeded its progress deadline" in status.stderr) == (1, True)
    assert progressing(place, "idle") == ("Unknown", "DeploymentPaused")
    measured("last progress until its end is told, deadline 3 s", late.at_s - moved.at_s, "s")


@pytest.mark.states("D13")
@pytest.mark.parametrize(("deadline_s", "code"), [(4, 422), (5, 422), (6, 201)])
def test_the_deadline_must_be_longer_than_min_ready_seconds(place: Place, deadline_s: int, code: int) -> None:
    made = rollouts.deployment("web", 0, spec={"minReadySeconds": 5, "progressDeadlineSeconds": deadline_s})

    got, told = place.world.call("POST", place.path("deployments"), made)

    assert got == code
    if code != 201:
        assert told["details"]["causes"][0]["field"] == "spec.progressDeadlineSeconds"


@pytest.mark.states("D14")
def test_a_rollout_is_complete_while_old_pods_terminate(place: Place) -> None:
    ready(place, rollouts.deployment("web", 2, grace_s=8, strings="term=ignore"))
    roll(place, "web", rollouts.template())

    said = place.kubectl("rollout", "status", "deployment/web")
    there = place.all("pods")

    assert "successfully rolled out" in said
    assert progressing(place, "web") == ("True", "NewReplicaSetAvailable")
    old = [pod for pod in there if "deletionTimestamp" in pod["metadata"]]
    assert [len(there), len(old)] == [4, 2]
    assert condition(place.get("deployments", "web"), "Available") == "True"
    assert all(is_ready(pod) for pod in old)
    for pod in old:
        place.delete("pods", pod["metadata"]["name"], grace_s=0)


@pytest.mark.states("D16")
@pytest.mark.parametrize("resource", ["deployments", "replicasets"])
def test_a_selector_stands(place: Place, resource: str) -> None:
    make = manifests.deployment if resource == "deployments" else manifests.replica_set
    place.create(make("web", 0))
    wait_until(lambda: place.get(resource, "web").get("status"), what="its controller")
    found = place.get(resource, "web")
    del found["metadata"]["resourceVersion"]
    found["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    found["spec"]["template"]["metadata"]["labels"] = {"app": "other"}

    code, told = place.world.call("PUT", place.path(resource, "web"), found)

    assert (code, told["details"]["causes"][0]["field"]) == (422, "spec.selector")
    assert "field is immutable" in told["message"]


@pytest.mark.states("D16")
@pytest.mark.parametrize("policy", ["background", "foreground", "orphan"])
def test_a_deployment_takes_its_pods_with_it_unless_they_are_orphaned(place: Place, policy: str) -> None:
    ready(place, rollouts.deployment("web", 2))

    with place.watch("pods") as pods, place.watch("deployments") as deployments:
        place.kubectl("delete", "deployment", "web", f"--cascade={policy}", "--wait=true")
        gone = deployments.wait(lambda each: each.type == "DELETED")
        if policy != "orphan":
            wait_until(lambda: sum(each.type == "DELETED" for each in pods.happenings) == 2, what="both to be gone")

    if policy == "orphan":
        left = wait_until(lambda: _free(place.all("replicasets")), what="a ReplicaSet without an owner")
        assert len(pods_of(place, left[0])) == 2
        assert not rollouts.deleted(pods)
    else:
        assert not place.all("replicasets")
        last = max(rollouts.version(each) for each in pods.happenings if each.type == "DELETED")
        assert (last < rollouts.version(gone)) == (policy == "foreground")


def _has_ended(each: Happening) -> bool:
    return each.type == "DELETED" or each.object["status"].get("phase") in {"Succeeded", "Failed"}


def _free(sets: list[Obj]) -> list[Obj]:
    return [each for each in sets if not rollouts.owners(each)]


def _status(each: Happening, key: str) -> int | None:
    found = (each.object.get("status") or {}).get(key)
    return None if found is None else int(found)


def _reason(each: Happening) -> tuple[str, str]:
    found = condition_of(each.object, "Progressing") or {}
    return str(found.get("status", "")), str(found.get("reason", ""))
