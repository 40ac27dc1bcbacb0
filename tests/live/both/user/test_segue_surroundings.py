"""What stands around a Deployment: refused or warned of before anything is changed, and a way that fits, if any."""

from __future__ import annotations

import json

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import LABEL, NAME, V1, V2, App
from tests.live.both.user.test_segue_strategies import check_arrived

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue plan: surroundings": "A quota without room is refused with a way that fits into it, which then loses "
    "nothing; budgets, autoscalers, policies and headless Services are warned of.",
    "segue release --force": "A template that somebody else applies by server-side apply is changed only with --force.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
KEY, _, VALUE = LABEL.partition("=")


def named(kind: str, api: str, name: str, spec: Obj) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.full
@pytest.mark.states("segue plan: surroundings", "segue ramped")
def test_a_quota_for_one_more_pod_is_enough_for_ramped(serving: App) -> None:
    quota = named("ResourceQuota", "v1", "tight", {"hard": {"pods": "4"}})
    serving.place.kubectl("apply", "-f", serving.file(json.dumps(quota), "quota.yaml"))
    file = serving.file(V2)
    refused = serving.refused("release", "-f", file, code=7)
    with serving.load() as tally:
        serving.done("release", "-f", file, "--strategy", "ramped", "--step", "1")

    assert "ResourceQuota tight leaves 1 pods; 3 more pods need 3" in refused
    assert "--strategy ramped --step 1" in refused
    tally.check_none_lost()
    check_arrived(serving)


@pytest.mark.states("segue plan: surroundings")
def test_what_else_acts_on_the_pods_is_warned_of(serving: App) -> None:
    selector = {"matchLabels": {KEY: VALUE}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    objects = [
        named("PodDisruptionBudget", "policy/v1", "budget", {"minAvailable": 2, "selector": selector}),
        named(
            "HorizontalPodAutoscaler",
            "autoscaling/v2",
            "scaler",
            {"minReplicas": 3, "maxReplicas": 3, "scaleTargetRef": target},
        ),
        named("NetworkPolicy", "networking.k8s.io/v1", "policy", {"podSelector": selector, "ingress": [{}]}),
        named("Service", "v1", "bare", {"clusterIP": "None", "selector": {KEY: VALUE}, "ports": [{"port": 10002}]}),
    ]
    everything = serving.file(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}), "around.yaml")
    serving.place.kubectl("apply", "-f", everything)
    before = serving.kept()
    all_first = json.loads(serving.done("plan", "-f", serving.file(V2), "-o", "json"))[0]["warnings"]
    ramped = json.loads(serving.done("plan", "-f", serving.file(V2), "--strategy", "ramped", "-o", "json"))[0][
        "warnings"
    ]

    assert [said.partition(":")[0].partition(" counts")[0] for said in all_first] == [
        "HorizontalPodAutoscaler scaler may end pods while this runs (B3)",
        "PodDisruptionBudget budget",
        f"NetworkPolicy policy selects by {KEY}",
        "Service bare is headless",
    ]
    assert any(said.startswith(f"NetworkPolicy policy selects by {KEY}") for said in ramped)
    assert serving.kept() == before


@pytest.mark.states("segue plan: surroundings")
def test_a_budget_is_warned_of(serving: App) -> None:
    budget = named(
        "PodDisruptionBudget", "policy/v1", "budget", {"minAvailable": 2, "selector": {"matchLabels": {KEY: VALUE}}}
    )
    serving.place.kubectl("apply", "-f", serving.file(json.dumps(budget), "budget.yaml"))
    said = serving.done("plan", "-f", serving.file(V2))

    assert "warning: PodDisruptionBudget budget counts pods that have no traffic, too" in said


@pytest.mark.states("segue release --force")
def test_a_template_that_somebody_else_applies_is_changed_only_by_force(serving: App) -> None:
    gitops = ("apply", "--server-side", "--field-manager", "gitops", "--force-conflicts", "-f")
    serving.place.kubectl(*gitops, serving.file(V1))
    before = serving.kept()
    file = serving.file(V2)
    refused = serving.refused("release", "-f", file, code=6)
    untouched = serving.kept()
    serving.done("release", "-f", file, "--force")

    assert f"gitops applies the template of Deployment {NAME}" in refused
    assert "--force releases all the same" in refused
    assert untouched == before
    check_arrived(serving)
