"""ZD4nn: how many pods there are, who changes that, and what keeps a drained node from taking them all."""

from __future__ import annotations

from collections.abc import Iterator

from segue.check.case import POD, Case, counted, with_fix
from segue.check.findings import Change, Finding, Fix, Rule, Severity, Source
from segue.check.joined import expressions_hold
from segue.check.reading import part, rows, share, text
from segue.model.objects import Obj

ZD401 = Rule(
    id="ZD401",
    name="single-replica",
    severity=Severity.WARNING,
    facts=("B7",),
    says="one pod serves alone",
    why=(
        "A drained node ends the pod before anybody starts another one elsewhere, and so does every crash. Between the "
        "two nobody serves."
    ),
    instead="At least two replicas on different nodes. With one, segue retire replaces the pod before a drain does.",
)
ZD402 = Rule(
    id="ZD402",
    name="hpa-vs-replicas",
    severity=Severity.ERROR,
    facts=("A2",),
    is_safe=False,
    says="the manifest and an autoscaler both set replicas",
    why=(
        "Each apply sets the replicas of the manifest again, whatever the autoscaler had found necessary: at peak load "
        "most pods end at once, and only a sync later the autoscaler begins to bring them back."
    ),
    instead=(
        "Leave spec.replicas out. On an object that was applied with it, hand the field over first, or the next "
        "client-side apply resets it to 1: kubectl apply edit-last-applied, remove replicas, then apply."
    ),
)
ZD403 = Rule(
    id="ZD403",
    name="pdb-blocks",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("B2", "B3", "B7"),
    says="the disruption budget allows no eviction at all",
    why=(
        "Percentages of a budget are rounded up. With nothing to spare, a node drain asks again for ever; node "
        "upgrades "
        "wait, until somebody deletes the pods by hand, which asks no budget."
    ),
    instead="maxUnavailable: 1 with at least two replicas.",
)
ZD404 = Rule(
    id="ZD404",
    name="pdb-overlap",
    severity=Severity.ERROR,
    facts=("B2",),
    says="more than one disruption budget selects the same pods",
    why=(
        "The eviction API answers 500 for a pod that two budgets select and never evicts it. Drains hang until the pod "
        "is deleted by hand, past both budgets."
    ),
    instead="One budget per workload.",
)
ZD405 = Rule(
    id="ZD405",
    name="no-pdb",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("B1", "B5"),
    says="no disruption budget: a drain may take all pods at once",
    why=(
        "kubectl drain evicts all pods of a node at the same time. Without a budget nothing stops it from ending every "
        "replica of a Service before the first one runs elsewhere."
    ),
    instead="A PodDisruptionBudget with maxUnavailable: 1 and unhealthyPodEvictionPolicy: AlwaysAllow.",
)
ZD406 = Rule(
    id="ZD406",
    name="pdb-does-not-guard-rollout",
    severity=Severity.INFO,
    facts=("B1", "B4"),
    says="the disruption budget does not hold during rollouts",
    why=(
        "Budgets are asked by evictions only. A rollout deletes pods by the numbers of its own strategy, below what "
        "the "
        "budget asks for."
    ),
    instead="maxUnavailable 0 in the strategy, if the budget's number matters at releases, too.",
)
ZD407 = Rule(
    id="ZD407",
    name="no-spread",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("B7",),
    says="nothing keeps the pods from standing on one node",
    why=(
        "The scheduler may put every replica on the same node. Its drain or loss then ends them together; the budget "
        "slows the drain down, a lost node asks nobody."
    ),
    instead=(
        "topologySpreadConstraints over kubernetes.io/hostname with whenUnsatisfiable: ScheduleAnyway and "
        "matchLabelKeys: [pod-template-hash], so that pods of the old version do not count."
    ),
)


def single_replica(case: Case) -> Iterator[Finding]:
    """ZD401."""
    if case.source.kind not in {"Deployment", "DeploymentConfig"} or not case.is_served or case.n != 1:
        return
    path = ("spec", "replicas") if not case.scalers else ("spec",)
    yield with_fix(
        case.source.finding(
            ZD401,
            path,
            f"{case.n_said}: when its node is drained or lost, nobody serves {case.served_by or case.source.title} "
            f"until "
            "another pod has started",
            remedy="at least 2 replicas, if two may run side by side",
        ),
        Fix(question=f"Can {case.source.name} run with 2 replicas?"),
        n=case.n,
    )


def autoscaler(case: Case) -> Iterator[Finding]:
    """ZD402."""
    if not case.scalers or "replicas" not in case.spec or case.source.kind == "DaemonSet":
        return
    scaler, said = case.scalers[0], case.spec["replicas"]
    most = part(scaler.obj, "spec").get("maxReplicas")
    yield with_fix(
        case.source.finding(
            ZD402,
            ("spec", "replicas"),
            f"each apply sets replicas {said} again, while HorizontalPodAutoscaler {scaler.name} holds up to "
            f"{most}: at "
            f"full load an apply ends {_fewer(said, most)}",
            remedy="leave spec.replicas out, and hand the field over before the first apply without it",
        ),
        Fix(
            question="Has spec.replicas been applied with kubectl apply before? Then run kubectl apply "
            "edit-last-applied "
            f"{case.source.kind.lower()}/{case.source.name}, remove replicas there, and take it out of the file."
        ),
        n=case.n,
    )


def _fewer(said: object, most: object) -> str:
    if isinstance(said, int) and isinstance(most, int) and most > said:
        return f"{most - said} of {most} pods at once"
    return "pods that the load needs"


def budget_blocks(case: Case) -> Iterator[Finding]:
    """ZD403."""
    for budget in case.budgets:
        wanted = desired_healthy(budget, case.n)
        if wanted is None or case.n < 1 or wanted < case.n:
            continue
        key = "minAvailable" if "minAvailable" in part(budget.obj, "spec") else "maxUnavailable"
        said = part(budget.obj, "spec").get(key)
        rounded = f" -> {wanted} healthy pods of {case.n} required" if key == "minAvailable" else ""
        found = Finding(
            rule=ZD403,
            severity=ZD403.severity,
            source=budget,
            path=("spec", key),
            message=f"{key} {said}{rounded} for {case.source.title} ({case.n_said}): no pod may ever be evicted, and a "
            "node drain waits for ever",
            remedy="maxUnavailable: 1"
            + (" and at least 2 replicas: with one, every drain is an outage" if case.n == 1 else ""),
        )
        changes = (
            Change(source=budget, path=("spec", "minAvailable"), remove=True),
            Change(source=budget, path=("spec", "maxUnavailable"), value=1),
        )
        fix = Fix(changes=changes[1:] if key == "maxUnavailable" else changes)
        if case.n == 1:
            fix = Fix(question=f"May a drain end the only pod of {case.source.name}? If not, it needs 2 replicas.")
        yield with_fix(found, fix, n=case.n, healthy=wanted)


def desired_healthy(budget: Source, n: int) -> int | None:
    """How many pods a budget wants healthy; both percentages are rounded up (B3)."""
    spec = part(budget.obj, "spec")
    if spec.get("minAvailable") is not None:
        return share(spec["minAvailable"], n, up=True)
    spared = share(spec.get("maxUnavailable"), n, up=True)
    return None if spared is None else max(0, n - spared)


def budgets_overlap(case: Case) -> Iterator[Finding]:
    """ZD404."""
    if len(case.budgets) < 2:
        return
    names = " and ".join(one.name for one in case.budgets)
    second = case.budgets[1]
    yield with_fix(
        Finding(
            rule=ZD404,
            severity=ZD404.severity,
            source=second,
            path=("spec", "selector"),
            message=f"PodDisruptionBudgets {names} both select the pods of {case.source.title}: the eviction API "
            f"refuses "
            "with an error, and no node they run on can be drained",
            remedy="keep one of them",
        ),
        Fix(question=f"Which of {names} is meant for {case.source.name}?"),
    )


def no_budget(case: Case) -> Iterator[Finding]:
    """ZD405."""
    if not case.is_served or case.n < 2 or case.budgets or case.source.kind == "DaemonSet":
        return
    selector = part(case.spec, "selector")
    if case.source.kind == "DeploymentConfig":
        selector = {"matchLabels": selector}
    found = case.source.finding(
        ZD405,
        ("metadata", "name"),
        f"no PodDisruptionBudget selects the {case.n} pods of {case.served_by or case.source.title}: a drain of their "
        "nodes may end all of them at once",
        remedy="a PodDisruptionBudget with maxUnavailable: 1",
    )
    fix = Fix(question=f"Which labels select the pods of {case.source.name}, and no others?")
    is_meant = part(selector, "matchLabels") or rows(selector, "matchExpressions")
    taken = case.joined.named("PodDisruptionBudget", case.source.name, case.source.namespace)
    others = [one for one in case.joined.selected_by(selector, case.source.namespace) if one is not case.source]
    if others:  # a budget for each would be two for some pods, which is ZD404
        fix = Fix(
            question=f"Its selector matches pods of {others[0].title}, too: one budget for both, or which labels?"
        )
    elif is_meant and not taken and expressions_hold(selector, case.pod_labels):
        fix = Fix(objects=((case.source, _budget(case, selector)),))
    yield with_fix(found, fix, n=case.n)


def _budget(case: Case, selector: Obj) -> Obj:
    metadata: Obj = {"name": case.source.name}
    if space := part(case.source.obj, "metadata").get("namespace"):
        metadata["namespace"] = space
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector},
    }


def budget_and_rollout(case: Case) -> Iterator[Finding]:
    """ZD406."""
    if case.source.kind not in {"Deployment", "DeploymentConfig"} or not case.is_served or case.n < 1:
        return
    left = 0 if case.strategy == "Recreate" else case.n - case.unavailable
    for budget in case.budgets[:1]:
        wanted = desired_healthy(budget, case.n)
        if wanted is not None and left < wanted:
            yield case.source.finding(
                ZD406,
                case.strategy_path[:2],
                f"PodDisruptionBudget {budget.name} asks for {counted(wanted, 'healthy pod')}, but no rollout asks "
                f"it: the "
                f"strategy may leave {left} of {case.n} ({case.strategy}"
                + (")" if case.strategy == "Recreate" else f", maxUnavailable -> {case.unavailable})"),
                remedy="maxUnavailable: 0 in the strategy; the budget is for drains only",
            )


def no_spread(case: Case) -> Iterator[Finding]:
    """ZD407."""
    if not case.is_served or case.n < 2 or case.source.kind == "DaemonSet":
        return
    if rows(case.pod, "topologySpreadConstraints") or part(case.pod, "affinity", "podAntiAffinity"):
        return
    constraint: Obj = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": part(case.spec, "selector"),
    }
    if case.source.kind == "Deployment":
        constraint["matchLabelKeys"] = ["pod-template-hash"]
    found = case.source.finding(
        ZD407,
        POD,
        f"nothing spreads the {case.n} pods of {case.served_by or case.source.title}: all may stand on one node and go "
        "with it",
        remedy="topologySpreadConstraints over kubernetes.io/hostname, ScheduleAnyway",
    )
    fix = Fix(question=f"Which labels select the pods of {case.source.name}, and no others?")
    if text(part(case.source.obj, "spec"), "selector") == "" and part(case.spec, "selector", "matchLabels"):
        fix = Fix(changes=(case.change((*POD, "topologySpreadConstraints"), [constraint]),))
    yield with_fix(found, fix, n=case.n)


RULES = (
    ((ZD401,), single_replica),
    ((ZD402,), autoscaler),
    ((ZD403,), budget_blocks),
    ((ZD404,), budgets_overlap),
    ((ZD405,), no_budget),
    ((ZD406,), budget_and_rollout),
    ((ZD407,), no_spread),
)
