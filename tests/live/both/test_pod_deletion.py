"""What happens to a pod that is deleted: T1 to T3, T5, T12 to T14, T17 and T18. Its hooks are in test_stop_hooks.py."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from segue.model.objects import seconds_of
from tests.live.both import manifests
from tests.live.both.lifetimes import begin, cut_s, hook, leave, lifeline, moment, moments, probed
from tests.live.both.world import Happening, Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "T1": "A deletion sets deletionTimestamp and the grace: the one asked for, else the pod's own; a negative one is 1."
    " A pod that no node has, or that has ended, is gone at once.",
    "T2": "A second deletion can only shorten the object's grace. A stop that is under way keeps the grace it began"
    " with, even where the second deletion is forced.",
    "T3": "Nothing waits for an endpoint to leave: the stop signal comes while the pod is still a ready endpoint.",
    "T5": "The stop signal is SIGTERM, to PID 1; SIGKILL comes when the grace is over. A pod cannot name others.",
    "T12": "kubectl's --now is a grace of 1, --grace-period=0 alone is made 1, and with --force it is 0.",
    "T13": "A forced deletion removes object and endpoint at once; the process gets a grace of 1 and the 2 s floor.",
    "T14": "A pod that its node evicts gets a grace of 1 and the floor, whatever it asks for, no deletionTimestamp.",
    "T17": "A deletion's grace comes before the failed probe's, and that before the pod's; readiness probes have none.",
    "T18": "A terminating pod stays an endpoint, not ready, serving as its readiness says, until it has ended.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "T14": "embedded evicts nobody by itself; real does so 40 s after a volume's limit was passed. A release sees a pod"
    " that has failed, as after any other failure.",
}


@pytest.mark.states("T1")
@pytest.mark.parametrize(("asked_s", "stored_s"), [(None, 7), (3, 3), (-5, 1)], ids=["own", "asked", "negative"])
def test_a_deletion_sets_the_grace_and_the_time_at_which_it_ends(
    place: Place, asked_s: int | None, stored_s: int
) -> None:
    place.create(manifests.pod("web", grace_s=7, strings="term=ignore"))
    place.wait_ready("web")

    asked_at_s = time.time()
    place.delete("pods", "web", grace_s=asked_s)

    found = place.get("pods", "web")["metadata"]
    assert found["deletionGracePeriodSeconds"] == stored_s
    assert -1 <= seconds_of(found["deletionTimestamp"]) - stored_s - asked_at_s <= 2
    place.delete("pods", "web", grace_s=0)


@pytest.mark.states("T1")
def test_a_pod_without_a_node_is_gone_at_once(place: Place) -> None:
    place.create(manifests.pod("web", grace_s=30, spec={"schedulerName": "nobody"}))

    place.delete("pods", "web")

    assert place.get("pods", "web") == {}


@pytest.mark.states("T1")
def test_a_pod_that_has_ended_is_gone_at_once(place: Place) -> None:
    ip = begin(place, manifests.pod("web", grace_s=30, spec={"restartPolicy": "Never"}))
    leave(place, ip, 0)
    wait_until(lambda: place.get("pods", "web")["status"]["phase"] == "Succeeded", what="the pod's end")

    place.delete("pods", "web")

    assert place.get("pods", "web") == {}


@pytest.mark.states("T2")
def test_a_second_deletion_only_shortens_what_the_object_says(place: Place) -> None:
    place.create(manifests.pod("web", grace_s=25, strings="term=ignore"))
    place.wait_ready("web")
    place.delete("pods", "web")
    first = place.get("pods", "web")["metadata"]

    place.delete("pods", "web", grace_s=28)
    same = place.get("pods", "web")["metadata"]
    place.delete("pods", "web", grace_s=3)
    shorter = place.get("pods", "web")["metadata"]

    assert (same["deletionTimestamp"], same["deletionGracePeriodSeconds"]) == (first["deletionTimestamp"], 25)
    assert shorter["deletionGracePeriodSeconds"] == 3
    assert seconds_of(first["deletionTimestamp"]) - seconds_of(shorter["deletionTimestamp"]) == 22


@pytest.mark.states("T2")
@pytest.mark.parametrize("then_s", [pytest.param(2, marks=pytest.mark.full), 0], ids=["shorter", "forced"])
def test_a_second_deletion_does_not_hurry_a_stop_that_is_under_way(place: Place, then_s: int, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", grace_s=5, strings="term=ignore"))

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        signalled_s = moment(told, "SIGTERM")
        place.delete("pods", "web", grace_s=then_s)
        died_s = cut_s(held)

    assert died_s - asked_s >= 4.9
    assert died_s - signalled_s <= 10
    measured(f"stop signal to kill, grace 5 s, then {then_s} s", died_s - signalled_s, "s")


@pytest.mark.states("T3")
def test_the_stop_signal_waits_for_no_endpoint(place: Place, measured: Keep) -> None:
    place.create(manifests.service(publishNotReadyAddresses=True), manifests.pod("web", strings="term=3"))
    place.wait_ready("web")
    wait_until(place.endpoints, what="the endpoint")

    with place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        signalled_s = moment(told, "SIGTERM")
        after = place.endpoints()

    assert after["web"]["ready"] is True
    assert signalled_s - asked_s <= 5
    measured("from the deletion to the stop signal", signalled_s - asked_s, "s")


@pytest.mark.states("T5")
def test_the_stop_signal_is_followed_by_a_kill_when_the_grace_is_over(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", grace_s=3, strings="term=ignore"))

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        signalled_s = moment(told, "SIGTERM")
        died_s = cut_s(held)

    assert len(moments(told, "SIGTERM")) == 1
    assert died_s - asked_s >= 2.9
    assert died_s - signalled_s <= 8
    measured("stop signal to kill with a grace of 3 s", died_s - signalled_s, "s")


@pytest.mark.states("T5")
def test_a_pod_cannot_name_its_stop_signal_yet(place: Place) -> None:
    asked = manifests.pod("web", spec={"os": {"name": "linux"}}, lifecycle={"stopSignal": "SIGUSR1"})
    place.create(asked)
    place.wait_ready("web")

    with place.following("web") as told:
        place.delete("pods", "web")
        place.wait_gone("pods", "web")

    assert [each["what"] for each in told if str(each["what"]).startswith("SIG")] == ["SIGTERM"]


@pytest.mark.states("T12")
@pytest.mark.parametrize(
    ("options", "stored"),
    [(["--now"], [1, 0]), (["--grace-period=0"], [1, 0]), (["--grace-period=0", "--force"], [0])],
    ids=["now", "zero", "force"],
)
def test_kubectl_asks_for_a_second_unless_it_is_forced(place: Place, options: list[str], stored: list[int]) -> None:
    """A pod is always seen with a grace of 0 before it is gone: so the node's own last word looks, too."""
    place.create(manifests.pod("web", grace_s=30, strings="term=ignore"))
    place.wait_ready("web")

    with place.watch("pods") as seen:
        place.kubectl("delete", "pod", "web", *options)
        seen.wait(lambda each: each.type == "DELETED")

    marked = [each.object["metadata"] for each in seen.of("web") if each.type == "MODIFIED"]
    graces = [each["deletionGracePeriodSeconds"] for each in marked if "deletionTimestamp" in each]
    assert list(dict.fromkeys(graces)) == stored


@pytest.mark.states("T13")
def test_a_forced_deletion_leaves_the_process_a_second_and_the_floor(place: Place, measured: Keep) -> None:
    ip = begin(
        place,
        manifests.service(),
        manifests.pod("web", grace_s=20, strings="term=ignore", lifecycle=hook("hook?s=15")),
    )
    wait_until(place.endpoints, what="the endpoint")

    with lifeline(place, ip) as held, place.following("web") as told, place.watch("endpointslices") as slices:
        asked_s = time.time()
        place.delete("pods", "web", grace_s=0)
        assert place.get("pods", "web") == {}
        left_s = slices.wait(lambda each: not each.object.get("endpoints")).at_s
        signalled_s, died_s = moment(told, "SIGTERM"), cut_s(held)

    assert left_s - asked_s <= 5
    assert 0.9 <= signalled_s - asked_s <= 7
    assert 2.9 <= died_s - asked_s <= 12
    measured("endpoint gone after", left_s - asked_s, "s")
    measured("hook to stop signal", signalled_s - moment(told, "hook"), "s")
    measured("stop signal to kill", died_s - signalled_s, "s")


@pytest.mark.full
@pytest.mark.only("real", "the embedded cluster evicts nobody by itself")
@pytest.mark.states("T14")
def test_an_eviction_by_the_node_leaves_a_second_and_the_floor(place: Place, measured: Keep) -> None:
    """By a volume's own limit: pressure on the node would be everybody's."""
    volume = {"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}
    asked = manifests.pod("web", grace_s=20, strings="term=ignore", lifecycle=hook("hook?s=15"))
    asked["spec"]["volumes"] = [volume]
    asked["spec"]["containers"][0]["volumeMounts"] = [{"name": "cache", "mountPath": "/cache"}]
    ip = begin(place, asked)

    with lifeline(place, ip) as held, place.following("web") as told, place.watch("pods") as seen:
        place.kubectl("exec", "web", "--", "sh", "-c", "head -c 3000000 /dev/zero > /cache/much")
        died_s = cut_s(held, limit_s=200)
        ended = seen.wait(lambda each: each.object["status"]["phase"] == "Failed").object

    assert died_s - moment(told, "hook") <= 10  # its own grace would have left the hook 15 s
    assert ended["status"]["reason"] == "Evicted"
    assert "deletionTimestamp" not in ended["metadata"]
    measured("hook to stop signal", moment(told, "SIGTERM") - moment(told, "hook"), "s")
    measured("stop signal to kill", died_s - moment(told, "SIGTERM"), "s")


@pytest.mark.states("T17")
@pytest.mark.parametrize(("of_probe_s", "waits_s"), [(2, 2), (None, 4)], ids=["the probe's own", "the pod's"])
def test_a_failed_probe_may_bring_a_grace_of_its_own(
    place: Place, of_probe_s: int | None, waits_s: int, measured: Keep
) -> None:
    own = {} if of_probe_s is None else {"terminationGracePeriodSeconds": of_probe_s}
    pod_s = 4 if of_probe_s is None else 15
    ip = begin(place, manifests.pod("web", grace_s=pod_s, strings="term=ignore", **probed(**own)))

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.pull(ip, health="500")
        signalled_s, died_s = moment(told, "SIGTERM"), cut_s(held)

    assert died_s - asked_s >= waits_s - 0.1
    assert died_s - signalled_s <= waits_s + 5
    measured(f"stop signal to kill with a grace of {waits_s} s", died_s - signalled_s, "s")


@pytest.mark.states("T17")
def test_a_deletion_knows_nothing_of_a_probes_grace(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", grace_s=4, strings="term=ignore", **probed(terminationGracePeriodSeconds=1)))

    with lifeline(place, ip) as held, place.following("web") as told:
        asked_s = time.time()
        place.delete("pods", "web")
        signalled_s, died_s = moment(told, "SIGTERM"), cut_s(held)

    assert died_s - asked_s >= 3.9
    assert died_s - signalled_s <= 10
    measured("stop signal to kill with a grace of 4 s", died_s - signalled_s, "s")


@pytest.mark.states("T17")
@pytest.mark.parametrize(("probe", "grace_s"), [("livenessProbe", 0), ("readinessProbe", 5)])
def test_a_probes_grace_is_above_zero_and_never_of_readiness(place: Place, probe: str, grace_s: int) -> None:
    asked = manifests.pod("web")
    asked["spec"]["containers"][0][probe] = manifests.http("health", terminationGracePeriodSeconds=grace_s)

    code, told = place.world.call("POST", place.path("pods"), asked)

    assert code == 422
    assert f"spec.containers[0].{probe}.terminationGracePeriodSeconds" in told["message"]


@pytest.mark.states("T18")
def test_a_terminating_pod_stays_an_endpoint_until_it_has_ended(place: Place, measured: Keep) -> None:
    ip = begin(
        place,
        manifests.service(),
        manifests.pod("web", readinessProbe=manifests.http("ready"), strings="term=1", lifecycle=hook("hook?s=3")),
    )
    wait_until(lambda: place.endpoints().get("web", {}).get("ready"), what="the endpoint")

    with lifeline(place, ip) as held, place.watch("endpointslices") as slices, place.watch("pods") as pods:
        place.delete("pods", "web")
        wait_until(
            lambda: _conditions(slices.happenings)[-1:] == ["serving terminating"], what="a terminating endpoint"
        )
        place.pull(ip, ready="500")
        died_s = cut_s(held)
        gone_s = slices.wait(lambda each: not each.object.get("endpoints")).at_s
        pods.wait(lambda each: each.type == "DELETED")
    ended = [each.at_s for each in pods.of("web") if _has_ended(each)]

    assert _conditions(slices.happenings) == ["ready serving", "serving terminating", "terminating", "none"]
    assert died_s < gone_s + 0.5  # two threads saw it
    assert ended[0] - 0.1 <= gone_s
    measured("process gone to endpoint gone", gone_s - died_s, "s")


def _has_ended(event: Happening) -> bool:
    return event.type == "DELETED" or event.object["status"]["phase"] in {"Succeeded", "Failed"}


def _conditions(events: list[Happening]) -> list[str]:
    """What the one endpoint was, one after the other."""
    seen: list[str] = []
    for each in list(events):
        points = each.object.get("endpoints") or []
        now = " ".join(name for name in ("ready", "serving", "terminating") if points and points[0]["conditions"][name])
        if not points:
            now = "none"
        if not seen or seen[-1] != now:
            seen.append(now)
    return seen
