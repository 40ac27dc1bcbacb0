"""Manifests of other times as what is served now: what is carried over, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segue.model.bygone import Bygone, renewed
from segue.model.objects import Obj, copy_of

ROOT = Path(__file__).resolve().parents[3]
CONFIG: Obj = next(yaml.safe_load_all((ROOT / "examples" / "openshift" / "web.yaml").read_text()))


def made_of(obj: Obj) -> Bygone:
    found = renewed(obj)
    assert found is not None
    return found


def config(**spec: object) -> Obj:
    """A DeploymentConfig with other fields in its spec."""
    made = copy_of(CONFIG)
    made["spec"] |= spec
    return made


def said(made: Bygone, path: str) -> str:
    (note,) = [one for one in made.notes if one.path == path]
    return note.says


def test_a_deployment_config_becomes_a_deployment_with_the_bounds_that_were_meant() -> None:
    made = made_of(CONFIG)
    spec = made.obj["spec"]

    assert (made.obj["apiVersion"], made.obj["kind"], made.obj["metadata"]) == (
        "apps/v1",
        "Deployment",
        {"name": "web"},
    )
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}}
    assert (spec["replicas"], spec["progressDeadlineSeconds"]) == (3, 120)
    assert spec["selector"] == {"matchLabels": {"app": "web"}}
    assert spec["template"] == CONFIG["spec"]["template"]
    assert {"triggers", "test"} & set(spec) == set()


def test_bounds_within_rolling_params_win_over_those_that_nobody_read() -> None:
    strategy = {"type": "Rolling", "maxSurge": 3, "rollingParams": {"maxSurge": "50%", "updatePeriodSeconds": 1}}
    made = made_of(config(strategy=strategy))

    assert made.obj["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "50%", "maxUnavailable": "25%"}
    assert [one.path for one in made.notes if "strategy" in one.path] == [
        "spec.strategy.rollingParams.updatePeriodSeconds"
    ]


@pytest.mark.parametrize("hook", ["pre", "mid", "post"])
def test_every_hook_is_said_with_what_to_do_instead(hook: str) -> None:
    params = {hook: {"failurePolicy": "Retry", "execNewPod": {"command": ["x"]}}}
    made = made_of(config(strategy={"type": "Recreate", "recreateParams": params}))

    assert made.obj["spec"]["strategy"] == {"type": "Recreate"}
    assert "Retry" in said(made, f"spec.strategy.recreateParams.{hook}")
    assert "Job" in said(made, f"spec.strategy.recreateParams.{hook}")


def test_triggers_are_said_and_an_empty_image_is_asked_for() -> None:
    old = config(triggers=[CONFIG["spec"]["triggers"][1]])
    old["spec"]["template"]["spec"]["containers"][0]["image"] = " "
    made = made_of(old)

    assert "web:v1" in said(made, "spec.triggers[0]")
    assert "rolls when it is applied" in said(made, "spec.triggers")
    assert "--image server=IMAGE" in said(made, "spec.template.spec.containers[0].image")


def test_what_a_cluster_put_in_stays_behind() -> None:
    old = {**copy_of(CONFIG), "status": {"latestVersion": 4}}
    old["metadata"] |= {"uid": "u", "resourceVersion": "7", "labels": {"app": "web"}}
    del old["spec"]["selector"], old["spec"]["replicas"]
    made = made_of(old)

    assert made.obj["metadata"] == {"name": "web", "labels": {"app": "web"}}
    assert "status" not in made.obj
    assert made.obj["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    assert made.obj["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("version", "rolling"),
    [
        ("extensions/v1beta1", {"maxSurge": 1, "maxUnavailable": 1}),
        ("apps/v1beta1", {"maxSurge": "25%", "maxUnavailable": "25%"}),
    ],
)
def test_an_old_group_keeps_the_defaults_that_counted_there(version: str, rolling: Obj) -> None:
    template = CONFIG["spec"]["template"]
    old: Obj = {
        "apiVersion": version,
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": template},
    }
    made = made_of(old)

    assert made.obj["apiVersion"] == "apps/v1"
    assert made.obj["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    assert made.obj["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert old["spec"] == {"template": template}


def test_an_autoscaler_follows_and_what_is_of_today_is_left_alone() -> None:
    target = {"apiVersion": "apps.openshift.io/v1", "kind": "DeploymentConfig", "name": "web"}
    scaler: Obj = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "spec": {"scaleTargetRef": target},
    }

    made = made_of(scaler)
    now = made.obj

    assert now["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    assert renewed(now) is None
    assert renewed(made_of(CONFIG).obj) is None


@pytest.mark.parametrize(
    "spec", [{}, {"strategy": 3, "triggers": "x", "selector": []}, {"template": {"spec": {"containers": [1]}}}]
)
def test_no_shape_is_too_odd(spec: Obj) -> None:
    made = made_of({"apiVersion": "v1", "kind": "DeploymentConfig", "spec": spec})

    assert made.obj["kind"] == "Deployment"
