"""What happens to a pod that is deleted: T1 to T18."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.both import manifests
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "T1": "A deletion sets deletionTimestamp and the grace: the one asked for, else the pod's own; a negative one is 1.",
    "T4": "A container's preStop comes before its stop signal.",
    "T6": "A pod's grace counts the preStop hook, too.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}


@pytest.mark.states("T1")
@pytest.mark.parametrize(("asked_s", "stored_s"), [(None, 7), (3, 3), (-5, 1)], ids=["own", "asked", "negative"])
def test_a_deletion_sets_the_grace_and_the_time_at_which_it_ends(
    place: Place, asked_s: int | None, stored_s: int
) -> None:
    place.create(manifests.pod("web", grace_s=7, strings="term=ignore"))
    place.wait_ready("web")

    place.delete("pods", "web", grace_s=asked_s)

    found = place.get("pods", "web")["metadata"]
    assert found["deletionGracePeriodSeconds"] == stored_s
    assert "deletionTimestamp" in found
    place.delete("pods", "web", grace_s=0)


@pytest.mark.states("T4", "T6")
def test_the_hook_comes_before_the_stop_signal(place: Place, measured: Callable[[str, float, str], None]) -> None:
    lifecycle = {"preStop": {"httpGet": {"path": "/hook?s=2", "port": manifests.PORT}}}
    place.create(manifests.pod("web", lifecycle=lifecycle))
    place.wait_ready("web")

    with place.following("web") as told:
        place.delete("pods", "web")
        wait_until(lambda: any(each["what"] == "SIGTERM" for each in told), what="SIGTERM")
    when = {each["what"]: each["t"] for each in told}

    assert 1.9 <= when["SIGTERM"] - when["hook"] <= 3.5
    measured("hook to stop signal", when["SIGTERM"] - when["hook"], "s")
