"""Autoscalers of type Pods: numbers that others serve, and what is said where there are none."""

from __future__ import annotations

import pytest

from segue.cluster.metrics.custom import Told, Wanted, read_list
from segue.model.objects import Obj, condition_of
from tests.unit.cluster.controllers.test_autoscaler_control import HPAS, Measured, measured

METRIC = "segue_active_connections"


def scaled(milli: dict[str, int] | None, trouble: str = "", *, replicas: int = 2, average: str = "10") -> Measured:
    """A Deployment of two pods whose metric is this; None: nobody serves any."""
    world = measured(replicas)
    if milli is not None:
        key = Wanted(namespace="default", metric=METRIC, selector="app=web")
        names = [pod["metadata"]["name"] for pod in world.live_pods()]
        told = {names[index]: value for index, value in enumerate(milli.values())}
        world.readings.custom.told[key] = Told(milli=told, trouble=trouble)
    target = {"type": "AverageValue", "averageValue": average}
    metric = {"type": "Pods", "pods": {"metric": {"name": METRIC}, "target": target}}
    world.scaler(metrics=[metric])
    return world


@pytest.mark.parametrize(("each", "size"), [(10_000, 2), (10_900, 2), (15_000, 3), (20_000, 4), (9_100, 2)])
def test_the_average_over_pods_makes_the_number(each: int, size: int) -> None:
    world = scaled({"a": each, "b": each})

    assert world.size() == size
    assert world.said("ScalingActive") == ("True", "ValidMetricFound")


def test_a_status_tells_the_metric_and_its_average() -> None:
    found = scaled({"a": 20_000, "b": 10_000}).get(HPAS, "web")
    (metric,) = found["status"]["currentMetrics"]

    assert metric == {"type": "Pods", "pods": {"current": {"averageValue": "15"}, "metric": {"name": METRIC}}}
    assert "from pods metric segue_active_connections" in (condition_of(found, "ScalingActive") or {})["message"]


def test_a_pod_of_which_nothing_is_known_counts_for_the_careful_side() -> None:
    """Of two pods one tells 40: were both like it there would be 8; the other counts as having none."""
    world = scaled({"a": 40_000})

    assert world.size() == 4


@pytest.mark.parametrize(
    ("milli", "trouble", "why"),
    [
        (None, "", "no custom metrics API (custom.metrics.k8s.io) registered"),
        ({}, "", "no metrics returned from custom metrics API"),
        ({}, "it is away", "unable to fetch metrics from custom metrics API: it is away"),
    ],
)
def test_without_numbers_nothing_is_scaled(milli: dict[str, int] | None, trouble: str, why: str) -> None:
    world = scaled(milli, trouble)
    found = condition_of(world.get(HPAS, "web"), "ScalingActive") or {}

    assert world.size() == 2
    assert found["reason"] == "FailedGetPodsMetric"
    assert why in found["message"]


def test_a_list_of_values_is_read_in_thousandths() -> None:
    def item(name: str, value: object) -> Obj:
        return {"describedObject": {"name": name}, "value": value}

    assert read_list({"items": [item("a", "3"), item("b", "2500m"), item("c", "1k")]}).milli == {
        "a": 3000,
        "b": 2500,
        "c": 1_000_000,
    }
    assert read_list({}).milli == {}
    assert read_list({"items": [item("a", "many")]}).trouble
    assert read_list({"items": [{"value": "3"}]}).trouble
