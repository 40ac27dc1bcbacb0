"""What around a Deployment would keep a release from ending, or surprise its user: found before anything is changed.

Rule 1: what would never end is refused, with a way that would; what may surprise is a warning.
Rule 2: nothing is guessed from what could not be read.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from decimal import Decimal
from typing import TypeAlias

from segue.model.errors import Conflict, Refused
from segue.model.objects import Obj, labels_of, name_of, selects
from segue.model.quantities import quantity, short
from segue.model.services import Service
from segue.release.memory import RAMPED
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot
from segue.release.surroundings import Listed, Surroundings

OURS = frozenset({"segue", "kubectl", "kubectl-client-side-apply", "kubectl-patch", "kubectl-edit", "kubectl-create"})
Finder: TypeAlias = Callable[[Plan, Snapshot, Surroundings], Iterator[str]]


def check_around(plan: Plan, snapshot: Snapshot, around: Surroundings) -> tuple[str, ...]:
    """Warnings about what stands around. Raises Refused for what would keep new pods from ever starting, Conflict where
    somebody else applies the template and nobody has said that this is all right."""
    _check_appliers(plan, snapshot)
    _check_quotas(plan, around.quotas)
    _check_nodes(plan, around.nodes)
    found = [
        warning
        for finder in (_volumes, _autoscalers, _budgets, _labels, _managers, _clients, _graces)
        for warning in finder(plan, snapshot, around)
    ]
    if around.unread:
        found.append(f"{', '.join(around.unread)} may not be read: what they forbid is not known")
    return tuple(found)


def _check_appliers(plan: Plan, snapshot: Snapshot) -> None:
    """Who applies a template by server-side apply owns it, and applies it again: a GitOps controller within minutes."""
    deployment = snapshot.deployment
    if plan.forces or plan.target.template == deployment.template:
        return
    appliers = sorted(_foreign(deployment.obj, "f:template", {"Apply"}))
    if appliers:
        raise Conflict(
            f"{', '.join(appliers)} applies the template of Deployment {deployment.name}, and would put its own back",
            remedy="release by changing what it applies, or let it pause; --force releases all the same",
        )


def _foreign(obj: Obj, field: str, operations: Container[str]) -> set[str]:
    """Managers other than people's own tools that have set a field of the spec, by the API's record."""
    return {
        str(entry.get("manager"))
        for entry in obj["metadata"].get("managedFields") or []
        if field in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        and entry.get("manager") not in OURS
        and entry.get("operation", "Update") in operations
    }


def _extra(plan: Plan) -> int:
    """Pods that the release needs beside those there are."""
    return plan.peak - plan.replicas


def _cheaper(plan: Plan) -> str:
    if plan.strategy in RAMPED:
        return "make room, or release with --strategy recreate, which loses requests"
    return "make room, or take less of it: --strategy ramped --step 1"


# -- what new pods need ------------------------------------------------------------------------------------------------


def _check_quotas(plan: Plan, quotas: Listed) -> None:
    """A quota that leaves no room for the pods of the other version: they would never be made."""
    extra = _extra(plan)
    if extra <= 0:
        return
    needs = _needs(plan.target.template)
    for quota in quotas or ():
        if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
            continue  # whether it counts these pods depends on more than is read here
        hard = (quota.get("status") or {}).get("hard") or quota["spec"].get("hard") or {}
        used = (quota.get("status") or {}).get("used") or {}
        for key, limit in hard.items():
            need = needs.get(key, Decimal(0)) * extra
            left = quantity(limit) - quantity(used.get(key, "0"))
            if need > left:
                raise Refused(
                    f"ResourceQuota {name_of(quota)} leaves {short(left)} {key}; {extra} more pods need {short(need)}",
                    remedy=_cheaper(plan),
                )


def _needs(template: Obj) -> dict[str, Decimal]:
    """What a quota counts for one pod of a template."""
    needs: dict[str, Decimal] = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for container in template.get("spec", {}).get("containers") or []:
        resources = container.get("resources") or {}
        limits: Obj = resources.get("limits") or {}
        # A request that is not written is its limit
        requests: Obj = {**{key: limits[key] for key in limits}, **(resources.get("requests") or {})}
        for name in ("cpu", "memory", "ephemeral-storage"):
            asked, limit = quantity(requests.get(name, "0")), quantity(limits.get(name, "0"))
            for key, value in ((name, asked), (f"requests.{name}", asked), (f"limits.{name}", limit)):
                needs[key] = needs.get(key, Decimal(0)) + value
    return needs


def _check_nodes(plan: Plan, nodes: Listed) -> None:
    """Pods that must not share a node, and fewer nodes than pods."""
    spec: Obj = plan.target.template.get("spec") or {}
    rules = ((spec.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or []
    own = labels_of(plan.target.template)
    apart = any(
        rule.get("topologyKey") == "kubernetes.io/hostname"
        and selects((rule.get("labelSelector") or {}).get("matchLabels") or {}, own)
        and (rule.get("labelSelector") or {}).get("matchLabels")
        for rule in rules
    )
    if not apart or nodes is None or _extra(plan) <= 0:
        return
    open_nodes = [node for node in nodes if not node.get("spec", {}).get("unschedulable")]
    if len(open_nodes) < plan.peak:
        raise Refused(
            f"the pods must not share a node (required anti-affinity) and there are {len(open_nodes)} nodes: "
            f"{plan.peak} pods at once cannot all be scheduled",
            remedy=_cheaper(plan) + ", or a preferred anti-affinity",
        )


def _volumes(plan: Plan, _: Snapshot, around: Surroundings) -> Iterator[str]:
    spec: Obj = plan.target.template.get("spec") or {}
    named = {
        str(volume["persistentVolumeClaim"].get("claimName"))
        for volume in spec.get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }
    for claim in around.claims or ():
        if name_of(claim) not in named:
            continue
        modes = claim["spec"].get("accessModes") or []
        if "ReadWriteOncePod" in modes and plan.strategy != "recreate":
            raise Refused(
                f"volume claim {name_of(claim)} may be used by one pod at a time (ReadWriteOncePod): a new pod cannot "
                "start beside an old one",
                remedy="--strategy recreate, which loses requests, or another access mode",
            )
        if "ReadWriteOnce" in modes and plan.strategy != "recreate":
            yield (
                f"volume claim {name_of(claim)} is ReadWriteOnce: new pods can only start on the node where the old "
                "ones run, and both write to it"
            )


# -- who else acts -----------------------------------------------------------------------------------------------------


def _autoscalers(plan: Plan, snapshot: Snapshot, around: Surroundings) -> Iterator[str]:
    for scaler in around.autoscalers or ():
        target = scaler["spec"].get("scaleTargetRef") or {}
        if target.get("kind") != "Deployment" or target.get("name") != plan.deployment:
            continue
        low, high = int(scaler["spec"].get("minReplicas") or 1), int(scaler["spec"]["maxReplicas"])
        if low <= 1 and plan.replicas > 1 and plan.strategy in RAMPED:
            yield (
                f"HorizontalPodAutoscaler {name_of(scaler)} may scale to 1: if it does so while a step drains, the "
                "Service is without a pod for one pod start (docs/explanation/limits.md)"
            )
        if plan.wanted != plan.replicas:
            yield (f"HorizontalPodAutoscaler {name_of(scaler)} keeps {low} to {high} pods: leave replicas to it")
        if not _drains_by_itself(plan.target.template):
            yield (
                f"HorizontalPodAutoscaler {name_of(scaler)} may end pods while this runs (B3): without a preStop hook "
                "they lose requests, as at any other time"
            )


def _drains_by_itself(template: Obj) -> bool:
    containers = template.get("spec", {}).get("containers") or []
    return any((container.get("lifecycle") or {}).get("preStop") for container in containers)


def _budgets(plan: Plan, snapshot: Snapshot, around: Surroundings) -> Iterator[str]:
    labels = snapshot.deployment.pod_labels
    for budget in around.budgets or ():
        selector = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
        if not selector or not selects(selector, labels) or plan.strategy in RAMPED:
            continue
        yield (
            f"PodDisruptionBudget {name_of(budget)} counts pods that have no traffic, too (B4): a node drain in "
            "mid-release may take more serving pods at once than it is meant to allow"
        )


def _labels(plan: Plan, snapshot: Snapshot, around: Surroundings) -> Iterator[str]:
    if plan.strategy == "recreate":
        return
    if around.denied:
        verbs = " and ".join(around.denied)
        if plan.strategy in RAMPED:
            raise Refused(
                f"{plan.strategy} takes pods out of traffic one by one, and you may not {verbs} pods",
                remedy="ask for that right (docs/reference/plan.md has the role), or take --strategy all-first",
            )
        yield (
            f"you may not {verbs} pods: the old ones keep their labels, so the Services stay pinned until all of them "
            "are quiet"
        )
    then = (
        "a pod that has left traffic may leave the policy, too (A3)"
        if plan.strategy in RAMPED
        else "the old pods keep their labels, so the Services stay pinned until all of them are quiet (A3)"
    )
    for policy, used in _policies(snapshot, around):
        yield f"NetworkPolicy {policy} selects by {used}: {then}"


def keeps_labels(snapshot: Snapshot, around: Surroundings) -> str:
    """Why the old pods cannot be taken out of traffic by a label: policies that select by it, or rights that are not
    there; "" where they can."""
    reasons = [policy for policy, _ in _policies(snapshot, around)]
    return ", ".join([*reasons, *(f"no right to {verb} pods" for verb in around.denied)])


def _policies(snapshot: Snapshot, around: Surroundings) -> Iterator[tuple[str, str]]:
    """NetworkPolicies that select the pods, and by which labels of the Deployment's selector."""
    keys = set(snapshot.deployment.selector.get("matchLabels") or {})
    for policy in around.policies or ():
        labels = (policy["spec"].get("podSelector") or {}).get("matchLabels") or {}
        if keys & set(labels) and selects(labels, snapshot.deployment.pod_labels):
            yield name_of(policy), ", ".join(sorted(keys & set(labels)))


def _managers(plan: Plan, snapshot: Snapshot, _: Surroundings) -> Iterator[str]:
    things = [("Deployment", snapshot.deployment.obj, "f:template")]
    if plan.strategy not in RAMPED:
        things += [("Service", service.obj, "f:selector") for service in snapshot.services]
    for kind, obj, field in things:
        for manager in sorted(_foreign(obj, field, {"Apply", "Update"})):
            yield (
                f"{manager} has applied {kind} {name_of(obj)}: if it applies it again while this runs, segue does its "
                "part again or stops (B6)"
            )


# -- who is served -----------------------------------------------------------------------------------------------------


def _clients(plan: Plan, snapshot: Snapshot, _: Surroundings) -> Iterator[str]:
    for service in snapshot.services:
        if service.name not in plan.services:
            continue
        if service.obj["spec"].get("clusterIP") == "None":
            yield (
                f"Service {service.name} is headless: its clients choose pods by names they may have looked up long "
                "ago; that they have left an old pod shows in its own traffic only"
            )
        if _is_udp(service):
            if plan.strategy == "handover":
                raise Refused(
                    f"Service {service.name} carries UDP, whose flows are cut when a pod leaves it (K7): there is "
                    "nothing to hand over",
                    remedy="--strategy all-first, if the clients repeat what was lost",
                )
            yield f"Service {service.name} carries UDP: its flows are cut when a pod leaves it (K7)"


def _is_udp(service: Service) -> bool:
    return any(port.get("protocol") == "UDP" for port in service.ports)


def _graces(plan: Plan, snapshot: Snapshot, _: Surroundings) -> Iterator[str]:
    grace_s = snapshot.deployment.template.get("spec", {}).get("terminationGracePeriodSeconds", 30)
    if 0 < float(grace_s) < 5:
        yield (
            f"terminationGracePeriodSeconds is {grace_s}: a pod that is ended with requests under way, at its cap, has "
            "only so long for them"
        )
