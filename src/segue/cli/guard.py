"""`segue guard`: prints the admission guard; who may install it does so with kubectl."""

from __future__ import annotations

from segue.cli.connection import OutputOption
from segue.cli.output import Output, emit
from segue.release.guard import guard_objects


def guard(*, output: OutputOption = Output.YAML) -> int:
    """Print a policy with which the API server refuses foreign template changes while a release is under way.

    It works while segue does not run. It needs no controller; installing it needs the right to make cluster-wide
    ValidatingAdmissionPolicies, once.

    Examples
    --------
    segue guard | kubectl apply -f -
    segue guard | kubectl delete -f -
    """
    policy, binding = guard_objects()
    emit(
        {"apiVersion": "v1", "kind": "List", "items": [policy, binding]},
        Output.YAML if output is Output.TABLE else output,
    )
    return 0
