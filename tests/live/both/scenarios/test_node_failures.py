"""Scripted scenarios: a node that takes no more pods, is drained, or falls silent. Each has the cluster for itself.

Only this namespace's pods are drained; a cordon and a silent kubelet concern everybody on the node.
"""

from __future__ import annotations

import pytest

from segue.model.objects import name_of
from tests.live.both.scenarios.scripts import web
from tests.live.both.scenarios.sights import Said
from tests.live.both.scenarios.stage import Stage, is_unschedulable, ready_endpoints, restarts, scenario
from tests.live.both.scenarios.test_releases import file_of, held_release

pytestmark = [pytest.mark.live, pytest.mark.alone]

STATEMENTS = {
    "B7": "A drained node is cordoned and its pods are evicted together; what replaces them waits for a node, so a"
    " Service whose pods are all there has none until then; a budget that is spent stops the drain.",
    "B10": "A silent node is lost after 50 s: until then its endpoints get traffic, then none of its pods is Ready, and"
    " when it speaks again they are endpoints as before.",
}


@pytest.mark.states("B7")
@scenario
def test_a_cordoned_node_takes_no_more_pods_until_it_is_uncordoned(stage: Stage) -> None:
    web(stage, 2)
    with stage.place.world.cordoned():
        stage.act("the node is cordoned, and the Deployment scaled to 3")
        stage.kubectl("scale", "deployment/web", "--replicas=3")
        homeless(stage, 1)
        stage.act("the node is uncordoned")
    stage.rolled_out("web", 3)


@pytest.mark.states("B7")
@scenario
def test_a_drained_node_empties_the_service_until_it_is_uncordoned(stage: Stage) -> None:
    web(stage, 2)
    with stage.place.world.cordoned():
        stage.act("the node is drained of them")
        drain(stage)
        homeless(stage, 2)
        stage.act("the node is uncordoned")
    stage.rolled_out("web", 2)


@pytest.mark.full
@pytest.mark.states("B3", "B7")
@scenario
def test_a_drain_takes_as_many_as_the_budget_lets_go(stage: Stage) -> None:
    web(stage, 2)
    budget(stage, minAvailable=1)
    with stage.place.world.cordoned():
        stage.act("the node is drained of them")
        drain(stage, limit_s=4)
        homeless(stage, 1)
        stage.act("the node is uncordoned")
    stage.rolled_out("web", 2)


@pytest.mark.states("B1")
@scenario
def test_a_budget_does_not_hold_a_release(stage: Stage) -> None:
    web(stage, 2)
    budget(stage, minAvailable="100%")
    stage.act("segue release")
    stage.segue("release", "-f", file_of(stage, "v2", 2))


@pytest.mark.full
@scenario
def test_a_release_on_a_cordoned_node_waits_for_room(stage: Stage) -> None:
    web(stage, 2)
    with stage.place.world.cordoned():
        stage.act("the node is cordoned, and segue release begins")
        with stage.segue_running("release", "-f", file_of(stage, "v2", 2)) as process:
            homeless(stage, 2)
            stage.act("the node is uncordoned")
            stage.place.world.uncordon()
            stage.ended("release", process)


@scenario
def test_a_kubelet_that_is_silent_for_a_moment_during_a_release_delays_it(stage: Stage) -> None:
    web(stage, 2)
    stage.act("segue release of pods that are not Ready yet")
    with held_release(stage) as process:
        with stage.place.world.silent_kubelet():
            stage.act("the kubelet is silent, and the new pods would be Ready")
            for pod in stage.pods("v2"):
                stage.pull(pod, ready="200")
            stage.act("the kubelet goes on")
        stage.ended("release", process)


@pytest.mark.full
@scenario
def test_a_pod_deleted_while_the_kubelet_is_silent_leaves_when_it_goes_on(stage: Stage) -> None:
    web(stage, 2)
    stage.may_leave = stage.may_wait = True
    with stage.place.world.silent_kubelet():
        stage.act("the kubelet is silent, and a pod is deleted")
        stage.kubectl("delete", "pod", name_of(stage.pods()[0]), "--wait=false")
        stage.wait("a successor", lambda view: len(view.all("pods")) == 3)
        stage.act("the kubelet goes on")
    stage.may_leave = stage.may_wait = False
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_container_that_exits_while_the_kubelet_is_silent_is_started_again_when_it_goes_on(stage: Stage) -> None:
    web(stage, 2)
    with stage.place.world.silent_kubelet():
        stage.act("the kubelet is silent, and a container exits")
        stage.exits(stage.pods()[0], 3)
        stage.act("the kubelet goes on")
    stage.wait("a restart", lambda view: any(restarts(pod) for pod in view.all("pods")))
    stage.ready(2)


@pytest.mark.full
@pytest.mark.states("B10")
@pytest.mark.timeout(240)
@scenario
def test_a_node_that_is_silent_for_too_long_takes_its_pods_out_of_traffic(stage: Stage) -> None:
    web(stage, 2)
    with stage.place.world.silent_kubelet():
        stage.act("the kubelet is silent for as long as it takes")
        stage.wait("no endpoint", lambda view: not ready_endpoints(view, "web"))
        stage.act("the kubelet goes on")
    stage.ready(2)


def budget(stage: Stage, **spec: object) -> None:
    """A PodDisruptionBudget for the pods of `web`; waits until it is counted."""
    made = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    stage.kubectl("apply", "-f", stage.manifest(made))
    stage.kubectl("wait", "pdb/web", "--for=jsonpath={.status.currentHealthy}=2", "--timeout=20s")


def drain(stage: Stage, limit_s: int = 30) -> int:
    """`kubectl drain` of pods labelled as this scenario's; its exit code."""
    node = stage.place.world.node
    done = stage.place.run("kubectl", "drain", node, "--pod-selector=app=web", f"--timeout={limit_s}s")
    stage.acts[-1].said.append(Said(argv="kubectl drain", exit_code=done.returncode))
    return done.returncode


def homeless(stage: Stage, count: int) -> None:
    """Wait until so many pods have been refused by every node."""
    stage.wait(f"{count} pods without a node", lambda view: sum(map(is_unschedulable, view.all("pods"))) == count)
