"""Which pods stand behind a Service, and when that changes: E1 to E7, and a pod taken out of traffic alive (M9)."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.callers import PATIENT_PROBE, Kept, kept, who_answers
from tests.live.both.world import Happening, Place, Watched, condition, is_ready
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "E1": "An endpoint is serving while its pod is Ready, terminating once it is deleted, ready while the first and "
    "not the second; publishNotReadyAddresses makes it ready always.",
    "E2": "Of an endpoint without conditions, ready and serving count as true and terminating as false.",
    "E3": "A pod has its place from the time it has an address, whether it is leaving or not. One that has ended has "
    "none, but without a deletion it keeps it, not ready and not serving, until the Service's next sync.",
    "E4": "A pod's change is brought to the slice at once; what somebody else writes into a slice is undone about a "
    "second after the first such write.",
    "E5": "Selectors are looked at live: where a pod's label or a Service's selector changes, what it took before is "
    "absent and was never terminating.",
    "E6": "A pod is Ready when all containers are and every readiness gate's condition is True; a missing one counts "
    "as False.",
    "E7": "The cluster's DNS gives a headless Service's ready endpoints only, for as long as it is told to (5 s by "
    "default, 30 s as clusters are usually set up).",
    "M9": "A label of one's own in the selector takes a pod out of traffic alive; with a low deletion cost it is the "
    "one that goes when its ReplicaSet shrinks.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {
    "E1": "Real: an Endpoints object (deprecated since 1.33) is written beside the slices. Embedded: slices only; "
    "neither the data plane nor a release reads Endpoints.",
    "E7": "The embedded cluster has no DNS; its headless Services have the same slices. A release goes by slices only, "
    "and what a client keeps of a DNS answer (up to 30 s as clusters are usually set up) adds to the propagation.",
}
_QUIET_S = 1.5
_HOOK: Obj = {"preStop": {"sleep": {"seconds": 2}}}


def _in_slices(happening: Happening) -> dict[str, Obj]:
    """Conditions by pod name, of one slice."""
    endpoints = happening.object.get("endpoints") or []
    return {each["targetRef"]["name"]: each["conditions"] for each in endpoints}


def _history(told: Watched, pod: str) -> list[tuple[bool, bool, bool] | None]:
    """What the slices said of a pod, one after another: (ready, serving, terminating), None while it is absent."""
    history: list[tuple[bool, bool, bool] | None] = []
    for each in told.happenings:
        found = _in_slices(each).get(pod)
        state = None if found is None else (found["ready"], found["serving"], found["terminating"])
        if not history or history[-1] != state:
            history.append(state)
    return history


def _wait_condition(place: Place, pod: str, service: str = "puppet", **wanted: bool) -> None:
    wait_until(
        lambda: wanted.items() <= place.endpoints(service).get(pod, {}).items(),
        limit_s=20,
        what=f"{pod} to be {wanted}",
    )


@pytest.mark.states("E1", "E3")
def test_an_endpoint_tells_its_pods_life(place: Place) -> None:
    place.create(manifests.service())
    with place.watch("endpointslices") as told:
        place.create(manifests.pod("web", readinessProbe=PATIENT_PROBE, strings="ready=503", lifecycle=_HOOK))
        _wait_condition(place, "web", ready=False)
        ip = place.get("pods", "web")["status"]["podIP"]
        wait_until(lambda: _answers(place, ip), what="the puppet to answer")
        place.pull(ip, ready="200")
        _wait_condition(place, "web", ready=True)
        place.delete("pods", "web")
        place.wait_gone("pods", "web")
        wait_until(lambda: "web" not in place.endpoints(), what="the endpoint to go")

    history = _history(told, "web")

    # Once it is Ready it stays Ready through its hook; how it reads while its container ends is no part of this
    assert [state for state in history if state is not None][:3] == [
        (False, False, False),
        (True, True, False),
        (False, True, True),
    ]
    assert all(state is None or state[2] for state in history[history.index((False, True, True)) :])


def _answers(place: Place, ip: str) -> bool:
    return not who_answers(place, ip, manifests.PORT).error


@pytest.mark.states("E1")
def test_an_endpoint_that_is_published_anyway_is_ready_even_while_it_terminates(place: Place) -> None:
    place.create(
        manifests.service(publishNotReadyAddresses=True),
        manifests.pod("web", readinessProbe=PATIENT_PROBE, strings="ready=503", lifecycle=_HOOK),
    )
    with place.watch("endpointslices") as told:
        _wait_condition(place, "web", ready=True, serving=False)
        place.delete("pods", "web")
        place.wait_gone("pods", "web")

    states = [state for state in _history(told, "web") if state is not None]

    assert (True, False, True) in states
    assert all(ready for ready, _, _ in states)


@pytest.mark.states("E2")
@pytest.mark.parametrize(
    ("conditions", "reached"),
    [({}, True), ({"serving": True}, True), ({"ready": False}, False), ({"ready": True, "terminating": False}, True)],
    ids=["none", "serving only", "not ready", "ready"],
)
def test_an_endpoint_is_taken_for_good_unless_it_says_otherwise(place: Place, conditions: Obj, reached: bool) -> None:
    place.create(manifests.pod("web"))
    ip = place.wait_ready("web")["status"]["podIP"]
    place.create(without_selector(), written_slice("puppet", [{"addresses": [ip], "conditions": conditions}]))
    at = place.cluster_ip()

    # Nobody is told when the rules are in effect; a wrong answer would come within these calls
    wanted = "web" if reached else "ECONNREFUSED"
    wait_until(lambda: _meets(place, at) == wanted, limit_s=15, what=f"{wanted} at the Service")
    met = {_meets(place, at) for _ in range(5)}
    assert met == {"web"} if reached else met <= {"ECONNREFUSED", "timeout"}  # not every refusal is told (K4)


def _meets(place: Place, ip: str, port: int = 80) -> str:
    call = who_answers(place, ip, port, limit_s=2.0)
    return call.who or call.error


def without_selector(name: str = "puppet", **spec: str) -> Obj:
    """A Service whose slices are written by hand."""
    made = manifests.service(name, **spec)  # type: ignore[arg-type]  # only its keyword `selector` is an object
    del made["spec"]["selector"]
    return made


def written_slice(service: str, endpoints: list[Obj]) -> Obj:
    """A slice of that Service, by hand."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-written", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": manifests.PORT, "protocol": "TCP"}],
    }


@pytest.mark.states("E3")
def test_a_pod_without_an_address_and_one_that_has_ended_have_no_place(place: Place) -> None:
    waiting = {"nodeSelector": {"no": "such-node"}}
    place.create(
        manifests.service(),
        manifests.pod("unscheduled", spec=waiting),
        manifests.pod("ended", spec={"restartPolicy": "Never"}),
        manifests.pod("stays"),
    )
    wait_until(lambda: {"ended", "stays"} <= place.endpoints().keys(), limit_s=20, what="two endpoints")
    ip = place.get("pods", "ended")["status"]["podIP"]
    wait_until(lambda: _answers(place, ip), what="the puppet to answer")

    _end(place, ip)
    wait_until(lambda: place.get("pods", "ended")["status"]["phase"] == "Succeeded", what="it to end")

    # No controller looks at a phase by itself: a pod that has ended stays, out of use, until something else is written
    wait_until(lambda: not place.endpoints().get("ended", {}).get("ready"), what="its endpoint to be out of use")
    assert not place.endpoints().get("ended", {}).get("serving")
    assert "unscheduled" not in place.endpoints()

    place.delete("pods", "unscheduled")
    place.patch("pods", "stays", {"metadata": {"labels": {"some": "change"}}})
    wait_until(lambda: place.endpoints().keys() == {"stays"}, what="its endpoint to go")


def _end(place: Place, ip: str) -> None:
    with pytest.raises((OSError, EOFError)):  # it ends without an answer
        place.ask(ip, manifests.PORT, "/exit?code=0")


@pytest.mark.states("E3")
def test_a_pod_that_still_starts_has_its_place_once_it_has_an_address(place: Place) -> None:
    first = manifests.container() | {"name": "first"}
    place.create(manifests.service(), manifests.pod("web", spec={"initContainers": [first]}))

    _wait_condition(place, "web", ready=False, serving=False, terminating=False)

    assert place.get("pods", "web")["status"]["phase"] == "Pending"


@pytest.mark.states("E4")
def test_a_pods_change_is_in_its_slice_at_once(place: Place, measured: Callable[[str, float, str], None]) -> None:
    place.create(manifests.service(), manifests.pod("web", readinessProbe=PATIENT_PROBE))
    ip = place.wait_ready("web")["status"]["podIP"]
    _wait_condition(place, "web", ready=True)
    lags = []
    with place.watch("pods") as pods, place.watch("endpointslices") as slices:
        for status, ready in (("503", False), ("200", True)) * 3:
            marks = len(pods.happenings), len(slices.happenings)
            place.pull(ip, ready=status)
            wait_until(
                lambda: _flipped(pods.happenings[marks[0] :], slices.happenings[marks[1] :], ready),  # noqa: B023
                what="the endpoint to follow its pod",
            )
            lags.append(_lag_s(pods.happenings[marks[0] :], slices.happenings[marks[1] :], ready))

    # A batch period of a second would show in all of them; a busy machine may show in some
    assert min(lags) < 0.5
    measured("pod's Ready to its slice, longest of 6", max(lags), "s")


def _flips(pods: list[Happening], slices: list[Happening], ready: bool) -> tuple[list[float], list[float]]:
    in_pods = [each.at_s for each in pods if is_ready(each.object) == ready]
    in_slices = [each.at_s for each in slices if _in_slices(each).get("web", {}).get("ready") == ready]
    return in_pods, in_slices


def _flipped(pods: list[Happening], slices: list[Happening], ready: bool) -> bool:
    return all(_flips(pods, slices, ready))


def _lag_s(pods: list[Happening], slices: list[Happening], ready: bool) -> float:
    in_pods, in_slices = _flips(pods, slices, ready)
    return in_slices[0] - in_pods[0]


@pytest.mark.states("E4")
def test_what_somebody_else_wrote_into_a_slice_is_undone_after_a_second(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    place.create(manifests.service(), manifests.pod("web"))
    _wait_condition(place, "web", ready=True)
    name = place.all("endpointslices")[0]["metadata"]["name"]

    with place.watch("endpointslices") as told:
        # An earlier event of this slice may have started the second already
        told.wait(lambda each: "web" in _in_slices(each))
        wait_until(lambda: time.time() - told.happenings[-1].at_s > _QUIET_S, what="a slice that stays as it is")
        place.patch("endpointslices", name, {"endpoints": []}, kind="application/merge-patch+json")
        gone = told.wait(lambda each: not each.object.get("endpoints"), what="the write")
        back = told.wait(lambda each: each.at_s > gone.at_s and "web" in _in_slices(each), what="its undoing")

    assert 0.8 <= back.at_s - gone.at_s <= 8.0
    measured("a foreign write of a slice undone after", back.at_s - gone.at_s, "s")


@pytest.mark.states("E5")
def test_a_pod_whose_label_changes_is_absent_and_never_terminating(place: Place) -> None:
    place.create(manifests.service(), manifests.pod("web"), manifests.pod("other"))
    _wait_condition(place, "web", ready=True)
    _wait_condition(place, "other", ready=True)

    with place.watch("endpointslices") as told:
        place.patch("pods", "web", {"metadata": {"labels": {"app": "nobody"}}})
        wait_until(lambda: place.endpoints().keys() == {"other"}, what="the endpoint to go")
        place.patch("pods", "web", {"metadata": {"labels": manifests.LABELS}})
        wait_until(lambda: len(_history(told, "web")) >= 3, what="it to come back")

    assert _history(told, "web") == [(True, True, False), None, (True, True, False)]
    assert _history(told, "other") == [(True, True, False)]


@pytest.mark.states("E5")
def test_a_service_whose_selector_changes_moves_its_endpoints_in_one_write(place: Place) -> None:
    for name in ("a1", "a2", "b1", "b2"):
        place.create(manifests.pod(name, labels={"app": "puppet", "track": name[0]}))
    place.create(manifests.service(selector={"app": "puppet", "track": "a"}))
    wait_until(lambda: _ready_names(place) == {"a1", "a2"}, limit_s=20, what="the first two")
    for name in ("b1", "b2"):
        place.wait_ready(name)

    with place.watch("endpointslices") as told:
        told.wait(lambda each: each.type == "ADDED")
        place.patch("services", "puppet", {"spec": {"selector": {"track": "b"}}})
        told.wait(lambda each: "b1" in _in_slices(each))

    assert [set(_in_slices(each)) for each in told.happenings] == [{"a1", "a2"}, {"b1", "b2"}]
    assert not any(state["terminating"] for each in told.happenings for state in _in_slices(each).values())


def _ready_names(place: Place, service: str = "puppet") -> set[str]:
    return {name for name, conditions in place.endpoints(service).items() if conditions["ready"]}


@pytest.mark.states("E5")
def test_a_service_whose_selector_meets_no_pod_has_an_empty_slice(place: Place) -> None:
    place.create(manifests.service(), manifests.pod("web"))
    _wait_condition(place, "web", ready=True)

    place.patch("services", "puppet", {"spec": {"selector": {"app": "nobody"}}})

    wait_until(lambda: not place.endpoints(), what="the endpoint to go")
    slices = place.all("endpointslices")
    assert len(slices) == 1
    assert not slices[0].get("endpoints")


@pytest.mark.states("E6")
def test_a_pod_is_ready_only_when_every_container_is(place: Place) -> None:
    second = manifests.container()
    probe = {
        "httpGet": {"path": "/ready", "port": 8081},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "timeoutSeconds": 10,
    }
    second |= {"name": "second", "readinessProbe": probe}
    second["env"] = [{"name": "PORT", "value": "8081"}, {"name": "PUPPET", "value": "ready=503"}]
    first = manifests.container(readinessProbe=PATIENT_PROBE)
    place.create(manifests.service(), manifests.pod("web", spec={"containers": [first, second]}))
    wait_until(lambda: _ready_containers(place) == {"puppet"}, limit_s=20, what="the first container")
    _wait_condition(place, "web", ready=False)
    ip = place.get("pods", "web")["status"]["podIP"]

    assert condition(place.get("pods", "web"), "ContainersReady") == "False"

    wait_until(lambda: not who_answers(place, ip, 8081).error, what="the second container to answer")
    place.ask(ip, 8081, "/set?ready=200")
    _wait_condition(place, "web", ready=True)
    assert is_ready(place.get("pods", "web"))


def _ready_containers(place: Place) -> set[str]:
    states = place.get("pods", "web").get("status", {}).get("containerStatuses") or []
    return {each["name"] for each in states if each["ready"]}


@pytest.mark.states("E6")
def test_a_gate_keeps_a_pod_out_until_its_condition_is_true(place: Place) -> None:
    gate = "example.org/released"
    place.create(manifests.service(), manifests.pod("web", spec={"readinessGates": [{"conditionType": gate}]}))
    wait_until(
        lambda: condition(place.get("pods", "web"), "ContainersReady") == "True", limit_s=20, what="its container"
    )
    _wait_condition(place, "web", ready=False, serving=False)
    assert condition(place.get("pods", "web"), "Ready") == "False"

    for status in ("True", "False"):
        place.patch("pods", "web", {"status": {"conditions": [{"type": gate, "status": status}]}}, sub="status")
        _wait_condition(place, "web", ready=status == "True", serving=status == "True")

    assert condition(place.get("pods", "web"), "ContainersReady") == "True"


@pytest.mark.full  # its cache may hold "nobody" for half a minute
@pytest.mark.states("E7")
@pytest.mark.only("real", "the embedded cluster has no DNS")
def test_the_clusters_dns_names_ready_endpoints_only(place: Place, measured: Callable[[str, float, str], None]) -> None:
    place.create(manifests.service(clusterIP="None"))
    for name in ("good", "bad"):
        strings = "ready=200" if name == "good" else "ready=503"
        place.create(manifests.pod(name, readinessProbe=PATIENT_PROBE, strings=strings))
    good = place.wait_ready("good")["status"]["podIP"]
    _wait_condition(place, "bad", ready=False)

    # What it is asked too early it may say again for as long as its cache holds: it is asked once both are known
    wait_until(lambda: place.endpoints().get("good", {}).get("ready"), what="the good endpoint")
    told = wait_until(lambda: _resolve(place, "puppet"), limit_s=40, every_s=2.0, what="an answer of the DNS")
    assert told
    found, ttl_s = told

    assert found == {good}
    assert 0 < ttl_s <= 30
    measured("a DNS answer for a headless Service holds at most", ttl_s, "s")


@pytest.mark.states("E7")
def test_a_headless_service_has_no_address_and_the_same_slices(place: Place) -> None:
    place.create(manifests.service(clusterIP="None"), manifests.pod("web"))

    _wait_condition(place, "web", ready=True)

    assert place.cluster_ip() == "None"
    labels = place.all("endpointslices")[0]["metadata"]["labels"]
    assert "service.kubernetes.io/headless" in labels


def _resolve(place: Place, service: str) -> tuple[set[str], int] | None:
    """Addresses of a name of this namespace, as the cluster's DNS has them, and for how many seconds; None: none."""
    name = f"{service}.{place.namespace}.svc.cluster.local"
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = labels + b"\0" + struct.pack("!HH", 1, 1)
    with place.datagram("10.96.0.10", 53) as way:
        way.settimeout(2.0)
        way.send(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question)
        answer = way.recv(4096)
    count = struct.unpack_from("!H", answer, 6)[0]
    at, found, ttl_s = 12 + len(question), set(), 0
    for _ in range(count):
        at = _past_name(answer, at)
        kind, _, ttl_s, size = struct.unpack_from("!HHIH", answer, at)
        if kind == 1:
            found.add(".".join(map(str, answer[at + 10 : at + 10 + size])))
        at += 10 + size
    return (found, ttl_s) if found else None


def _past_name(answer: bytes, at: int) -> int:
    """Names are written out or end in a pointer of two bytes."""
    while 0 < answer[at] < 0xC0:
        at += 1 + answer[at]
    return at + (2 if answer[at] else 1)


@pytest.mark.states("M9")
def test_a_pod_is_taken_out_of_traffic_alive_and_is_the_one_to_go(place: Place) -> None:
    place.create(manifests.replica_set("web", 3, readinessProbe=PATIENT_PROBE))
    names = [pod["metadata"]["name"] for pod in place.wait_ready_pods(3, "app=web")]
    for name in names:
        place.patch("pods", name, {"metadata": {"labels": {"traffic": "yes"}}})
    place.create(manifests.service(selector={"app": "web", "traffic": "yes"}))
    wait_until(lambda: _ready_names(place) == set(names), limit_s=20, what="three endpoints")
    out, *rest = names

    # The cost comes early: a controller's caches of pods and of sets are not one
    cost = {"controller.kubernetes.io/pod-deletion-cost": "-1000"}
    place.patch("pods", out, {"metadata": {"labels": {"traffic": "no"}, "annotations": cost}})
    wait_until(lambda: _ready_names(place) == set(rest), what="its endpoint to go")
    with kept(place, place.get("pods", out)["status"]["podIP"], manifests.PORT) as way:
        _stays(place, way, out)
        assert {pod["metadata"]["name"] for pod in place.all("pods", "app=web")} == set(names)
        place.patch("replicasets", "web", {"spec": {"replicas": 2}})
        place.wait_gone("pods", out)

    assert {pod["metadata"]["name"] for pod in place.wait_ready_pods(2, "app=web")} == set(rest)


def _stays(place: Place, way: Kept, pod: str) -> None:
    assert way.ask() == pod
    assert "deletionTimestamp" not in place.get("pods", pod)["metadata"]
    assert place.get("replicasets", "web")["status"]["readyReplicas"] == 3
