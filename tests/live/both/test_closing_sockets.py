"""What a client meets when a pod closes its sockets: N1 to N7, and what PID 1 does with a signal (X6)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.live.both import manifests
from tests.live.both.lifetimes import answers, begin, cut_s, leave, lifeline, moment
from tests.live.both.manifests import PORT
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

Keep = Callable[[str, float, str], None]

STATEMENTS = {
    "N1": "Connections that nobody accepted yet are reset when the listener closes, though connect() had succeeded.",
    "N2": "After the listener is gone connect() is refused.",
    "N3": "An accepted connection outlives its listener: its answer still comes.",
    "N4": "Accepting until nobody waits, and only then closing, loses none of those that waited.",
    "N5": "An idle keep-alive connection is ended with a FIN; who writes into it at that moment is reset.",
    "N6": "A connection closed with unread bytes is reset; an answer that had already arrived can still be read.",
    "N7": "At a SIGKILL accepted idle connections get a FIN; those with unread bytes, and those that wait, a reset.",
    "X6": "PID 1 without a handler does not hear SIGTERM: it lives until the kill at the end of the grace.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
_GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"


def _end_of(way: socket.socket, limit_s: float = 20.0) -> str:
    """How the other side ended this connection; what still came is left out."""
    way.settimeout(limit_s)
    try:
        while way.recv(4096):
            pass
    except ConnectionResetError:
        return "RST"
    return "FIN"


@contextmanager
def _waiting(place: Place, ip: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections that the kernel has completed and nobody accepts, each with a request sent."""
    place.ask(ip, PORT, "/stuck")
    with ExitStack() as open_ones:
        made = [open_ones.enter_context(place.connect(ip, PORT)) for _ in range(count)]
        for each in made:
            each.sendall(_GET % b"")
        yield made


# --- the listener closes ----------------------------------------------------------------------------------------------


@pytest.mark.states("N1", "N2")
def test_who_waits_to_be_accepted_is_reset_and_who_comes_later_refused(place: Place) -> None:
    ip = begin(place, manifests.pod("web", strings="term=4"))

    with place.following("web") as told, _waiting(place, ip, 8) as waiting:
        place.delete("pods", "web")
        moment(told, "deaf")
        ends = [_end_of(each) for each in waiting]
        with pytest.raises(ConnectionRefusedError):
            place.connect(ip, PORT)

    assert ends == ["RST"] * 8


@pytest.mark.states("N3")
def test_an_accepted_connection_is_answered_after_the_listener_is_gone(place: Place) -> None:
    ip = begin(place, manifests.pod("web", strings="term=4"))

    with place.following("web") as told, lifeline(place, ip) as way:
        way.sendall(_GET % b"slow?s=2")
        moment(told, "slow")
        place.delete("pods", "web")
        moment(told, "deaf")
        refused = not answers(place, ip)
        way.settimeout(10)
        answer = way.recv(4096)

    assert refused
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.states("N4")
def test_a_drained_queue_loses_nobody_who_waited(place: Place) -> None:
    ip = begin(place, manifests.pod("web", strings="term=drain"))

    with place.following("web") as told, _waiting(place, ip, 8) as waiting:
        place.delete("pods", "web")
        moment(told, "deaf")
        for each in waiting:
            each.settimeout(10)
        answered = [each.recv(4096) for each in waiting]

    assert [each[:12] for each in answered] == [b"HTTP/1.1 200"] * 8


# --- the process ends -------------------------------------------------------------------------------------------------


@pytest.mark.states("N5")
def test_an_idle_connection_gets_a_fin_and_who_writes_then_is_reset(place: Place) -> None:
    ip = begin(place, manifests.pod("web"))

    with lifeline(place, ip) as way:
        way.sendall(_GET % b"")
        first = way.recv(4096)
        # The process goes and the pod stays: its kernel is there to answer
        leave(place, ip, 0)
        ended = _end_of(way)
        way.sendall(_GET % b"")  # the first write still goes out: it is what the reset answers
        wait_until(lambda: _is_broken(way), what="the reset")

    assert first.startswith(b"HTTP/1.1 200")
    assert ended == "FIN"


def _is_broken(way: socket.socket) -> bool:
    try:
        way.sendall(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


@pytest.mark.states("N6")
def test_unread_bytes_make_it_a_reset(place: Place) -> None:
    ip = begin(place, manifests.pod("web", strings="term=exit"))

    with place.following("web") as told, lifeline(place, ip) as unread, lifeline(place, ip) as answered:
        answered.sendall(_GET % b"")
        wait_until(lambda: answered.recv(1, socket.MSG_PEEK), what="an answer that waits here")
        unread.sendall(_GET % b"slow?s=60")
        moment(told, "slow")
        unread.sendall(b"x" * 200_000)
        place.delete("pods", "web")
        ended = _end_of(unread)
        held = answered.recv(4096)

    assert ended == "RST"
    assert held.startswith(b"HTTP/1.1 200")


@pytest.mark.states("N7", "N1")
def test_a_kill_ends_idle_connections_politely_and_all_others_not(place: Place) -> None:
    ip = begin(place, manifests.pod("web", grace_s=1, strings="term=ignore"))

    with place.following("web") as told, lifeline(place, ip) as idle, lifeline(place, ip) as unread:
        idle.sendall(_GET % b"")
        assert idle.recv(4096)
        unread.sendall(_GET % b"slow?s=60")
        moment(told, "slow")
        unread.sendall(b"x" * 200_000)
        with _waiting(place, ip, 4) as waiting:
            place.delete("pods", "web")
            ends = [_end_of(each) for each in (idle, unread, *waiting)]

    assert ends == ["FIN", "RST"] + ["RST"] * 4


# --- PID 1 ------------------------------------------------------------------------------------------------------------


@pytest.mark.states("X6")
def test_pid_one_without_a_handler_lives_until_the_kill(place: Place, measured: Keep) -> None:
    ip = begin(place, manifests.pod("web", grace_s=3, strings="term=none"))

    with lifeline(place, ip) as held, place.watch("pods") as seen:
        place.delete("pods", "web")
        marked_s = seen.wait(lambda each: "deletionTimestamp" in each.object["metadata"]).at_s
        died_s = cut_s(held)

    assert died_s - marked_s >= 2.7
    measured("deletion to kill, grace 3 s", died_s - marked_s, "s")


@pytest.mark.states("X6")
def test_a_shell_that_waits_for_its_program_does_not_pass_the_signal_on(place: Place, measured: Keep) -> None:
    asked = manifests.pod("web", grace_s=3)
    asked["spec"]["containers"][0]["command"] = ["sh", "-c", "sleep 1000; true"]
    place.create(asked)
    place.wait_ready("web")

    with place.watch("pods") as seen:
        place.delete("pods", "web")
        marked_s = seen.wait(lambda each: "deletionTimestamp" in each.object["metadata"]).at_s
        gone_s = seen.wait(lambda each: each.type == "DELETED").at_s

    assert gone_s - marked_s >= 2.7
    measured("deletion to the pod's end, grace 3 s", gone_s - marked_s, "s")
