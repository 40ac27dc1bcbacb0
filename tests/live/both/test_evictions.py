"""Who may evict a pod: budgets and what they count (B1 to B6). Drains and silent nodes are among the scenarios."""

from __future__ import annotations

import pytest

from segue.model.objects import Obj, name_of
from tests.live.both import manifests
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "B1": "A budget is asked by evictions alone: deletions, scaling and releases go on whatever it says.",
    "B2": "A pod that is pending or leaving is evicted whatever the budgets say; one that two budgets select never is;"
    " a spent budget refuses with 429 and says how many it has and needs.",
    "B3": "Percentages round up and are of what the owners ask for, whatever pods are there; a number of least pods is"
    " of those that are there.",
    "B4": "An eviction that is granted counts at once: the next one is refused before anybody has seen the first.",
    "B5": "A pod that is not Ready is evicted where the others are enough, or where the budget always allows it.",
    "B6": "An evicted pod has a condition that says so, and then the end of any deleted pod, with its own grace.",
}
NOT_COVERED = {
    "B8": "EvictionRequest is alpha and off in 1.37.",
    "B9": "Graceful node shutdown is off unless a kubelet is told otherwise, and needs a system bus.",
}
DIFFERENCES = {
    "B10": "embedded takes no pod off a lost node after 300 s (its taint manager is not there); what the 50 s before do"
    " to endpoints is the same. While the kubelet is silent, real answers no logs and execs; embedded does.",
}


def protected(place: Place, count: int, spec: Obj, *, strings: str = "term=0.5") -> list[Obj]:
    """A Deployment whose pods are Ready, and a budget that has counted them; the pods."""
    place.create(manifests.deployment("web", count, strings=strings))
    pods = place.wait_ready_pods(count)
    budget(place, count, spec)
    return pods


def budget(place: Place, healthy: int, spec: Obj, name: str = "web") -> None:
    """A budget for `web`, counted."""
    made: Obj = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    place.create(made)
    wait_until(lambda: status(place, name).get("currentHealthy") == healthy, what="the budget to be counted")


def status(place: Place, name: str = "web") -> Obj:
    """Of a budget."""
    found: Obj = place.get("poddisruptionbudgets", name).get("status", {})
    return found


def evict(place: Place, pod: str) -> tuple[int, Obj]:
    """Ask for an eviction: code and answer."""
    asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    return place.world.call("POST", place.path("pods", pod, "eviction"), asked)


@pytest.mark.states("B1")
def test_a_budget_is_not_asked_by_a_deletion(place: Place) -> None:
    pods = protected(place, 2, {"minAvailable": "100%"})

    assert evict(place, name_of(pods[0]))[0] == 429
    place.delete("pods", name_of(pods[0]))
    place.wait_gone("pods", name_of(pods[0]))


@pytest.mark.full
@pytest.mark.states("B1")
def test_a_budget_is_not_asked_by_a_scale_down(place: Place) -> None:
    protected(place, 2, {"minAvailable": 2})

    place.patch("deployments", "web", {"spec": {"replicas": 1}})
    place.wait_ready_pods(1)


@pytest.mark.states("B2", "B4")
def test_a_spent_budget_says_what_it_has_and_needs(place: Place) -> None:
    pods = protected(place, 3, {"minAvailable": 2})

    first, second = evict(place, name_of(pods[0])), evict(place, name_of(pods[1]))
    assert first[0] == 201, first
    code, told = second
    assert (code, told["reason"]) == (429, "TooManyRequests")
    assert told["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    (cause,) = told["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"].startswith("The disruption budget web needs 2 healthy pods and has ")
    place.wait_ready_pods(3)
    wait_until(lambda: status(place)["disruptionsAllowed"] == 1, what="the budget to be counted again")


@pytest.mark.states("B2")
def test_a_leaving_pod_is_evicted_whatever_the_budget_says(place: Place) -> None:
    pods = protected(place, 2, {"minAvailable": "100%"}, strings="term=4")
    place.delete("pods", name_of(pods[0]))

    assert evict(place, name_of(pods[0]))[0] == 201


@pytest.mark.states("B2")
def test_a_pending_pod_is_evicted_whatever_the_budget_says(place: Place) -> None:
    place.create(manifests.pod("alone", labels={"app": "web"}, spec={"schedulerName": "nobody"}))
    budget(place, 0, {"minAvailable": 1})

    assert evict(place, "alone")[0] == 201
    place.wait_gone("pods", "alone")


@pytest.mark.states("B2")
def test_a_pod_of_two_budgets_is_never_evicted(place: Place) -> None:
    pods = protected(place, 2, {"minAvailable": 1})
    budget(place, 2, {"maxUnavailable": 1}, "other")

    code, told = evict(place, name_of(pods[0]))
    assert code == 500
    assert "more than one PodDisruptionBudget" in told["message"]


@pytest.mark.states("B3")
@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": "51%"}, 2, 0),
        ({"maxUnavailable": "1%"}, 1, 1),
        pytest.param({"maxUnavailable": 0}, 2, 0, marks=pytest.mark.full),
        pytest.param({"minAvailable": 0}, 0, 2, marks=pytest.mark.full),
        pytest.param({"minAvailable": 3}, 3, 0, marks=pytest.mark.full),
    ],
    ids=str,
)
def test_what_a_budget_counts_of_two_pods(place: Place, spec: Obj, desired: int, allowed: int) -> None:
    protected(place, 2, spec)

    found = status(place)
    assert (found["expectedPods"], found["desiredHealthy"], found["disruptionsAllowed"]) == (2, desired, allowed)
    (condition,) = found["conditions"]
    assert (condition["type"], condition["status"]) == ("DisruptionAllowed", "True" if allowed else "False")


@pytest.mark.states("B3")
def test_a_percentage_is_of_what_is_asked_for_not_of_what_is_there(place: Place) -> None:
    protected(place, 2, {"minAvailable": "50%"})
    place.patch("deployments", "web", {"spec": {"replicas": 4, "paused": True}})

    wait_until(lambda: status(place)["expectedPods"] == 4, what="the size to be seen")
    assert status(place)["desiredHealthy"] == 2


@pytest.mark.states("B5")
@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"minAvailable": 1}, 201),
        ({"minAvailable": 2}, 429),
        ({"minAvailable": 2, "unhealthyPodEvictionPolicy": "AlwaysAllow"}, 201),
    ],
    ids=["enough", "short", "always"],
)
def test_a_pod_that_is_not_ready_is_evicted_where_the_others_are_enough(place: Place, spec: Obj, code: int) -> None:
    pods = protected(place, 2, spec)
    place.pull(pods[0]["status"]["podIP"], ready="503")
    wait_until(lambda: status(place)["currentHealthy"] == 1, what="the budget to see it")

    assert evict(place, name_of(pods[0]))[0] == code


@pytest.mark.states("B6")
def test_an_evicted_pod_says_so_and_ends_with_its_own_grace(place: Place) -> None:
    pods = protected(place, 2, {"minAvailable": 1}, strings="term=1")
    name = name_of(pods[0])
    with place.watch("pods") as watched:
        assert evict(place, name)[0] == 201
        leaving = watched.wait(lambda each: each.name == name and "deletionTimestamp" in each.object["metadata"])

    assert leaving.object["metadata"]["deletionGracePeriodSeconds"] == 5
    reasons = {each["type"]: each.get("reason") for each in leaving.object["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"
