"""Which pod a ReplicaSet gives up, and how: R1 to R6."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from segue.model.http import JSON_PATCH
from segue.model.objects import Obj, condition_of, name_of, seconds_of
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.world import Place, Watched, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "R1": "A ReplicaSet gives up first: unscheduled, Pending, unready, cheap, ready for less time, restarted, young.",
    "R2": "Times of the same power of two of nanoseconds count as equal; then the lower uid goes first.",
    "R3": "A ReplicaSet that is scaled to 0 deletes all its pods in one go, whatever they cost.",
    "R4": "pod-deletion-cost chooses among the pods of one ReplicaSet; how many go is decided without it.",
    "R5": "A pod that is given up is deleted with its own grace; disruption budgets are not asked.",
    "R6": "A scheduling gate put into a ReplicaSet's template leaves its pods alone. What it makes from then on is "
    "given no node, says SchedulingGated, and when it is given up it is gone at once.",
}
NOT_COVERED: dict[str, str] = {
    "R1-crowd": "The rank by related pods on the node needs two nodes; both clusters have one.",
    "R3-burst": "500 creates or deletes per look and creates in batches of 1, 2, 4: too many pods for this machine.",
}
DIFFERENCES: dict[str, str] = {}
COST = "controller.kubernetes.io/pod-deletion-cost"


def member(name: str, cost: int | None = None, **more: object) -> Obj:
    """A pod that the ReplicaSet of these tests adopts."""
    made = manifests.pod(name, readinessProbe=manifests.http("ready"), **more)  # type: ignore[arg-type]
    if cost is not None:
        made["metadata"]["annotations"] = {COST: str(cost)}
    return made


def adopt(place: Place, count: int) -> None:
    """A ReplicaSet that takes the pods as its own."""
    place.create(manifests.replica_set("puppet", count))
    wait_until(lambda: place.get("replicasets", "puppet").get("status", {}).get("replicas") == count, what="adoption")


def shrink(place: Place, told: Watched, count: int) -> list[str]:
    """Scale down one by one; the names in the order in which they went."""
    for left in range(count - 1, 0, -1):
        place.patch("replicasets", "puppet", {"spec": {"replicas": left}})
        wait_until(lambda left=left: len(rollouts.deleted(told)) >= count - left, what=f"{left} pods left")  # type: ignore[misc]
    return rollouts.deleted(told)


@pytest.mark.states("R1")
def test_the_state_of_a_pod_outweighs_its_cost_and_the_cost_its_age(place: Place) -> None:
    forever = {"name": "first", "image": f"{manifests.PUPPET}:v1"}
    place.create(
        member("plain"),
        member("dear", cost=1),
        member("cheap", cost=-1),
        member("unready", cost=10, strings="ready=503"),
        member("pending", cost=50, spec={"initContainers": [forever]}),
        member("unscheduled", cost=100, spec={"nodeSelector": {"puppet": "nowhere"}}),
    )
    for name in ("plain", "dear", "cheap"):
        place.wait_ready(name)
    wait_until(lambda: place.get("pods", "unready")["status"]["phase"] == "Running", what="unready to run")
    wait_until(lambda: place.get("pods", "pending")["spec"].get("nodeName"), what="pending to be scheduled")
    adopt(place, 6)

    with place.watch("pods") as told:
        order = shrink(place, told, 6)

    assert order == ["unscheduled", "pending", "unready", "cheap", "plain"]


@pytest.mark.states("R1")
def test_less_time_ready_goes_first_then_more_restarts_then_less_age(place: Place) -> None:
    place.create(
        member("steady"),
        member("again"),
        member("older", strings="ready=503"),
        member("restarted", strings="ready=503"),
    )
    place.wait_ready("steady")
    rollouts.set_ready(place, [place.wait_ready("again")], 503)
    address = wait_until(lambda: place.get("pods", "restarted")["status"].get("podIP"), what="an address")
    wait_until(lambda: _tries(lambda: place.ask(address, manifests.PORT, "/exit?code=1")), what="an exit")
    wait_until(lambda: _restarts(place.get("pods", "restarted")) == 1, what="a restart")
    wait_until(lambda: _age_s(place.get("pods", "older")) > 4, what="some age")
    place.create(member("younger", strings="ready=503"))
    rollouts.set_ready(place, [place.get("pods", "again")])
    running = ("older", "younger", "restarted")
    wait_until(lambda: all(_runs(place.get("pods", name)) for name in running), what="all to run")
    adopt(place, 5)
    # Powers of two of nanoseconds (R2): a pair must lie in two of them
    pods = {name: place.get("pods", name) for name in ("steady", "again", "older", "younger")}
    wait_until(
        lambda: (
            _apart(_ready_age_s(pods["steady"]), _ready_age_s(pods["again"]))
            and _apart(_age_s(pods["older"]), _age_s(pods["younger"]))
        ),
        what="ages that differ",
    )

    with place.watch("pods") as told:
        order = shrink(place, told, 5)

    assert order == ["restarted", "younger", "older", "again"]


@pytest.mark.states("R2")
def test_among_pods_ready_for_about_as_long_the_uid_decides(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    names = ["one", "two", "three"]
    for name in names:
        place.create(member(name))
        made = place.wait_ready(name)
        wait_until(lambda made=made: _ready_age_s(made) > 1.1, what="another second")  # type: ignore[misc]
    adopt(place, 3)
    pods = [place.get("pods", name) for name in names]

    def same() -> bool:
        ages = [_ready_age_s(pod) for pod in pods]
        return len({_bucket(age) for age in ages} | {_bucket(age + 0.8) for age in ages}) == 1

    wait_until(same, limit_s=60.0, what="ages of one power of two")
    measured("ready time of the oldest pod", _ready_age_s(pods[0]), "s")
    with place.watch("pods") as told:
        order = shrink(place, told, 3)[:1]

    lowest = min(pods, key=lambda pod: str(pod["metadata"]["uid"]))
    assert order == [lowest["metadata"]["name"]]


@pytest.mark.states("R3")
def test_scaled_to_nothing_all_pods_go_whatever_they_cost(place: Place) -> None:
    place.create(manifests.replica_set("puppet", 3))
    place.patch("pods", place.wait_ready_pods(3)[0]["metadata"]["name"], _cost(2147483647))

    with place.watch("pods") as told:
        place.patch("replicasets", "puppet", {"spec": {"replicas": 0}})
        wait_until(lambda: len(rollouts.deleted(told)) == 3, what="three deletions")


@pytest.mark.states("R4")
def test_a_rollout_takes_old_pods_by_cost_and_no_new_ones_by_it(place: Place) -> None:
    rollouts.ready(place, rollouts.deployment("web", 3, spec=rollouts.strategy(1, 0)))
    old = [pod["metadata"]["name"] for pod in place.wait_ready_pods(3)]
    for name, cost in zip(old, (10, -10, 0), strict=True):
        place.patch("pods", name, _cost(cost))
    change = rollouts.template()
    change["template"]["metadata"] = {"annotations": {COST: "-1000"}}

    with place.watch("pods") as told:
        rollouts.roll(place, "web", change)
        wait_until(lambda: len(rollouts.deleted(told)) == 3, what="three deletions")

    assert rollouts.deleted(told) == [old[1], old[2], old[0]]


@pytest.mark.states("R4")
@pytest.mark.parametrize("cost", ["+1", "01", "1.5", "2147483648", "much"])
def test_a_cost_that_is_no_plain_int32_is_refused(place: Place, cost: str) -> None:
    made = manifests.pod("web")
    made["metadata"]["annotations"] = {COST: cost}

    code, told = place.world.call("POST", place.path("pods"), made)

    assert (code, told["reason"]) == (422, "Invalid")
    assert [each["field"] for each in told["details"]["causes"]] == [f"metadata.annotations[{COST}]"]


@pytest.mark.states("R5")
def test_a_pod_that_is_given_up_gets_its_own_grace(place: Place) -> None:
    place.create(manifests.replica_set("puppet", 2, grace_s=7, strings="term=ignore"))
    place.wait_ready_pods(2)

    with place.watch("pods") as told:
        place.patch("replicasets", "puppet", {"spec": {"replicas": 1}})
        leaving = told.wait(lambda each: "deletionTimestamp" in each.object["metadata"]).object

    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 7
    for pod in place.all("pods"):
        place.delete("pods", pod["metadata"]["name"], grace_s=0)


@pytest.mark.states("R5")
def test_a_budget_that_allows_nothing_holds_no_scaling_back(place: Place) -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all"},
        "spec": {"minAvailable": "100%", "selector": {"matchLabels": {"app": "puppet"}}},
    }
    path = f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets"
    assert place.world.call("POST", path, budget)[0] == 201
    place.create(manifests.replica_set("puppet", 2))
    place.wait_ready_pods(2)

    place.patch("replicasets", "puppet", {"spec": {"replicas": 1}})

    wait_until(lambda: len(place.all("pods")) == 1, what="one pod to be gone")


def _cost(cost: int) -> Obj:
    return {"metadata": {"annotations": {COST: str(cost)}}}


def _restarts(pod: Obj) -> int:
    return int((pod["status"].get("containerStatuses") or [{}])[0].get("restartCount", 0))


def _runs(pod: Obj) -> bool:
    return pod["status"]["phase"] == "Running" and not is_ready(pod)


def _tries(ask: Callable[[], object]) -> bool:
    """Whether the puppet heard it: it ends before it answers."""
    try:
        ask()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def _age_s(pod: Obj) -> float:
    return time.time() - seconds_of(pod["metadata"]["creationTimestamp"])


def _ready_age_s(pod: Obj) -> float:
    condition = condition_of(pod, "Ready")
    assert condition is not None
    return time.time() - seconds_of(condition["lastTransitionTime"])


def _bucket(age_s: float) -> int:
    return math.floor(math.log2(max(age_s, 0.001) * 1e9))


def _apart(one_s: float, other_s: float) -> bool:
    """Whether two ages differ now and for a second more."""
    later = [_bucket(each + ahead) for ahead in (0.0, 1.0) for each in (one_s, other_s)]
    return later[0] != later[1] and later[2] != later[3]


@pytest.mark.states("R6")
def test_a_gate_in_the_template_holds_back_what_is_made_from_then_on(place: Place) -> None:
    place.create(member("serving"))
    place.wait_ready("serving")
    adopt(place, 1)
    template = "/spec/template/spec/schedulingGates"
    gate: Obj = {"op": "add", "path": template, "value": [{"name": "tests/held"}]}
    place.patch("replicasets", "puppet", [gate], kind=JSON_PATCH)
    place.patch("replicasets", "puppet", {"spec": {"replicas": 3}})

    def held() -> list[Obj]:
        pods = [one for one in place.all("pods") if name_of(one) != "serving"]
        return [one for one in pods if (condition_of(one, "PodScheduled") or {}).get("reason") == "SchedulingGated"]

    wait_until(lambda: len(held()) == 2, what="two pods held back")
    assert {str(one["status"]["phase"]) for one in held()} == {"Pending"}
    assert not any(one["spec"].get("nodeName") for one in held())
    assert is_ready(place.get("pods", "serving"))
    with place.watch("pods") as told:
        place.patch("replicasets", "puppet", {"spec": {"replicas": 1}})
        wait_until(lambda: len(rollouts.deleted(told)) == 2, what="both are gone")

    graces = {one.object["metadata"].get("deletionGracePeriodSeconds", 0) for one in told.happenings}
    assert graces == {0}, "there is nothing that they could sit out"
    assert is_ready(place.get("pods", "serving"))
