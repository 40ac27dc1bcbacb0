"""`segue load` from the client's network: every request accounted for, errors in classes, exit codes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests
from tests.live.both.user.app import NAME, App
from tests.live.conftest import ROOT
from tests.live.console import BIN

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue load": "An open loop keeps its rate whatever the Service does, accounts for every request by version and "
    "outcome, and exits with 9 when one was lost.",
    "segue load: outcomes": "Refused, cut, slow and bad answers are told apart; a Service without endpoints is "
    "connect-refused, an address without an owner a timeout or unreachable.",
}
NOT_COVERED = {
    "segue drill": "needs the embedded cluster's own account of what happened (timeline and flows), which a real "
    "cluster does not keep; it says so",
    "segue load: loopback mode": "a mode of the embedded cluster",
}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
FIELDS = {
    *("startS", "tookS", "requests", "ok", "okPerSecond", "lost", "ownFaults", "outcomes", "errnos", "versions"),
    *("latencyMs", "longestGapMs", "late", "latenessMaxMs", "seconds", "sessions", "waitedForCpuS"),
}


def fired(app: App, url: str, *how: str) -> tuple[int, Obj]:
    """A load to its end: exit code and summary."""
    argv = app.place.from_client(str(BIN / "segue"), "load", url, *how, "-o", "json")
    done = subprocess.run(argv, env=app.env, text=True, capture_output=True, timeout=90, check=False)
    assert done.stdout, done.stderr
    found: Obj = json.loads(done.stdout)
    return done.returncode, found


def url_of(app: App, path: str = "") -> str:
    """Of the Service, when it is reached."""
    ip, port = app.place.world.node_ip, app.place.node_port(NAME)
    app.wait_reached(ip, port)
    return f"http://{ip}:{port}{path}"


@pytest.mark.states("segue load")
def test_every_request_is_accounted_for(serving: App, measured: Measured) -> None:
    code, told = fired(serving, url_of(serving, "/fast"), "--rate", "200", "--for", "3s")

    assert code == 0
    assert set(told) == FIELDS
    page = (ROOT / "docs" / "reference" / "load.md").read_text()
    assert all(f"`{name}`" in page for name in FIELDS)
    assert (told["requests"], told["lost"], told["ownFaults"]) == (600, 0, 0), told
    assert told["outcomes"] == {"ok": 600}
    assert told["versions"] == {"v0.1": 600}
    assert sum(second.get("v0.1", 0) for second in told["seconds"]) == 600
    measured("median latency through the NodePort", told["latencyMs"]["p50"], "ms")


@pytest.mark.states("segue load")
@pytest.mark.parametrize("how", [["--keep-alive", "4"], ["--mixed", "--paths", "/fast", "--paths", "/health"]])
def test_kept_connections_and_paths_by_turns_are_fired_as_asked(serving: App, how: list[str]) -> None:
    records = serving.home / "kept.jsonl"
    code, told = fired(
        serving, url_of(serving, "/fast"), "--rate", "100", "--for", "2s", "--records", str(records), *how
    )
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    connections = {(row[7], row[8]) for row in rows}

    assert (code, told["lost"], len(rows)) == (0, 0, told["requests"])
    if "--mixed" in how:
        assert {row[-2] for row in rows} == {"/fast", "/health"}
        assert 100 <= len(connections) < 200
    else:
        assert len(connections) <= 4


@pytest.mark.states("segue load: outcomes")
def test_bad_answers_are_told_apart(app: App) -> None:
    place = app.place
    place.create(manifests.pod("web", readinessProbe=manifests.http("ready")))
    ip = place.wait_ready("web")["status"]["podIP"]
    base, brief = f"http://{ip}:{manifests.PORT}", ["--rate", "20", "--for", "1s", "--timeout", "1s"]

    assert fired(app, f"{base}/nowhere", *brief)[1]["outcomes"] == {"bad-status": 20}
    assert fired(app, f"{base}/slow?s=30", *brief)[1]["outcomes"] == {"read-timeout": 20}
    assert fired(app, f"{base}/redirect?to=/", *brief)[0] == 0
    assert fired(app, f"http://{ip}:1/", *brief)[1]["outcomes"] == {"connect-refused": 20}
    code, told = fired(app, f"{base}/exit", "--rate", "2", "--for", "500ms")
    assert code == 9
    assert told["lost"] >= 1
    assert set(told["outcomes"]) <= {"empty-answer", "reset-before-answer", "connect-refused"}, told


@pytest.mark.states("segue load: outcomes")
def test_a_service_without_endpoints_refuses_and_an_address_of_nobody_does_not_answer(app: App) -> None:
    place = app.place
    place.create(manifests.service(type="NodePort"))
    port = place.node_port()

    url = f"http://{place.world.node_ip}:{port}/"
    assert set(fired(app, url, "--rate", "10", "--for", "500ms")[1]["outcomes"]) == {"connect-refused"}
    # Of no node's share of the pods' addresses: within it any may be another test's pod
    code, told = fired(app, "http://10.244.77.7:80/", "--rate", "4", "--for", "500ms")
    assert code == 9
    assert set(told["outcomes"]) <= {"unreachable", "connect-timeout"}, told


@pytest.mark.states("segue load")
def test_a_drill_says_that_it_needs_an_embedded_cluster_and_what_to_do_instead(serving: App) -> None:
    said = serving.refused("drill", "delete", "-f", str(serving.home / "v1.yaml"), code=4)

    assert "no embedded cluster runs, and a drill needs one" in said
    assert "segue up" in said
    assert "segue load beside segue release" in said


@pytest.mark.states("segue load")
def test_what_a_native_rollout_loses_is_counted(serving: App, measured: Measured) -> None:
    with serving.load(rate=200) as native:
        serving.place.kubectl("rollout", "restart", f"deployment/{NAME}")
        serving.place.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout", "60s")
        serving.pods()

    outcomes = native.found["outcomes"]
    assert native.found["requests"] == sum(outcomes.values())
    assert set(native.found["versions"]) == {"v0.1"}
    measured("lost by a native rolling restart of 3 pods", native.found["lost"], "requests")
