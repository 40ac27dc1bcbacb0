"""Strategies other than all-first, as a user meets them: steps, stops, checks before the switch, old connections."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest

from tests.live.both.user.app import NAME, V1, V2, App, changes, error_of, users_part
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue all-first": "The old pods leave traffic alive right after the switch: the pin waits for no connection, and "
    "none is cut.",
    "segue superseding": "A newer target takes over what still drains: it does not wait for old connections, nor cut "
    "them.",
    "segue ramped": "Replaces a few pods at a time, never more alive than the step allows, without a loss; killed at "
    "any step the same command goes on, and an abort goes back without a loss.",
    "segue canary": "Holds at its stops with so many new pods until it is promoted; goes on or back without loss.",
    "segue blue-green": "Lets a preview Service reach the new pods alone and runs a check before the switch; takes all "
    "back where that fails.",
    "segue handover": "Existing connections stay on the old pods, new ones go to the new version, the Service is not "
    "pinned while they last.",
    "segue recreate": "Ends all old pods before a new one begins, and gives the strategy back.",
    "segue pause, resume, promote": "A word from another shell holds the release that runs, or lets it go on.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
FOUR = V1.replace("replicas: 3", "replicas: 4")
FOUR_V2 = V2.replace("replicas: 3", "replicas: 4")


@dataclass(slots=True)
class Crowd:
    """Most pods that were there at once: those that run, or have run, and are not gone."""

    most: int = 0
    names: set[str] = field(default_factory=set)


@contextmanager
def crowd(app: App) -> Iterator[Crowd]:
    """Count running pods while the block runs."""
    found, over = Crowd(), threading.Event()

    def count() -> None:
        while not over.wait(0.2):
            running = [
                pod["metadata"]["name"]
                for pod in app.place.all("pods")
                if any(one.get("started") for one in pod["status"].get("containerStatuses") or [])
            ]
            found.most = max(found.most, len(running))
            found.names.update(running)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield found
    finally:
        over.set()
        counting.join()


def check_arrived(app: App, count: int = 3) -> None:
    """v0.2 alone is there, and all objects are the user's."""
    assert app.versions(count) == {"v0.2"}
    app.check_clean()
    assert sorted(each["spec"]["replicas"] for each in app.place.all("replicasets")) == [0, count]
    done = app.place.run("kubectl", "diff", "-f", str(app.home / "app.yaml"))
    assert (done.returncode, done.stdout) == (0, "")


# -- ramped ------------------------------------------------------------------------------------------------------------


@pytest.mark.states("segue ramped")
def test_a_ramped_release_replaces_pods_a_few_at_a_time(app: App, measured: Measured) -> None:
    app.place.kubectl("apply", "-f", app.file(FOUR, "v1.yaml"))
    app.pods(4)
    planned = json.loads(app.done("plan", "-f", app.file(FOUR_V2), "--strategy", "ramped", "--step", "1", "-o", "json"))
    with app.load() as tally, crowd(app) as found:
        released = json.loads(
            app.done("release", "-f", app.file(FOUR_V2), "--strategy", "ramped", "--step", "1", "-o", "json")
        )

    tally.check_none_lost()
    assert (planned[0]["peakPods"], planned[0]["floorPods"]) == (5, 4)
    assert [end["reason"] for end in released["pods"]] == ["quiet"] * 4
    # 4 that serve and the next new one; an orphan and what took its place may both still be ending
    assert found.most <= 7
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    check_arrived(app, 4)
    measured("most pods that ran at once, of 4", found.most, "pods")


@pytest.mark.states("segue ramped")
def test_a_ramped_release_that_is_killed_goes_on_and_comes_back(serving: App) -> None:
    before = users_part(serving.deployment())
    argv = ("release", "-f", serving.file(V2), "--strategy", "ramped")
    killed = []
    with serving.load() as tally:
        for step in ("change the template", "out of traffic", "no room for more", "end pod", "room for 1 more pod"):
            going = serving.start(*argv)
            if going.until(step):
                going.kill()
                killed.append(step)
            else:
                assert going.end()[0] == 0, going.told
        back = serving.done("abort", NAME)
        versions = serving.versions()
        serving.check_clean()
        serving.done(*argv)

    assert len(killed) >= 4, killed
    assert versions == {"v0.1"}, back
    assert before["spec"]["strategy"] == users_part(serving.deployment())["spec"]["strategy"]
    tally.check_none_lost()
    check_arrived(serving)


# -- canary ------------------------------------------------------------------------------------------------------------


@pytest.mark.states("segue canary", "segue pause, resume, promote")
def test_a_canary_holds_goes_back_and_goes_on(serving: App) -> None:
    before = users_part(serving.deployment())
    argv = ("release", "-f", serving.file(V2), "--strategy", "canary", "--stop", "1,2", "--no-wait")
    with serving.load() as tally:
        held = serving.done(*argv)
        status = serving.status()
        aborted = serving.segue("abort", NAME)
        back = users_part(serving.deployment())
        first = serving.done(*argv)
        second = serving.done("promote", NAME, "--no-wait")
        ended = serving.done("promote", NAME)

    assert "1 new pod beside 3 old; segue promote test goes on" in held
    assert "it holds at 1: segue promote test" in status["release"]
    assert aborted.returncode == 0, aborted.stderr
    assert changes(before, back) == {}
    assert "1 new pod beside" in first
    assert "2 new pods beside" in second
    assert "at version" in ended
    tally.check_none_lost()
    check_arrived(serving)


@pytest.mark.states("segue pause, resume, promote")
def test_another_shell_pauses_resumes_and_promotes_the_release_that_runs(serving: App) -> None:
    going = serving.start("release", "-f", serving.file(V2), "--strategy", "canary", "--stop", "1")
    with serving.load() as tally:
        assert going.until("segue promote test goes on"), going.told
        watching = serving.start("status", NAME, "--watch")
        paused = serving.done("pause", NAME)
        promoted = json.loads(serving.done("promote", NAME, "-o", "json"))
        assert going.until("room for 1 more pod") or going.process.returncode == 0, going.told
        serving.done("pause", NAME)
        assert going.until("segue resume test goes on"), going.told
        serving.done("resume", NAME)
        code, out, told = going.end()
        seen = watching.end()

    assert (seen[0], seen[1].count("none under way")) == (0, 1), seen
    assert seen[1].count("paused: segue resume test") >= 1
    assert "is paused: no further step is begun (driven by segue@" in paused
    assert promoted["drivenBy"].startswith("segue@")
    assert "is promoted to the end" in promoted["said"]
    assert code == 0, told
    assert "at version" in out
    tally.check_none_lost()
    check_arrived(serving)
    assert "no release of Deployment test is under way" in serving.refused("pause", NAME, code=7)


# -- blue-green --------------------------------------------------------------------------------------------------------


@pytest.mark.states("segue blue-green")
def test_a_check_decides_before_the_switch(serving: App) -> None:
    before = users_part(serving.deployment())
    asks = 'kubectl get endpointslice -l kubernetes.io/service-name=$SEGUE_PREVIEW -o name; echo "saw $SEGUE_POD_IPS"'
    manner = ("--strategy", "blue-green", "--preview", "next")
    with serving.load() as tally:
        failed = error_of(serving.segue("release", "-f", serving.file(V2), *manner, "--check", f"{asks}; exit 3"), 8)
        back = users_part(serving.deployment())
        found = set(tally.found.get("versions", {}))
        told = serving.segue("release", "-f", serving.file(V2), *manner, "--check", asks)

    assert "the check failed (exit code 3: saw 1" in failed
    assert changes(before, back) == {}
    assert not found
    assert told.returncode == 0, told.stderr
    assert "the check has passed" in told.stderr
    assert "because saw 1" in told.stderr
    tally.check_none_lost()
    check_arrived(serving)
    assert [one["metadata"]["name"] for one in serving.place.all("services") if one["metadata"]["name"] == "next"] == []


@pytest.mark.states("segue blue-green")
def test_the_preview_reaches_new_pods_alone_and_old_pods_stand_by(serving: App, measured: Measured) -> None:
    place = serving.place
    manner = ("--strategy", "blue-green", "--preview", "next", "--keep-old", "120", "--no-wait")
    with serving.load() as tally:
        held = serving.done("release", "-f", serving.file(V2), *manner)
        ip = place.cluster_ip("next")
        port = int(place.get("services", "next")["spec"]["ports"][0]["port"])
        serving.wait_reached(ip, port)
        tried = {place.ask(ip, port, "/version")[1].split()[1] for _ in range(10)}
        going = serving.start("promote", NAME)
        assert going.until("the old pods stand by for 120 s"), going.told
        door = place.cluster_ip(NAME), int(place.get("services", NAME)["spec"]["ports"][0]["port"])
        wait_until(lambda: "v0.2" in place.ask(*door, "/version")[1], limit_s=10, what="the new version to be asked")
        going.process.terminate()
        assert going.end()[0] == 130
        aborted = json.loads(serving.done("abort", NAME, "-o", "json"))

    assert "all 3 new pods are Ready and have no traffic" in held
    assert tried == {"v0.2"}
    back = next(each["atS"] for each in aborted["actions"] if each["action"].startswith("switch Service"))
    measured("from abort to the switch back", back, "s")
    assert back < 5
    tally.check_none_lost()
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    assert serving.versions() == {"v0.1"}
    serving.check_clean()


def at_of(told: str, action: str) -> float:
    """When an action was told, by the clock at the beginning of its line."""
    line = next(line for line in told.splitlines() if action in line)
    return float(line.split()[0])


def out_of_traffic(app: App) -> list[str]:
    """Old pods that live on without a Service."""
    found = [pod["metadata"] for pod in app.place.all("pods")]
    return [one["name"] for one in found if "segue.dev/orphan-of" in one["labels"] and "deletionTimestamp" not in one]


# -- handover and recreate ---------------------------------------------------------------------------------------------


@contextmanager
def talk(app: App, ip: str, port: int) -> Iterator[list[str]]:
    """One connection that carries requests, with pauses at first, while the block runs: who answered, or the error."""
    heard: list[str] = []
    over = threading.Event()

    def speak() -> None:
        with closing(http.client.HTTPConnection(ip, port)) as way:
            way.sock = app.place.connect(ip, port)
            try:
                while not over.wait(4.0 if len(heard) in {1, 2} else 0.3):
                    way.request("GET", "/version")
                    heard.append(way.getresponse().read().decode().split()[1])
            except (OSError, http.client.HTTPException) as error:
                heard.append(repr(error))

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        yield heard
    finally:
        over.set()
        speaking.join()


@pytest.mark.states("segue handover")
def test_connections_stay_where_they_are_and_the_service_is_free(serving: App, measured: Measured) -> None:
    place = serving.place
    ip, port = place.world.node_ip, place.node_port(NAME)
    serving.wait_reached(ip, port)
    argv = ("release", "-f", serving.file(V2), "--strategy", "handover", "--drain-cap", "90", "--timeout", "60")
    with serving.load() as tally:
        with talk(serving, ip, port) as heard:
            going = serving.start(*argv)
            assert going.until("unpin Service"), going.told
            wait_until(lambda: "pod-template-hash" not in serving.selector(), limit_s=10, what="the unpin")
            assert {place.ask(ip, port, "/version")[1].split()[1] for _ in range(8)} == {"v0.2"}
            wait_until(lambda: len(out_of_traffic(serving)) == 1, limit_s=20, what="the other old pods to end")
            known = len(heard)
            wait_until(lambda: len(heard) > known + 5, limit_s=20, what="more answers on the old connection")
        code, out, told = going.end()

    assert set(heard) == {"v0.1"}, heard
    for began, ended in (("pin Service", "detach ReplicaSet"), ("switch Service", "unpin Service")):
        measured(f"window from {began} to {ended}", at_of(told, ended) - at_of(told, began), "s")
    assert code == 0, told
    assert "old pods ended: 3 quiet" in out or "timer" in out, out
    assert "capped" not in out
    tally.check_none_lost()
    check_arrived(serving)


@pytest.mark.states("segue all-first")
def test_the_pin_waits_for_no_connection(serving: App, measured: Measured) -> None:
    """Between pin and detachment, and between switch and unpin, a foreign template could empty the Service."""
    place = serving.place
    ip, port = place.world.node_ip, place.node_port(NAME)
    serving.wait_reached(ip, port)
    with serving.load() as tally, talk(serving, ip, port) as heard:
        going = serving.start("release", "-f", serving.file(V2), "--drain-cap", "30")
        assert going.until("unpin Service"), going.told
        known = len(heard)
        wait_until(lambda: len(heard) > known + 2, limit_s=20, what="answers on the old connection")
        assert "pod-template-hash" not in serving.selector()
        assert set(heard) == {"v0.1"}, heard
    code, _, told = going.end()

    for began, ended in (("pin Service", "detach ReplicaSet"), ("switch Service", "unpin Service")):
        measured(f"window from {began} to {ended}", at_of(told, ended) - at_of(told, began), "s")
    assert code == 0, told
    tally.check_none_lost()
    check_arrived(serving)


@pytest.mark.states("segue superseding")
def test_an_undo_does_not_wait_for_old_connections_and_does_not_cut_them(serving: App) -> None:
    place = serving.place
    ip, port = place.world.node_ip, place.node_port(NAME)
    serving.wait_reached(ip, port)
    with serving.load() as tally:
        with talk(serving, ip, port) as heard:
            handover = serving.start(
                "release", "-f", serving.file(V2), "--strategy", "handover", "--drain-cap", "90", "--timeout", "60"
            )
            assert handover.until("unpin Service"), handover.told
            handover.kill()
            undo = serving.start("undo", NAME)
            assert undo.until("switch Service"), undo.told
            known = len(heard)
            wait_until(lambda: len(heard) > known + 5, limit_s=20, what="more answers on the old connection")
            assert set(heard) == {"v0.1"}, heard
        code, _, told = undo.end()

    assert code == 0, told
    assert serving.versions() == {"v0.1"}
    tally.check_none_lost()
    serving.check_clean()


@pytest.mark.states("segue recreate")
def test_recreate_has_never_two_versions(serving: App) -> None:
    before = users_part(serving.deployment())
    planned = serving.done("plan", "-f", serving.file(V2), "--strategy", "recreate")
    with serving.place.watch("pods") as seen:
        serving.done("release", "-f", serving.file(V2), "--strategy", "recreate")
    alive: dict[str, str] = {}
    for each in seen.happenings:
        name = each.object["metadata"]["name"]
        if each.type == "DELETED" or each.object["status"].get("phase") in {"Succeeded", "Failed"}:
            alive.pop(name, None)
        elif any(one.get("started") for one in each.object["status"].get("containerStatuses") or []):
            alive[name] = each.object["metadata"]["labels"]["pod-template-hash"]
        assert len(set(alive.values())) <= 1, alive

    assert "from here on requests are lost" in planned
    assert "at least 0 serving" in planned
    check_arrived(serving)
    assert before["spec"]["strategy"] == users_part(serving.deployment())["spec"]["strategy"]
