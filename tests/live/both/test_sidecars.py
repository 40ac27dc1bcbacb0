"""How a pod with sidecars (init containers that stay) ends: T20 to T24."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.lifetimes import answers, asks, begin, cut_s, lifeline, moment
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "T20": "Hooks of sidecars begin with everybody else's; only their stop signals wait.",
    "T21": "A sidecar is signalled after all main containers and every sidecar declared after it have exited.",
    "T22": "What a sidecar waits is taken off its own grace: at its end all that are left are signalled at once, with"
    " the 2 s floor.",
    "T23": "Without sidecars there is no order: a proxy among the containers is signalled with the program it serves.",
}
NOT_COVERED = {
    "T24": "probes of sidecars in a pod that ends restart nothing that a client could tell from the pod's end",
}
DIFFERENCES: dict[str, str] = {}
_PORTS = {"outer": 8081, "inner": 8082}


def _named(name: str, strings: str = "term=1", **more: Obj) -> Obj:
    port = _PORTS[name]
    env = [{"name": "PORT", "value": str(port)}, {"name": "PUPPET", "value": strings}]
    return manifests.container(name=name, env=env, ports=[{"containerPort": port}]) | more


def _sidecar(name: str, strings: str = "term=1", **more: Obj) -> Obj:
    return _named(name, strings, **more) | {"restartPolicy": "Always"}


def _begin(place: Place, asked: Obj) -> str:
    ip = begin(place, asked)
    for port in _PORTS.values():
        wait_until(lambda at=port: answers(place, ip, at), limit_s=30, what="all containers")  # type: ignore[misc]
    return ip


@pytest.mark.states("T20", "T21")
def test_sidecars_are_signalled_in_reverse_after_the_main_container(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", grace_s=20, strings="term=1", lifecycle={"preStop": asks("hook?s=2")})
    outer = _sidecar("outer", lifecycle={"preStop": asks("hook?s=1", port=8081)})
    asked["spec"]["initContainers"] = [outer, _sidecar("inner")]
    _begin(place, asked)

    with (
        place.following("web", "puppet") as main,
        place.following("web", "outer") as outer_told,
        place.following("web", "inner") as inner_told,
    ):
        place.delete("pods", "web")
        order = [
            moment(main, "SIGTERM"),
            moment(main, "exit"),
            moment(inner_told, "SIGTERM"),
            moment(inner_told, "exit"),
            moment(outer_told, "SIGTERM"),
        ]

    assert order == sorted(order)
    assert abs(moment(outer_told, "hook") - moment(main, "hook")) <= 1
    measured("main container's exit to the inner sidecar's stop signal", order[2] - order[1], "s")
    measured("inner sidecar's exit to the outer's stop signal", order[4] - order[3], "s")


@pytest.mark.states("T22")
def test_a_program_that_takes_all_the_grace_leaves_its_sidecars_the_floor(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", grace_s=4, strings="term=ignore")
    asked["spec"]["initContainers"] = [_sidecar("outer", "term=ignore"), _sidecar("inner", "term=ignore")]
    ip = _begin(place, asked)

    with (
        lifeline(place, ip, 8081) as outer_way,
        lifeline(place, ip, 8082) as inner_way,
        place.following("web", "puppet") as main,
        place.following("web", "outer") as outer,
        place.following("web", "inner") as inner,
    ):
        place.delete("pods", "web")
        began_s, outer_s, inner_s = moment(main, "SIGTERM"), moment(outer, "SIGTERM"), moment(inner, "SIGTERM")
        inner_cut_s = cut_s(inner_way)
        outer_cut_s = cut_s(outer_way)

    assert abs(outer_s - inner_s) <= 1
    assert 3.5 <= outer_s - began_s <= 9
    assert 1.7 <= outer_cut_s - outer_s <= 7
    measured("main container's to the sidecars' stop signal, grace 4 s", outer_s - began_s, "s")
    measured("sidecars' stop signal to kill", max(inner_cut_s, outer_cut_s) - outer_s, "s")


@pytest.mark.states("T23")
def test_without_sidecars_nobody_waits_for_anybody(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", grace_s=10, strings="term=4")
    asked["spec"]["containers"] += [_named("outer"), _named("inner")]
    _begin(place, asked)

    with place.following("web", "puppet") as main, place.following("web", "outer") as proxy:
        place.delete("pods", "web")
        proxy_s, ended_s = moment(proxy, "SIGTERM"), moment(main, "exit")

    assert proxy_s < ended_s - 2
    measured("stop signals apart", abs(proxy_s - moment(main, "SIGTERM")), "s")
