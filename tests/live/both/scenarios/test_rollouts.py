"""Scripted scenarios: what the Deployment controller does by itself when the version changes."""

from __future__ import annotations

import pytest

from tests.live.both.scenarios.scripts import GENTLE, HELD, change, let_one_be_ready, rolling, running, web
from tests.live.both.scenarios.stage import Stage, progressing, scenario, version_of_pod, waits_for

pytestmark = pytest.mark.live


@scenario
def test_a_rolling_update_with_one_more_pod_replaces_one_after_the_other(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("another version")
    change(stage, "v2")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_a_rolling_update_with_one_pod_less_deletes_before_it_creates(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(0, 1)})
    stage.act("another version")
    change(stage, "v2")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_a_surge_of_all_pods_still_lets_one_old_pod_go_for_each_new_one(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling("100%", 0)})
    stage.act("another version, whose pods are not Ready yet")
    change(stage, "v2", HELD)
    running(stage, 3, "v2")
    for count in (1, 2, 3):
        stage.act(f"new pod {count} becomes Ready")
        let_one_be_ready(stage, "v2")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_the_default_strategy_of_four_pods_takes_one_away_and_brings_two(stage: Stage) -> None:
    web(stage, 4)
    stage.act("another version, whose pods are not Ready yet")
    change(stage, "v2", HELD)
    running(stage, 2, "v2")
    for count in (1, 2, 3, 4):
        stage.act(f"new pod {count} becomes Ready")
        running(stage, min(count + 1, 4), "v2")
        let_one_be_ready(stage, "v2")
    stage.rolled_out("web", 4)


@pytest.mark.full
@scenario
def test_all_pods_may_be_unavailable_and_all_old_ones_go_at_once(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(0, "100%")})
    stage.act("another version, whose pods are not Ready yet")
    change(stage, "v2", HELD)
    running(stage, 3, "v2")
    stage.act("they become Ready")
    for _ in range(3):
        let_one_be_ready(stage, "v2")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_recreate_waits_for_the_last_old_pod_before_it_makes_a_new_one(stage: Stage) -> None:
    web(stage, spec={"strategy": {"type": "Recreate"}})
    stage.act("another version")
    change(stage, "v2")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_seconds_that_a_pod_must_be_ready_hold_the_old_pods_not_the_endpoints(stage: Stage) -> None:
    web(stage, 2, spec={"strategy": rolling(1, 0), "minReadySeconds": 2})
    stage.act("another version")
    change(stage, "v2")
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_an_undo_takes_the_earlier_replicaset_again(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("another version")
    change(stage, "v2")
    stage.rolled_out("web", 3)
    stage.act("kubectl rollout undo")
    stage.kubectl("rollout", "undo", "deployment/web")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_without_history_the_old_replicaset_goes_once_the_rollout_is_complete(stage: Stage) -> None:
    web(stage, 2, spec={"strategy": rolling(1, 0), "revisionHistoryLimit": 0})
    stage.act("another version")
    change(stage, "v2")
    stage.rolled_out("web", 2)
    stage.wait("one ReplicaSet", lambda view: len(view.all("replicasets")) == 1)


@pytest.mark.full
@scenario
def test_a_paused_deployment_scales_but_does_not_roll(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("kubectl rollout pause")
    stage.kubectl("rollout", "pause", "deployment/web")
    stage.act("another version")
    change(stage, "v2")
    stage.act("kubectl scale to 4")
    stage.kubectl("scale", "deployment/web", "--replicas=4")
    stage.ready(4, "v1")
    stage.act("kubectl rollout resume")
    stage.kubectl("rollout", "resume", "deployment/web")
    stage.rolled_out("web", 4)


@pytest.mark.full
@scenario
def test_a_rollout_paused_in_its_middle_stands_still_and_goes_on(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("another version, whose pods are not Ready yet")
    change(stage, "v2", HELD)
    running(stage, 1, "v2")
    stage.act("kubectl rollout pause")
    stage.kubectl("rollout", "pause", "deployment/web")
    stage.act("the new pod becomes Ready")
    let_one_be_ready(stage, "v2")
    stage.act("kubectl rollout resume")
    stage.kubectl("rollout", "resume", "deployment/web")
    running(stage, 2, "v2")
    for count in (2, 3):
        stage.act(f"new pod {count} becomes Ready")
        running(stage, count, "v2")
        let_one_be_ready(stage, "v2")
    stage.rolled_out("web", 3)


@scenario
def test_a_third_version_in_mid_rollout_removes_the_broken_second_one_first(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("a second version that never becomes Ready")
    change(stage, "v2", HELD)
    running(stage, 1, "v2")
    stage.act("a third version", crowds=False)  # its first pod may be there before the broken one is told to go
    change(stage, "v3")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_a_rollout_that_is_turned_back_in_its_middle_keeps_the_old_pods(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("a version that never becomes Ready")
    change(stage, "v2", HELD)
    running(stage, 1, "v2")
    stage.act("the old version again")
    change(stage, "v1", GENTLE)
    stage.rolled_out("web", 3)


@scenario
def test_a_scale_up_in_mid_rollout_is_spread_over_both_versions(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("another version, whose pods are not Ready yet")
    change(stage, "v2", HELD)
    running(stage, 1, "v2")
    stage.act("kubectl scale to 6")
    stage.kubectl("scale", "deployment/web", "--replicas=6")
    stage.ready(5, "v1")
    running(stage, 2, "v2")


@pytest.mark.full
@scenario
def test_a_scale_down_in_mid_rollout_is_spread_over_both_versions(stage: Stage) -> None:
    web(stage, 4, spec={"strategy": rolling(2, 0)})
    stage.act("another version, whose pods are not Ready yet")
    change(stage, "v2", HELD)
    running(stage, 2, "v2")
    stage.act("kubectl scale to 2")
    stage.kubectl("scale", "deployment/web", "--replicas=2")
    stage.wait("four pods", lambda view: len(view.all("pods")) <= 4)


@pytest.mark.full
@scenario
def test_a_version_that_never_becomes_ready_exceeds_its_deadline_and_nothing_is_undone(stage: Stage) -> None:
    web(stage, spec={"strategy": rolling(1, 0)})
    stage.act("a version that never becomes Ready, with a deadline of two seconds")
    stage.place.patch("deployments", "web", {"spec": {"progressDeadlineSeconds": 2}})
    change(stage, "v2", HELD)
    stage.wait("the deadline", lambda view: progressing(view.one("deployments", "web")) == "ProgressDeadlineExceeded")
    running(stage, 1, "v2")
    stage.act("a later deadline, and its pods become Ready at last")
    stage.place.patch("deployments", "web", {"spec": {"progressDeadlineSeconds": 600}})
    for count in (1, 2, 3):
        running(stage, count, "v2")
        let_one_be_ready(stage, "v2")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_a_version_that_crashes_at_its_start_backs_off_beside_the_old_pods(stage: Stage) -> None:
    web(stage, 2, spec={"strategy": rolling(1, 0)})
    stage.act("a version that crashes at its start; kubectl rollout undo while it backs off")
    change(stage, "v2", "listen_s=never")
    stage.wait(
        "the back-off",
        lambda view: any(waits_for(pod, "CrashLoopBackOff") for pod in view.all("pods") if version_of_pod(pod) == "v2"),
    )
    stage.kubectl("rollout", "undo", "deployment/web")
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_version_whose_image_is_not_there_waits_beside_the_old_pods(stage: Stage) -> None:
    web(stage, 2, spec={"strategy": rolling(1, 0)})
    stage.act("a version whose image is not there")
    container = {"name": "puppet", "image": "host.org/images/nothing:v2"}
    stage.place.patch("deployments", "web", {"spec": {"template": {"spec": {"containers": [container]}}}})
    stage.wait("the error", lambda view: any(waits_for(pod, "ErrImagePull") for pod in view.all("pods")))
    stage.act("the old version again")
    stage.kubectl("rollout", "undo", "deployment/web")
    stage.rolled_out("web", 2)
