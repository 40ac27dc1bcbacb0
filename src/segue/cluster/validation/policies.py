"""What a ValidatingAdmissionPolicy and its binding must be; their expressions are compiled here for the first time."""

from __future__ import annotations

from segue.cluster.admission.expressions import Misfit, are_available, compiled
from segue.cluster.admission.policies import names_for
from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, unsupported
from segue.model.objects import Obj

_OPERATIONS = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]
_ACTIONS = ["Audit", "Deny", "Warn"]
_REASONS = ["Forbidden", "Invalid", "RequestEntityTooLarge"]
_NOTHING = "validations or auditAnnotations must contain at least one item"
_BOTH = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)


def policy_causes(policy: Obj) -> list[Cause]:
    """Why this policy may not be."""
    spec = policy.get("spec") or {}
    causes: list[Cause] = []
    if spec.get("failurePolicy") not in {None, "Fail", "Ignore"}:
        causes.append(unsupported("spec.failurePolicy", spec["failurePolicy"], ["Fail", "Ignore"]))
    rules = (spec.get("matchConstraints") or {}).get("resourceRules") or []
    if not rules:
        causes.append(required("spec.matchConstraints.resourceRules"))
    for index, rule in enumerate(rules):
        causes += _rule_causes(f"spec.matchConstraints.resourceRules[{index}]", rule)
    if not are_available():
        told = "expressions need a library that is not installed here: pip install 'segue[policies]'"
        return [*causes, forbidden_field("spec.validations", told)]
    names = names_for(spec)
    for index, each in enumerate(spec.get("variables") or []):
        causes += _expression_causes(f"spec.variables[{index}].expression", each.get("expression"), names, "")
    for index, each in enumerate(spec.get("matchConditions") or []):
        causes += _expression_causes(f"spec.matchConditions[{index}].expression", each.get("expression"), names, "bool")
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        causes += [required("spec.validations", _NOTHING), required("spec.auditAnnotations", _NOTHING)]
    for index, each in enumerate(spec.get("validations") or []):
        causes += _validation_causes(f"spec.validations[{index}]", each, names)
    return causes


def policy_binding_causes(binding: Obj) -> list[Cause]:
    """Why this binding may not be."""
    spec = binding.get("spec") or {}
    causes = [] if spec.get("policyName") else [required("spec.policyName")]
    actions = spec.get("validationActions") or []
    if not actions:
        causes.append(required("spec.validationActions"))
    if {"Deny", "Warn"} <= set(actions):
        causes.append(invalid_value("spec.validationActions", actions, _BOTH))
    return causes + [
        unsupported(f"spec.validationActions[{index}]", action, _ACTIONS)
        for index, action in enumerate(actions)
        if action not in _ACTIONS
    ]


def _rule_causes(field: str, rule: Obj) -> list[Cause]:
    operations = rule.get("operations") or []
    causes = [] if operations else [required(f"{field}.operations")]
    causes += [
        unsupported(f"{field}.operations[{index}]", operation, _OPERATIONS)
        for index, operation in enumerate(operations)
        if operation not in _OPERATIONS
    ]
    wanted = ("apiGroups", "apiVersions", "resources")
    return causes + [required(f"{field}.{name}") for name in wanted if not rule.get(name)]


def _validation_causes(field: str, validation: Obj, names: frozenset[str]) -> list[Cause]:
    causes = _expression_causes(f"{field}.expression", validation.get("expression"), names, "bool")
    if "\n" in (validation.get("message") or "").strip():
        causes.append(invalid_value(f"{field}.message", validation["message"], "must not contain line breaks"))
    if validation.get("messageExpression"):
        causes += _expression_causes(f"{field}.messageExpression", validation["messageExpression"], names, "string")
    reason = validation.get("reason")
    if reason and reason not in {*_REASONS, "Unauthorized"}:
        causes.append(unsupported(f"{field}.reason", reason, _REASONS))
    return causes


def _expression_causes(field: str, text: str | None, names: frozenset[str], wanted: str) -> list[Cause]:
    if not text or not text.strip():
        return [required(field, "expression is not specified")]
    try:
        kind = compiled(text.strip(), names).kind
    except Misfit as error:
        return [invalid_value(field, text, f"compilation failed: {error}")]
    if wanted and kind not in {wanted, "dyn"}:
        return [invalid_value(field, text, f"must evaluate to {wanted} but got {kind}")]
    return []
