"""The admission guard: while a release is under way, the API server itself refuses what would empty its Services.

From the switch to the unpin, and from the pin to the detached ReplicaSet, another template takes the serving pods away
(A1, A2). A tool that is dead cannot prevent that; a ValidatingAdmissionPolicy can, without a controller or a webhook.

Rule 1: it refuses changes of template, minReadySeconds and strategy only, and only on a Deployment that bears a
release's memory; scaling, labels and everything else stay free.
Rule 2: what segue writes is told by its field manager. The guard protects from mishaps, not from enemies.
"""

from __future__ import annotations

from segue.model.objects import Obj
from segue.release.memory import ANNOTATION

NAME = "segue-guard"
API_VERSION = "admissionregistration.k8s.io/v1"
_FIELDS = ("minReadySeconds", "strategy")


def guard_objects() -> tuple[Obj, Obj]:
    """The policy and its binding, for all namespaces."""
    same = [f"(has(object.spec.{key}) == has(oldObject.spec.{key}))" for key in _FIELDS]
    same += [f"(!has(object.spec.{key}) || object.spec.{key} == oldObject.spec.{key})" for key in _FIELDS]
    policy: Obj = {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Ignore",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["UPDATE"],
                        "resources": ["deployments"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "a-release-is-under-way",
                    "expression": "has(oldObject.metadata.annotations) && "
                    f"'{ANNOTATION}' in oldObject.metadata.annotations",
                },
                {
                    "name": "somebody-else-writes",
                    "expression": "!has(request.options.fieldManager) || request.options.fieldManager != 'segue'",
                },
            ],
            "validations": [
                {
                    "expression": " && ".join(["object.spec.template == oldObject.spec.template", *same]),
                    "messageExpression": "'a release by segue is under way on Deployment ' + object.metadata.name + "
                    "': its template, minReadySeconds and strategy stay as they are until it ends; "
                    "segue status ' + object.metadata.name + ' shows it, segue abort ' + object.metadata.name + "
                    "' takes it back'",
                    "reason": "Forbidden",
                }
            ],
        },
    }
    binding: Obj = {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return policy, binding
