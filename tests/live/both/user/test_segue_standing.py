"""`segue status` and `segue history`, for people and for machines; receipts; what every command prints where."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.live.both.user.app import NAME, UNHEALTHY, V1, V2, App
from tests.live.conftest import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue status": "Tells versions, pods, Services and where a release stands, before, during and after; a list "
    "where no name is given; the same for machines.",
    "segue history": "Lists what kubectl rollout history lists, with images, pods and the change cause.",
    "outputs": "Results go to standard output, progress and errors to standard error; -o json and -o yaml hold the "
    "fields that the reference names, and nothing else is printed there.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
STATUS_FIELDS = {
    *("deployment", "replicas", "ready", "version", "release", "drivenBy", "since", "versions", "services"),
}
HISTORY_FIELDS = {"revision", "version", "replicas", "current", "images", "cause"}


@pytest.mark.states("segue status", "outputs")
def test_status_tells_where_a_release_stands(serving: App) -> None:
    before, plain = serving.status(), serving.done("status", NAME)
    going = serving.start("release", "-f", serving.file(UNHEALTHY), "--timeout", "90")
    wait_until(lambda: serving.status()["versions"][1:], limit_s=30, every_s=0.1, what="a second version")
    during, told = serving.status(), serving.done("status", NAME)
    row = serving.done("status").splitlines()
    going.process.terminate()
    going.end()
    left = serving.status()
    serving.done("abort", NAME)
    after = serving.status()
    old = before["version"]

    assert set(before) == set(during) == set(left) == STATUS_FIELDS
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert all(f"`{name}`" in page for name in STATUS_FIELDS | HISTORY_FIELDS)
    assert (before["deployment"], before["ready"], before["replicas"], before["release"]) == (
        NAME,
        3,
        3,
        "none under way",
    )
    assert f"Deployment test: 3 of 3 Ready, version {old}\n  release: none under way\n" in plain
    assert "release under way for" in during["release"]
    assert "the old version serves" in during["release"]
    assert during["drivenBy"]
    assert during["version"] == left["version"] == after["version"] == old
    assert "serves, detached" in told
    assert f"Service test: pinned to {old}, 3 ready endpoints" in told
    assert row[0].split() == ["DEPLOYMENT", "READY", "VERSION", "RELEASE"]
    assert row[1].split()[:3] == [NAME, "3/3", old]
    assert left["drivenBy"] is None
    assert "nobody drives it" in left["release"]
    assert after["release"] == "none under way"
    assert after["services"] == before["services"]


@pytest.mark.states("segue history", "segue status", "outputs")
def test_history_is_what_kubectl_lists_and_machines_find_what_the_pages_name(serving: App) -> None:
    place = serving.place
    note = "kubernetes.io/change-cause"
    place.kubectl("annotate", "deployment", NAME, f"{note}=the first")
    with serving.load():
        released = serving.segue("release", "-f", serving.file(V2), "-o", "yaml")
    history = serving.done("history", NAME)
    rows = json.loads(serving.done("history", NAME, "-o", "json"))
    native = place.kubectl("rollout", "history", f"deployment/{NAME}").splitlines()[2:]
    many = json.loads(serving.done("status", "-o", "json"))
    listed = yaml.safe_load(serving.done("status", NAME, "-o", "yaml"))

    assert history.splitlines()[0].split() == ["REVISION", "VERSION", "PODS", "IMAGES", "CAUSE"]
    assert [row["revision"] for row in rows] == [int(line.split()[0]) for line in native if line.strip()] == [1, 2]
    assert [row["images"] for row in rows] == [["host.org/images/grace:v0.1"], ["host.org/images/grace:v0.2"]]
    assert rows[0]["cause"] == "the first"
    assert [row["current"] for row in rows] == [False, True]
    assert all(set(row) == HISTORY_FIELDS for row in rows)
    assert many == [listed]
    receipt = yaml.safe_load(released.stdout)
    assert receipt["format"] == "segue.dev/receipt/v0"
    assert {end["reason"] for end in receipt["pods"]} <= {"quiet", "timer"}
    assert receipt["asked"]["command"] == "release"
    assert "switch Service test to" in released.stderr


@pytest.mark.states("outputs")
def test_a_release_that_stopped_says_so_to_machines_too(serving: App) -> None:
    stopped = serving.segue("release", "-f", serving.file(UNHEALTHY), "--timeout", "2", "-o", "json")
    kept = sorted((serving.home / "segue" / "receipts").glob("*.json"))
    aborted = serving.done("abort", NAME, "-o", "yaml")
    nothing = serving.segue("release", "-f", serving.file(V1), "-o", "json")

    assert stopped.returncode == 8
    assert json.loads(stopped.stdout)["asked"]["command"] == "release"
    assert f"receipt: {kept[0]}" in stopped.stderr
    assert json.loads(kept[0].read_text()) == json.loads(stopped.stdout)
    assert yaml.safe_load(aborted)["asked"] == {"command": "abort", "deployment": NAME}
    assert json.loads(nothing.stdout)["actions"] == []
    assert nothing.stderr == ""
