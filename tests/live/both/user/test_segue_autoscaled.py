"""Releases beside an autoscaler that raises and lowers the number of pods in the middle of them: nothing is lost.

The pods drain by themselves (a preStop hook), for an autoscaler ends serving pods as it likes (B3). Mostly it is
moved by its bounds here, which it follows at once; how metrics move it is told in `test_autoscalers.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import NAME, V1, App
from tests.live.both.world import condition
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue release: autoscaled": "An autoscaler that raises or lowers the Deployment in mid-release costs no request "
    "where pods have a preStop hook; raised, the serving side follows before the switch; its number stands at the end.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
_HOOK = "          lifecycle: {preStop: {sleep: {seconds: 3}}}\n"
# Whoever has an autoscaler leaves the number of pods to it
LEFT_OPEN = V1.replace("  replicas: 3\n", "").replace(
    "          livenessProbe:\n", f"{_HOOK}          livenessProbe:\n", 1
)
_LATE = "          env: [{name: START_DELAY_S, value: '4'}]\n"  # time enough to be scaled meanwhile
NEXT = LEFT_OPEN.replace("grace:v0.1", "grace:v0.2").replace(_HOOK, _HOOK + _LATE)
HPAS = "horizontalpodautoscalers"


@pytest.fixture
def autoscaled(app: App) -> App:
    """Three pods that serve, because an autoscaler wants so many."""
    app.place.kubectl("apply", "-f", app.file(LEFT_OPEN, "v1.yaml"))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    spec = {"minReplicas": 3, "maxReplicas": 3, "scaleTargetRef": target}
    scaler: Obj = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}}
    app.place.create({**scaler, "spec": spec})
    app.pods(3)
    return app


def move(app: App, size: int) -> None:
    """Let the autoscaler want so many, and wait until it has said so to the Deployment."""
    bounds = {"spec": {"minReplicas": size, "maxReplicas": size}}
    app.place.patch(HPAS, NAME, bounds, kind="application/merge-patch+json")
    wait_until(lambda: app.deployment()["spec"]["replicas"] == size, limit_s=30, what=f"a scale to {size}")


def check_arrived(app: App, size: int) -> None:
    """The new version alone, in the number that the autoscaler wants."""
    assert app.versions(size) == {"v0.2"}
    app.check_clean()
    assert sorted(each["spec"]["replicas"] for each in app.place.all("replicasets")) == [0, size]


@pytest.mark.states("segue release: autoscaled")
def test_raised_before_the_switch_the_serving_pods_follow_and_lowered_after_it_none_is_lost(autoscaled: App) -> None:
    old = autoscaled.place.all("replicasets")[0]["metadata"]["name"]
    going = autoscaled.start("release", "-f", autoscaled.file(NEXT))
    with autoscaled.load() as tally:
        assert going.until("detach ReplicaSet"), going.told
        move(autoscaled, 5)
        assert going.until("switch Service"), going.told
        followed = autoscaled.place.get("replicasets", old)["spec"]["replicas"]
        assert going.until("unpin Service"), going.told
        move(autoscaled, 2)
        code, _, told = going.end()

    assert code == 0, told
    assert followed == 5, told
    tally.check_none_lost()
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    check_arrived(autoscaled, 2)


@pytest.mark.full
@pytest.mark.states("segue release: autoscaled")
def test_lowered_before_the_switch_the_detached_pods_serve_on(autoscaled: App) -> None:
    old = autoscaled.place.all("replicasets")[0]["metadata"]["name"]
    going = autoscaled.start("release", "-f", autoscaled.file(NEXT))
    with autoscaled.load() as tally:
        assert going.until("detach ReplicaSet"), going.told
        move(autoscaled, 2)
        kept = autoscaled.place.get("replicasets", old)["spec"]["replicas"]
        code, _, told = going.end()

    assert code == 0, told
    assert kept == 3, told
    tally.check_none_lost()
    check_arrived(autoscaled, 2)


def by_memory(amount: str) -> Obj:
    """Bounds that leave room, and how much memory a pod may use on average."""
    target = {"type": "AverageValue", "averageValue": amount}
    metric = {"type": "Resource", "resource": {"name": "memory", "target": target}}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    return {"spec": {"minReplicas": 3, "maxReplicas": 5, "metrics": [metric], "behavior": behavior}}


@pytest.mark.full
@pytest.mark.states("segue release: autoscaled")
def test_metrics_of_both_versions_move_it_and_none_is_lost(autoscaled: App) -> None:
    """While both versions run the autoscaler counts the pods of both: the selector takes all of them."""
    place, merge = autoscaled.place, "application/merge-patch+json"
    place.patch(HPAS, NAME, by_memory("1Gi"), kind=merge)
    wait_until(
        lambda: condition(place.get(HPAS, NAME), "ScalingActive") == "True", limit_s=90, what="metrics of the pods"
    )
    with autoscaled.load() as tally:
        going = autoscaled.start("release", "-f", autoscaled.file(NEXT))
        assert going.until("detach ReplicaSet"), going.told
        place.patch(HPAS, NAME, by_memory("1Mi"), kind=merge)
        wait_until(lambda: autoscaled.deployment()["spec"]["replicas"] == 5, limit_s=30, what="a scale to 5")
        code, _, told = going.end()
        place.patch(HPAS, NAME, by_memory("1Gi"), kind=merge)
        wait_until(lambda: autoscaled.deployment()["spec"]["replicas"] == 3, limit_s=90, what="a scale to 3")
        autoscaled.pods(3)

    assert code == 0, told
    tally.check_none_lost()
    check_arrived(autoscaled, 3)


@pytest.mark.full
@pytest.mark.states("segue release: autoscaled", "segue ramped")
def test_a_ramped_release_is_raised_and_lowered_on_its_way(autoscaled: App) -> None:
    going = autoscaled.start("release", "-f", autoscaled.file(NEXT), "--strategy", "ramped", "--step", "1")
    with autoscaled.load() as tally:
        assert going.until("out of traffic"), going.told
        move(autoscaled, 5)
        assert going.until("room for 1 more pod"), going.told
        assert going.until("out of traffic"), going.told
        move(autoscaled, 3)
        code, _, told = going.end(limit_s=150)

    assert code == 0, told
    tally.check_none_lost()
    check_arrived(autoscaled, 3)


@pytest.mark.full
@pytest.mark.states("segue release: autoscaled")
def test_a_release_that_is_taken_back_leaves_the_number_that_the_autoscaler_wants(autoscaled: App) -> None:
    broken = autoscaled.file(NEXT.replace("path: /health", "path: /nowhere"))
    with autoscaled.load() as tally:
        going = autoscaled.start("release", "-f", broken, "--timeout", "20")
        assert going.until("detach ReplicaSet"), going.told
        move(autoscaled, 4)
        code, _, told = going.end()
        autoscaled.done("abort", NAME)

    assert code != 0, told
    assert autoscaled.versions(4) == {"v0.1"}
    tally.check_none_lost()
    autoscaled.check_clean()
