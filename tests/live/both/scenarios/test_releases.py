"""Scripted scenarios: releases by segue that end well, are refused, or stop because of what they are given."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segue.model.objects import Obj
from tests.live.both.scenarios.scripts import HELD, deployment, let_one_be_ready, running, service, web
from tests.live.both.scenarios.stage import Stage, memory_of, scenario, version_of_pod, waits_for

pytestmark = pytest.mark.live


def file_of(stage: Stage, version: str, count: int = 3, **more: object) -> str:
    """The manifest of a version."""
    return stage.manifest(deployment(count, version=version, **more), service())  # type: ignore[arg-type]


@scenario
def test_a_release_brings_all_new_pods_switches_and_ends_the_old_ones(stage: Stage) -> None:
    web(stage)
    stage.act("segue release")
    stage.segue("release", "-f", file_of(stage, "v2"))


@pytest.mark.full
@scenario
def test_a_first_release_makes_what_the_manifest_says(stage: Stage) -> None:
    stage.act("segue release of what is not there yet")
    stage.segue("release", "-f", file_of(stage, "v1", 2))
    stage.act("the same again")
    stage.segue("release", "-f", file_of(stage, "v1", 2))


@pytest.mark.full
@scenario
def test_a_release_and_an_undo_end_where_they_began(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release")
    stage.segue("release", "-f", file_of(stage, "v2", 2))
    stage.act("segue undo")
    stage.segue("undo", "web")


@pytest.mark.full
@scenario
def test_an_undo_without_an_earlier_version_is_refused(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue undo")
    stage.segue("undo", "web")


@scenario
def test_a_release_whose_pods_never_become_ready_stops_and_an_abort_takes_it_back(stage: Stage) -> None:
    web(stage)
    stage.act("segue release of pods that never become Ready")
    stage.segue("release", "-f", file_of(stage, "v2", strings=HELD), "--timeout", "4")
    stage.act("segue abort")
    stage.segue("abort", "web")


@pytest.mark.full
@scenario
def test_a_stopped_release_goes_on_when_its_pods_become_ready(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    file = file_of(stage, "v2", 2, strings=HELD)
    stage.segue("release", "-f", file, "--timeout", "4")
    stage.act("they become Ready")
    for _ in range(2):
        let_one_be_ready(stage, "v2")
    stage.act("the same command again")
    stage.segue("release", "-f", file)


@pytest.mark.full
@scenario
def test_a_repaired_manifest_takes_the_stopped_release_back_and_goes_on(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that never become Ready")
    stage.segue("release", "-f", file_of(stage, "v2", 2, strings=HELD), "--timeout", "4")
    stage.act("segue release of a repaired version")
    stage.segue("release", "-f", file_of(stage, "v3", 2))


@pytest.mark.full
@scenario
def test_a_release_of_a_version_that_crashes_stops_and_the_old_pods_serve(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of a version that crashes at its start, then segue abort")
    stage.segue("release", "-f", file_of(stage, "v2", 2, strings="listen_s=never"), "--timeout", "4")
    stage.wait(
        "the back-off",
        lambda view: all(waits_for(pod, "CrashLoopBackOff") for pod in view.all("pods") if version_of_pod(pod) == "v2"),
    )
    stage.segue("abort", "web")


@pytest.mark.full
@scenario
def test_an_abort_where_nothing_is_under_way_changes_nothing(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue abort")
    stage.segue("abort", "web")


@scenario
def test_a_scale_up_and_down_by_segue_takes_each_pod_out_of_traffic_first(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue scale to 3")
    stage.segue("scale", "web", "3")
    stage.act("segue scale to 2")
    stage.segue("scale", "web", "2")


@pytest.mark.full
@scenario
def test_a_release_while_somebody_scales_brings_as_many_as_are_wanted(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        stage.act("kubectl scale to 3")
        stage.kubectl("scale", "deployment/web", "--replicas=3")
        stage.ready(3, "v1")
        running(stage, 3, "v2")
        stage.act("they become Ready")
        for _ in range(3):
            let_one_be_ready(stage, "v2")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_a_second_release_while_one_runs_is_refused(stage: Stage) -> None:
    web(stage, 2)
    file = file_of(stage, "v2", 2, strings=HELD)
    stage.act("segue release of pods that are not Ready yet")
    with stage.segue_running("release", "-f", file) as process:
        detached(stage)
        running(stage, 2, "v2")
        stage.act("the same release, another one, a scale, and an undo beside it")
        stage.segue("release", "-f", file)
        stage.segue("release", "-f", file_of(stage, "v3", 2))
        stage.segue("scale", "web", "4")
        stage.segue("undo", "web")
        stage.act("they become Ready")
        for _ in range(2):
            let_one_be_ready(stage, "v2")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_a_service_that_selects_nothing_is_refused(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release with a Service of another label")
    other: Obj = service()
    other["spec"]["selector"] = {"app": "nobody"}
    stage.segue("release", "-f", stage.manifest(deployment(2, version="v2"), other))


@pytest.mark.full
@scenario
def test_a_release_of_pods_none_of_which_is_ready_brings_the_new_ones(stage: Stage) -> None:
    stage.act("a Deployment whose pods never become Ready, and a Service")
    stage.place.create(service(), deployment(2, strings=HELD))
    running(stage, 2, "v1")
    stage.act("segue release")
    stage.segue("release", "-f", file_of(stage, "v2", 2), "--timeout", "45")


@pytest.mark.full
@scenario
def test_a_release_of_a_paused_deployment_says_what_stands_in_its_way(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl rollout pause, then segue release")
    stage.kubectl("rollout", "pause", "deployment/web")
    stage.segue("release", "-f", file_of(stage, "v2", 2), "--timeout", "6")


@pytest.mark.full
@scenario
def test_a_recreate_deployment_is_released_without_a_gap(stage: Stage) -> None:
    web(stage, 2, spec={"strategy": {"type": "Recreate"}})
    stage.act("segue release")
    stage.segue("release", "-f", file_of(stage, "v2", 2, spec={"strategy": {"type": "Recreate"}}))


def detached(stage: Stage) -> None:
    """Wait until a release has let the old ReplicaSet go and taken its brake off: nothing but new pods is awaited."""
    stage.wait("the release to wait for its new pods", lambda view: memory_of(view, "web").get("new_hash"))


@contextmanager
def held_release(stage: Stage) -> Iterator[subprocess.Popen[str]]:
    """A release of two pods of v2 that runs while the block does, and waits: they become Ready one by one when let."""
    with stage.segue_running("release", "-f", file_of(stage, "v2", 2, strings=HELD)) as process:
        detached(stage)
        running(stage, 2, "v2")
        yield process
