"""What means a Deployment by its name when its successor has another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.model.errors import Refused
from segue.model.objects import Obj
from segue.model.workloads import Deployment
from segue.release.beside import Beside
from segue.release.namesakes import check_namesakes
from segue.release.plan import Plan, Target
from segue.release.surroundings import Surroundings

BESIDE = Beside(app="web", label="version", version="v2", new="web-v2", old="web-v1")
OLD = Deployment(
    obj={
        "metadata": {"name": "web-v1"},
        "spec": {"template": {"metadata": {"labels": {"app": "web", "version": "v1"}}}},
    }
)
PLAN = Plan(
    target=Target(kind="release", template={}, after={}, metadata={}),
    namespace="default",
    deployment="web",
    services=("web",),
    replicas=3,
    wanted=3,
    old_set="web-v1-1",
    old_hash="1",
    beside=BESIDE,
)


def around(*, scales: str = "", selector: Obj | None = None) -> Surroundings:
    target = {"kind": "Deployment", "name": scales}
    scalers = (
        ({"metadata": {"name": "scaler"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5}},) if scales else ()
    )
    budgets = ({"metadata": {"name": "budget"}, "spec": {"selector": selector}},) if selector is not None else ()
    return Surroundings(quotas=(), budgets=budgets, autoscalers=scalers, policies=(), claims=(), nodes=())


def found(plan: Plan, surroundings: Surroundings) -> tuple[str, ...]:
    return check_namesakes(plan, BESIDE, OLD, {"app": "web", "version": "v2"}, surroundings)


def test_an_autoscaler_of_the_old_name_is_named_with_the_command_that_moves_it() -> None:
    (warning,) = found(PLAN, around(scales="web-v1"))

    assert 'kubectl patch hpa scaler -p \'{"spec":{"scaleTargetRef":{"name":"web-v2"}}}\'' in warning
    assert found(PLAN, around(scales="other")) == ()


def test_a_canary_under_an_autoscaler_is_refused() -> None:
    with pytest.raises(Refused, match="would bring back each pod"):
        found(replace(PLAN, strategy="canary"), around(scales="web-v1"))


@pytest.mark.parametrize(
    ("labels", "count"), [({"app": "web", "version": "v1"}, 1), ({"app": "web"}, 0), ({"app": "other"}, 0)]
)
def test_a_budget_that_counts_the_old_pods_alone_is_named(labels: dict[str, str], count: int) -> None:
    assert len(found(PLAN, around(selector={"matchLabels": labels}))) == count
