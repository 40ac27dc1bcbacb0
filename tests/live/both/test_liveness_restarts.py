"""Restarts by a liveness or startup probe, and by an exit: L1 to L7, and what a preStop sleep is worth there (M15)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.callers import calling
from tests.live.both.lifetimes import (
    address,
    answers,
    begin,
    hook,
    leave,
    moment,
    moments,
    probed,
    restarts,
    said_about,
    wait_said,
)
from tests.live.both.world import Place, Watched
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "L1": "A container that failed its liveness or startup probe is stopped with hook, stop signal and grace; its "
    "neighbours live on.",
    "L2": "Its pod is not deleted, and its ReplicaSet makes no other.",
    "L3": "It stays a ready endpoint through hook and grace: only readiness or the observed exit ends that.",
    "L4": "A hook that makes readiness fail, and then waits, has the endpoint gone before the stop signal.",
    "L5": "The first restart comes at once, the second after 10 s, the third after 20 s, counted from the exit.",
    "L6": "An exit with code 0 waits as long.",
    "L7": "Equal liveness and readiness probes fail together, which leaves no time; a more patient liveness leaves it.",
    "M15": "A preStop sleep does not save a liveness restart: connections are refused once the listener is closed.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
_QUIET: Obj = {"readinessProbe": manifests.http("ready")}


# --- L1, L2 -----------------------------------------------------------------------------------------------------------


@pytest.mark.states("L1", "L2")
def test_a_failed_liveness_probe_stops_its_container_and_no_other(place: Place) -> None:
    asked = manifests.replica_set("web", 1, lifecycle=hook("hook?s=1"), strings="term=1", **probed(), **_QUIET)
    second = manifests.container(name="second", env=[{"name": "PORT", "value": "8081"}], ports=[])
    asked["spec"]["template"]["spec"]["containers"].append(second)
    place.create(asked)
    pod = place.wait_ready_pods(1)[0]
    name, ip = pod["metadata"]["name"], pod["status"]["podIP"]
    wait_until(lambda: answers(place, ip, 8081), limit_s=30, what="the second container")

    with place.following(name, "puppet") as told, place.watch("pods") as seen:
        place.pull(ip, health="500")
        wait_until(lambda: restarts(place.get("pods", name)) == 1, limit_s=30, what="the restart")
        place.wait_ready(name)

    assert moment(told, "hook ends") <= moment(told, "SIGTERM") <= moment(told, "exit")
    assert restarts(place.get("pods", name), container=1) == 0
    assert wait_said(place, name, "Killing")
    assert {each.name for each in seen.happenings} == {name}
    assert not [each for each in seen.happenings if "deletionTimestamp" in each.object["metadata"]]


@pytest.mark.states("L1")
def test_a_startup_probe_that_never_passes_has_its_container_stopped(place: Place) -> None:
    lifecycle = hook("hook?s=1")
    startup = manifests.http("startup", failures=3)
    place.create(manifests.pod("web", strings="startup=500", lifecycle=lifecycle, startupProbe=startup))
    address(place, "web")

    with place.following("web") as told:
        signalled_s = moment(told, "SIGTERM")
        asked = moments(told, "probe", path="startup", status="500")

    # What failed before it listened is not in its log
    assert 1 <= len([at for at in asked if at < moment(told, "hook")]) <= 3
    assert signalled_s >= moment(told, "hook ends")
    wait_until(lambda: restarts(place.get("pods", "web")) >= 1, limit_s=30, what="the restart")


@pytest.mark.full
@pytest.mark.states("L1")
def test_a_liveness_probe_that_passes_again_in_time_restarts_nothing(place: Place) -> None:
    ip = begin(place, manifests.pod("web", **probed(failureThreshold=3)))

    place.pull(ip, health="500*2")
    wait_until(lambda: len(said_about(place, "web", "Unhealthy")) >= 1, limit_s=30, what="a failed probe")
    count = len(_health(place, ip))
    wait_until(lambda: len(_health(place, ip)) >= count + 4, limit_s=30, what="more probes")

    assert restarts(place.get("pods", "web")) == 0


def _health(place: Place, ip: str) -> list[float]:
    return moments(place.events_of("web"), "probe", path="health")


# --- L3, L4, L7 -------------------------------------------------------------------------------------------------------


def _ready_endpoints(seen: Watched) -> list[tuple[float, bool]]:
    """When the only pod's endpoint became ready or ceased to be."""
    turns: list[tuple[float, bool]] = []
    for each in list(seen.happenings):
        points = each.object.get("endpoints") or []
        ready = bool(points) and bool(points[0]["conditions"]["ready"])
        if not turns or turns[-1][1] != ready:
            turns.append((each.at_s, ready))
    return turns


def _lost_s(seen: Watched) -> float:
    """When the endpoint ceased to be ready, waited for."""

    def lost() -> list[float]:
        turns = _ready_endpoints(seen)
        return [at_s for (_, before), (at_s, after) in pairwise(turns) if before and not after]

    wait_until(lost, limit_s=30, what="the endpoint not to be ready")
    return lost()[0]


def _in_service(place: Place, asked: Obj) -> str:
    ip = begin(place, manifests.service(), asked)
    wait_until(lambda: place.endpoints().get("web", {}).get("ready"), what="a ready endpoint")
    return ip


@pytest.mark.states("L3")
def test_an_endpoint_stays_ready_until_the_exit_is_observed(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", strings="term=2", lifecycle=hook("hook?s=2"), **probed(), **_QUIET)
    asked["spec"]["containers"][0]["readinessProbe"] = manifests.http("ready", failures=30)
    ip = _in_service(place, asked)

    with place.following("web") as told, place.watch("endpointslices") as seen:
        place.pull(ip, health="500")
        exited_s = moment(told, "exit")
        lost_s = _lost_s(seen)
    terminating = [
        point for each in seen.happenings for point in each.object["endpoints"] if point["conditions"]["terminating"]
    ]

    assert lost_s > exited_s
    assert exited_s - moment(told, "hook") >= 3.8
    assert terminating == []
    measured("ready, from the hook on", lost_s - moment(told, "hook"), "s")
    measured("exit to endpoint not ready", lost_s - exited_s, "s")


@pytest.mark.states("L4")
def test_a_hook_that_fails_readiness_and_waits_has_the_endpoint_gone_in_time(place: Place, measured: Keep) -> None:
    asked = manifests.pod(
        "web", grace_s=15, strings="term=1", lifecycle=hook("hook?s=4&ready=503"), **probed(), **_QUIET
    )
    ip = _in_service(place, asked)

    with place.following("web") as told, place.watch("endpointslices") as seen:
        place.pull(ip, health="500")
        lost_s = _lost_s(seen)
        signalled_s = moment(told, "SIGTERM")

    assert moment(told, "hook") < lost_s < signalled_s
    measured("hook to endpoint not ready", lost_s - moment(told, "hook"), "s")


@pytest.mark.states("L7")
def test_equal_probes_leave_no_time_between_unready_and_stop_signal(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", strings="term=1", **probed(), **_QUIET)
    ip = _in_service(place, asked)

    with place.following("web") as told, place.watch("endpointslices") as seen:
        place.pull(ip, health="500", ready="500")
        lost_s, signalled_s = _lost_s(seen), moment(told, "SIGTERM")

    assert lost_s - signalled_s >= -3
    measured("endpoint not ready, before the stop signal", signalled_s - lost_s, "s")


@pytest.mark.states("L7")
def test_a_more_patient_liveness_leaves_time(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", strings="term=1", **probed(failureThreshold=5), **_QUIET)
    ip = _in_service(place, asked)

    with place.following("web") as told, place.watch("endpointslices") as seen:
        place.pull(ip, health="500", ready="500")
        lost_s, signalled_s = _lost_s(seen), moment(told, "SIGTERM")

    assert lost_s < signalled_s
    measured("endpoint not ready, before the stop signal", signalled_s - lost_s, "s")


# --- L5, L6 -----------------------------------------------------------------------------------------------------------


def _run(pod: Obj) -> Obj:
    status: Obj = (pod["status"].get("containerStatuses") or [{}])[0]
    return status


def _exit_and_wait(place: Place, code: int) -> tuple[float, float]:
    """Let the puppet exit: when it did, and when its next run began (by the puppet's own clock)."""
    before = restarts(place.get("pods", "web"))
    exited_s = leave(place, address(place, "web"), code)
    wait_until(lambda: restarts(place.get("pods", "web")) == before + 1, limit_s=60, what="the restart")
    address(place, "web")
    return exited_s, moment(place.events_of("web"), "start")


@pytest.mark.states("L5", "L6")
@pytest.mark.parametrize("code", [0, 1])
def test_the_first_restart_is_immediate_and_the_second_is_told_to_wait(place: Place, code: int, measured: Keep) -> None:
    begin(place, manifests.pod("web"))

    exited_s, started_s = _exit_and_wait(place, code)
    with place.watch("pods") as seen:
        leave(place, address(place, "web"), code)
        waiting = seen.wait(lambda each: "CrashLoopBackOff" in str(_run(each.object).get("state")), limit_s=30)

    assert started_s - exited_s < 9.5
    assert "back-off 10s" in _run(waiting.object)["state"]["waiting"]["message"]
    assert _run(waiting.object)["lastState"]["terminated"]["exitCode"] == code
    measured("exit to start of the first restart", started_s - exited_s, "s")


@pytest.mark.full
@pytest.mark.states("L5", "L6")
def test_the_second_restart_waits_ten_seconds_and_the_third_twenty(place: Place, measured: Keep) -> None:
    begin(place, manifests.pod("web"))

    waits = [started_s - exited_s for exited_s, started_s in (_exit_and_wait(place, 0) for _ in range(3))]

    assert waits[0] < 9.5 <= waits[1] < 19.5 <= waits[2] < 39.5
    for number, wait_s in enumerate(waits, 1):
        measured(f"wait before restart {number}", wait_s, "s")


# --- M15 --------------------------------------------------------------------------------------------------------------


@pytest.mark.states("M15", "L3")
def test_a_pre_stop_sleep_does_not_save_a_liveness_restart(place: Place, measured: Keep) -> None:
    sleeping = {"preStop": {"sleep": {"seconds": 3}}}
    asked = manifests.deployment("web", 2, grace_s=10, strings="term=2", lifecycle=sleeping, **probed(), **_QUIET)
    asked["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = manifests.http("ready", failures=30)
    place.create(manifests.service(selector={"app": "web"}, type="NodePort"), asked)
    pods = place.wait_ready_pods(2)
    name, ip = pods[0]["metadata"]["name"], pods[0]["status"]["podIP"]
    port = place.node_port()
    wait_until(lambda: len(place.endpoints()) == 2, what="two endpoints")
    wait_until(lambda: answers(place, place.world.node_ip, port), what="the node port")

    with place.following(name) as told, calling(place, place.world.node_ip, port, per_s=80) as load:
        place.pull(ip, health="500")
        signalled_s = moment(told, "SIGTERM")
        wait_until(lambda: restarts(place.get("pods", name)) == 1, limit_s=30, what="the restart")

    assert load.lost
    first_s = min(call.done_s for call in load.lost)
    assert first_s >= signalled_s - 0.05
    assert {call.error for call in load.lost} <= {"ECONNREFUSED", "ECONNRESET", "closed"}
    measured(f"lost of {len(load.calls)}", len(load.lost), "")
    measured("stop signal to the first loss", first_s - signalled_s, "s")
