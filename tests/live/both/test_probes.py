"""Probes: when they run, what their results mean, how soon the API knows: P1 to P10 and P12."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

import pytest

from segue.model.objects import Obj, seconds_of
from tests.live.both import manifests
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
    told_by,
)
from tests.live.both.world import Place, Watched, condition, is_ready
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "P1": "Defaults: timeout 1 s, period 10 s, one success, three failures; liveness, startup take one success only.",
    "P2": "A probe ticks from the pod's admission in a fixed phase, through restarts of its container, without jitter.",
    "P3": "Before any probe a container is not ready, alive and not started; without a readiness probe it is ready once"
    " it has started.",
    "P4": "Readiness and liveness wait for the startup probe, which then rests; a fresh container is asked at once.",
    "P5": "A state turns after as many equal results in a row as its threshold says, and not before.",
    "P6": "initialDelaySeconds counts from the container's start, and the first probe falls on the next tick after it.",
    "P7": "HTTP: 200 to 399 is success; redirects are followed on the same host, one to another host is a success with"
    " a warning.",
    "P8": "Each probe is a connection of its own, from the node to the pod's address; no result changes nothing.",
    "P9": "A TCP probe passes as long as the kernel completes handshakes, though nobody accepts.",
    "P10": "While a pod ends its readiness probes go on and count, its liveness probes have stopped.",
    "P12": "The API knows of a readiness that turned at once.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}


def _seen(place: Place, ip: str, path: str, **more: str) -> list[float]:
    """When its puppet was asked for this path by probes so far."""
    return moments(told_by(place, ip), "probe", path=path, **more)


def _wait_seen(place: Place, ip: str, path: str, count: int, **more: str) -> list[float]:
    wait_until(lambda: len(_seen(place, ip, path, **more)) >= count, limit_s=40, what=f"{count} probes of {path}")
    return _seen(place, ip, path, **more)


# --- P1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.states("P1")
@pytest.mark.parametrize("kind", ["readinessProbe", "livenessProbe", "startupProbe"])
def test_a_probe_has_defaults(place: Place, kind: str) -> None:
    asked = manifests.pod("web")
    asked["spec"]["containers"][0][kind] = {"httpGet": {"path": "/ready", "port": manifests.PORT}}

    place.create(asked)

    probe = place.get("pods", "web")["spec"]["containers"][0][kind]
    defaults = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert {name: probe[name] for name in defaults} == defaults
    assert "initialDelaySeconds" not in probe
    assert probe["httpGet"]["scheme"] == "HTTP"


@pytest.mark.states("P1")
@pytest.mark.parametrize(("kind", "code"), [("livenessProbe", 422), ("startupProbe", 422), ("readinessProbe", 201)])
def test_only_readiness_may_need_several_successes(place: Place, kind: str, code: int) -> None:
    asked = manifests.pod("web")
    asked["spec"]["containers"][0][kind] = manifests.http("ready", successThreshold=2)

    assert place.world.call("POST", place.path("pods"), asked)[0] == code


# --- P2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.states("P2")
def test_probes_tick_without_jitter_and_in_one_phase_through_restarts(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", livenessProbe=manifests.http("health", period_s=2, failures=10)))
    before = _wait_seen(place, ip, "health", 3)
    leave(place, ip, 0)
    wait_until(lambda: restarts(place.get("pods", "web")) == 1, limit_s=30, what="the restart")
    address(place, "web")
    after = _wait_seen(place, ip, "health", 2)

    gaps = [later - earlier for earlier, later in pairwise(before)]
    assert all(1.5 <= gap <= 2.5 for gap in gaps), gaps
    phase = (after[0] - before[-1]) % 2
    assert min(phase, 2 - phase) <= 0.8
    measured("greatest distance from a period of 2 s", max(abs(gap - 2) for gap in gaps), "s")
    measured("change of phase by a restart", min(phase, 2 - phase), "s")


@pytest.mark.states("P2")
def test_the_first_probe_falls_within_a_period_of_the_start(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", livenessProbe=manifests.http("health", period_s=4, failures=10)))
    first_s = _wait_seen(place, ip, "health", 1)[0]
    listening_s = moment(told_by(place, ip), "listening")

    assert 0 <= first_s - listening_s <= 5
    measured("listening to the first probe, period 4 s", first_s - listening_s, "s")


# --- P3, P4 -----------------------------------------------------------------------------------------------------------


@pytest.mark.states("P3", "P4")
def test_before_the_startup_probe_has_passed_nothing_else_is_asked(place: Place) -> None:
    asked = manifests.pod(
        "web",
        strings="startup=500",
        startupProbe=manifests.http("startup", failures=60),
        livenessProbe=manifests.http("health", failures=10),
        readinessProbe=manifests.http("ready"),
    )
    place.create(asked)
    ip = address(place, "web")
    _wait_seen(place, ip, "startup", 2)
    waiting = place.get("pods", "web")
    before = told_by(place, ip)
    place.pull(ip, startup="200")
    place.wait_ready("web")
    _wait_seen(place, ip, "health", 2)
    told = told_by(place, ip)

    status = waiting["status"]["containerStatuses"][0]
    assert (status["started"], status["ready"], "running" in status["state"]) == (False, False, True)
    assert moments(before, "probe", path="ready") == moments(before, "probe", path="health") == []
    last_s = moments(told, "probe", path="startup")[-1]
    assert last_s <= moments(told, "probe", path="ready")[0]
    assert last_s <= moments(told, "probe", path="health")[0]


@pytest.mark.states("P3")
def test_before_its_first_probes_a_container_is_alive_and_not_ready(place: Place) -> None:
    late: Obj = {"initialDelaySeconds": 60}
    asked = manifests.pod(
        "web", readinessProbe=manifests.http("ready") | late, livenessProbe=manifests.http("health") | late
    )

    place.create(asked)
    wait_until(lambda: place.get("pods", "web")["status"].get("phase") == "Running", limit_s=30, what="Running")

    status = place.get("pods", "web")["status"]["containerStatuses"][0]
    assert (status["started"], status["ready"], status["restartCount"]) == (True, False, 0)


@pytest.mark.states("P3")
def test_without_a_readiness_probe_a_container_is_ready_before_it_listens(place: Place) -> None:
    place.create(manifests.pod("web", strings="listen_s=30"))

    ip = place.wait_ready("web")["status"]["podIP"]

    assert not answers(place, ip)


@pytest.mark.states("P4")
def test_a_fresh_container_need_not_wait_for_a_tick(place: Place, measured: Keep) -> None:
    with place.watch("pods") as seen:
        place.create(manifests.pod("web", readinessProbe=manifests.http("ready", period_s=60, failures=3)))
        # Ready, or asked before it listened
        wait_until(lambda: _ready_s(seen) or said_about(place, "web", "Unhealthy"), limit_s=30, what="a first probe")
    listening_s = moment(told_by(place, address(place, "web")), "listening")

    for ready_s in _ready_s(seen):
        measured("listening to Ready, period 60 s", ready_s - listening_s, "s")


def _ready_s(seen: Watched) -> list[float]:
    return [each.at_s for each in list(seen.happenings) if is_ready(each.object)]


# --- P5, P6 -----------------------------------------------------------------------------------------------------------


@pytest.mark.states("P5")
def test_readiness_turns_at_the_last_failure_of_its_threshold(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", readinessProbe=manifests.http("ready", failures=3, successThreshold=2))
    ip = begin(place, asked)

    with place.watch("pods") as seen:
        place.pull(ip, ready="500")
        down = seen.wait(lambda each: condition(each.object, "Ready") == "False")
        failed = told_by(place, ip)
        place.pull(ip, ready="200")
        up = seen.wait(lambda each: each.at_s > down.at_s and is_ready(each.object))
    bad = moments(failed, "probe", path="ready", status="500")
    good = [each for each in moments(told_by(place, ip), "probe", path="ready", status="200") if each > bad[-1]]

    assert bad[2] <= down.at_s
    assert bad[2] - bad[0] >= 1
    assert good[1] <= up.at_s
    measured("third failure to Ready False in the API", down.at_s - bad[2], "s")


@pytest.mark.states("P5")
def test_two_failures_of_three_turn_nothing(place: Place) -> None:
    ip = begin(place, manifests.pod("web", readinessProbe=manifests.http("ready", failures=3)))

    with place.watch("pods") as seen:
        place.pull(ip, ready="500*2")
        _wait_seen(place, ip, "ready", 2, status="500")
        _wait_seen(place, ip, "ready", len(_seen(place, ip, "ready")) + 2)

    assert all(is_ready(each.object) for each in seen.of("web"))
    assert len(_seen(place, ip, "ready", status="500")) == 2


@pytest.mark.states("P5")
def test_a_probe_that_is_not_answered_in_time_has_failed(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", readinessProbe=manifests.http("ready", timeoutSeconds=3)))

    with place.watch("pods") as seen:
        place.pull(ip, ready="hang")
        down = seen.wait(lambda each: condition(each.object, "Ready") == "False")
    asked_s = _seen(place, ip, "ready", status="hang")[0]

    assert down.at_s - asked_s >= 2
    measured("hanging probe to Ready False, timeout 3 s", down.at_s - asked_s, "s")


@pytest.mark.states("P6")
def test_the_first_probe_after_the_delay_falls_on_a_tick(place: Place, measured: Keep) -> None:
    delayed: Obj = {"initialDelaySeconds": 3}
    asked = manifests.pod(
        "web",
        livenessProbe=manifests.http("health", period_s=2, failures=10) | delayed,
        readinessProbe=manifests.http("ready", period_s=2, failures=10, successThreshold=1),
    )
    ip = begin(place, asked)
    started = place.get("pods", "web")["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    late = _wait_seen(place, ip, "health", 4)
    told = told_by(place, ip)
    ticks = moments(told, "probe", path="ready")

    assert 2.9 <= late[0] - seconds_of(started) <= 9
    # Both workers began at the pod's admission, so the ticks of the one tell those of the other; a busy machine is late
    # with one or the other, and the first readiness probe comes with the start, off the ticks
    phases = [(one - tick) % 2 for one in late for tick in ticks]
    assert min(min(phase, 2 - phase) for phase in phases) <= 0.8
    measured("start to the first probe, delay 3 s, period 2 s", late[0] - moment(told, "start"), "s")


# --- P7 to P9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.states("P7")
@pytest.mark.parametrize(("status", "ready"), [(200, True), (399, True), (400, False), (500, False)])
def test_a_status_below_400_is_success(place: Place, status: int, ready: bool) -> None:
    place.create(manifests.pod("web", strings=f"ready={status}", readinessProbe=manifests.http("ready")))
    ip = address(place, "web")

    _wait_seen(place, ip, "ready", 2)

    if ready:
        place.wait_ready("web")
    else:
        assert not is_ready(place.get("pods", "web"))


@pytest.mark.states("P7")
@pytest.mark.parametrize(("target", "ready"), [("/health", True), ("/nothing", False)])
def test_a_redirect_is_followed_on_the_same_host(place: Place, target: str, ready: bool) -> None:
    place.create(manifests.pod("web", readinessProbe=manifests.http(f"redirect?to={quote(target)}")))
    ip = address(place, "web")

    wait_until(lambda: len(moments(told_by(place, ip), "redirect")) >= 2, limit_s=30, what="two redirects")

    if ready:
        place.wait_ready("web")
        assert _seen(place, ip, "health")
    else:
        assert not is_ready(place.get("pods", "web"))


@pytest.mark.states("P7")
def test_a_redirect_to_another_host_is_a_success_with_a_warning(place: Place) -> None:
    target = quote("http://elsewhere.example/health")
    ip = begin(place, manifests.pod("web", readinessProbe=manifests.http(f"redirect?to={target}")))

    assert _seen(place, ip, "health") == []
    wait_until(lambda: said_about(place, "web", "ProbeWarning"), limit_s=60, what="the warning")


@pytest.mark.states("P7")
def test_a_redirect_in_a_circle_fails(place: Place) -> None:
    place.create(manifests.pod("web", readinessProbe=manifests.http("circle")))
    ip = address(place, "web")

    wait_until(lambda: "stopped after 10 redirects" in str(said_about(place, "web", "Unhealthy")), limit_s=60)

    assert not is_ready(place.get("pods", "web"))
    assert len(moments(told_by(place, ip), "circle")) >= 10


@pytest.mark.states("P8")
def test_each_probe_is_a_connection_of_its_own_past_the_services(place: Place) -> None:
    ip = begin(place, manifests.service(), manifests.pod("web", readinessProbe=manifests.http("ready")))
    _wait_seen(place, ip, "ready", 4)
    probes = [each for each in told_by(place, ip) if each["what"] == "probe"]

    assert len({each["port"] for each in probes}) == len(probes)
    assert len({each["peer"] for each in probes}) == 1
    assert all(each["agent"].startswith("kube-probe/") for each in probes)


@pytest.mark.states("P8")
def test_a_probe_that_cannot_be_tried_changes_nothing(place: Place) -> None:
    probe = {"httpGet": {"path": "/health", "port": "nowhere"}, "periodSeconds": 1, "failureThreshold": 1}
    begin(place, manifests.pod("web", livenessProbe=probe))

    wait_until(lambda: said_about(place, "web", "Unhealthy"), limit_s=60, what="a probe that could not be tried")

    assert "errored" in said_about(place, "web", "Unhealthy")[0]["message"]
    assert restarts(place.get("pods", "web")) == 0


@pytest.mark.states("P9")
def test_a_tcp_probe_passes_though_nobody_accepts(place: Place) -> None:
    tcp = {"tcpSocket": {"port": manifests.PORT}, "periodSeconds": 1, "failureThreshold": 1}
    ip = begin(place, manifests.pod("web", readinessProbe=tcp, livenessProbe=manifests.http("health", failures=99)))
    place.ask(ip, manifests.PORT, "/stuck")

    wait_until(lambda: said_about(place, "web", "Unhealthy"), limit_s=60, what="an HTTP probe that hangs")
    with pytest.raises(TimeoutError):
        place.ask(ip, manifests.PORT, limit_s=3)

    assert is_ready(place.get("pods", "web"))


@pytest.mark.states("P9")
def test_a_tcp_probe_fails_without_a_listener(place: Place) -> None:
    tcp = {"tcpSocket": {"port": manifests.PORT}, "periodSeconds": 1, "failureThreshold": 1}
    ip = begin(place, manifests.pod("web", readinessProbe=tcp))
    place.ask(ip, manifests.PORT, "/deaf")

    wait_until(lambda: not is_ready(place.get("pods", "web")), limit_s=20, what="not Ready")


# --- P10, P12 ---------------------------------------------------------------------------------------------------------


@pytest.mark.states("P10")
def test_while_a_pod_ends_only_its_readiness_is_asked(place: Place) -> None:
    more = probed(failureThreshold=10) | {"readinessProbe": manifests.http("ready")}
    ip = begin(place, manifests.pod("web", grace_s=20, lifecycle=hook("hook?s=4"), **more))
    _wait_seen(place, ip, "health", 1)

    with place.following("web") as told, place.watch("pods") as seen:
        place.delete("pods", "web")
        began_s = moment(told, "hook")
        wait_until(lambda: [at for at in moments(told, "probe", path="ready") if at > began_s][1:], what="two probes")
        place.pull(ip, ready="500")
        turned = seen.wait(lambda each: condition(each.object, "Ready") == "False")
        signalled_s = moment(told, "SIGTERM")

    assert turned.at_s < signalled_s
    # One may have been under way
    assert len([at for at in moments(told, "probe", path="health") if at > began_s + 1]) == 0


@pytest.mark.states("P12")
def test_the_api_knows_at_once_of_a_readiness_that_turned(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", readinessProbe=manifests.http("ready")))

    with place.watch("pods") as seen:
        place.pull(ip, ready="500")
        down = seen.wait(lambda each: condition(each.object, "Ready") == "False")
        place.pull(ip, ready="200")
        up = seen.wait(lambda each: each.at_s > down.at_s and is_ready(each.object))
    told = told_by(place, ip)
    failed_s = moments(told, "probe", path="ready", status="500")[0]
    passed_s = min(each for each in moments(told, "probe", path="ready", status="200") if each > failed_s)

    assert 0 <= down.at_s - failed_s <= 5
    assert 0 <= up.at_s - passed_s <= 5
    measured("failed probe to Ready False in the API", down.at_s - failed_s, "s")
    measured("passed probe to Ready True in the API", up.at_s - passed_s, "s")
