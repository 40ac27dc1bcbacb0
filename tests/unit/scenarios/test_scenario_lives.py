"""Words of lives: what a write can merge is merged, and nothing else."""

from __future__ import annotations

from segue.model.objects import Obj
from tests.live.both.scenarios.lives import EndpointLives, PodLife, roles_of, said_conditions
from tests.live.both.scenarios.sights import Sight


def sight(status: Obj | None, *, ready: bool = False, kind: str = "MODIFIED", metadata: Obj | None = None) -> Sight:
    obj: Obj = {
        "metadata": {"name": "alone", "uid": "u", "resourceVersion": "1", "labels": {"app": "web"}} | (metadata or {}),
        "spec": {},
        "status": {
            "phase": "Running" if status else "Pending",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [status] if status else [],
        },
    }
    return Sight(resource="pods", type=kind, object=obj)


def life(*sights: Sight) -> str:
    told = PodLife(name="alone", roles={}, hashes={})
    for each in sights:
        told.see(1, each)
    return told.text()


def ended(code: int, number: int) -> Obj:
    return {"terminated": {"exitCode": code, "containerID": f"c{number}", "startedAt": "s", "finishedAt": f"{number}"}}


RUNS: Obj = {"state": {"running": {}}, "restartCount": 0}
AGAIN: Obj = {"state": {"running": {}}, "restartCount": 1, "lastState": ended(3, 1)}


def test_an_exit_is_told_once_from_state_or_last_state() -> None:
    seen = [
        sight(None),
        sight(RUNS, ready=True),
        sight({"state": ended(3, 1), "restartCount": 0}),
        sight(AGAIN, ready=True),
    ]

    assert life(*seen) == "1: Pending, Running, Ready, exit 3, started again (1), Ready"
    assert life(*seen[:2], seen[3]) == life(*seen)


def test_a_readiness_that_comes_and_goes_is_no_exit() -> None:
    flapping = [sight(RUNS, ready=True), sight(RUNS), sight(RUNS, ready=True)]

    assert life(*flapping) == "1: Pending, Running, Ready, not Ready, Ready"


def test_a_crash_like_the_one_before_tells_nothing_new_and_another_one_does() -> None:
    def crash(number: int, code: int) -> list[Sight]:
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        return [
            sight({"state": {"running": {}}, "restartCount": number}),
            sight({"state": waiting, "restartCount": number, "lastState": ended(code, number)}),
        ]

    once = life(*crash(0, 1), *crash(1, 1))
    assert life(*crash(0, 1), *crash(1, 1), *crash(2, 1)) == once
    assert life(*crash(0, 1), *crash(1, 1), *crash(2, 2)) != once


def test_a_pod_taken_back_before_it_was_ready_is_one_sentence() -> None:
    leaving: Obj = {"deletionTimestamp": "t", "deletionGracePeriodSeconds": 5}
    gone = sight(RUNS, kind="DELETED", metadata=leaving)

    assert life(sight(None), sight(None, metadata=leaving), gone) == "1: made and taken back"
    assert life(sight(None), sight(RUNS, ready=True), sight(RUNS, ready=True, metadata=leaving), gone).endswith("gone")


def test_labels_and_owners_that_change_are_told() -> None:
    assert "labelled app=other" in life(sight(None), sight(None, metadata={"labels": {"app": "other"}}))


def endpoint(*conditions: Obj | None) -> str:
    lives = EndpointLives()
    for each in conditions:
        endpoints = [] if each is None else [{"targetRef": {"name": "alone"}, "conditions": each}]
        obj: Obj = {"metadata": {"name": "s", "uid": "u", "resourceVersion": "1"}, "endpoints": endpoints}
        lives.see(1, Sight(resource="endpointslices", type="MODIFIED", object=obj))
    return lives.lives["alone"].text()


READY: Obj = {"ready": True, "serving": True, "terminating": False}
SERVING: Obj = {"ready": False, "serving": True, "terminating": True}
LAST: Obj = {"ready": False, "serving": False, "terminating": True}


def test_an_endpoint_leaves_by_way_of_serving() -> None:
    assert endpoint(READY, SERVING, LAST, None) == "1: waiting, ready, leaving and serving, absent"
    assert endpoint(READY, SERVING, None) == endpoint(READY, SERVING, LAST, None)


def test_an_endpoint_that_is_deselected_is_absent_without_leaving() -> None:
    assert endpoint(READY, None) == "1: waiting, ready, absent"
    assert endpoint(READY, None) != endpoint(READY, SERVING, None)
    assert endpoint(READY, None, SERVING, None) == endpoint(READY, None)


def test_absent_conditions_are_read_as_consumers_must() -> None:
    assert said_conditions({}) == "ready"
    assert said_conditions({"ready": False}) == "waiting"


def test_a_version_that_comes_back_gets_a_stroke() -> None:
    def one(uid: str, tag: str) -> Obj:
        return {"metadata": {"uid": uid}, "spec": {"template": {"spec": {"containers": [{"image": f"x:{tag}"}]}}}}

    assert roles_of([one("a", "v1"), one("b", "v2"), one("a", "v1"), one("c", "v1")]) == {
        "a": "v1",
        "b": "v2",
        "c": "v1'",
    }
