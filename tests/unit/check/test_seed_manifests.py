"""The manifests of the seven questions and of their answers: what is wrong with each, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segue.check.gathering import Gathered
from segue.check.repair import repaired
from segue.check.rulebook import judge
from segue.check.settings import Settings
from segue.model.objects import Obj

SEED = Path(__file__).resolve().parents[3] / "examples" / "seed"
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
POD = """
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: app
          image: registry.example/web:2
"""


def found_in(text: str) -> dict[str, str]:
    """Rule and message of everything found."""
    gathered = Gathered()
    gathered.add(text, file="x.yaml")
    assert not gathered.errors
    return {one.rule.id: one.message for one in judge(gathered.sources, Settings()).findings}


def after_repair(text: str) -> list[Obj]:
    """The objects that `segue fix` makes of it."""
    return list(yaml.safe_load_all(repaired({"x.yaml": text}, Settings()).texts["x.yaml"]))


def test_the_manifest_of_the_first_question() -> None:
    """Liveness and readiness ask the same, once, and there is no preStop: 15 of 15,890 requests were lost."""
    (file,) = [path for path in SEED.glob("*.yaml") if "livenessProbe" in path.read_text()][:1]
    found = found_in(file.read_text())

    assert {"ZD101", "ZD202", "ZD203"} <= set(found)
    left = repaired({"x.yaml": file.read_text()}, Settings()).left
    assert {one.rule.id for one in left if one.severity == "error"} == set()


def deployment_config(rolling: str) -> str:
    return (
        "apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\nmetadata: {name: web}\nspec:\n  replicas: 3\n"
        f"  selector: {{app: web}}\n  strategy:\n    type: Rolling\n{rolling}  template:{POD}{SERVICE}"
    )


def test_surge_beside_rolling_params_is_not_read() -> None:
    found = found_in(deployment_config("    maxSurge: 3\n    maxUnavailable: 0%\n"))

    assert "maxUnavailable 0% of DeploymentConfig web is not read here" in found["ZD602"]
    assert "ZD309" not in found


def test_a_surge_of_all_does_not_bring_all_new_ones_up_first() -> None:
    found = found_in(deployment_config("    rollingParams: {maxSurge: 3, maxUnavailable: 0%}\n"))

    assert "ZD602" not in found
    assert "an old one is ended for each new one that becomes available" in found["ZD309"]


def deployment(spec: str, probe: str = "") -> str:
    return (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n"
        f"{spec}  selector: {{matchLabels: {{app: web}}}}\n  template:{POD}{probe}{SERVICE}"
    )


def test_a_surge_of_100_percent_is_no_blue_green() -> None:
    strategy = "  replicas: 3\n  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 100%, maxUnavailable: 0}}\n"

    assert "maxSurge 100% -> 3" in found_in(deployment(strategy))["ZD309"]


def test_an_initial_delay_is_no_guard() -> None:
    probe = (
        "          readinessProbe:\n            httpGet: {path: /actuator/health/readiness, port: 8080}\n"
        "            initialDelaySeconds: 60\n"
    )

    assert "stays out of traffic for 60 s after each start" in found_in(deployment("  replicas: 3\n", probe))["ZD212"]


BUDGET = """---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
"""


def test_always_one_pod_alive_is_not_what_a_budget_gives() -> None:
    """The question of GitLab's Auto DevOps: one replica, a slow start, minAvailable 1."""
    recreated = found_in(deployment("  replicas: 1\n  strategy: {type: Recreate}\n") + BUDGET)
    rolling = found_in(deployment("  replicas: 1\n") + BUDGET)

    assert "ends the only pod of Service web before the first new one starts" in recreated["ZD301"]
    assert "but no rollout asks it: the strategy may leave 0 of 1 (Recreate)" in recreated["ZD406"]
    assert {"ZD301", "ZD302", "ZD406"}.isdisjoint(rolling), "the default strategy makes the new pod first (D2)"
    assert "no readinessProbe" in rolling["ZD201"], "but without readiness it does not wait for it"
    assert "no pod may ever be evicted" in rolling["ZD403"]


@pytest.mark.parametrize("labels", ["", "\n    metadata:\n      labels: {app: test}"])
def test_the_answer_of_an_old_api_is_migrated_where_it_says_enough(labels: str) -> None:
    text = (
        "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata:\n  name: test\nspec:\n  replicas: 1\n  template:"
        f"{labels}\n    spec:\n      containers:\n        - name: test\n          image: web:1\n"
        "      terminationGracePeriodSeconds: 60\n"
    )

    assert "ZD601" in found_in(text)
    (after,) = after_repair(text)
    if labels:
        assert (after["apiVersion"], after["spec"]["selector"]) == ("apps/v1", {"matchLabels": {"app": "test"}})
        assert "ZD601" not in found_in(yaml.safe_dump(after))
    else:
        assert after["apiVersion"] == "extensions/v1beta1", "without labels nobody knows what it shall select"


def test_an_autoscaler_of_version_1_counts() -> None:
    scaler = (
        "---\napiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n"
        "  maxReplicas: 20\n  minReplicas: 2\n  targetCPUUtilizationPercentage: 90\n"
        "  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n"
    )
    spec = "  replicas: 10\n  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 10%}}\n"

    found = found_in(deployment(spec) + scaler)

    assert "replicas 10 again, while HorizontalPodAutoscaler web holds up to 20" in found["ZD402"]
    assert "minReplicas 2, maxSurge 0 -> 0, maxUnavailable 10% -> 1" in found["ZD303"]


def test_a_step_of_an_answer_that_loses_capacity() -> None:
    """One replica of a version for the canary, all of the traffic of a version for the other: nothing is off there."""
    found = found_in(deployment("  replicas: 3\n  strategy: {rollingUpdate: {maxSurge: 2, maxUnavailable: 0}}\n"))

    assert {"ZD302", "ZD303", "ZD309"}.isdisjoint(found)
