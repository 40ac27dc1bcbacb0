"""What means a Deployment by its name, or its pods by their version, and does not follow to the one beside it.

Rule: what would undo each step of a release is refused; what stays behind is a warning with a remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from segue.model.errors import Refused
from segue.model.objects import label_selector_matches, name_of
from segue.model.workloads import Deployment
from segue.release.beside import Beside
from segue.release.memory import RAMPED
from segue.release.plan import Plan
from segue.release.surroundings import Surroundings


def check_namesakes(
    plan: Plan, beside: Beside, old: Deployment, labels: Mapping[str, str], around: Surroundings
) -> tuple[str, ...]:
    """Warnings about autoscalers and budgets of the old Deployment. Refused where one would bring its pods back."""
    return (*_autoscalers(plan, beside, old, around), *_budgets(beside, old, labels, around))


def _autoscalers(plan: Plan, beside: Beside, old: Deployment, around: Surroundings) -> Iterator[str]:
    for scaler in around.autoscalers or ():
        target = scaler["spec"].get("scaleTargetRef") or {}
        if target.get("kind") != "Deployment" or target.get("name") != old.name:
            continue
        patch = f'{{"spec":{{"scaleTargetRef":{{"name":"{beside.new}"}}}}}}'
        remedy = f"kubectl patch hpa {name_of(scaler)} -p '{patch}'"
        if plan.strategy in RAMPED:
            raise Refused(
                f"HorizontalPodAutoscaler {name_of(scaler)} scales Deployment {old.name}: it would bring back each "
                "pod that this release takes away",
                remedy=f"delete it meanwhile, or release in place, without --side-by-side; then {remedy}",
            )
        yield (
            f"HorizontalPodAutoscaler {name_of(scaler)} scales Deployment {old.name}, not {beside.new}: "
            f"after the switch {remedy}"
        )


def _budgets(beside: Beside, old: Deployment, labels: Mapping[str, str], around: Surroundings) -> Iterator[str]:
    for budget in around.budgets or ():
        selector = budget["spec"].get("selector") or {}
        if not label_selector_matches(selector, old.pod_labels) or label_selector_matches(selector, labels):
            continue
        yield (
            f"PodDisruptionBudget {name_of(budget)} counts the pods of Deployment {old.name}, not those of "
            f"{beside.new}: leave {beside.label} out of its selector"
        )
