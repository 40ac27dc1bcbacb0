"""Where evidence comes from: an app's own word, through the API server; and what is asked where that fails."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.both.manifests import PORT, deployment, http, pod, service
from tests.live.both.user.app import NAME, V1, App
from tests.live.both.user.prometheus import prometheus
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "app endpoint": "Where a pod's template says so, the app itself is asked through the API server what must not be "
    "lost: its pod ends when it says that nothing is under way, and not before.",
    "falling back": "An app that answers an error, garbage, late or not at all is asked no more: the next source is, "
    "and segue says why.",
    "pod proxy": "GET /api/v1/namespaces/N/pods/NAME:PORT/proxy/PATH answers what the pod answers, and an error where "
    "nobody listens.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
WORD = "segue.dev/traffic"
KERNEL = {"node path", "exec"}


def seen(app: App, *argv: str) -> dict[str, Obj]:
    """By pod, what `-o json` says."""
    rows: list[Obj] = json.loads(app.done("traffic", *argv, "-o", "json"))
    return {row["pod"]: row for row in rows}


@pytest.fixture
def told(app: App) -> list[Obj]:
    """Two pods that tell their traffic as the test lets them: /set answers the puppet's strings."""
    made = deployment("told", 2)
    made["spec"]["template"]["metadata"]["annotations"] = {WORD: f"http://:{PORT}/set"}
    app.place.create(made, service("told", selector={"app": "told"}))
    pods = app.place.wait_ready_pods(2, "app=told")
    for one in pods:
        app.place.pull(one["status"]["podIP"], active="0", accepted="100")
    return pods


@pytest.mark.states("app endpoint")
def test_an_app_says_itself_what_must_not_be_lost(app: App, told: list[Obj]) -> None:
    first, second = (one["metadata"]["name"] for one in told)
    ip = told[0]["status"]["podIP"]
    idle = seen(app, "deploy/told")
    app.place.pull(ip, active="3", accepted="103")
    busy = seen(app, "deploy/told")
    going = app.start("retire", first, "-o", "json")
    assert going.until("take pod")
    began_s = time.time()
    app.place.pull(ip, accepted="104")
    # Longer than the timer of 5 s: what is under way holds it, and nothing else does
    wait_until(lambda: time.time() - began_s > 9, limit_s=12, what="more than the timer")
    still = app.place.get("pods", first)
    app.place.pull(ip, active="0")
    code, out, told_then = going.end()
    (end,) = json.loads(out)["pods"]

    assert {name: (row["source"], row["live"]) for name, row in idle.items()} == {first: ("app", 0), second: ("app", 0)}
    assert (busy[first]["live"], busy[first]["verdict"], busy[second]["live"]) == (3, "busy", 0)
    assert "deletionTimestamp" not in still["metadata"]
    assert code == 0, told_then
    assert end["evidenceSource"] == "app"
    assert end["reason"] in {"quiet", "timer"}


@pytest.mark.states("falling back", "pod proxy")
def test_a_source_that_fails_is_followed_by_the_next_one(app: App) -> None:
    words = {
        "missing": (f"http://:{PORT}/nowhere", "answers 404"),
        "garbage": (f"http://:{PORT}/", "answers no JSON"),
        "strange": (f"http://:{PORT}/events", "answers no JSON object"),
        "refused": ("http://:81/", "answers 50"),
        "late": (f"http://:{PORT}/slow?s=30", "no answer within 1 s"),
        "typo": ("http//8080", "is neither http://:PORT/PATH nor prometheus:URL"),
        "nobody": ("prometheus:http://127.0.0.1:9", "does not answer"),
    }
    for name, (word, _) in words.items():
        made = pod(name, readinessProbe=http("ready"))
        series = {f"{WORD}-active": "a", f"{WORD}-accepted": "b"} if name == "nobody" else {}
        made["metadata"]["annotations"] = {WORD: word, **series}
        app.place.create(made)
    app.place.create(service())
    for name in words:
        app.place.wait_ready(name)
    asked = app.segue("traffic", "--every", "8", "-o", "json")
    found = {row["pod"]: row for row in json.loads(asked.stdout)}

    assert set(found) == set(words)
    assert {name for name, row in found.items() if row["source"] not in KERNEL} == set(), found
    for name, (_, why) in words.items():
        assert why in found[name]["trouble"], found[name]
    assert asked.stderr.count("in another way") == len(words)


VIEWER = """
apiVersion: v1
kind: ServiceAccount
metadata:
  name: viewer
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: viewer
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
  - {kind: ServiceAccount, name: viewer}
"""


@pytest.mark.states("falling back")
def test_who_may_not_look_into_pods_is_told_so_and_nothing_is_claimed(serving: App) -> None:
    place = serving.place
    place.kubectl("apply", "-f", serving.file(VIEWER, "viewer.yaml"))
    token = place.kubectl("create", "token", "viewer").strip()
    text = Path(place.env["KUBECONFIG"]).read_text()
    nobody = re.sub(r"(?m)^ +(token|client-certificate-data|client-key-data): .*\n", "", text)
    limited = re.sub(r"(?m)^( *)user:\s*(\{\})?\n(?=\s|$)", rf"\1user:\n\1  token: {token}\n", nobody)
    kubeconfig = serving.file(limited, "limited.yaml")
    found = seen(serving, NAME, "--kubeconfig", kubeconfig, "-n", place.namespace)

    assert len(found) == 3
    assert {row["source"] for row in found.values()} == {"timer"}
    assert {row["verdict"] for row in found.values()} == {"not enough evidence"}
    assert all(row["open"] is None and row["arrivalsPerSecond"] is None for row in found.values())
    assert all("forbidden" in row["trouble"].lower() or "403" in row["trouble"] for row in found.values()), found


@pytest.mark.full
@pytest.mark.states("falling back", "app endpoint")
def test_a_prometheus_tells_until_it_is_gone(app: App) -> None:
    """Requests by their counter; of what is active a series that is 0 once the pod has been scraped twice."""
    with ExitStack() as keeps:
        series = {
            WORD: "prometheus:http://127.0.0.1:PORT",
            f"{WORD}-active": 'scrape_series_added{pod="$SEGUE_POD"}',
            f"{WORD}-accepted": 'http_requests_total{namespace="$SEGUE_NAMESPACE",pod="$SEGUE_POD"}',
        }
        app.place.kubectl("apply", "-f", app.file(V1, "v1.yaml"))
        app.pods()
        metrics = keeps.enter_context(prometheus(app.place, app.home, 3))
        keeps.enter_context(app.load())
        patch = {key: text.replace("http://127.0.0.1:PORT", metrics.url) for key, text in series.items()}
        for each in app.pods():
            app.place.patch("pods", each["metadata"]["name"], {"metadata": {"annotations": patch}})
        query = f'http_requests_total{{namespace="{app.place.namespace}"}}'
        wait_until(lambda: len(metrics.values(query)) >= 3, limit_s=30, what="the requests to be scraped")
        told = seen(app, NAME, "--every", "6")
        going = app.start("traffic", NAME, "--watch", "--every", "2", "-o", "json")
        assert going.process.stdout is not None
        before = json.loads(going.process.stdout.readline())
        metrics.stop()
        after: list[Obj] = []
        for _ in range(12):
            after = json.loads(going.process.stdout.readline())
            if {row["source"] for row in after} <= KERNEL:
                break
        going.process.terminate()
        _, _, said = going.end()

    assert {row["source"] for row in told.values()} == {"prometheus"}, told
    assert all(row["arrivalsPerSecond"] > 5 and row["live"] == 0 for row in told.values()), told
    assert {row["source"] for row in before} == {"prometheus"}
    assert {row["source"] for row in after} <= KERNEL
    assert all("does not answer" in row["trouble"] for row in after)
    assert "in another way" in said


@pytest.mark.states("pod proxy")
def test_the_api_server_asks_a_pod_for_who_may(app: App, told: list[Obj]) -> None:
    name = told[0]["metadata"]["name"]
    path = app.place.path("pods", f"{name}:{PORT}", "proxy/set")
    code, found = app.place.world.call("GET", path + "?ready=200")
    missing, _ = app.place.world.call("GET", app.place.path("pods", "none:80", "proxy/"))
    by_default, _ = app.place.world.call("GET", app.place.path("pods", name, "proxy/events"))

    assert (code, found["accepted"], found["ready"]) == (200, "100", "200")
    assert missing == 404
    assert by_default == 200, "without a port it is the first that a container declares"
