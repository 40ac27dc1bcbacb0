"""Two nodes of which one hears late: clients of the second go on sending to old pods for seconds after the switch.

The clusters have one node. What a pod sees of another one is a sender that follows EndpointSlices, and does so late:
that is what is made here, beside a load through the cluster's own data plane.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import NAME, V2, App
from tests.live.both.world import Place, Watched
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.full]

STATEMENTS = {
    "two nodes": "Where a second node hears of the switch 8 s late, its clients are answered by old pods until then: "
    "nothing of theirs is lost, though they come longer than 5 s after the old pods left the Service.",
}
NOT_COVERED = {"two nodes: kubelets": "Both clusters have one node; the second one is a data plane and its clients."}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
LATE_S = 8.0
PER_S = 9.0  # 3 per second and pod
PORT = 10002


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of the late node's client."""

    at_s: float
    ip: str
    error: str


@dataclass(slots=True, kw_only=True)
class LateNode:
    """A client whose node sends to the Ready endpoints of `LATE_S` ago, to one after the other."""

    place: Place
    told: Watched
    calls: list[Call] = field(default_factory=list)

    def backends(self, at_s: float) -> list[str]:
        """Addresses of the endpoints that were Ready at a moment."""
        slices: dict[str, Obj] = {}
        for one in list(self.told.happenings):
            if one.at_s <= at_s:
                slices[one.name] = {} if one.type == "DELETED" else one.object
        mine = [one for one in slices.values() if _service_of(one) == NAME]
        ends = [end for one in mine for end in one.get("endpoints") or [] if end["conditions"]["ready"]]
        return sorted(ip for end in ends for ip in end["addresses"])

    def call(self, number: int) -> None:
        """One request, on a connection of its own."""
        at_s, error = time.time(), ""
        backends = self.backends(at_s - LATE_S)
        if not backends:
            return
        ip = backends[number % len(backends)]
        try:
            code, _ = self.place.ask(ip, PORT, "/fast")
            error = "" if code == 200 else str(code)
        except OSError as failed:
            error = repr(failed)
        self.calls.append(Call(at_s=at_s, ip=ip, error=error))

    def left_s(self, ip: str) -> float:
        """When an address was no longer a Ready endpoint."""
        seen = [(one.at_s, ip in self.backends(one.at_s)) for one in list(self.told.happenings)]
        last = max(index for index, (_, there) in enumerate(seen) if there)
        return seen[last + 1][0]


def _service_of(one: Obj) -> str:
    return str(one.get("metadata", {}).get("labels", {}).get("kubernetes.io/service-name", ""))


@contextmanager
def second_node(place: Place) -> Iterator[LateNode]:
    """Its client sends while the block runs, from when it knows of the endpoints."""
    end = threading.Event()
    with place.watch("endpointslices") as told:
        node = LateNode(place=place, told=told)

        def send() -> None:
            number, next_s = 0, time.time()
            while not end.wait(max(0.0, next_s - time.time())):
                node.call(number)
                number, next_s = number + 1, next_s + 1 / PER_S

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        wait_until(lambda: len(node.calls) >= 3 * PER_S, limit_s=LATE_S + 20, what="the late node's calls")
        try:
            yield node
        finally:
            end.set()
            sender.join()


@pytest.mark.states("two nodes")
def test_clients_of_a_node_that_hears_late_lose_nothing(serving: App, measured: Measured) -> None:
    old = sorted(pod["status"]["podIP"] for pod in serving.pods())
    with serving.load() as tally, second_node(serving.place) as node:
        serving.done("release", "-f", serving.file(V2))
        released_s = time.time()
        wait_until(lambda: node.calls[-1].at_s > released_s + LATE_S, limit_s=40, what="the late node to have heard")

    tally.check_none_lost()
    assert [call for call in node.calls if call.error] == []
    late_s = [call.at_s - node.left_s(call.ip) for call in node.calls if call.ip in old]
    assert max(late_s) > 5.0, "a sleep of 5 s would have been too short"
    measured(f"lost of {len(node.calls)} of the late node, {tally.found['requests']} of the other", 0, "")
    measured("last request to an old pod after it left the Service", max(late_s), "s")
