"""`segue measure`: P and Q of a cluster as a user has them measured; nothing is left, and check counts with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing

import pytest

from segue.model.objects import Obj
from testbed.image_recipes import AGENT
from tests.live.both.user.app import NAME, V1, App, error_of

pytestmark = [pytest.mark.live, pytest.mark.full]

STATEMENTS = {
    "segue measure": "How long each node goes on sending to a pod that left by its label, its readiness or its "
    "deletion is measured from pods there; what was made for it is gone afterwards, and what a killed run left.",
    "longest request": "The longest request of a workload is told while it is watched, also one without a byte.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
RUN = "segue.dev/measure"
PORT = 10002
SLOW_S = 10.0  # what the seed's server takes for /slow


def left(app: App) -> list[str]:
    """What is there of any run."""
    return [
        f"{kind}/{one['metadata']['name']}"
        for kind in ("deployments", "replicasets", "services", "pods")
        for one in app.place.all(kind, RUN)
    ]


@pytest.mark.states("segue measure")
def test_p_is_measured_by_every_way_and_nothing_is_left(app: App, measured: Measured) -> None:
    found: Obj = json.loads(app.done("measure", "--image", AGENT, "--repeats", "3", "-o", "json"))
    file = app.file(json.dumps(found), "measured.json")
    judged = app.segue("check", app.file(V1), "--measured", file, "-o", "json")
    drain = [one for one in json.loads(judged.stdout)["findings"] if one["numbers"].get("P")]

    assert len(found["changes"]) == 9
    assert {one["way"] for one in found["changes"]} == {"labels", "readiness", "delete"}
    assert found["nodesMeasured"] == found["nodesThere"] == 1
    assert found["propagationSeconds"] == max(one["gone"]["max"] for one in found["nodes"])
    assert 0 < found["propagationSeconds"] < 4.0, found
    assert found["callsFailed"] == 0, "pods that are gone went on answering, so nobody was refused"
    assert left(app) == []
    assert drain, judged.stdout
    assert {one["numbers"]["P"] for one in drain} == {found["propagationSeconds"]}
    for one in found["ways"]:
        measured(f"P by {one['way']}, median of 3", one["gone"]["p50"], "s")
    measured("P", found["propagationSeconds"], "s")


@pytest.mark.states("segue measure")
def test_what_a_killed_run_left_behind_goes_with_the_next_one(app: App) -> None:
    going = app.start("measure", "--image", AGENT, "--repeats", "50")
    assert going.until("change 1 of")
    going.kill()
    stayed = left(app)
    stopped = app.start("measure", "--image", AGENT, "--repeats", "50", "--by", "labels")
    assert stopped.until("change 1 of")
    meanwhile = left(app)
    stopped.process.terminate()
    code, _, _ = stopped.end()

    assert stayed
    assert not set(stayed) & set(meanwhile)
    assert code in {130, 143}
    assert left(app) == [], "one that is stopped takes its own away"


@pytest.mark.states("longest request")
def test_the_longest_request_of_a_workload_is_told(serving: App, measured: Measured) -> None:
    (pod, *_) = serving.pods()
    with closing(serving.place.connect(pod["status"]["podIP"], PORT)) as way, serving.load():
        going = serving.start("measure", f"deploy/{NAME}", "--repeats", "0", "--for", "14", "-o", "json")
        assert going.until("watching")
        way.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        code, out, said = going.end()
        found: Obj = json.loads(out)["requests"]

    assert code == 0, said
    assert found["watchedSeconds"] == 14
    # Without bytes it is the connection's life, from the look before it came to the first that missed it
    by_life_s = 0.0 if found["longest"][0]["seenBy"] == "bytes" else 5.0
    assert SLOW_S - 0.5 < found["longestSeconds"] < SLOW_S + 2 + by_life_s
    measured("Q of a request of 10 s", found["longestSeconds"], "s")


@pytest.mark.states("segue measure")
def test_what_cannot_be_measured_is_said(app: App) -> None:
    assert "--image is missing" in error_of(app.segue("measure"), 2)
    assert "nothing is measured" in error_of(app.segue("measure", "--repeats", "0"), 2)
    assert "--by word" in error_of(app.segue("measure", "--by", "word", "--image", AGENT), 2)
    assert "python3" in error_of(app.segue("measure", "--image", "elsewhere.org/none:v1"), 1)
    assert left(app) == []
