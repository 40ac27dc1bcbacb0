"""A gunicorn whose threads die, under load, as in the question: what a restart costs, by a script and by segue.app."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException

import pytest

from tests.live.both.callers import Calls, calling
from tests.live.both.example_images import GUNICORN
from tests.live.both.lifetimes import restarts
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.alone]

STATEMENTS = {
    "segue app": "A gunicorn with too many dead threads leaves traffic, answers what is under way and queued, and "
    "restarts: nothing is lost.",
    "segue supervise": "A supervisor beside the application lets readiness go first, waits until the pod is quiet by "
    "its own sockets, and has the kubelet restart it then: nothing is lost.",
    "segue supervise: budget": "Of several sick pods one restarts after the other, by a Lease.",
    "segue app: script": "The same by a liveness script and a preStop sleep loses requests: the endpoint stays.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Keep = Callable[[str, float, str], None]
NAME, PORT, PODS = "web", 8080, 3
RATE = 80.0


@dataclass(slots=True, kw_only=True)
class Sick:
    """The pod that is made sick, and what its clients have met."""

    place: Place
    name: str
    ip: str
    load: Calls
    slow: list[str] = field(default_factory=list)
    sick_s: float = 0.0

    def lose_threads(self, how: str = "crash", count: int = 2) -> None:
        """So many of its threads die, each after an answer."""
        for _ in range(count):
            assert self.place.ask(self.ip, PORT, f"/{how}")[0] == 200
        self.sick_s = time.time()

    def ask_slowly(self) -> threading.Thread:
        """A request that is under way for seconds."""

        def ask() -> None:
            try:
                self.slow.append(self.place.ask(self.ip, PORT, "/slow", limit_s=30)[1])
            except (OSError, HTTPException) as error:
                self.slow.append(f"lost: {error}")

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        return asking

    def wait_restarted(self, limit_s: float = 60.0) -> float:
        """Wait until its container has been started again and is in traffic; how long that took."""
        wait_until(lambda: restarts(self.place.get("pods", self.name)) == 1, limit_s=limit_s, what="the restart")
        restarted_s = time.time() - self.sick_s
        self.place.wait_ready(self.name)
        wait_until(lambda: len(_ready(self.place)) == PODS, what="all endpoints")
        self.load.wait_more(30)
        return restarted_s


def _ready(place: Place) -> list[str]:
    return [name for name, conditions in place.endpoints(NAME).items() if conditions["ready"]]


@contextmanager
def sick(place: Place, manifest: str) -> Iterator[Sick]:
    """The example under load, and one of its pods."""
    place.kubectl("apply", "-f", str(GUNICORN / manifest))
    pods = place.wait_ready_pods(PODS, "app=web")
    wait_until(lambda: len(_ready(place)) == PODS, what="all endpoints")
    ip, port = place.world.node_ip, place.node_port(NAME)

    def answers() -> bool:
        with suppress(OSError, HTTPException):
            return place.ask(ip, port)[0] == 200
        return False

    wait_until(answers, what="the node port")
    with calling(place, ip, port, per_s=RATE) as load:
        load.wait_more(200)
        yield Sick(place=place, name=pods[0]["metadata"]["name"], ip=pods[0]["status"]["podIP"], load=load)


@pytest.mark.states("segue app")
@pytest.mark.parametrize("how", ["crash", pytest.param("hang", marks=pytest.mark.full)])
def test_dead_threads_cost_no_request(place: Place, how: str, measured: Keep) -> None:
    with sick(place, "web.yaml") as one:
        one.lose_threads(how)
        slow = one.ask_slowly()
        restarted_s = one.wait_restarted()
        slow.join()

    said = place.kubectl("logs", one.name, "--previous")
    assert "segue: unready: 2 dead threads" in said
    assert "segue: exiting: quiet" in said
    assert [call.error for call in one.load.lost] == []
    assert one.slow == [f"/slow {one.name}\n"]
    assert one.load.last_by(one.name) > one.sick_s + restarted_s - 1
    measured(f"lost of {len(one.load.calls)}, threads that {how}", len(one.load.lost), "")
    measured(f"threads {how} to restart", restarted_s, "s")


@pytest.mark.full
@pytest.mark.states("segue supervise")
def test_a_supervisor_beside_the_same_script_costs_no_request(place: Place, measured: Keep) -> None:
    with sick(place, "supervised.yaml") as one:
        one.lose_threads()
        slow = one.ask_slowly()
        restarted_s = one.wait_restarted()
        slow.join()

    said = place.kubectl("logs", one.name, "-c", "supervisor")
    order = [said.find(f"segue: {word}") for word in ("asking: the script exits with 1", "leaving:", "ending:")]
    assert -1 not in order, said
    assert order == sorted(order)
    assert "capped" not in said  # by the timer: who made it sick is a client too rare to be judged
    assert [call.error for call in one.load.lost] == []
    assert one.slow == [f"/slow {one.name}\n"]
    assert restarts(place.get("pods", one.name)) == 1
    measured(f"lost of {len(one.load.calls)}, supervised", len(one.load.lost), "")
    measured("threads crash to restart, supervised", restarted_s, "s")


@pytest.mark.full
@pytest.mark.states("segue app: script", "M15")
def test_a_script_as_liveness_probe_loses_requests(place: Place, measured: Keep) -> None:
    with sick(place, "script.yaml") as one:
        one.lose_threads()
        restarted_s = one.wait_restarted()

    assert one.load.lost
    assert {call.error for call in one.load.lost} <= {"ECONNREFUSED", "ECONNRESET", "closed", "timeout"}
    measured(f"lost of {len(one.load.calls)}", len(one.load.lost), "")
    measured("threads crash to restart", restarted_s, "s")


@pytest.mark.full
@pytest.mark.states("segue supervise: budget")
def test_two_sick_pods_restart_one_after_the_other(place: Place, measured: Keep) -> None:
    with sick(place, "supervised.yaml") as one:
        pods = place.all("pods", "app=web")[:2]
        for pod in pods:
            for _ in range(2):
                assert place.ask(pod["status"]["podIP"], PORT, "/crash")[0] == 200
        names = [pod["metadata"]["name"] for pod in pods]
        wait_until(
            lambda: all(restarts(place.get("pods", name)) == 1 for name in names), limit_s=120, what="both restarts"
        )
        wait_until(lambda: len(_ready(place)) == PODS, what="all endpoints")
        one.load.wait_more(30)

    turns = sorted(_turn(place.kubectl("logs", name, "-c", "supervisor", "--timestamps")) for name in names)
    (_, first_back), (second_left, _) = turns
    assert second_left > first_back
    assert [call.error for call in one.load.lost] == []
    measured(f"lost of {len(one.load.calls)}, two sick pods", len(one.load.lost), "")


def _turn(log: str) -> tuple[str, str]:
    """When the pod began to leave, and when it was back: as the log has it, which sorts."""
    lines = [line.split(" ", 1) for line in log.splitlines()]
    left = next(at for at, text in lines if text.startswith("segue: leaving: ") and "its turn" in text)
    return left, next(at for at, text in lines if text.startswith("segue: back: ") and at > left)
