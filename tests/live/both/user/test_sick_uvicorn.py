"""A uvicorn that is sick leaves traffic before it restarts, under load: examples/uvicorn on both clusters."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from tests.live.both.callers import kept
from tests.live.both.example_images import UVICORN
from tests.live.both.user.test_sick_threads import PORT, Sick, sick
from tests.live.both.world import Place

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.full]

STATEMENTS = {
    "segue app: uvicorn": "An ASGI application behind uvicorn whose requests no longer end, or that is told to, leaves "
    "traffic, says Connection: close, answers what is under way, and restarts: nothing is lost.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Keep = Callable[[str, float, str], None]
MANIFEST = str(UVICORN / "web.yaml")


def hang(place: Place, one: Sick) -> None:
    """Two requests are answered and never end."""
    one.lose_threads("hang")


def ask_to_leave(place: Place, one: Sick) -> None:
    """Somebody says so, within the pod's network."""
    way = HTTPConnection(one.ip, 8081)
    way.sock = place.connect(one.ip, 8081)
    way.request("POST", "/restart")
    assert way.getresponse().status == 202
    way.close()
    one.sick_s = time.time()


@pytest.mark.states("segue app: uvicorn")
@pytest.mark.parametrize(("make_sick", "why"), [(hang, "2 dead threads"), (ask_to_leave, "a restart was asked for")])
def test_a_sick_uvicorn_costs_no_request(
    place: Place, measured: Keep, make_sick: Callable[[Place, Sick], None], why: str
) -> None:
    with sick(place, MANIFEST) as one, kept(place, one.ip, PORT) as talk:
        assert talk.ask() == one.name
        make_sick(place, one)
        slow = one.ask_slowly()
        restarted_s = one.wait_restarted()
        slow.join()

    said = place.kubectl("logs", one.name, "--previous")
    assert f"segue: unready: {why}" in said
    assert "segue: exiting: quiet" in said
    assert [call.error for call in one.load.lost] == []
    assert one.slow == [f"/slow {one.name}\n"]
    measured(f"lost of {len(one.load.calls)}, {why}", len(one.load.lost), "")
    measured(f"{why} to restart", restarted_s, "s")
