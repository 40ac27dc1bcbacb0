"""Where new connections go, when that changes, and what becomes of those that exist: K1 to K7, K9, and N5, N9, N10,
N12, X5 as they show through a Service."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import TypeAlias

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.callers import PATIENT_PROBE, Calls, ask_datagram, calling, keep_spread, kept, who_answers
from tests.live.both.test_endpoint_slices import without_selector, written_slice
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "K1": "A new connection goes to any of the ready endpoints, and to no other while there are some.",
    "K2": "With a Local policy it goes to this node's ready endpoints only; the client keeps its own address then.",
    "K3": "Where no endpoint is ready, those are used that still serve while they terminate; with a Local policy this "
    "node's, whatever other nodes have.",
    "K4": "Without any usable endpoint a new connection is refused, at once but for the kernel's limit: a client is "
    "told so a few times in a row, then once a second. With a Local policy and endpoints elsewhere only it meets "
    "silence.",
    "K5": "The first change after a rest takes effect at once, the next one no earlier than a second after it.",
    "K6": "An established TCP connection keeps its pod whatever the rules become.",
    "K7": "A UDP flow keeps its pod while that serves, terminating or not, and gets another when it serves no more.",
    "K9": "With affinity a client stays with one pod until that leaves the endpoints in use, then with another.",
    "N9": "`Connection: close` in an answer makes a client come anew, after a whole answer and without a loss.",
    "N10": "Nobody answers for the address of a pod that is gone, and for half a minute nobody says so either: a new "
    "connection there meets silence.",
    "N12": "An established connection outlives its Service.",
    "X5": "Who keeps a connection stays with a dying pod, however long it has been out of the endpoints.",
}
NOT_COVERED = {
    "K8": "ipvs: neither cluster runs it; it is deprecated and segue makes no use of it.",
    "K10": "healthCheckNodePort: no load balancer stands before either cluster.",
}
DIFFERENCES: dict[str, str] = {
    "N10": "Embedded: silence for good. Real (bridge): silence for about 44 s after the pod's end, while the node "
    "still holds its link address, then EHOSTUNREACH after 0.5 to 3 s. A pod leaves the rules within about a second of "
    "its deletion, so no new connection through a Service comes that late.",
}
_HOOK: Obj = {"preStop": {"sleep": {"seconds": 4}}}
_LONG_HOOK: Obj = {"preStop": {"sleep": {"seconds": 30}}}  # for tests that do not wait for its end
Measured: TypeAlias = Callable[[str, float, str], None]


def _start(place: Place, *names: str, hook: Obj = _HOOK) -> dict[str, str]:
    """Pods that are probed each second; their addresses by name once all are Ready."""
    place.create(*(manifests.pod(name, grace_s=40, readinessProbe=PATIENT_PROBE, lifecycle=hook) for name in names))
    return {name: place.wait_ready(name, limit_s=60)["status"]["podIP"] for name in names}


def _start_tracks(place: Place) -> None:
    """Pods a and b, each on a track of its own."""
    # Without a probe a pod is Ready before it listens
    for name in ("a", "b"):
        place.create(manifests.pod(name, labels={"app": "puppet", "track": name}, readinessProbe=PATIENT_PROBE))
    for name in ("a", "b"):
        place.wait_ready(name)


def _at_node_port(place: Place, service: str = "puppet") -> tuple[str, int]:
    return place.world.node_ip, place.node_port(service)


def _meets(place: Place, ip: str, port: int = 80, *, limit_s: float = 3.0) -> str:
    """The pod that answers one call, or what the caller meets instead."""
    call = who_answers(place, ip, port, limit_s=limit_s)
    return call.who or call.error


def _wait_meets(place: Place, at: tuple[str, int], *who: str) -> None:
    """Wait until calls meet one of these; what comes before is not judged."""
    wait_until(lambda: _meets(place, *at) in who, limit_s=20, what=f"{who} at {at}")


def _wait_met(place: Place, at: tuple[str, int], *who: str) -> None:
    """Wait until all of these have been met: from then on the rules hold all of them."""
    met: set[str] = set()

    def all_met() -> bool:
        met.add(_meets(place, *at))
        return met >= set(who)

    wait_until(all_met, limit_s=20, what=f"{who} at {at}")


def _both_ways(place: Place) -> list[tuple[str, int]]:
    return [(place.cluster_ip(), 80), _at_node_port(place)]


@pytest.mark.states("K1")
def test_new_connections_spread_over_the_ready_endpoints_and_no_others(place: Place) -> None:
    place.create(manifests.service(type="NodePort"))
    ips = _start(place, "a", "b", "c")
    for at in _both_ways(place):
        _wait_met(place, at, "a", "b", "c")
    place.pull(ips["c"], ready="503")
    wait_until(lambda: not place.endpoints()["c"]["ready"], what="c to be out")

    for at in _both_ways(place):
        # It has left the rules when it has not been met for long enough to be no chance: (2/3)^40 is 1e-7
        wait_until(lambda: "c" not in {_meets(place, *at) for _ in range(40)}, limit_s=20, what="c to go")  # noqa: B023
        met = [_meets(place, *at) for _ in range(60)]

        assert set(met) == {"a", "b"}
        assert 10 <= met.count("a") <= 50  # evenly: either limit is 1 in 10 million


@pytest.mark.states("K2")
def test_local_policies_use_this_nodes_endpoints_and_keep_the_clients_address(place: Place) -> None:
    ip = _start(place, "here")["here"]
    node = place.get("pods", "here")["spec"]["nodeName"]
    elsewhere = _elsewhere()
    local: Obj = {"type": "NodePort", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}
    place.create(without_selector(**local))
    here = {"addresses": [ip], "conditions": {"ready": True}, "nodeName": node}
    place.create(written_slice("puppet", [here, elsewhere]))

    for at in _both_ways(place):
        _wait_meets(place, at, "here")
        assert {_meets(place, *at) for _ in range(12)} == {"here"}
    own, seen = _addresses_of_a_call(place, _at_node_port(place), ip)
    assert own == seen


@pytest.mark.states("K2")
def test_without_a_local_policy_the_pod_sees_another_address_at_the_node_port(place: Place) -> None:
    place.create(manifests.service(type="NodePort"))
    ip = _start(place, "web")["web"]
    _wait_meets(place, _at_node_port(place), "web")

    own, seen = _addresses_of_a_call(place, _at_node_port(place), ip)

    assert own != seen


def _elsewhere() -> Obj:
    """An endpoint of another node that nobody is at (a documentation address)."""
    return {"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "nodeName": "elsewhere"}


def _addresses_of_a_call(place: Place, at: tuple[str, int], pod_ip: str) -> tuple[str, str]:
    """The client's own address and the one that the pod saw."""
    with place.connect(*at) as way:
        own = str(way.getsockname()[0])
        way.sendall(b"GET /ready HTTP/1.1\r\nHost: puppet\r\nUser-Agent: a-test\r\n\r\n")
        assert way.recv(4096)
    events: list[Obj] = json.loads(place.ask(pod_ip, manifests.PORT, "/events")[1])
    return own, next(str(each["peer"]) for each in events if each.get("agent") == "a-test")


@pytest.mark.states("K3")
@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_the_last_pod_serves_through_its_hook(place: Place, policy: str) -> None:
    place.create(manifests.service(type="NodePort", externalTrafficPolicy=policy))
    _start(place, "web")
    at = _at_node_port(place)
    _wait_meets(place, at, "web")

    with calling(place, *at, per_s=80) as calls, place.following("web") as told:
        place.delete("pods", "web")
        deleted_s = time.time()
        wait_until(lambda: any(each["what"] == "SIGTERM" for each in told), what="the end of its hook")
    hook_ended_s = next(each["t"] for each in told if each["what"] == "SIGTERM")

    early = [call for call in calls.calls if call.done_s < hook_ended_s]
    assert not [call for call in early if call.error]
    assert [call for call in early if call.at_s > deleted_s + 1.0]


@pytest.mark.states("K3")
def test_a_local_policy_falls_back_to_this_nodes_terminating_pods_although_others_are_ready_elsewhere(
    place: Place,
) -> None:
    ip = _start(place, "here")["here"]
    node = place.get("pods", "here")["spec"]["nodeName"]
    leaving = {"ready": False, "serving": True, "terminating": True}
    place.create(without_selector(type="NodePort", externalTrafficPolicy="Local", internalTrafficPolicy="Local"))
    here = {"addresses": [ip], "conditions": leaving, "nodeName": node}
    place.create(written_slice("puppet", [here, _elsewhere()]))

    for at in _both_ways(place):
        _wait_meets(place, at, "here")
        assert {_meets(place, *at) for _ in range(10)} == {"here"}


@pytest.mark.states("K3")
def test_a_terminating_pod_gets_no_new_connection_while_another_is_ready(place: Place) -> None:
    place.create(manifests.service(type="NodePort"))
    _start(place, "a", "b")
    at = _at_node_port(place)
    _wait_met(place, at, "a", "b")

    with calling(place, *at, per_s=80) as calls, place.following("a") as told:
        place.delete("pods", "a")
        wait_until(lambda: any(each["what"] == "SIGTERM" for each in told), what="the end of its hook")
        calls.wait_more(12)
    hook_ended_s = next(each["t"] for each in told if each["what"] == "SIGTERM")

    assert not calls.errors
    assert calls.last_by("a") < hook_ended_s


@pytest.mark.states("K4")
def test_without_any_usable_endpoint_a_call_is_refused_at_once(place: Place, measured: Measured) -> None:
    place.create(manifests.service(type="NodePort"))
    # One that is leaving and serves no more is not usable either
    place.create(without_selector("left", type="NodePort"))
    gone: Obj = {"ready": False, "serving": False, "terminating": True}
    place.create(written_slice("left", [{"addresses": ["192.0.2.1"], "conditions": gone}]))

    for service in ("puppet", "left"):
        for at in ((place.cluster_ip(service), 80), _at_node_port(place, service)):
            _wait_meets(place, at, "ECONNREFUSED")
            # The node's kernel refuses a client a few times in a row, then once a second; until then a caller that
            # goes on calling is refused at its second attempt, after a second
            quick = wait_until(lambda: _refused_at_once(place, at), limit_s=20, every_s=1.5, what="a quick refusal")  # noqa: B023
            measured("a refusal takes", quick * 1000, "ms")


def _refused_at_once(place: Place, at: tuple[str, int]) -> float:
    """How long the refusal took; 0 where it took a second attempt."""
    call = who_answers(place, *at)
    assert call.error == "ECONNREFUSED"
    took_s = call.done_s - call.at_s
    return took_s if took_s < 0.5 else 0.0


@pytest.mark.states("K4")
def test_a_burst_of_calls_without_an_endpoint_is_refused_late(place: Place, measured: Measured) -> None:
    place.create(manifests.service(type="NodePort"))
    at = place.cluster_ip(), 80
    _wait_meets(place, at, "ECONNREFUSED")

    with calling(place, *at, per_s=80) as calls:
        calls.wait_more(6)

    took_s = [call.done_s - call.at_s for call in calls.calls]
    assert {call.error for call in calls.calls} <= {"ECONNREFUSED", "timeout"}
    assert sum(took > 0.9 for took in took_s) >= len(took_s) / 2
    measured("refused after a second or more in a burst", 100 * sum(t > 0.9 for t in took_s) / len(took_s), "%")


@pytest.mark.states("K4")
def test_a_local_policy_with_endpoints_elsewhere_only_meets_silence(place: Place) -> None:
    place.create(without_selector(type="NodePort", externalTrafficPolicy="Local", internalTrafficPolicy="Local"))
    for at in _both_ways(place):
        _wait_meets(place, at, "ECONNREFUSED")
    place.create(written_slice("puppet", [_elsewhere()]))

    for at in _both_ways(place):
        wait_until(lambda: _meets(place, *at, limit_s=1.0) == "timeout", limit_s=20, what="silence")  # noqa: B023
        assert _meets(place, *at, limit_s=1.5) == "timeout"


@pytest.mark.states("K5")
def test_a_second_change_waits_for_a_second_after_the_first(place: Place, measured: Measured) -> None:
    _start_tracks(place)
    place.create(manifests.service(type="NodePort", selector={"track": "a"}))
    at = _at_node_port(place)
    _wait_meets(place, at, "a")

    gaps = []
    with calling(place, *at, per_s=100) as calls:
        for there, back in (("b", "a"), ("b", "a")):
            first_s = _moved(place, calls, there, since_s=time.time())
            gaps.append(_moved(place, calls, back, since_s=first_s) - first_s)
        assert not calls.lost

    assert min(gaps) >= 0.8
    assert min(gaps) <= 5.0
    keep_spread(measured, "between two syncs", gaps)


def _moved(place: Place, calls: Calls, track: str, *, since_s: float) -> float:
    """Turn the Service to this pod; when the first call was begun that got there."""
    place.patch("services", "puppet", {"spec": {"selector": {"track": track}}})
    return calls.wait(lambda call: call.who == track and call.at_s > since_s, what=f"a call that {track} answers").at_s


@pytest.mark.states("K6", "N12")
def test_an_established_connection_keeps_its_pod_whatever_the_rules_become(place: Place) -> None:
    _start_tracks(place)
    place.create(manifests.service(type="NodePort", selector={"track": "a"}))
    at, inner = _at_node_port(place), (place.cluster_ip(), 80)
    for way in (at, inner):
        _wait_meets(place, way, "a")

    with kept(place, *at) as outside, kept(place, *inner) as inside:
        assert {outside.ask(), inside.ask()} == {"a"}

        place.patch("services", "puppet", {"spec": {"selector": {"track": "b"}}})
        _wait_meets(place, at, "b")
        assert {outside.ask(), inside.ask()} == {"a"}

        place.patch("services", "puppet", {"spec": {"selector": {"track": "nobody"}}})
        _wait_meets(place, at, "ECONNREFUSED")
        assert {outside.ask(), inside.ask()} == {"a"}

        place.delete("services", "puppet")
        wait_until(lambda: _meets(place, *inner, limit_s=0.5) in ("timeout", "ECONNREFUSED"), what="no Service")
        assert {outside.ask(), inside.ask()} == {"a"}


@pytest.mark.states("K7")
def test_a_udp_flow_stays_with_a_pod_that_leaves_and_moves_when_it_serves_no_more(place: Place) -> None:
    udp = {"name": "echo", "port": 53, "targetPort": 5353, "protocol": "UDP"}
    place.create(manifests.service(ports=[udp]))
    ips = _start(place, "a", "b")
    at = place.cluster_ip(), 53
    wait_until(lambda: {_fresh_flow(place, at) for _ in range(8)} == {"a", "b"}, limit_s=20, what="both pods")

    with place.datagram(*at) as flow:
        mine = ask_datagram(flow)
        other = {"a": "b", "b": "a"}[mine]
        assert {ask_datagram(flow) for _ in range(10)} == {mine}

        place.delete("pods", mine)
        wait_until(lambda: {_fresh_flow(place, at) for _ in range(12)} == {other}, what="new flows to go elsewhere")
        assert place.endpoints()[mine] == {"ready": False, "serving": True, "terminating": True}
        assert {ask_datagram(flow) for _ in range(5)} == {mine}

        place.wait_gone("pods", mine)
        wait_until(lambda: ask_datagram(flow) == other, what="the flow to move")

        place.pull(ips[other], ready="503")
        wait_until(lambda: ask_datagram(flow) == "ECONNREFUSED", what="nobody to serve")


def _fresh_flow(place: Place, at: tuple[str, int]) -> str:
    with place.datagram(*at) as way:
        return ask_datagram(way)


@pytest.mark.states("K9")
def test_with_affinity_a_client_stays_with_a_pod_until_that_leaves(place: Place) -> None:
    place.create(manifests.service(type="NodePort", sessionAffinity="ClientIP"))
    _start(place, "a", "b", "c", hook=_LONG_HOOK)
    wait_until(lambda: all(each["ready"] for each in place.endpoints().values()), what="three endpoints")
    at = _at_node_port(place)
    _wait_meets(place, at, "a", "b", "c")
    assert place.get("services", "puppet")["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}

    mine = _meets(place, *at)
    assert {_meets(place, *at) for _ in range(20)} == {mine}
    place.delete("pods", mine)
    others = {"a", "b", "c"} - {mine}
    _wait_meets(place, at, *others)

    assert mine in place.endpoints()  # it serves on, and is not used all the same
    then = _meets(place, *at)
    assert {_meets(place, *at) for _ in range(20)} == {then}


@pytest.mark.states("X5", "N5")
def test_who_keeps_a_connection_stays_with_a_dying_pod_and_finds_it_closed(place: Place) -> None:
    place.create(manifests.service(type="NodePort"))
    _start(place, "a", "b")
    at = _at_node_port(place)
    _wait_met(place, at, "a", "b")
    with kept(place, *at) as way:
        mine = way.ask()
        other = {"a": "b", "b": "a"}[mine]

        place.delete("pods", mine)
        wait_until(lambda: {_meets(place, *at) for _ in range(12)} == {other}, what="new connections to go elsewhere")
        assert way.ask() == mine
        place.wait_gone("pods", mine)

        with pytest.raises((ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
            way.ask()
    assert _meets(place, *at) == other


@pytest.mark.states("N9")
def test_a_server_that_answers_with_close_makes_its_clients_come_anew_without_a_loss(place: Place) -> None:
    place.create(manifests.service(type="NodePort"))
    ips = _start(place, "a", "b", hook=_LONG_HOOK)
    at = _at_node_port(place)
    _wait_met(place, at, "a", "b")
    with kept(place, *at) as way:
        mine = way.ask()
        other = {"a": "b", "b": "a"}[mine]
        place.delete("pods", mine)
        place.pull(ips[mine], close="1")
        wait_until(lambda: {_meets(place, *at) for _ in range(12)} == {other}, what="new connections to go elsewhere")

        assert way.ask() == mine
        assert not way.is_open

    def elsewhere() -> bool:
        with kept(place, *at) as anew:
            return anew.ask() == other

    # On a busy machine the other one fails a probe now and then, and the leaving one serves for it (K3)
    wait_until(elsewhere, what="a new connection to the other pod")


@pytest.mark.states("N10")
def test_nobody_answers_for_a_pod_that_is_gone_and_nobody_says_so(place: Place) -> None:
    place.create(manifests.pod("web"), manifests.pod("alive"))
    ip = place.wait_ready("web")["status"]["podIP"]
    place.wait_ready("alive")
    _wait_meets(place, (ip, manifests.PORT), "web")
    with place.connect(ip, manifests.PORT) as way:
        place.delete("pods", "web", grace_s=1)
        place.wait_gone("pods", "web")

        assert who_answers(place, ip, manifests.PORT, limit_s=2.0).error == "timeout"
        assert _ends(way)  # who was connected has been told


def _ends(way: socket.socket) -> bool:
    way.settimeout(2.0)
    try:
        return way.recv(1) == b""
    except ConnectionResetError:
        return True
