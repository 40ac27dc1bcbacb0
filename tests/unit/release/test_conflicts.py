"""What stands around a Deployment is found before anything is changed, and nothing is made up where all is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from segue.model.errors import Conflict, Refused
from segue.model.objects import Obj, copy_of
from segue.release.conflicts import check_around, keeps_labels
from segue.release.plan import Approach, Plan, Target, make_plan
from segue.release.surroundings import Surroundings
from tests.unit.release.test_plan import LABELS, TEMPLATE, Cluster, deployment, service

CONTAINER: Obj = {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": "1"}}


def warnings(
    around: Surroundings,
    *,
    strategy: str = "all-first",
    change: Callable[[Obj], None] = lambda _: None,
    cluster: Cluster | None = None,
    after: Obj | None = None,
    forces: bool = False,
) -> tuple[str, ...]:
    """What is found around a release from three pods to three."""
    template = copy_of(TEMPLATE)
    template["spec"]["containers"][0]["resources"] = CONTAINER
    change(template)
    snapshot = (cluster or Cluster()).snapshot()
    target = Target(kind="release", template=template, after=after or {}, metadata={})
    plan: Plan = make_plan(target, snapshot, Approach(strategy=strategy, forces=forces))
    return check_around(plan, snapshot, around)


def named(name: str, **spec: object) -> Obj:
    return {"metadata": {"name": name}, "spec": spec}


def quota(hard: Obj, used: Obj | None = None, **spec: object) -> Surroundings:
    return Surroundings(quotas=({**named("q", **spec), "status": {"hard": hard, "used": used or {}}},))


def test_nothing_around_is_nothing_to_say() -> None:
    assert warnings(Surroundings()) == ()
    assert warnings(Surroundings(quotas=None, budgets=None, nodes=None)) == ()


@pytest.mark.parametrize(
    ("hard", "used", "says"),
    [
        ({"pods": "5"}, {"pods": "3"}, "leaves 2 pods; 3 more pods need 3"),
        ({"count/pods": "3"}, {"count/pods": "3"}, "leaves 0 count/pods; 3 more pods need 3"),
        ({"requests.cpu": "2"}, {"requests.cpu": "1500m"}, "leaves 500m requests.cpu; 3 more pods need 1500m"),
        ({"cpu": "2"}, {"cpu": "1500m"}, "leaves 500m cpu; 3 more pods need 1500m"),
        ({"limits.cpu": "5"}, {"limits.cpu": "3"}, "leaves 2 limits.cpu; 3 more pods need 3"),
        (
            {"requests.memory": "1Gi"},
            {"requests.memory": "768Mi"},
            "leaves 256Mi requests.memory; 3 more pods need 768Mi",
        ),
    ],
)
def test_a_quota_without_room_is_refused_with_what_it_lacks(hard: Obj, used: Obj, says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        warnings(quota(hard, used))
    assert "--strategy ramped --step 1" in refused.value.remedy


def test_a_quota_with_room_or_of_another_scope_is_none() -> None:
    assert warnings(quota({"pods": "6", "requests.cpu": "3", "services": "1"}, {"pods": "3", "services": "1"})) == ()
    assert warnings(quota({"pods": "3"}, {"pods": "3"}, scopes=["Terminating"])) == ()
    assert warnings(quota({"pods": "3"}, {"pods": "3"}), strategy="recreate") == ()
    assert warnings(quota({"pods": "4"}, {"pods": "3"}), strategy="ramped") == ()


def apart(template: Obj) -> None:
    rule = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": LABELS}}
    template["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}


@pytest.mark.parametrize(
    ("strategy", "nodes", "fits"), [("all-first", 5, False), ("all-first", 6, True), ("ramped", 4, True)]
)
def test_pods_that_must_not_share_a_node_need_as_many(strategy: str, nodes: int, fits: bool) -> None:
    around = Surroundings(nodes=tuple(named(f"node-{number}") for number in range(nodes)))
    if fits:
        assert warnings(around, strategy=strategy, change=apart) == ()
        return
    with pytest.raises(Refused, match=f"there are {nodes} nodes: 6 pods at once cannot all be scheduled"):
        warnings(around, strategy=strategy, change=apart)


def claim(mode: str) -> tuple[Surroundings, Callable[[Obj], None]]:
    def use(template: Obj) -> None:
        template["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]

    return Surroundings(
        claims=(named("data", accessModes=[mode]), named("other", accessModes=["ReadWriteOncePod"]))
    ), use


def test_a_volume_that_one_pod_or_one_node_may_use_is_told() -> None:
    around, use = claim("ReadWriteOnce")
    assert "volume claim data is ReadWriteOnce" in warnings(around, change=use)[0]
    around, use = claim("ReadWriteMany")
    assert warnings(around, change=use) == ()
    around, use = claim("ReadWriteOncePod")
    with pytest.raises(Refused, match="may be used by one pod at a time"):
        warnings(around, change=use)
    assert warnings(around, change=use, strategy="recreate") == ()


def scaler(name: str = "web", kind: str = "Deployment") -> Surroundings:
    return Surroundings(autoscalers=(named("hpa", scaleTargetRef={"kind": kind, "name": name}, maxReplicas=9),))


def hooked(template: Obj) -> None:
    template["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}


def test_an_autoscaler_is_told_of_where_it_matters() -> None:
    (said,) = warnings(scaler())
    assert "HorizontalPodAutoscaler hpa may end pods while this runs" in said
    assert warnings(scaler(), change=hooked) == ()
    assert warnings(scaler("other")) == ()
    assert warnings(scaler(kind="StatefulSet")) == ()
    (said,) = warnings(scaler(), change=hooked, after={"replicas": 5})
    assert "hpa keeps 1 to 9 pods: leave replicas to it" in said
    (said,) = warnings(scaler(), change=hooked, strategy="ramped")
    assert "hpa may scale to 1" in said


def test_a_budget_counts_pods_without_traffic() -> None:
    around = Surroundings(
        budgets=(
            named("mine", selector={"matchLabels": LABELS}),
            named("other", selector={"matchLabels": {"app": "x"}}),
            named("empty"),
        )
    )
    (said,) = warnings(around)
    assert said.startswith("PodDisruptionBudget mine counts pods that have no traffic")
    assert warnings(around, strategy="ramped") == ()


def test_a_network_policy_that_selects_by_the_label_a_pod_loses_is_told_of() -> None:
    around = Surroundings(
        policies=(named("only-db", podSelector={"matchLabels": LABELS}), named("all", podSelector={}))
    )
    (pinned,) = warnings(around)
    (left,) = warnings(around, strategy="ramped")
    assert pinned.startswith("NetworkPolicy only-db selects by app: the old pods keep their labels")
    assert left.startswith("NetworkPolicy only-db selects by app: a pod that has left traffic may leave the policy")
    assert warnings(around, strategy="recreate") == ()


def test_without_the_right_to_relabel_pods_they_are_waited_for_where_they_are() -> None:
    around = Surroundings(denied=("patch",))

    (said,) = warnings(around)
    assert said.startswith("you may not patch pods: the old ones keep their labels")
    assert keeps_labels(Cluster().snapshot(), around) == "no right to patch pods"
    with pytest.raises(Refused, match="and you may not patch pods"):
        warnings(around, strategy="ramped")


def managed(obj: Obj, manager: str, field: str) -> Obj:
    obj["metadata"]["managedFields"] = [{"manager": manager, "fieldsV1": {"f:spec": {field: {}}}}]
    return obj


def test_another_manager_of_the_selector_or_the_template_is_named() -> None:
    gitops = Cluster(
        deployment=managed(deployment(), "argocd-controller", "f:template"),
        services=[managed(service(), "kustomize-controller", "f:selector")],
    )
    by_hand = Cluster(deployment=managed(deployment(), "kubectl-client-side-apply", "f:template"))
    counting = Cluster(deployment=managed(deployment(), "kube-controller-manager", "f:replicas"))

    assert [said.partition(":")[0] for said in warnings(Surroundings(), cluster=gitops)] == [
        "argocd-controller has applied Deployment web",
        "kustomize-controller has applied Service web",
    ]
    assert warnings(Surroundings(), cluster=by_hand) == ()
    assert warnings(Surroundings(), cluster=counting) == ()


def test_who_applies_the_template_is_not_overruled_unless_that_is_said() -> None:
    applied = managed(deployment(), "argocd-controller", "f:template")
    applied["metadata"]["managedFields"][0]["operation"] = "Apply"

    with pytest.raises(Conflict, match="argocd-controller applies the template of Deployment web") as refused:
        warnings(Surroundings(), cluster=Cluster(deployment=applied))
    assert "--force" in refused.value.remedy
    assert (
        "argocd-controller has applied" in warnings(Surroundings(), forces=True, cluster=Cluster(deployment=applied))[0]
    )


def test_clients_that_choose_by_themselves_and_flows_that_are_cut_are_told_of() -> None:
    headless, udp = service(), service()
    headless["spec"]["clusterIP"] = "None"
    cast("list[Obj]", udp["spec"]["ports"])[0]["protocol"] = "UDP"

    assert "Service web is headless" in warnings(Surroundings(), cluster=Cluster(services=[headless]))[0]
    assert "its flows are cut" in warnings(Surroundings(), cluster=Cluster(services=[udp]))[0]
    with pytest.raises(Refused, match="nothing to hand over"):
        warnings(Surroundings(), strategy="handover", cluster=Cluster(services=[udp]))


def test_what_may_not_be_read_is_named() -> None:
    (said,) = warnings(Surroundings(quotas=None, unread=("resourcequotas",)))
    assert said == "resourcequotas may not be read: what they forbid is not known"


def test_a_short_grace_is_told_of() -> None:
    brief = deployment()
    brief["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
    (said,) = warnings(Surroundings(), cluster=replace(Cluster(), deployment=brief))
    assert said.startswith("terminationGracePeriodSeconds is 2")
