"""How a Deployment goes from one version to the next: D3, D4, D6 to D8, D15, D17, G1, M5, M8, M10 to M12."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import (
    complete,
    held,
    pods_of,
    ready,
    roll,
    running,
    set_ready,
    story,
    strategy,
    wait_sizes,
    wait_until,
)
from tests.live.both.world import Happening, Place, condition, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "D3": "The new ReplicaSet grows to what replicas and surge leave room for, counted in what all of them want.",
    "D4": "Of old ReplicaSets unavailable pods go first, then available ones, the oldest ReplicaSet first.",
    "D6": "Available pods are never fewer than replicas - unavailable.",
    "D7": "With surge 100 % and unavailable 0 one old pod still goes for each new one that becomes available.",
    "D8": "All new before any old: a gate that is opened for all of them at once does it; it is held by the template.",
    "D15": "Replicas changed in mid-rollout are shared out in proportion; while paused only this happens.",
    "D17": "A second template in mid-rollout takes the pods of the broken one in between first.",
    "G1": "A pod with a readiness gate is neither a ready endpoint nor available until somebody sets its condition.",
    "M5": "minReadySeconds as a brake: all new pods get Ready beside all old ones, and the controller waits.",
    "M8": "Under the brake an old ReplicaSet that is lowered by hand lets the new one grow, and is not raised again.",
    "M10": "kubectl scale under the brake shares out over both ReplicaSets.",
    "M11": "Putting the old template back under the brake takes no old pod. The new ones, which are not available, stay"
    " with them, or go where the Deployment is reckoned before its old pods count as unavailable, too.",
    "M12": "A gate holds all new pods un-Ready beside all old ones; its condition on all of them lets all old ones go.",
}
NOT_COVERED: dict[str, str] = {
    "M13": "Start-up and memory of the programs are the bench's figures, not a statement about controllers.",
}
DIFFERENCES: dict[str, str] = {}
GATE = "host.org/go"
BRAKE = {"minReadySeconds": 86400, "progressDeadlineSeconds": 90000, **strategy("100%", 0)}


# -- the arithmetic of a rollout -------------------------------------------------------------------------------------


@pytest.mark.states("D3", "D6")
@pytest.mark.parametrize(
    ("bounds", "most", "least"), [({}, 5, 3), (strategy(2, 0), 6, 4), (strategy(0, 2), 4, 2)], ids=["25%", "2-0", "0-2"]
)
def test_a_rollout_stays_between_its_bounds(place: Place, bounds: Obj, most: int, least: int) -> None:
    ready(place, rollouts.deployment("web", 4, spec=bounds))

    with place.watch("replicasets") as sets, place.watch("pods") as pods:
        wait_until(lambda: len(pods.happenings) >= 4, what="the pods of before")
        roll(place, "web", rollouts.template())
        complete(place, "web")
        rollouts.caught_up(place, sets, "replicasets")
        rollouts.caught_up(place, pods, "pods")

    old, new = rollouts.sets(place, "web")
    steps = story(sets, old["metadata"]["name"], new["metadata"]["name"])
    first = sets.of(new["metadata"]["name"])[0].object
    assert first["spec"]["replicas"] == most - 4
    assert max(old + new for old, new, _ in steps) == most
    assert (steps[0][:2], steps[-1]) == ((4, most - 4), (0, 4, 4))
    alive: dict[str, Happening] = {}
    counts = []
    for each in pods.happenings:
        alive[each.name] = each
        there = [one.object for one in alive.values() if one.type != "DELETED"]
        counts.append(sum(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in there))
    # Unscheduled and starting pods count, too, but those that serve are what the bound is for
    assert min(counts[4:]) >= least


@pytest.mark.states("D4", "D17")
def test_a_broken_version_goes_before_healthy_old_pods(place: Place) -> None:
    ready(place, rollouts.deployment("web", 4, spec=strategy(2, 1)))
    roll(place, "web", held("v2"))
    sets = wait_sizes(place, "web", 3, 3)
    running(place, sets[1], 3)

    with place.watch("replicasets") as told:
        roll(place, "web", rollouts.template("v3"))
        complete(place, "web")
        rollouts.caught_up(place, told, "replicasets")

    names = [each["metadata"]["name"] for each in rollouts.sets(place, "web")]
    steps = story(told, *names)
    first_without = next(step for step in steps if step[1] == 0 and step[2] > 0)
    assert first_without[0] == 3, steps


@pytest.mark.states("D4")
def test_the_oldest_of_healthy_versions_goes_first(place: Place) -> None:
    ready(place, rollouts.deployment("web", 4, spec=strategy(2, 0)))
    roll(place, "web", held("v2"))
    sets = wait_sizes(place, "web", 4, 2)
    pods = running(place, sets[1], 2)
    roll(place, "web", {"paused": True})
    set_ready(place, pods)
    wait_until(
        lambda: rollouts.sets(place, "web")[1]["status"].get("availableReplicas") == 2, what="both to be available"
    )

    with place.watch("replicasets") as told:
        roll(place, "web", rollouts.template("v3"), {"paused": False})
        complete(place, "web")
        rollouts.caught_up(place, told, "replicasets")

    steps = story(told, *[each["metadata"]["name"] for each in rollouts.sets(place, "web")])
    assert all(first == 0 for first, second, *_ in steps if second < 2 and steps.index((first, second, *_)) > 2), steps


@pytest.mark.states("D4")
def test_an_unready_old_pod_goes_first(place: Place) -> None:
    ready(place, manifests.deployment("web", 3, spec=strategy(1, 1)))
    sick = place.wait_ready_pods(3)[1]
    set_ready(place, [sick], 503)

    with place.watch("pods") as told:
        roll(place, "web", held())
        wait_sizes(place, "web", 2, 2)
        wait_until(lambda: rollouts.deleted(told), what="a deletion")

    assert rollouts.deleted(told) == [sick["metadata"]["name"]]


@pytest.mark.states("D7", "D8")
def test_even_with_all_the_surge_one_goes_for_one_that_comes(place: Place) -> None:
    ready(place, rollouts.deployment("web", 4, spec=strategy("100%", 0)))

    with place.watch("replicasets") as told:
        roll(place, "web", held())
        sets = wait_sizes(place, "web", 4, 4)
        for count, pod in enumerate(running(place, sets[1], 4), start=1):
            set_ready(place, [pod])
            wait_sizes(place, "web", 4 - count, 4)
        rollouts.caught_up(place, told, "replicasets")

    steps = story(told, *[each["metadata"]["name"] for each in sets])
    assert steps[steps.index((4, 4, 0)) :] == [
        (4, 4, 0),
        (4, 4, 1),
        (3, 4, 1),
        (3, 4, 2),
        (2, 4, 2),
        (2, 4, 3),
        (1, 4, 3),
        (1, 4, 4),
        (0, 4, 4),
    ]


@pytest.mark.states("D15")
@pytest.mark.parametrize(
    ("bounds", "before", "to", "after"),
    [({}, [3, 2], 8, [6, 4]), ({}, [3, 2], 6, [5, 3]), (strategy(1, 0), [4, 1], 2, [2, 1]), ({}, [3, 2], 0, [0, 0])],
    ids=["4-8", "4-6", "4-2", "4-0"],
)
def test_replicas_changed_in_mid_rollout_are_shared_out(
    place: Place, bounds: Obj, before: list[int], to: int, after: list[int]
) -> None:
    ready(place, rollouts.deployment("web", 4, spec=bounds))
    roll(place, "web", held())
    sets = wait_sizes(place, "web", *before)
    running(place, sets[1], before[1])

    with place.watch("replicasets") as told:
        place.kubectl("scale", "deployment", "web", f"--replicas={to}")
        wait_sizes(place, "web", *after)
        rollouts.caught_up(place, told, "replicasets")

    names = [each["metadata"]["name"] for each in sets]
    changed = [
        each for name in names for each in told.of(name) if each.object["spec"]["replicas"] != before[names.index(name)]
    ]
    # Each of the two is sized once: no rollout step comes between
    assert {each.object["spec"]["replicas"] for each in changed} <= set(after)


@pytest.mark.states("D15")
def test_while_paused_only_scaling_works(place: Place) -> None:
    ready(place, rollouts.deployment("web", 4))
    roll(place, "web", held())
    sets = wait_sizes(place, "web", 3, 2)
    pods = running(place, sets[1], 2)
    roll(place, "web", {"paused": True})
    roll(place, "web", rollouts.template("v3"))
    set_ready(place, pods)

    place.kubectl("scale", "deployment", "web", "--replicas=6")

    wait_sizes(place, "web", 5, 3)
    roll(place, "web", {"paused": False})
    complete(place, "web")
    assert rollouts.sizes(place, "web") == [0, 0, 6]


# -- the brake -------------------------------------------------------------------------------------------------------


@pytest.mark.states("M5")
def test_the_brake_keeps_all_old_pods_beside_all_new_ones(place: Place) -> None:
    ready(place, rollouts.deployment("web", 3))

    with place.watch("replicasets") as told:
        roll(place, "web", BRAKE)
        wait_until(lambda: _seen(place), what="the brake to be seen")
        alone = rollouts.sizes(place, "web")
        roll(place, "web", rollouts.template())
        place.wait_ready_pods(6)
        wait_until(lambda: place.get("deployments", "web")["status"].get("readyReplicas") == 6, what="6 ready")
        rollouts.caught_up(place, told, "replicasets")

    old, new = rollouts.sets(place, "web")
    steps = story(told, old["metadata"]["name"], new["metadata"]["name"])
    assert alone == [3]
    assert steps[-1] == (3, 3, 0)
    assert {step[0] for step in steps} == {3}
    assert [old["status"].get("availableReplicas"), new["status"].get("availableReplicas")] == [None, None]
    assert new["spec"]["minReadySeconds"] == 86400
    roll(place, "web", {"minReadySeconds": 0})
    complete(place, "web")


@pytest.mark.states("M5")
def test_a_brake_in_the_patch_of_the_template_leaves_the_old_ones_available(place: Place) -> None:
    ready(place, rollouts.deployment("web", 3))

    roll(place, "web", BRAKE, rollouts.template())
    place.wait_ready_pods(6)
    wait_until(lambda: place.get("deployments", "web")["status"].get("readyReplicas") == 6, what="6 ready")

    old, new = rollouts.sets(place, "web")
    assert [each["spec"]["replicas"] for each in (old, new)] == [3, 3]
    assert [each["spec"].get("minReadySeconds") for each in (old, new)] == [None, 86400]
    assert [each["status"].get("availableReplicas") for each in (old, new)] == [3, None]
    assert condition(place.get("deployments", "web"), "Available") == "True"


@pytest.mark.states("M8")
def test_under_the_brake_the_new_ones_grow_as_old_ones_are_taken(place: Place) -> None:
    ready(place, rollouts.deployment("web", 3))
    roll(place, "web", BRAKE, strategy(1, 0), rollouts.template())
    old, new = wait_sizes(place, "web", 3, 1)

    with place.watch("replicasets") as told:
        for left in (2, 1, 0):
            place.patch("replicasets", old["metadata"]["name"], {"spec": {"replicas": left}})
            wait_sizes(place, "web", left, min(3, 4 - left))
        rollouts.caught_up(place, told, "replicasets")

    steps = story(told, old["metadata"]["name"], new["metadata"]["name"])
    sizes = [before for before, _, _ in steps]
    assert sizes == sorted(sizes, reverse=True), steps


@pytest.mark.states("M10")
@pytest.mark.parametrize(("to", "after"), [(6, [3, 4]), (2, [1, 2])])
def test_scaling_under_the_brake_is_shared_out(place: Place, to: int, after: list[int]) -> None:
    """Two of four old pods are replaced under the brake, then somebody scales."""
    ready(place, rollouts.deployment("web", 4))
    roll(place, "web", BRAKE, strategy(1, 0), rollouts.template())
    old, _ = wait_sizes(place, "web", 4, 1)
    for left in (3, 2):
        place.patch("replicasets", old["metadata"]["name"], {"spec": {"replicas": left}})
        wait_sizes(place, "web", left, 5 - left)

    place.kubectl("scale", "deployment", "web", f"--replicas={to}")

    wait_sizes(place, "web", *after)


@pytest.mark.states("M11")
def test_the_old_template_put_back_under_the_brake_takes_no_old_pod(place: Place) -> None:
    ready(place, rollouts.deployment("web", 3))
    before = place.get("deployments", "web")["spec"]["template"]
    roll(place, "web", BRAKE, rollouts.template())
    old, new = wait_sizes(place, "web", 3, 3)
    place.wait_ready_pods(6)

    with place.watch("replicasets") as told:
        patch = [{"op": "replace", "path": "/spec/template", "value": before}]
        place.patch("deployments", "web", patch, kind="application/json-patch+json")
        wait_until(lambda: _seen(place), what="the template to be seen")
        wait_until(lambda: rollouts.revision(place.get("replicasets", old["metadata"]["name"])) == 3, what="revision 3")
        after = place.get("replicasets", old["metadata"]["name"])
        rollouts.caught_up(place, told, "replicasets")

    assert after["spec"]["minReadySeconds"] == 86400
    sizes = {(each.name, each.object["spec"]["replicas"]) for each in told.happenings}
    assert {size for name, size in sizes if name == old["metadata"]["name"]} == {3}
    assert {size for name, size in sizes if name == new["metadata"]["name"]} <= {3, 0}
    assert {each.name for each in told.happenings} == {old["metadata"]["name"], new["metadata"]["name"]}


# -- gates -----------------------------------------------------------------------------------------------------------


def gated() -> Obj:
    """A template with a readiness gate."""
    change = rollouts.template()
    change["template"]["spec"]["readinessGates"] = [{"conditionType": GATE}]
    return change


def open_gate(place: Place, pod: Obj, status: str = "True") -> None:
    """Set the gate's condition, as somebody other than the kubelet must."""
    place.patch(
        "pods", pod["metadata"]["name"], {"status": {"conditions": [{"type": GATE, "status": status}]}}, sub="status"
    )


@pytest.mark.states("G1")
def test_a_gate_holds_a_running_pod_out_of_traffic_until_it_is_opened(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    made = rollouts.deployment("web", 1)
    made["spec"]["template"]["spec"]["readinessGates"] = [{"conditionType": GATE}]
    place.create(manifests.service(selector={"app": "web"}), made)
    pod = wait_until(lambda: next(iter(_healthy(place)), None), limit_s=60.0, what="its containers to be ready")
    assert pod is not None
    assert (condition(pod, "Ready"), condition(pod, GATE)) == ("False", "")
    wait_until(lambda: place.endpoints("web") or place.endpoints(), what="an endpoint")
    assert [each["ready"] for each in place.endpoints().values()] == [False]
    assert place.get("deployments", "web")["status"].get("availableReplicas") is None

    with place.watch("endpointslices") as told:
        open_gate(place, pod)
        complete(place, "web")
        shut = told.wait(lambda each: all(e["conditions"]["ready"] for e in each.object["endpoints"]))
        open_gate(place, pod, "False")
        back = told.wait(
            lambda each: each.at_s > shut.at_s and not any(e["conditions"]["ready"] for e in each.object["endpoints"])
        )

    ready_at = place.get("pods", pod["metadata"]["name"])
    assert (condition(ready_at, "Ready"), condition(ready_at, "ContainersReady")) == ("False", "True")
    measured("gate closed until endpoint unready", back.at_s - shut.at_s, "s")


@pytest.mark.states("M12", "D8", "G1")
def test_a_gate_holds_all_new_beside_all_old_and_lets_all_go_together(place: Place) -> None:
    ready(place, rollouts.deployment("web", 3, spec=strategy("100%", 0)))

    with place.watch("replicasets") as told:
        roll(place, "web", gated())
        old, new = wait_sizes(place, "web", 3, 3)
        pods = wait_until(lambda: _three(place, new), limit_s=60.0, what="three running pods")
        before = [place.get("replicasets", each["metadata"]["name"]) for each in (old, new)]
        for pod in pods:
            open_gate(place, pod)
        complete(place, "web")
        rollouts.caught_up(place, told, "replicasets")

    steps = story(told, old["metadata"]["name"], new["metadata"]["name"])
    assert [each["status"].get("readyReplicas") for each in before] == [3, None]
    assert steps[-1] == (0, 3, 3)
    assert [step for step in steps if step[0] < 3 and step[2] == 0] == []


def _three(place: Place, new: Obj) -> list[Obj]:
    names = {pod["metadata"]["name"] for pod in pods_of(place, new)}
    found = [pod for pod in _healthy(place) if pod["metadata"]["name"] in names and not is_ready(pod)]
    return found if len(found) == 3 else []


def _healthy(place: Place) -> list[Obj]:
    return [pod for pod in place.all("pods") if condition(pod, "ContainersReady") == "True"]


def _seen(place: Place) -> bool:
    found = place.get("deployments", "web")
    return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])
