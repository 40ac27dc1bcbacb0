"""Scripted scenarios: releases by segue during which something dies, is killed, deleted, evicted or changed."""

from __future__ import annotations

import os
import signal

import pytest

from segue.model.objects import name_of
from tests.live.both.scenarios.scripts import GENTLE, HELD, change, let_one_be_ready, running, web
from tests.live.both.scenarios.stage import Stage, is_pinned, memory_of, ready_endpoints, restarts, scenario
from tests.live.both.scenarios.test_releases import detached, file_of, held_release

pytestmark = pytest.mark.live
# The one moment after a switch at which nothing goes on by itself
STANDS_BY = ("--strategy", "blue-green", "--check", "true", "--keep-old", "8")


@scenario
def test_a_release_killed_while_its_pods_come_up_goes_on_with_the_same_command(stage: Stage) -> None:
    web(stage, 2)
    file = file_of(stage, "v2", 2, strings=HELD)
    stage.act("segue release of pods that are not Ready yet, killed while it waits for them")
    with stage.segue_running("release", "-f", file) as process:
        detached(stage)
        running(stage, 2, "v2")
        os.kill(process.pid, signal.SIGKILL)
    stage.act("they become Ready")
    for _ in range(2):
        let_one_be_ready(stage, "v2")
    stage.act("the same command again")
    stage.segue("release", "-f", file)


@pytest.mark.full
@scenario
def test_a_release_killed_after_its_pin_goes_on_with_the_same_command(stage: Stage) -> None:
    web(stage, 2)
    file = file_of(stage, "v2", 2)
    stage.act("segue release, killed once it has pinned the Service, and the same command again")
    with stage.segue_running("release", "-f", file) as process:
        stage.wait("the pin", lambda view: is_pinned(view.one("services", "web")))
        os.kill(process.pid, signal.SIGKILL)
    # How far it came before the signal is chance: what both runs together did is not
    stage.segue("release", "-f", file, tell=False)


@pytest.mark.full
@scenario
def test_a_release_killed_after_its_switch_goes_on_with_the_same_command(stage: Stage) -> None:
    web(stage, 2)
    file = file_of(stage, "v2", 2)
    stage.act("segue release, killed once it has switched")
    with stage.segue_running("release", "-f", file, *STANDS_BY) as process:
        switched(stage)
        os.kill(process.pid, signal.SIGKILL)
    stage.act("the same command again")
    stage.segue("release", "-f", file, *STANDS_BY)


@pytest.mark.full
@scenario
def test_a_release_killed_after_its_switch_can_be_aborted(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release, killed once it has switched")
    with stage.segue_running("release", "-f", file_of(stage, "v2", 2), *STANDS_BY) as process:
        switched(stage)
        os.kill(process.pid, signal.SIGKILL)
    stage.act("segue abort")
    stage.segue("abort", "web")


@pytest.mark.full
@scenario
def test_a_release_killed_while_the_old_pods_end_leaves_no_trace_after_the_same_command(stage: Stage) -> None:
    web(stage, 2, strings="term=6", grace_s=30)
    file = file_of(stage, "v2", 2)
    stage.act("segue release, killed while the old pods end, and the same command again")
    with stage.segue_running("release", "-f", file) as process:
        stage.wait("the old pods to leave", lambda view: any(leaving(pod) for pod in view.all("pods")))
        os.kill(process.pid, signal.SIGKILL)
    stage.segue("release", "-f", file, tell=False)


@pytest.mark.full
@scenario
def test_a_release_stopped_by_hand_is_aborted(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet, and Ctrl-C")
    with held_release(stage) as process:
        os.kill(process.pid, signal.SIGINT)
        stage.ended("release", process)
    stage.act("segue abort")
    stage.segue("abort", "web")


@pytest.mark.full
@scenario
def test_an_old_pod_deleted_during_a_release_is_replaced_in_its_version(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("an old pod is deleted")
        stage.kubectl("delete", "pod", name_of(stage.pods("v1")[0]), "--wait=false")
        stage.wait("it to leave", lambda view: any(leaving(pod) for pod in view.all("pods")))
        stage.ready(2, "v1")
        stage.act("the new pods become Ready")
        for _ in range(2):
            let_one_be_ready(stage, "v2")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_an_old_pod_evicted_during_a_release_is_replaced_in_its_version(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("an old pod is evicted")
        stage.place.evict(name_of(stage.pods("v1")[0]))
        stage.wait("it to leave", lambda view: any(leaving(each) for each in view.all("pods")))
        stage.ready(2, "v1")
        stage.act("the new pods become Ready")
        for _ in range(2):
            let_one_be_ready(stage, "v2")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_a_new_pod_deleted_during_a_release_is_awaited_again(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("one new pod becomes Ready, the other is deleted")
        let_one_be_ready(stage, "v2")
        other = next(pod for pod in stage.pods("v2") if name_of(pod) not in ready_pods(stage))
        stage.kubectl("delete", "pod", name_of(other), "--wait=false")
        stage.wait("it to leave", lambda view: any(leaving(pod) for pod in view.all("pods")))
        running(stage, 2, "v2")
        stage.act("its successor becomes Ready")
        let_one_be_ready(stage, "v2")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_a_new_pod_that_exits_during_a_release_is_awaited_again(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("a new pod exits")
        stage.exits(stage.pods("v2")[0], 3)
        stage.wait("a restart", lambda view: any(restarts(pod) for pod in view.all("pods")))
        running(stage, 2, "v2")
        stage.act("both become Ready")
        for _ in range(2):
            let_one_be_ready(stage, "v2")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_somebody_who_changes_the_template_during_a_release_stops_it(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("a third version by kubectl")
        change(stage, "v3", GENTLE)
        stage.ended("release", process)
    stage.act("segue abort")
    stage.segue("abort", "web")


@pytest.mark.full
@scenario
def test_somebody_who_takes_the_pin_off_during_a_release_sees_it_come_back(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("the pin is taken off")
        patch = [{"op": "remove", "path": "/spec/selector/pod-template-hash"}]
        stage.place.patch("services", "web", patch, kind="application/json-patch+json")
        stage.wait("the pin", lambda view: is_pinned(view.one("services", "web")))
        stage.act("the new pods become Ready")
        for _ in range(2):
            let_one_be_ready(stage, "v2")
        stage.ended("release", process)


def switched(stage: Stage) -> None:
    """Wait until the endpoints are the new pods."""

    def new_ones_serve() -> bool:
        new = {name_of(pod) for pod in stage.pods("v2")}
        told = bool(memory_of(stage.view, "web").get("switched"))
        return told and bool(new) and ready_endpoints(stage.view, "web") == new

    stage.wait("the switch", lambda _: new_ones_serve())


def leaving(pod: dict[str, object]) -> bool:
    """Whether it is marked deleted."""
    metadata = pod["metadata"]
    assert isinstance(metadata, dict)
    return "deletionTimestamp" in metadata


def ready_pods(stage: Stage) -> set[str]:
    """The names of the pods that are Ready."""
    return {name_of(pod) for pod in stage.view.all("pods") if stage.is_ready(pod)}
