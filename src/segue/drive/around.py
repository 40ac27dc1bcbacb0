"""Reads what stands around a Deployment, once, before a plan is made.

Rule: what this cluster does not know has no objects; what we may not read is named, and no failure.
"""

from __future__ import annotations

from dataclasses import replace

from segue.drive.flow import Flow, ask, body_of, get
from segue.model.http import ApiRequest
from segue.model.objects import Obj
from segue.release.conflicts import check_around, keeps_labels
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot
from segue.release.surroundings import Listed, Surroundings

_VERBS = ("patch", "delete")  # what takes a pod out of traffic, and what ends it
_KINDS = {
    "quotas": "/api/v1/namespaces/{}/resourcequotas",
    "budgets": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "autoscalers": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "policies": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "claims": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "nodes": "/api/v1/nodes",
}


def look_around(namespace: str) -> Flow[Surroundings]:
    """All of it, in one round of calls."""
    _, answers = yield from ask(*(get(path.format(namespace)) for path in _KINDS.values()))
    found: dict[str, Listed] = {}
    unread = []
    for (name, path), answer in zip(_KINDS.items(), answers, strict=True):
        if answer.code in {401, 403}:
            found[name] = None
            if name != "nodes":  # nobody who releases in a namespace needs to see them; few pods mind where they run
                unread.append(path.rpartition("/")[2])
        elif answer.code == 404:
            found[name] = ()
        else:
            found[name] = tuple(body_of(answer, path).get("items") or [])
    denied = yield from _denied(namespace)
    return Surroundings(**found, unread=tuple(unread), denied=denied)


def _denied(namespace: str) -> Flow[tuple[str, ...]]:
    """What we may not do to pods; nothing where the cluster does not say."""
    _, answers = yield from ask(*(_may(namespace, verb) for verb in _VERBS))
    return tuple(
        verb
        for verb, answer in zip(_VERBS, answers, strict=True)
        if answer.code == 201 and not (answer.body.get("status") or {}).get("allowed", True)
    )


def _may(namespace: str, verb: str) -> ApiRequest:
    wish = {"namespace": namespace, "verb": verb, "resource": "pods"}
    body: Obj = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wish},
    }
    return ApiRequest(method="POST", path="/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)


def with_conflicts(plan: Plan, snapshot: Snapshot) -> Flow[Plan]:
    """The plan with warnings of what stands around. Raises Refused where that would keep it from ending."""
    around = yield from look_around(plan.namespace)
    warnings = (*plan.warnings, *check_around(plan, snapshot, around))
    return replace(plan, warnings=warnings, keeps_labels=keeps_labels(snapshot, around))
