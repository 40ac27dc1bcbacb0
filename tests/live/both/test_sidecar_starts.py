"""How a pod with sidecars (init containers that stay) starts, is ready, is mended and completes: S1 to S6."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj, seconds_of
from tests.live.both import manifests
from tests.live.both.lifetimes import address, answers, asks, leave, moment, moments, told_by
from tests.live.both.world import Place, condition, is_ready
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "S1": "Init containers begin in the order they are declared in; a sidecar's turn is over when it has started, one"
    " without restartPolicy ends first, and the containers come last.",
    "S2": "A sidecar's startup probe holds up whatever is declared after it; until it passes the pod is Pending.",
    "S3": "A sidecar's readiness counts in the pod's.",
    "S4": "A sidecar that exits is started again, also after exit code 0 and with restartPolicy Never; the containers"
    " stay as they are.",
    "S5": "A sidecar's failing liveness probe restarts the sidecar alone.",
    "S6": "A pod whose containers have completed is Succeeded although its sidecars have not: they are ended then.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
_SIDE_PORT = 8081


def _sidecar(name: str = "side", *, port: int = _SIDE_PORT, strings: str = "term=1", **more: Obj) -> Obj:
    env = [{"name": "PORT", "value": str(port)}, {"name": "PUPPET", "value": strings}]
    ports = [{"containerPort": port}]
    return manifests.container(name=name, env=env, ports=ports) | more | {"restartPolicy": "Always"}


def _at_side(path: str, **more: int) -> Obj:
    return asks(path, port=_SIDE_PORT) | {"periodSeconds": 1, "timeoutSeconds": 5, **more}


def _pod(*inits: Obj, restart: str = "Always") -> Obj:
    return manifests.pod("web", spec={"initContainers": list(inits), "restartPolicy": restart})


def _status(place: Place, name: str) -> Obj:
    status = place.get("pods", "web").get("status", {})
    rows = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return next((row for row in rows if row["name"] == name), {})


def _begin(place: Place, asked: Obj) -> str:
    place.create(asked)
    ip = address(place, "web")
    wait_until(lambda: answers(place, ip, _SIDE_PORT), limit_s=30, what="the sidecar to answer")
    return ip


def _pull_side(place: Place, ip: str, **strings: str) -> None:
    place.ask(ip, _SIDE_PORT, "/set?" + "&".join(f"{name}={value}" for name, value in strings.items()))


@pytest.mark.states("S1")
def test_sidecars_init_containers_and_containers_begin_in_their_order(place: Place, measured: Keep) -> None:
    patient = _at_side("startup", failureThreshold=30)
    plain = manifests.container() | {"name": "plain", "command": ["sh", "-c", "sleep 1; true"]}
    # its probe: without one the container may write its first line before the sidecar does, both being started
    last = _sidecar("last", port=8082, startupProbe=asks("startup", port=8082) | {"periodSeconds": 1})
    ip = _begin(place, _pod(_sidecar(strings="startup=500*2", startupProbe=patient), plain, last))
    wait_until(lambda: answers(place, ip, 8082), limit_s=30, what="the last sidecar to answer")

    passed_s = moments(told_by(place, ip, _SIDE_PORT), "probe", path="startup", status="200")[0]
    last_s, main_s = moment(told_by(place, ip, 8082), "start"), moment(told_by(place, ip), "start")
    ran = _status(place, "plain")["state"]["terminated"]

    assert ran["exitCode"] == 0
    # the API tells whole seconds
    assert int(passed_s) <= seconds_of(ran["startedAt"]) < seconds_of(ran["finishedAt"]) <= last_s < main_s
    assert "running" in _status(place, "side")["state"]
    measured("last sidecar's start to the container's", main_s - last_s, "s")


@pytest.mark.states("S2")
def test_a_sidecars_startup_probe_holds_up_what_comes_after_it(place: Place, measured: Keep) -> None:
    asked = _pod(_sidecar(strings="startup=500", startupProbe=_at_side("startup", failureThreshold=60)))
    place.create(asked)
    wait_until(lambda: "running" in _status(place, "side").get("state", {}), limit_s=30, what="the sidecar")
    ip = place.get("pods", "web")["status"]["podIP"]
    probe = {"path": "startup", "status": "500"}
    wait_until(lambda: answers(place, ip, _SIDE_PORT), limit_s=30, what="the sidecar to answer")
    wait_until(lambda: len(moments(told_by(place, ip, _SIDE_PORT), "probe", **probe)) >= 3, what="three probes")

    held = place.get("pods", "web")
    assert held["status"]["phase"] == "Pending"
    assert condition(held, "Initialized") == "False"
    assert _status(place, "side")["started"] is False
    assert _status(place, "puppet")["state"]["waiting"]["reason"] == "PodInitializing"
    _pull_side(place, ip, startup="200")
    address(place, "web")
    passed_s = moments(told_by(place, ip, _SIDE_PORT), "probe", path="startup", status="200")[0]
    measured("startup probe passed to the container's start", moment(told_by(place, ip), "start") - passed_s, "s")
    assert condition(place.wait_ready("web"), "Initialized") == "True"


@pytest.mark.states("S3")
def test_a_sidecars_readiness_counts_in_the_pods(place: Place) -> None:
    probe = _at_side("ready", failureThreshold=1)
    ip = _begin(place, _pod(_sidecar(strings="ready=500", readinessProbe=probe)))
    wait_until(lambda: _status(place, "puppet").get("ready"), limit_s=30, what="the container to be ready")

    assert condition(place.get("pods", "web"), "Ready") == "False"
    _pull_side(place, ip, ready="200")
    place.wait_ready("web")
    _pull_side(place, ip, ready="500")
    wait_until(lambda: not is_ready(place.get("pods", "web")), limit_s=30, what="the pod to be unready")
    assert _status(place, "puppet")["ready"] is True


@pytest.mark.states("S4")
@pytest.mark.parametrize(("restart", "code"), [("Always", 0), ("Never", 0), ("Never", 3)])
def test_a_sidecar_that_exits_is_started_again(place: Place, restart: str, code: int) -> None:
    ip = _begin(place, _pod(_sidecar(), restart=restart))
    before = wait_until(lambda: _status(place, "puppet").get("containerID"), limit_s=30, what="the container")

    leave(place, ip, code, port=_SIDE_PORT)
    wait_until(lambda: _status(place, "side").get("restartCount") == 1, limit_s=30, what="the sidecar's restart")
    wait_until(lambda: answers(place, ip, _SIDE_PORT), limit_s=30, what="the sidecar to answer again")

    assert _status(place, "side")["lastState"]["terminated"]["exitCode"] == code
    assert _status(place, "puppet")["containerID"] == before
    assert _status(place, "puppet")["restartCount"] == 0


@pytest.mark.states("S5")
def test_a_sidecars_liveness_restarts_the_sidecar_alone(place: Place) -> None:
    ip = _begin(place, _pod(_sidecar(livenessProbe=_at_side("health", failureThreshold=1))))

    _pull_side(place, ip, health="500")
    wait_until(lambda: _status(place, "side").get("restartCount") == 1, limit_s=60, what="the sidecar's restart")

    assert _status(place, "puppet")["restartCount"] == 0
    assert answers(place, ip)


@pytest.mark.states("S6")
def test_a_pod_completes_although_its_sidecars_run(place: Place) -> None:
    ip = _begin(place, _pod(_sidecar(), restart="Never"))

    leave(place, ip, 0)
    wait_until(lambda: place.get("pods", "web")["status"]["phase"] == "Succeeded", limit_s=30, what="Succeeded")

    assert "terminated" in _status(place, "side")["state"]
    assert _status(place, "side")["restartCount"] == 0
