"""How many pods a budget lets go, and which evictions it refuses: B2 to B5."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from segue.cluster.controllers.disruption import EVICTED_IS_REMEMBERED_S, RESOURCE
from segue.cluster.eviction import evict
from segue.model.errors import StatusError
from segue.model.objects import Obj, condition_of, name_of, rfc3339
from tests.unit.cluster.controllers.small_world import START_S, World


def protected(replicas: int, **spec: object) -> World:
    """A Deployment whose pods are all Ready, and a budget."""
    world = World()
    world.deploy(replicas=replicas)
    world.start()
    made: Obj = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    world.registry.create(RESOURCE, made)
    world.settle()
    return world


def counted(world: World) -> tuple[int, ...]:
    """Expected, desired, healthy, allowed."""
    status = world.get(RESOURCE, "web")["status"]
    keys = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    return tuple(int(status[key]) for key in keys)


@pytest.mark.parametrize(
    ("replicas", "spec", "expected", "desired", "allowed"),
    [
        (3, {"minAvailable": 2}, 3, 2, 1),
        (3, {"maxUnavailable": 1}, 3, 2, 1),
        (2, {"minAvailable": "51%"}, 2, 2, 0),
        (10, {"maxUnavailable": "1%"}, 10, 9, 1),
        (3, {"minAvailable": "100%"}, 3, 3, 0),
        (3, {"maxUnavailable": "200%"}, 3, 0, 3),
        (2, {"minAvailable": 5}, 2, 5, 0),
        (2, {}, 2, 0, 2),
    ],
)
def test_percentages_round_up_and_what_is_wanted_is_what_the_owners_ask_for(
    replicas: int, spec: Obj, expected: int, desired: int, allowed: int
) -> None:
    assert counted(protected(replicas, **spec)) == (expected, desired, replicas, allowed)


def test_no_pod_no_disruption() -> None:
    world = protected(2, maxUnavailable=1)
    world.scale(0)
    world.end()

    assert counted(world) == (0, 0, 0, 0)
    assert (condition_of(world.get(RESOURCE, "web"), "DisruptionAllowed") or {})["reason"] == "InsufficientPods"


def test_surge_pods_count_as_healthy_and_unready_ones_do_not() -> None:
    """B4: what is wanted stays what the Deployment asks for, in the middle of a rollout too."""
    world = protected(3, maxUnavailable=1)
    world.set_image("v2")
    world.settle()
    assert counted(world) == (3, 2, 3, 1)
    world.start(1)

    assert counted(world)[:2] == (3, 2)
    assert counted(world)[2] == len(world.ready_pods())


def test_without_a_selector_a_budget_is_about_nobody_and_with_an_empty_one_about_all() -> None:
    assert counted(protected(2, minAvailable=1, selector={})) == (2, 1, 2, 1)
    assert counted(protected(2, minAvailable=1, selector=None)) == (0, 1, 0, 0)


def test_an_eviction_that_was_granted_counts_until_its_deletion_is_seen() -> None:
    world = protected(3, minAvailable=2)
    budget = world.get(RESOURCE, "web")
    granted = evict(world.pods()[0], [budget], world.clock.now_s()).budget
    assert granted is not None
    world.registry.update(RESOURCE, granted, subresource="status")
    world.settle()
    assert counted(world) == (3, 2, 2, 0)

    world.pass_time(EVICTED_IS_REMEMBERED_S + 1)
    assert counted(world) == (3, 2, 3, 1)
    assert "disruptedPods" not in world.get(RESOURCE, "web")["status"]


def test_an_evicted_pod_that_is_seen_leaving_is_forgotten() -> None:
    world = protected(3, minAvailable=2)
    first = world.pods()[0]
    granted = evict(first, [world.get(RESOURCE, "web")], world.clock.now_s()).budget
    assert granted is not None
    world.registry.update(RESOURCE, granted, subresource="status")
    world.delete("pods", name_of(first))
    world.settle()

    assert "disruptedPods" not in world.get(RESOURCE, "web")["status"]
    assert counted(world) == (4, 2, 2, 0), "of a plain number all pods are expected that are there, leaving or not"


# -- who may evict -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One pod and one budget."""

    ready: bool = True
    phase: str = "Running"
    leaving: bool = False
    healthy: int = 2
    desired: int = 2
    allowed: int = 0
    policy: str = ""
    observed: int = 1

    def refusal(self) -> str:
        """The message of the refusal; "" where it is granted."""
        conditions = [{"type": "Ready", "status": "True" if self.ready else "False"}]
        pod: Obj = {"metadata": {"name": "p"}, "status": {"phase": self.phase, "conditions": conditions}}
        if self.leaving:
            pod["metadata"]["deletionTimestamp"] = rfc3339(START_S)
        status = {
            "observedGeneration": self.observed,
            "disruptionsAllowed": self.allowed,
            "currentHealthy": self.healthy,
            "desiredHealthy": self.desired,
        }
        spec = {"unhealthyPodEvictionPolicy": self.policy} if self.policy else {}
        budget: Obj = {"metadata": {"name": "web", "generation": 1}, "spec": spec, "status": status}
        try:
            evict(pod, [budget], START_S)
        except StatusError as error:
            assert error.code == 429
            return str(error.details["causes"][0]["message"])
        return ""


@pytest.mark.parametrize(
    "case",
    [
        Case(allowed=1),
        Case(leaving=True),
        Case(phase="Pending"),
        Case(phase="Succeeded"),
        Case(phase="Failed"),
        Case(ready=False),
        Case(ready=False, healthy=1, policy="AlwaysAllow"),
    ],
    ids=str,
)
def test_whoever_serves_nobody_or_is_more_than_enough_may_go(case: Case) -> None:
    assert case.refusal() == ""


@pytest.mark.parametrize(
    "case", [Case(), Case(ready=False, healthy=1), Case(ready=False, healthy=0, desired=0)], ids=str
)
def test_a_spent_budget_refuses(case: Case) -> None:
    wanted = f"The disruption budget web needs {case.desired} healthy pods and has {case.healthy} currently"
    assert case.refusal() == wanted


def test_a_budget_that_was_just_changed_refuses_until_it_is_counted() -> None:
    assert Case(allowed=1, observed=0).refusal() == "The disruption budget web is still being processed by the server."


def test_two_budgets_never_let_go() -> None:
    pod: Obj = {"metadata": {"name": "p"}, "status": {"phase": "Running"}}
    with pytest.raises(StatusError, match="more than one PodDisruptionBudget") as caught:
        evict(pod, [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}], START_S)
    assert caught.value.code == 500


def test_the_granted_budget_is_one_less_and_remembers_the_pod() -> None:
    world = protected(3, minAvailable=1)
    before = world.get(RESOURCE, "web")
    pod = world.pods()[0]
    granted = evict(pod, [before], START_S).budget

    assert granted is not None
    assert granted["status"]["disruptionsAllowed"] == before["status"]["disruptionsAllowed"] - 1 == 1
    assert granted["status"]["disruptedPods"] == {name_of(pod): rfc3339(START_S)}
    assert world.get(RESOURCE, "web") == before, "nothing is written here"
