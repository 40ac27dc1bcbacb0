"""Scripted scenarios: pods that are deleted, scaled, orphaned, adopted; Deployments and ReplicaSets that go."""

from __future__ import annotations

import pytest

from segue.model.objects import name_of
from tests.live.both import manifests
from tests.live.both.scenarios.scripts import GENTLE, deployment, probed, service, web
from tests.live.both.scenarios.stage import Stage, scenario

pytestmark = pytest.mark.live


@scenario
def test_a_deleted_pod_is_replaced_before_it_is_gone(stage: Stage) -> None:
    web(stage)
    stage.act("one pod is deleted")
    stage.kubectl("delete", "pod", name_of(stage.pods()[0]), "--wait=false")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_a_pod_deleted_by_force_is_gone_at_once(stage: Stage) -> None:
    web(stage)
    stage.act("one pod is deleted by force")
    stage.kubectl("delete", "pod", name_of(stage.pods()[0]), "--force", "--grace-period=0")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_all_pods_deleted_at_once_leave_the_service_to_the_leaving_ones(stage: Stage) -> None:
    web(stage, strings="term=2")
    stage.act("all pods are deleted")
    stage.kubectl("delete", "pods", "-l", "app=web", "--wait=false")
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_an_evicted_pod_is_marked_deleted_and_replaced(stage: Stage) -> None:
    web(stage)
    stage.act("one pod is evicted")
    stage.place.evict(name_of(stage.pods()[0]))
    stage.rolled_out("web", 3)


@pytest.mark.full
@scenario
def test_a_scale_up_and_a_scale_down_change_one_replicaset(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl scale to 4")
    stage.kubectl("scale", "deployment/web", "--replicas=4")
    stage.rolled_out("web", 4)
    stage.act("the younger pods are made cheap, and kubectl scale to 2")
    for pod in stage.pods()[2:]:
        stage.kubectl("annotate", "pod", name_of(pod), "controller.kubernetes.io/pod-deletion-cost=-1")
    stage.kubectl("scale", "deployment/web", "--replicas=2")
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_deployment_scaled_to_nothing_leaves_a_service_without_endpoints(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl scale to 0")
    stage.kubectl("scale", "deployment/web", "--replicas=0")
    stage.rolled_out("web", 0)
    stage.act("kubectl scale to 2")
    stage.kubectl("scale", "deployment/web", "--replicas=2")
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_the_cheapest_pod_goes_at_a_scale_down(stage: Stage) -> None:
    stage.act("a ReplicaSet of 3 pods")
    stage.place.create(manifests.replica_set("web", 3, strings=GENTLE, readinessProbe=probed("ready")))
    stage.ready(3)
    stage.act("one pod is made cheap and marked, and the ReplicaSet is scaled to 2")
    pod = name_of(stage.pods()[1])
    metadata = {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}, "labels": {"cheap": "yes"}}
    stage.place.patch("pods", pod, {"metadata": metadata})
    stage.kubectl("scale", "replicaset/web", "--replicas=2")
    stage.ready(2)
    stage.wait("two pods", lambda view: len(view.all("pods")) == 2)


@pytest.mark.full
@scenario
def test_the_pod_that_is_not_ready_goes_first_at_a_scale_down(stage: Stage) -> None:
    web(stage)
    stage.act("one pod is not Ready any more")
    stage.pull(stage.pods()[0], ready="503")
    stage.ready(2)
    stage.act("kubectl scale to 2")
    stage.kubectl("scale", "deployment/web", "--replicas=2")
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_hook_keeps_the_pods_of_a_scale_down_serving(stage: Stage) -> None:
    hook = {"preStop": {"httpGet": {"path": "/hook?s=2", "port": manifests.PORT}}}
    web(stage, 2, lifecycle=hook)
    stage.act("kubectl scale to 0")
    stage.kubectl("scale", "deployment/web", "--replicas=0")
    stage.rolled_out("web", 0)


@pytest.mark.full
@scenario
def test_a_deleted_deployment_takes_its_replicaset_and_pods_along(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl delete deployment")
    stage.kubectl("delete", "deployment", "web", "--wait=false")
    stage.wait("nothing", lambda view: not view.all("pods") and not view.all("replicasets"))


@pytest.mark.full
@scenario
def test_a_deployment_deleted_in_the_foreground_goes_last(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl delete deployment --cascade=foreground")
    stage.kubectl("delete", "deployment", "web", "--cascade=foreground", "--wait=false")
    stage.wait("nothing", lambda view: not view.all("pods") and not view.all("deployments"))


@pytest.mark.full
@scenario
def test_a_deployment_deleted_as_an_orphan_is_taken_up_again(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl delete deployment --cascade=orphan")
    stage.kubectl("delete", "deployment", "web", "--cascade=orphan")
    stage.wait("no owner", lambda view: not view.all("deployments"))
    stage.act("the same Deployment is made again")
    stage.place.create(deployment(2))
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_replicaset_deleted_as_an_orphan_leaves_its_pods_to_the_next(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl delete replicaset --cascade=orphan")
    old = stage.view.all("replicasets")[0]
    stage.kubectl("delete", "replicaset", name_of(old), "--cascade=orphan")
    stage.wait(
        "another ReplicaSet",
        lambda view: [one for one in view.all("replicasets") if one["metadata"]["uid"] != old["metadata"]["uid"]],
    )
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_deleted_replicaset_of_a_deployment_comes_back_with_new_pods(stage: Stage) -> None:
    web(stage, 2)
    stage.act("kubectl delete replicaset")
    stage.kubectl("delete", "replicaset", "--all", "--wait=false")
    old = stage.view.all("replicasets")[0]["metadata"]["uid"]
    stage.wait(
        "another ReplicaSet", lambda view: [one for one in view.all("replicasets") if one["metadata"]["uid"] != old]
    )
    stage.rolled_out("web", 2)


@scenario
def test_a_pod_whose_label_changes_is_orphaned_replaced_and_out_of_traffic(stage: Stage) -> None:
    web(stage, 2)
    stage.act("the label of one pod changes")
    pod = name_of(stage.pods()[0])
    stage.kubectl("label", "pod", pod, "app=other", "--overwrite")
    stage.wait("three pods", lambda view: len(view.all("pods")) == 3)
    stage.ready(3)
    stage.act("the label comes back")
    stage.kubectl("label", "pod", pod, "app=web", "--overwrite")
    stage.rolled_out("web", 2)


@pytest.mark.full
@scenario
def test_a_replicaset_whose_label_changes_is_let_go_and_taken_up_again(stage: Stage) -> None:
    web(stage, 2)
    stage.act("another version, then the label of the old ReplicaSet changes")
    stage.kubectl("rollout", "pause", "deployment/web")
    old = name_of(stage.view.all("replicasets")[0])
    stage.kubectl("label", "replicaset", old, "app=other", "--overwrite")
    stage.wait("no owner", lambda view: not view.one("replicasets", old)["metadata"].get("ownerReferences"))
    stage.act("the label comes back")
    stage.kubectl("label", "replicaset", old, "app=web", "--overwrite")
    stage.wait("an owner", lambda view: view.one("replicasets", old)["metadata"].get("ownerReferences"))


@pytest.mark.full
@scenario
def test_a_service_whose_selector_changes_moves_its_endpoints_without_leaving(stage: Stage) -> None:
    stage.act("a ReplicaSet of each version and a Service of the first")
    one = manifests.replica_set("web", 2, strings=GENTLE, readinessProbe=probed("ready"))
    two = manifests.replica_set("other", 2, strings=GENTLE, version="v2", readinessProbe=probed("ready"))
    stage.place.create(service(), one, two)
    stage.ready(2, "v1")
    stage.ready(2, "v2")
    stage.act("the selector changes")
    patch = [{"op": "replace", "path": "/spec/selector", "value": {"app": "other"}}]
    stage.place.patch("services", "web", patch, kind="application/json-patch+json")
    stage.ready(2, "v2")
