"""What belongs together: workloads behind one barrier, configuration with its version, and a guard while it moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import NAME, UNHEALTHY, V1, V2, App
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue together": "Several Deployments switch when all of them are up, or none does; one abort takes all back.",
    "segue pinned configuration": "Each version reads its own copy of a ConfigMap; an undo reads the old one, and the "
    "copy goes with the ReplicaSet that read it.",
    "segue guard": "With the guard installed the API server refuses another template while a release is under way, "
    "dead or alive; scaling stays free.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
SIDE = "side"
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  COLOUR: {colour}
---
"""


def beside(text: str) -> str:
    """A second workload with a Service of its own."""
    return text.replace(f"name: {NAME}", f"name: {SIDE}").replace(f"app/name: {NAME}", f"app/name: {SIDE}")


def both(first: str, second: str) -> str:
    return f"{first}---\n{beside(second)}"


def image_of(app: App, name: str) -> str:
    image: str = app.place.get("deployments", name)["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


@pytest.fixture
def pair(app: App) -> App:
    """Two workloads that serve."""
    app.place.kubectl("apply", "-f", app.file(both(V1, V1), "v1.yaml"))
    app.pods()
    app.place.wait_ready_pods(3, f"app/name={SIDE}")
    return app


# -- together ----------------------------------------------------------------------------------------------------------


@pytest.mark.states("segue together")
def test_two_workloads_switch_together(pair: App) -> None:
    with pair.load() as tally:
        said = pair.done("release", "-f", pair.file(both(V2, V2)), "--together", "-o", "json")
    receipts: list[Obj] = json.loads(said)
    switched = [each["action"] for one in receipts for each in one["actions"] if each["action"].startswith("switch")]

    assert (image_of(pair, NAME), image_of(pair, SIDE)) == ("v0.2", "v0.2")
    assert len(switched) == 2
    tally.check_none_lost()
    pair.check_clean()


@pytest.mark.states("segue together")
def test_when_one_does_not_come_up_none_has_moved(pair: App) -> None:
    before = [users_selector(pair, name) for name in (NAME, SIDE)]
    with pair.load() as tally:
        ended = pair.segue("release", "-f", pair.file(both(V2, UNHEALTHY)), "--together", "--timeout", "8")

    assert ended.returncode == 8, ended.stderr
    assert f"{SIDE}: 0 of 3 new pods are Ready" in ended.stderr
    assert (image_of(pair, NAME), image_of(pair, SIDE)) == ("v0.1", "v0.1")
    assert [users_selector(pair, name) for name in (NAME, SIDE)] == before
    tally.check_none_lost()
    pair.check_clean()


@pytest.mark.states("segue together")
def test_one_abort_takes_all_back(pair: App) -> None:
    held = pair.segue("release", "-f", pair.file(both(V2, V2)), "--together", "--strategy", "blue-green", "--no-wait")
    pair.done("abort", SIDE)

    assert held.returncode == 0, held.stderr
    assert (image_of(pair, NAME), image_of(pair, SIDE)) == ("v0.1", "v0.1")
    pair.check_clean()


def users_selector(app: App, name: str) -> dict[str, str]:
    found: dict[str, str] = app.place.get("services", name)["spec"]["selector"]
    return found


# -- configuration -----------------------------------------------------------------------------------------------------


def configured(text: str, colour: str) -> str:
    """The workload reads a ConfigMap into its environment."""
    read = "          envFrom:\n            - configMapRef:\n                name: settings\n          livenessProbe:\n"
    return CONFIG.format(colour=colour).lstrip() + text.replace("          livenessProbe:\n", read, 1)


def colours(app: App) -> set[str]:
    """What the pods have in their environment."""
    pods = [pod["metadata"]["name"] for pod in app.pods()]
    return {app.place.kubectl("exec", pod, "--", "sh", "-c", "echo $COLOUR").strip() for pod in pods}


@pytest.mark.states("segue pinned configuration")
def test_an_undo_brings_the_configuration_back_too(app: App) -> None:
    app.place.kubectl("apply", "-f", app.file(configured(V1, "red"), "v1.yaml"))
    app.pods()
    plan = app.done("plan", "-f", app.file(configured(V2, "blue")), "--pin-config")
    with app.load() as tally:
        app.done("release", "-f", str(app.home / "app.yaml"), "--pin-config")
        blue = colours(app)
        app.done("undo", NAME)
    copies = [one for one in app.place.all("configmaps") if one["metadata"]["name"].startswith("settings-")]

    assert "ConfigMap settings is pinned as settings-" in plan
    assert (blue, colours(app)) == ({"blue"}, {"red"})
    assert [owner["kind"] for owner in copies[0]["metadata"]["ownerReferences"]] == ["ReplicaSet"]
    tally.check_none_lost()


@pytest.mark.states("segue pinned configuration")
def test_configuration_that_changes_in_place_is_warned_of(app: App) -> None:
    app.place.kubectl("apply", "-f", app.file(configured(V1, "red"), "v1.yaml"))
    app.pods()

    assert "warning: ConfigMap settings changes in place" in app.done("plan", "-f", app.file(configured(V2, "blue")))


# -- the guard ---------------------------------------------------------------------------------------------------------


@contextmanager
def guarded(app: App) -> Iterator[None]:
    """The guard, as its page says; it is of the whole cluster and goes when the block ends."""
    file = app.file(app.done("guard"), "guard.yaml")
    app.place.kubectl("apply", "-f", file)
    try:
        yield
    finally:
        app.place.kubectl("delete", "-f", file)


def set_image(app: App, tag: str) -> str:
    """What the API server says to a foreign template, "" where it takes it (which is tried without doing it)."""
    image = f"service=host.org/images/grace:{tag}"
    done = app.place.run("kubectl", "set", "image", f"deployment/{NAME}", image, "--dry-run=server")
    return done.stderr if done.returncode else ""


@pytest.mark.states("segue guard")
def test_a_foreign_template_is_refused_while_a_release_is_under_way(serving: App) -> None:
    with guarded(serving), serving.load() as tally:
        assert set_image(serving, "v0.9") == ""
        serving.segue("release", "-f", serving.file(V2), "--strategy", "blue-green", "--no-wait")
        wait_until(lambda: bool(set_image(serving, "v0.9")), limit_s=30, what="the guard to be in effect")
        refused = set_image(serving, "v0.9")
        serving.place.kubectl("scale", f"deployment/{NAME}", "--replicas=4")
        serving.place.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
        serving.done("promote", NAME)
        assert set_image(serving, "v0.9") == ""

    assert "a release by segue is under way on Deployment test" in refused
    assert "segue abort test takes it back" in refused
    assert serving.versions() == {"v0.2"}
    tally.check_none_lost()
    serving.check_clean()
