"""What runs before a container's stop signal, and after its start: T4, T6 to T11, T15 and T16."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.callers import calling
from tests.live.both.lifetimes import (
    answers,
    asks,
    begin,
    cut_s,
    hook,
    leave,
    lifeline,
    moment,
    moments,
    restarts,
    said_about,
    wait_said,
)
from tests.live.both.world import Place, condition
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "T4": "All containers end at once, each with its hook before its stop signal; then comes a final status, not Ready,"
    " and only then is the object gone.",
    "T6": "A pod's grace counts the preStop hook, too, in whole seconds, cut off: 1.5 s of hook cost 1 s of grace.",
    "T7": "A hook that outlives the grace does not put off the stop signal, and is not broken off either.",
    "T8": "Between stop signal and kill lie at least 2 s; where the grace leaves more, nothing is added.",
    "T9": "A hook that fails is said in an event, and the end goes on: stop signal first, all the grace that is left.",
    "T10": "An HTTP hook succeeds with whatever status; a command's hook fails by its exit code.",
    "T11": "The node itself sleeps for a sleep hook: zero to the pod's grace, more is refused.",
    "T15": "A container that ends by itself gets no hook; an evicted pod gets it.",
    "T16": "A postStart hook that fails has its container stopped as any other: hook, stop signal, grace; it restarts. "
    "A deletion waits for a postStart hook that runs.",
    "X3": "A hook that makes readiness fail helps no deleted pod; the last one then serves nobody, though it could.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
_REFUSED = {"httpGet": {"path": "/", "port": 1}}


@pytest.mark.states("T4")
def test_containers_end_at_once_and_the_object_goes_last(place: Place) -> None:
    second = manifests.container(name="second", lifecycle={"preStop": asks("hook?s=1", port=8081)})
    second |= {"env": [{"name": "PORT", "value": "8081"}], "ports": [{"containerPort": 8081}]}
    asked = manifests.pod("web", lifecycle=hook("hook?s=2"))
    asked["spec"]["containers"].append(second)
    ip = begin(place, asked)
    wait_until(lambda: answers(place, ip, 8081), limit_s=30, what="the second container")

    with (
        place.watch("pods") as seen,
        place.following("web", "puppet") as one,
        place.following("web", "second") as other,
    ):
        place.delete("pods", "web")
        seen.wait(lambda each: each.type == "DELETED")
    states = [each for each in seen.of("web") if "deletionTimestamp" in each.object["metadata"]]

    assert abs(moment(one, "hook") - moment(other, "hook")) <= 1
    assert 0.9 <= moment(other, "SIGTERM") - moment(other, "hook") <= 1.9
    assert 1.9 <= moment(one, "SIGTERM") - moment(one, "hook") <= 6
    assert [each.object["status"]["phase"] for each in states][-1] == "Succeeded"
    assert condition(states[-1].object, "Ready") == "False"
    first_ended = next(each for each in states if each.object["status"]["phase"] == "Succeeded")
    assert first_ended.type == "MODIFIED"


@pytest.mark.states("T4", "T6")
def test_the_hook_comes_before_the_stop_signal(place: Place, measured: Keep) -> None:
    begin(place, manifests.pod("web", lifecycle=hook("hook?s=2")))

    with place.following("web") as told:
        place.delete("pods", "web")
        waited_s = moment(told, "SIGTERM") - moment(told, "hook")

    assert 1.9 <= waited_s <= 6
    measured("hook of 2 s to stop signal", waited_s, "s")


@pytest.mark.states("T6", "T8")
@pytest.mark.parametrize(
    ("hook_s", "grace_s", "stop_s"),
    [("1.5", 5, 4), ("2", 4, 2), ("9", 3, 2)],
    ids=["cut off", "grace left", "floor"],
)
def test_the_hook_is_taken_off_the_grace_in_whole_seconds(
    place: Place, hook_s: str, grace_s: int, stop_s: int, measured: Keep
) -> None:
    asked = manifests.pod("web", grace_s=grace_s, strings="term=ignore", lifecycle=hook(f"hook?s={hook_s}"))
    ip = begin(place, asked)

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        signalled_s = moment(told, "SIGTERM")
        died_s = cut_s(held)

    # From the request on: on a busy machine the puppet notes things late, the node never acts early
    waits_s = min(float(hook_s), grace_s)
    assert signalled_s - asked_s >= waits_s - 0.1
    assert died_s - asked_s >= waits_s + stop_s - 0.1
    assert died_s - signalled_s < stop_s + 1.9  # as much again would be an extension
    measured(f"stop signal to kill, hook {hook_s} s of grace {grace_s} s", died_s - signalled_s, "s")


@pytest.mark.states("T7")
def test_a_hook_that_outlives_the_grace_is_left_alone(place: Place) -> None:
    ip = begin(place, manifests.pod("web", grace_s=2, strings="term=ignore", lifecycle=hook("hook?s=3")))

    with lifeline(place, ip) as held, place.following("web") as told:
        place.delete("pods", "web")
        cut_s(held)

    ends = [each for each in told if each["what"] == "hook ends"]
    assert moment(told, "hook") < moment(told, "SIGTERM") < ends[0]["t"]
    assert ends[0]["waited"] == "yes"


@pytest.mark.states("T9", "T10")
@pytest.mark.parametrize("failing", [_REFUSED, {"exec": {"command": ["ls", "/nothing"]}}], ids=["refused", "exit code"])
def test_a_failed_hook_is_said_and_changes_nothing(place: Place, failing: Obj) -> None:
    ip = begin(place, manifests.pod("web", grace_s=3, strings="term=ignore", lifecycle={"preStop": failing}))

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        moment(told, "SIGTERM")
        died_s = cut_s(held)

    assert died_s - asked_s >= 2.9
    assert wait_said(place, "web", "FailedPreStopHook")["type"] == "Warning"


@pytest.mark.states("T10")
@pytest.mark.parametrize("fine", [asks("hook?status=500"), {"exec": {"command": ["ls", "/"]}}], ids=["http", "exec"])
def test_a_hook_succeeds_with_any_status_or_exit_code_zero(place: Place, fine: Obj) -> None:
    begin(place, manifests.pod("web", lifecycle={"preStop": fine}))

    place.delete("pods", "web")
    place.wait_gone("pods", "web")
    wait_said(place, "web", "Killing")

    assert said_about(place, "web", "FailedPreStopHook") == []


@pytest.mark.states("T11")
@pytest.mark.parametrize("sleep_s", [0, 2])
def test_a_sleep_hook_needs_nothing_of_the_image(place: Place, sleep_s: int, measured: Keep) -> None:
    sleeping = {"preStop": {"sleep": {"seconds": sleep_s}}}
    begin(place, manifests.pod("web", strings="term=ignore", lifecycle=sleeping))

    with place.following("web") as told, place.watch("pods") as seen:
        place.delete("pods", "web")
        marked_s = seen.wait(lambda each: "deletionTimestamp" in each.object["metadata"]).at_s
        signalled_s = moment(told, "SIGTERM")

    assert sleep_s - 0.2 <= signalled_s - marked_s <= sleep_s + 5
    measured(f"sleep of {sleep_s} s to stop signal", signalled_s - marked_s, "s")


@pytest.mark.full
@pytest.mark.states("T8", "T11")
def test_a_sleep_as_long_as_the_grace_leaves_the_floor(place: Place, measured: Keep) -> None:
    sleeping = {"preStop": {"sleep": {"seconds": 3}}}
    ip = begin(place, manifests.pod("web", grace_s=3, strings="term=ignore", lifecycle=sleeping))

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        signalled_s = moment(told, "SIGTERM")
        died_s = cut_s(held)

    assert died_s - asked_s >= 4.9
    assert died_s - signalled_s < 4.9  # an extension would make it 5
    measured("stop signal to kill", died_s - signalled_s, "s")


@pytest.mark.states("T11")
@pytest.mark.parametrize("sleep_s", [-1, 6])
def test_a_sleep_below_zero_or_above_the_grace_is_refused(place: Place, sleep_s: int) -> None:
    asked = manifests.pod("web", grace_s=5, lifecycle={"preStop": {"sleep": {"seconds": sleep_s}}})

    code, told = place.world.call("POST", place.path("pods"), asked)

    assert code == 422
    assert "spec.containers[0].lifecycle.preStop.sleep" in told["message"]


def _observed(place: Place) -> tuple[str, Obj]:
    """A pod's address, and a hook that asks it: it hears of hooks of containers that are already gone."""
    ip = begin(place, manifests.pod("observer"))
    return ip, {"preStop": asks("hook", host=ip)}


@pytest.mark.states("T15")
def test_a_container_that_ends_by_itself_gets_no_hook(place: Place) -> None:
    _, lifecycle = _observed(place)
    ip = begin(place, manifests.pod("web", lifecycle=lifecycle))

    leave(place, ip, 1)
    wait_until(lambda: restarts(place.get("pods", "web")) == 1, limit_s=30, what="the restart")
    before = moments(place.events_of("observer"), "hook")
    place.delete("pods", "web")
    place.wait_gone("pods", "web")

    assert before == []
    assert len(moments(place.events_of("observer"), "hook")) == 1


@pytest.mark.states("T15")
def test_an_evicted_pod_gets_its_hook(place: Place) -> None:
    _, lifecycle = _observed(place)
    begin(place, manifests.pod("web", lifecycle=lifecycle))

    place.evict("web")
    place.wait_gone("pods", "web")

    assert len(moments(place.events_of("observer"), "hook")) == 1


@pytest.mark.states("T16")
def test_a_failed_post_start_stops_its_container_as_any_other(place: Place) -> None:
    _, lifecycle = _observed(place)
    asked = manifests.pod("web", grace_s=3, strings="term=ignore", lifecycle=lifecycle | {"postStart": _REFUSED})
    place.create(asked)

    wait_said(place, "web", "FailedPostStartHook")
    wait_until(lambda: restarts(place.get("pods", "web")) >= 1, limit_s=30, what="the restart")

    assert len(moments(place.events_of("observer"), "hook")) >= 1


@pytest.mark.states("T16")
def test_a_container_is_not_running_before_its_post_start_has_ended(place: Place, measured: Keep) -> None:
    _, observed = _observed(place)
    asked = manifests.pod("web", lifecycle={"postStart": asks("hook?s=3", host=observed["preStop"]["httpGet"]["host"])})

    with place.watch("pods") as seen:
        place.create(asked)
        place.wait_ready("web")
    began_s = moments(place.events_of("observer"), "hook")[0]
    ready_s = next(each.at_s for each in seen.of("web") if condition(each.object, "Ready") == "True")

    assert ready_s - began_s >= 2.8
    measured("postStart of 3 s to Ready", ready_s - began_s, "s")


@pytest.mark.states("T16")
def test_a_deletion_waits_for_a_post_start_that_runs(place: Place, measured: Keep) -> None:
    """Measured, and written nowhere: the pod's way out begins when the hook has ended, with the deletion's grace."""
    ip, observed = _observed(place)
    place.create(manifests.pod("web", lifecycle=observed | {"postStart": asks("slow?s=4", host=ip)}))
    wait_until(lambda: moments(place.events_of("observer"), "slow"), limit_s=30, what="the postStart hook")

    place.delete("pods", "web", grace_s=2)
    place.wait_gone("pods", "web")
    told = place.events_of("observer")

    assert moments(told, "slow ends", waited="yes")[0] <= moments(told, "hook")[0]
    measured("postStart's end to preStop's begin", moments(told, "hook")[0] - moments(told, "slow ends")[0], "s")


@pytest.mark.states("X3")
@pytest.mark.parametrize(("path", "serves"), [("hook?s=4", True), ("hook?s=4&ready=503", False)], ids=["left", "fails"])
def test_the_last_pod_serves_through_its_hook_unless_it_fails_its_readiness(
    place: Place, path: str, serves: bool, measured: Keep
) -> None:
    probe = {"readinessProbe": manifests.http("ready", timeoutSeconds=5)}
    begin(place, manifests.service(), manifests.pod("web", grace_s=12, strings="term=1", lifecycle=hook(path), **probe))
    wait_until(lambda: place.endpoints().get("web", {}).get("ready"), what="a ready endpoint")
    ip = place.cluster_ip()
    wait_until(lambda: answers(place, ip, 80), what="the Service")

    with place.following("web") as told, calling(place, ip, 80, per_s=40) as load:
        place.delete("pods", "web")
        signalled_s = moment(told, "SIGTERM")
    in_hook = [call for call in load.calls if call.done_s < signalled_s]
    refused = [call for call in in_hook if call.error]

    assert bool(refused) is not serves
    measured(f"refused of {len(in_hook)} during the hook", len(refused), "")
