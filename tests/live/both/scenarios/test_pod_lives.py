"""Scripted scenarios: what happens to a single pod and its container."""

from __future__ import annotations

import pytest

from segue.model.objects import Obj, name_of
from tests.live.both import manifests
from tests.live.both.scenarios.scripts import GENTLE, probed, web
from tests.live.both.scenarios.stage import Stage, restarts, scenario, waits_for
from tests.live.both.world import is_ready

pytestmark = pytest.mark.live


def one_pod(stage: Stage, **more: object) -> None:
    """The first act: a pod without an owner, and a Service."""
    stage.act("a pod and a Service")
    probe = {"readinessProbe": probed("ready")}
    stage.place.create(manifests.service(), manifests.pod("alone", **({"strings": GENTLE} | probe | more)))  # type: ignore[arg-type]
    stage.ready(1)


def alone(stage: Stage) -> Obj:
    """The pod as it is now."""
    return stage.view.one("pods", "alone")


@scenario
def test_a_failing_liveness_probe_restarts_the_container_and_the_pod_stays(stage: Stage) -> None:
    one_pod(stage, grace_s=60, livenessProbe=manifests.http("health", failures=6, timeoutSeconds=20))
    stage.act("its liveness probe fails")
    stage.pull(alone(stage), health="500")
    stage.wait("a restart", lambda view: restarts(view.one("pods", "alone")) == 1)
    stage.ready(1)


@pytest.mark.full
@scenario
def test_a_readiness_that_flaps_moves_the_endpoint_and_restarts_nothing(stage: Stage) -> None:
    web(stage)
    pod = stage.pods()[0]
    for _ in range(2):
        stage.act("one pod is not Ready any more")
        stage.pull(pod, ready="503")
        stage.ready(2)
        stage.act("it is Ready again")
        stage.pull(pod, ready="200")
        stage.ready(3)


@pytest.mark.full
@scenario
def test_a_container_that_exits_is_started_again_at_once_and_then_after_a_back_off(stage: Stage) -> None:
    one_pod(stage)
    stage.act("its container exits")
    stage.exits(alone(stage), 3)
    stage.wait("a restart", lambda view: restarts(view.one("pods", "alone")) == 1)
    stage.ready(1)
    stage.act("it exits again, and is started again after the back-off")
    stage.exits(alone(stage), 4)
    stage.wait("the back-off", lambda view: waits_for(view.one("pods", "alone"), "CrashLoopBackOff"))
    stage.wait("a restart", lambda view: restarts(view.one("pods", "alone")) == 2)
    stage.ready(1)


@pytest.mark.full
@scenario
def test_a_container_that_ends_well_is_started_again_too(stage: Stage) -> None:
    one_pod(stage)
    stage.act("its container ends")
    stage.exits(alone(stage), 0)
    stage.wait("a restart", lambda view: restarts(view.one("pods", "alone")) == 1)
    stage.ready(1)


@pytest.mark.full
@scenario
def test_a_pod_that_is_never_restarted_fails_with_its_container(stage: Stage) -> None:
    one_pod(stage, spec={"restartPolicy": "Never"})
    stage.act("its container exits")
    stage.exits(alone(stage), 3)
    stage.wait("its end", lambda view: view.one("pods", "alone")["status"]["phase"] == "Failed")


@pytest.mark.full
@scenario
def test_a_pod_that_is_never_restarted_succeeds_with_its_container(stage: Stage) -> None:
    one_pod(stage, spec={"restartPolicy": "Never"})
    stage.act("its container ends")
    stage.exits(alone(stage), 0)
    stage.wait("its end", lambda view: view.one("pods", "alone")["status"]["phase"] == "Succeeded")


@pytest.mark.full
@scenario
def test_a_startup_probe_that_never_succeeds_restarts_the_container(stage: Stage) -> None:
    stage.act("a pod whose startup probe fails, until it has been started again")
    probe = manifests.http("startup", failures=8, timeoutSeconds=20)
    stage.place.create(manifests.service(), manifests.pod("alone", strings="startup=500,term=0.5", startupProbe=probe))
    stage.wait("a restart", lambda view: restarts(view.one("pods", "alone")) == 1)
    stage.pull(alone(stage), startup="200")
    stage.ready(1)


@pytest.mark.full
@scenario
def test_a_pod_past_its_deadline_fails_and_its_container_is_ended(stage: Stage) -> None:
    one_pod(stage)
    stage.act("it gets a deadline that is over")
    stage.place.patch("pods", "alone", {"spec": {"activeDeadlineSeconds": 1}})
    stage.wait("its end", lambda view: view.one("pods", "alone")["status"]["phase"] == "Failed", limit_s=60)


@pytest.mark.full
@scenario
def test_a_replicaset_replaces_a_pod_that_failed(stage: Stage) -> None:
    web(stage, 2)
    stage.act("one pod gets a deadline that is over")
    stage.place.patch("pods", name_of(stage.pods()[0]), {"spec": {"activeDeadlineSeconds": 1}})
    stage.wait("a failed pod", lambda view: any(pod["status"]["phase"] == "Failed" for pod in view.all("pods")), 60)
    stage.wait("three pods", lambda view: len(view.all("pods")) == 3)
    stage.ready(2)


@pytest.mark.full
@scenario
def test_a_second_deletion_only_shortens_the_grace(stage: Stage) -> None:
    one_pod(stage, strings="term=ignore", grace_s=300)
    stage.may_leave = True
    stage.act("it is deleted")
    stage.place.delete("pods", "alone")
    stage.act("it is deleted with a longer grace")
    stage.place.delete("pods", "alone", grace_s=400)
    stage.act("it is deleted with a shorter one")
    stage.place.delete("pods", "alone", grace_s=200)
    stage.act("it is deleted without one")
    stage.place.delete("pods", "alone", grace_s=0)
    stage.wait("its end", lambda view: not view.one("pods", "alone"))


@pytest.mark.full
@scenario
def test_a_pod_that_ignores_its_stop_signal_is_killed(stage: Stage) -> None:
    one_pod(stage, strings="term=ignore", grace_s=1)
    stage.act("it is deleted")
    stage.place.delete("pods", "alone")
    stage.wait("its end", lambda view: not view.one("pods", "alone"))


@pytest.mark.full
@scenario
def test_a_leaving_pod_whose_readiness_fails_serves_no_more(stage: Stage) -> None:
    one_pod(stage, strings="term=ignore", grace_s=300)
    stage.may_leave = True
    stage.act("it is deleted")
    stage.place.delete("pods", "alone")
    stage.act("its readiness fails")
    stage.pull(alone(stage), ready="503")
    stage.wait("not Ready", lambda view: not is_ready(view.one("pods", "alone")))
    stage.act("it exits")
    stage.exits(alone(stage), 5)
    stage.wait("its end", lambda view: not view.one("pods", "alone"))


@pytest.mark.full
@scenario
def test_a_gate_keeps_a_pod_out_of_traffic_until_it_is_opened(stage: Stage) -> None:
    stage.act("a pod with a readiness gate")
    probe = probed("ready")
    spec = {"readinessGates": [{"conditionType": "segue.dev/open"}]}
    stage.place.create(manifests.service(), manifests.pod("alone", spec=spec, readinessProbe=probe, strings=GENTLE))
    stage.pull(wait_alone(stage), seen="1")
    stage.act("the gate opens")
    open_it = {"status": {"conditions": [{"type": "segue.dev/open", "status": "True"}]}}
    stage.place.patch("pods", "alone", open_it, sub="status")
    stage.ready(1)


def wait_alone(stage: Stage) -> Obj:
    """The pod, once it is there."""
    stage.wait("the pod", lambda view: view.one("pods", "alone"))
    return alone(stage)
