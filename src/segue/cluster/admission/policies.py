"""What the policies of a cluster say of a request: nothing, a warning, or a refusal in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from segue.cluster.admission.expressions import Expression, Failure, Misfit, Plain, compiled
from segue.cluster.admission.matching import Request, matches
from segue.cluster.kinds import find_kind
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, label_selector_matches, labels_of, name_of

GROUP = "admissionregistration.k8s.io"
POLICIES = f"validatingadmissionpolicies.{GROUP}"
BINDINGS = f"validatingadmissionpolicybindings.{GROUP}"
_CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}


@dataclass(frozen=True, slots=True)
class _Denial:
    message: str
    reason: str = "Invalid"


def names_for(spec: Obj) -> frozenset[str]:
    """The names that a policy's expressions may use."""
    names = {"object", "oldObject", "request", "namespaceObject"}
    if spec.get("paramKind"):
        names.add("params")
    if spec.get("variables"):
        names.add("variables")
    return frozenset(names)


def ask(store: Store, request: Request, warn: Callable[[str], None]) -> None:
    """Raise a StatusError where a policy denies the request, tell `warn` where one only warns."""
    bindings = store.all_of(BINDINGS)
    if not bindings or request.resource.group == GROUP:  # a policy must not lock itself in
        return
    namespace = store.get(Ref(resource="namespaces", namespace="", name=request.namespace))
    for binding in bindings:
        spec = binding["spec"]
        policy = store.get(Ref(resource=POLICIES, namespace="", name=spec["policyName"]))
        if policy is None or not matches(policy["spec"].get("matchConstraints") or {}, request, namespace):
            continue
        if not matches(spec.get("matchResources") or {}, request, namespace):
            continue
        for denial in _denials(store, policy["spec"], spec, request, namespace):
            named = f"ValidatingAdmissionPolicy '{name_of(policy)}' with binding '{name_of(binding)}'"
            actions = spec.get("validationActions") or []
            if "Deny" in actions:
                raise _refusal(request, denial, f"{named} denied request: {denial.message}")
            if "Warn" in actions:
                warn(f"Validation failed for {named}: {denial.message}")


def _denials(store: Store, spec: Obj, binding: Obj, request: Request, namespace: Obj | None) -> Iterator[_Denial]:
    """What of the policy does not hold, in its order; faults of its own count where it shall fail by them."""
    strict = spec.get("failurePolicy", "Fail") == "Fail"
    data: dict[str, Plain] = {
        "object": request.obj,
        "oldObject": request.old,
        "request": request.told(),
        "namespaceObject": namespace,
    }
    if not spec.get("paramKind"):
        yield from _evaluated(spec, data, strict=strict)
        return
    found = _params(store, spec["paramKind"], binding.get("paramRef") or {}, request)
    if not found and (binding.get("paramRef") or {}).get("parameterNotFoundAction") == "Deny":
        if strict:
            why = "no params found for policy binding with `Deny` parameterNotFoundAction"
            yield _Denial(f"failed to configure binding: {why}")
        return
    for params in found:
        yield from _evaluated(spec, {**data, "params": params}, strict=strict)


def _evaluated(spec: Obj, data: dict[str, Plain], *, strict: bool) -> Iterator[_Denial]:
    names = names_for(spec)
    variables: Obj = {}
    broken: dict[str, str] = {}
    data = {**data, "variables": variables}
    for each in spec.get("variables") or []:
        try:
            variables[each["name"]] = _expression(each["expression"], names).value(data)
        except (Failure, Misfit) as error:  # it counts where it is used
            broken[each["name"]] = str(error)
    for each in spec.get("matchConditions") or []:
        try:
            if _expression(each["expression"], names).value(data) is not True:
                return
        except (Failure, Misfit) as error:
            if strict:
                yield _Denial(_failed(each["expression"], error, broken))
            return
    for each in spec.get("validations") or []:
        reason = each.get("reason") or "Invalid"
        try:
            if _expression(each["expression"], names).value(data) is not True:
                yield _Denial(_message(each, names, data), reason)
        except (Failure, Misfit) as error:
            if strict:
                yield _Denial(_failed(each["expression"], error, broken), reason)


def _expression(text: str, names: frozenset[str]) -> Expression:
    return compiled(text.strip(), names)


def _message(validation: Obj, names: frozenset[str], data: dict[str, Plain]) -> str:
    plain = str(validation.get("message") or f"failed expression: {validation['expression'].strip()}")
    if validation.get("messageExpression"):
        try:
            told = _expression(validation["messageExpression"], names).value(data)
        except (Failure, Misfit):
            return plain
        if isinstance(told, str) and told.strip() and "\n" not in told:
            return told
    return plain


def _failed(text: str, error: Exception, broken: dict[str, str]) -> str:
    why = str(error)
    missing = why.removeprefix("no such key: ")
    if missing in broken and f"variables.{missing}" in text:
        why = f'composited variable "{missing}" fails to evaluate: {broken[missing]}'
    return f"expression '{text.strip()}' resulted in error: {why}"


def _params(store: Store, param_kind: Obj, reference: Obj, request: Request) -> list[Obj]:
    """The objects that a binding gives its policy as params."""
    kind = find_kind(str(param_kind.get("apiVersion") or ""), str(param_kind.get("kind") or ""))
    if kind is None:
        return []
    namespace = (reference.get("namespace") or request.namespace) if kind.namespaced else ""
    if reference.get("name"):
        found = store.get(Ref(resource=kind.resource, namespace=namespace, name=reference["name"]))
        return [found] if found is not None else []
    selector = reference.get("selector")
    if selector is None:
        return []
    return [one for one in store.all_of(kind.resource, namespace) if label_selector_matches(selector, labels_of(one))]


def _refusal(request: Request, denial: _Denial, message: str) -> StatusError:
    resource = request.resource
    whole = f'{resource.resource} "{request.name}" is forbidden: {message}'
    details: Obj = {
        "name": request.name,
        "group": resource.group,
        "kind": resource.plural,
        "causes": [{"message": message}],
    }
    return StatusError(_CODES.get(denial.reason, 422), denial.reason, whole, details)
