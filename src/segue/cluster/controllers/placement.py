"""Whether a node is one that a pod may be on: its selector, its required node affinity and its tolerations.

Rule: only what the pod's spec and the node's object say; how full a node is, is the scheduler's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from segue.model.objects import Obj, label_selector_matches, labels_of, name_of, selects

NODE_NAME_FIELD = "metadata.name"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
HARD_EFFECTS = ("NoSchedule", "NoExecute")


def chooses(spec: Obj, node: Obj) -> bool:
    """Whether a pod's nodeSelector and required node affinity take this node."""
    selector = spec.get("nodeSelector") or {}
    if selector and not selects(selector, labels_of(node)):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term_holds(term, node) for term in required.get("nodeSelectorTerms") or [])


def untolerated(taints: Iterable[Obj], tolerations: Iterable[Obj], effects: Iterable[str] = HARD_EFFECTS) -> Obj | None:
    """The first taint of these effects that nothing tolerates, None where there is none."""
    known, wanted = list(tolerations), tuple(effects)
    return next(
        (taint for taint in taints if taint.get("effect") in wanted and not tolerates(known, taint)),
        None,
    )


def tolerates(tolerations: Iterable[Obj], taint: Obj) -> bool:
    """Whether one of these tolerations is for this taint."""
    return any(
        toleration.get("effect") in (None, "", taint["effect"])
        and toleration.get("key") in (None, "", taint["key"])
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
        for toleration in tolerations
    )


def _term_holds(term: Obj, node: Obj) -> bool:
    """A term without a requirement matches no node."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    named = {NODE_NAME_FIELD: name_of(node)}
    return all(_holds(item, labels_of(node)) for item in expressions) and all(_holds(item, named) for item in fields)


def _holds(requirement: Obj, values: Mapping[str, str]) -> bool:
    if requirement["operator"] not in {"Gt", "Lt"}:
        return label_selector_matches({"matchExpressions": [requirement]}, values)
    try:
        there, bound = int(values.get(requirement["key"], "")), int((requirement.get("values") or [""])[0])
    except ValueError:
        return False  # what is no number is neither greater nor less
    return there > bound if requirement["operator"] == "Gt" else there < bound
