"""What ends old pods before new ones serve, beside the rules that have pairs: each loses, and is diagnosed if it shows.

The other causes of segue.check.diagnosis are rules with pairs: test_rules_lose_requests, test_rules_lose_by_change.
"""

from __future__ import annotations

import pytest
import yaml

from segue.check.diagnosis import gone_first
from segue.check.gathering import Gathered
from segue.check.rulebook import judge
from segue.check.settings import Settings
from segue.model.objects import Obj, copy_of
from tests.live.both import manifests, rollouts
from tests.live.both.manifests import PORT
from tests.live.both.test_rules_lose_by_change import SCALED, apply, lost_of_a_crowd, scaled
from tests.live.both.test_rules_lose_requests import door, inner, lost_of_many, roll, sleeps, web
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.full]


def causes(objects: list[Obj], before: list[Obj]) -> list[str]:
    """Which causes the diagnosis names."""
    now, earlier = Gathered(), Gathered()
    now.add(yaml.safe_dump_all(objects), file="web.yaml")
    earlier.add(yaml.safe_dump_all(before) if before else "", file="before.yaml")
    return [one.finding.rule.id for one in gone_first(judge(now.sources, Settings(), earlier.sources).findings)]


def serving(place: Place, objects: list[Obj], pods: int) -> None:
    """Apply, and wait until so many pods are ready behind the Service."""
    assert apply(place, objects) == []
    wait_until(
        lambda: sum(bool(each["ready"]) for each in place.endpoints("web").values()) >= pods,
        limit_s=60,
        what="the Service's endpoints",
    )


def test_readiness_that_asks_somebody_else_says_yes_too_early(place: Place) -> None:
    asks: Obj = {"httpGet": {"path": "/ready", "port": PORT + 1}, "periodSeconds": 1, "timeoutSeconds": 5}
    lying = [web(2, lifecycle=sleeps(2), strings="listen_s=4", readinessProbe=asks), door()]
    inner(lying)["ports"] = [{"name": "http", "containerPort": PORT}]
    other = manifests.container(env=[{"name": "PORT", "value": str(PORT + 1)}]) | {"name": "other", "ports": []}
    lying[0]["spec"]["template"]["spec"]["containers"].append(other)

    assert causes(lying, []) == ["ZD210"]
    serving(place, lying, 2)
    assert lost_of_many(place, roll) >= 1


def test_another_name_and_a_tool_that_prunes_end_all_old_pods(place: Place) -> None:
    runs = [web(2, lifecycle=sleeps(2), strings="listen_s=4"), door()]
    renamed = [copy_of(one) for one in runs]
    renamed[0]["metadata"]["name"] = "front"
    renamed[0]["spec"]["selector"]["matchLabels"] = {"app": "web", "name": "front"}
    renamed[0]["spec"]["template"]["metadata"]["labels"] = {"app": "web", "name": "front"}

    def prune(here: Place) -> None:
        assert apply(here, renamed) == []
        here.delete("deployments", "web")
        rollouts.complete(here, "front")

    assert causes(renamed, runs) == ["ZD307"]
    serving(place, runs, 2)
    assert lost_of_many(place, prune) >= 1


def test_a_forced_update_replaces_what_an_autoscaler_had_found(place: Place) -> None:
    good = scaled()
    del good[0]["spec"]["replicas"]

    def force(here: Place) -> None:
        here.kubectl("replace", "-f", "-", stdin=yaml.safe_dump(good[0]))  # as Helm 3 and 4 with --force

        def settled() -> bool:
            return sum(bool(each["ready"]) for each in here.endpoints("web").values()) <= 1

        wait_until(settled, what="the pods to go")

    assert causes(good, []) == []  # no manifest shows it: the command does
    serving(place, good, SCALED)
    assert lost_of_a_crowd(place, force) >= 1
