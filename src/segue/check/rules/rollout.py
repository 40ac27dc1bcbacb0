"""ZD3nn: how one version takes the other's place, after rounding (D2) and with what runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from segue.check.case import Case, counted, with_fix
from segue.check.findings import Change, Finding, Fix, Path, Rule, Severity
from segue.check.reading import labels, part, rows, text, texts, whole

ZD301 = Rule(
    id="ZD301",
    name="recreate-on-served",
    severity=Severity.ERROR,
    facts=("D10",),
    says="Recreate ends all pods before the first new one starts",
    why=(
        "Recreate scales the old version to 0, waits until the last old pod is gone, and only then starts the new one. "
        "Nobody serves for as long as ending and starting take."
    ),
    instead="RollingUpdate with maxUnavailable 0 and maxSurge 1, if two versions may run side by side.",
)
ZD302 = Rule(
    id="ZD302",
    name="outage-by-rounding",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("D2",),
    says="after rounding, a rollout may take every pod away at once",
    why=(
        "maxUnavailable is rounded down, maxSurge up, and where both come to 0, one pod may be missing. With one "
        "replica that is all of them: the old pod goes before the new one is there."
    ),
    instead="maxUnavailable: 0 and maxSurge: 1.",
)
ZD303 = Rule(
    id="ZD303",
    name="capacity-dip",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("D2", "D6"),
    says="a rollout leaves too few pods for the load",
    why=(
        "maxUnavailable pods are missing all through the rollout, not for a moment. What is left must carry "
        "everything, "
        "and queues that grow then outlive the rollout."
    ),
    instead="maxUnavailable: 0 and maxSurge of at least 1.",
)
ZD304 = Rule(
    id="ZD304",
    name="no-min-ready",
    severity=Severity.WARNING,
    facts=("D5", "D6", "G2"),
    says="old pods go before the load balancer knows the new ones",
    why=(
        "The Deployment counts a pod as available as soon as it is Ready. A load balancer that checks pods by itself "
        "needs several more checks; until then it has fewer targets than the Deployment believes, or none."
    ),
    instead="A readiness gate of the load balancer's controller, or minReadySeconds of its interval x healthy "
    "threshold.",
)
ZD305 = Rule(
    id="ZD305",
    name="progress-deadline-too-small",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("D13",),
    says="a normal rollout is reported as failed",
    why=(
        "A rollout that makes no progress for progressDeadlineSeconds is marked as failed. When starting and becoming "
        "available take longer, pipelines roll back a version that was fine, which is one more rollout."
    ),
    instead="progressDeadlineSeconds above start time + minReadySeconds + preStop + longest request.",
)
ZD306 = Rule(
    id="ZD306",
    name="no-rollback",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("D12",),
    says="there is no earlier version to go back to",
    why="With revisionHistoryLimit 0 the old ReplicaSet goes when the rollout completes, and undo finds nothing.",
    instead="revisionHistoryLimit of 2 or more; an old ReplicaSet without pods costs nothing.",
)
ZD308 = Rule(
    id="ZD308",
    name="surge-blocked",
    severity=Severity.WARNING,
    facts=("X10", "D3"),
    says="the pod that should come first cannot start beside the old one",
    why=(
        "With maxUnavailable 0 the rollout waits for one more pod. A host port, a volume that one node may mount, or a "
        "strict anti-affinity keeps that pod Pending until an old one goes, which never happens."
    ),
    instead="Loosen what blocks it, or maxSurge 0 with maxUnavailable 1 and at least two replicas.",
)
ZD309 = Rule(
    id="ZD309",
    name="all-at-once-illusion",
    severity=Severity.INFO,
    facts=("D7", "D8"),
    says="maxSurge 100 % does not mean all new before any old goes",
    why=(
        "The new pods start together, but one old pod is ended for each new one that becomes available. In between, "
        "both versions serve, and an error in the new one shows when old pods are already gone."
    ),
    instead="segue release --strategy all-first: all new pods are proved before any old one loses traffic.",
)
ZD310 = Rule(
    id="ZD310",
    name="statefulset-no-slack",
    severity=Severity.WARNING,
    facts=("W1",),
    says="a StatefulSet ends a pod before it makes the next one",
    why=(
        "StatefulSets have no surge: a pod is deleted, and its successor starts when it is gone. With one replica, or "
        "with maxUnavailable of all of them, nobody serves in between."
    ),
    instead="At least two replicas that can stand in for each other, and maxUnavailable 1.",
)
ZD311 = Rule(
    id="ZD311",
    name="daemonset-gap",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("W3",),
    says="each node is without its pod while it is replaced",
    why=(
        "A DaemonSet ends the old pod of a node before the new one starts. Clients of that node - traffic policy "
        "Local, a host-local agent - have nobody in between."
    ),
    instead="maxSurge 1 with maxUnavailable 0, unless the pods take a port of the node.",
)
ZD312 = Rule(
    id="ZD312",
    name="mutable-image",
    severity=Severity.WARNING,
    facts=("D11", "D12"),
    says="the image tag can mean another version tomorrow",
    why=(
        "A pod that restarts on another node pulls what the tag means then: two versions run without any rollout, "
        "drain or barrier, and undo goes back to the same tag."
    ),
    instead="A tag of its own per version, or better the digest: image@sha256:...",
)


def recreate(case: Case) -> Iterator[Finding]:
    """ZD301."""
    if case.source.kind not in {"Deployment", "DeploymentConfig"} or case.strategy != "Recreate" or not case.is_served:
        return
    volume = _lone_volume(case)
    path: Path = ("spec", "strategy", "type")
    found = case.source.finding(
        ZD301,
        path,
        f"strategy Recreate ends {'the only pod' if case.n == 1 else f'all {case.n} pods'} of "
        f"{case.served_by or case.source.title} before the "
        f"first "
        "new one starts: nobody serves for as long as ending and starting take"
        + (f"; its volume {volume} can be used by one node only, so it cannot roll" if volume else ""),
        remedy="give each pod a volume of its own or share one that several nodes may mount (ReadWriteMany)"
        if volume
        else "strategy: RollingUpdate with maxUnavailable 0 and maxSurge 1",
        severity=Severity.WARNING if volume else None,
    )
    fix = Fix(question=f"May two versions of {case.source.name} run side by side? Then: RollingUpdate, 0 and 1.")
    yield with_fix(found, fix, n=case.n, u=case.n)


def _lone_volume(case: Case) -> str:
    for volume in rows(case.pod, "volumes"):
        name = text(part(volume, "persistentVolumeClaim"), "claimName")
        claim = case.joined.named("PersistentVolumeClaim", name, case.source.namespace) if name else None
        modes = texts(part(claim.obj, "spec"), "accessModes") if claim else ()
        if name and claim and modes and not {"ReadWriteMany", "ReadOnlyMany"}.intersection(modes):
            return name
    return ""


def _surge_change(case: Case) -> Fix:
    """maxUnavailable 0 and maxSurge 1 or more; the one rewrite of a rolling strategy that never loses capacity."""
    changes = [case.change((*case.strategy_path, "maxUnavailable"), 0)]
    if case.surge < 1:
        changes.insert(0, case.change((*case.strategy_path, "maxSurge"), 1))
    return Fix(changes=tuple(changes))


def rounding(case: Case) -> Iterator[Finding]:
    """ZD302 and ZD303."""
    if case.source.kind not in {"Deployment", "DeploymentConfig"} or case.strategy != "RollingUpdate":
        return
    n, s, u = case.n, case.surge, case.unavailable
    if n < 1 or u < 1 or not case.is_served:
        return
    surge, spared = _said(case, "maxSurge"), _said(case, "maxUnavailable")
    said = f"{case.n_said}, maxSurge {surge} -> {s}, maxUnavailable {spared} -> {u}"
    blocked = _blocked_by(case)
    fix = Fix(question=f"{blocked[:1].upper()}{blocked[1:]}: what may give way?") if blocked else _surge_change(case)
    if n - u == 0:
        found = case.source.finding(
            ZD302,
            case.strategy_path,
            f"{said}: a rollout may end {'the only pod' if n == 1 else f'all {n} pods'} of "
            f"{case.served_by or case.source.title} before a new one is there",
            remedy="maxUnavailable: 0, maxSurge: 1",
        )
        yield with_fix(found, fix, n=n, s=s, u=u)
        return
    ratio = case.settings.number("capacityRatio")
    load = _utilisation(case)
    if (n - u) / n < ratio or (load is not None and load / 100 > (n - u) / n):
        why = (
            f", below the {ratio:.0%} that are required"
            if (n - u) / n < ratio
            else f", and it runs at {load} % of them"
        )
        found = case.source.finding(
            ZD303,
            case.strategy_path,
            f"{said}: during a rollout {n - u} of {n} pods carry everything, {(n - u) / n:.0%} of the capacity{why}",
            remedy="maxUnavailable: 0" + ("" if s else ", maxSurge: 1"),
        )
        yield with_fix(found, fix, n=n, s=s, u=u)


def _said(case: Case, key: str) -> str:
    return str(case.rolling[key]) if key in case.rolling else "25% (the default)"


def _utilisation(case: Case) -> int | None:
    for scaler in case.scalers:
        spec = part(scaler.obj, "spec")
        if whole(spec, "targetCPUUtilizationPercentage", 0):
            return whole(spec, "targetCPUUtilizationPercentage", 0)
        for metric in rows(spec, "metrics"):
            if found := whole(part(metric, "resource", "target"), "averageUtilization", 0):
                return found
    return None


def min_ready(case: Case) -> Iterator[Finding]:
    """ZD304."""
    is_gated = bool(rows(case.pod, "readinessGates"))
    if (
        case.source.kind != "Deployment"
        or not case.has_ip_targets
        or is_gated
        or whole(case.spec, "minReadySeconds", 0)
    ):
        return
    if _namespace_injects(case):
        return
    seconds = int(case.settings.number("healthCheckIntervalSeconds") * 2)
    yield with_fix(
        case.source.finding(
            ZD304,
            ("spec", "minReadySeconds"),
            "a load balancer sends to pod addresses after checks of its own, and neither a readiness gate nor "
            f"minReadySeconds makes the rollout wait for them: old pods go about {seconds} s too early",
            remedy=f"minReadySeconds: {seconds}, or the readiness gate of the load balancer's controller",
        ),
        Fix(question="How long are the load balancer's interval x healthy threshold? That is minReadySeconds."),
    )


def _namespace_injects(case: Case) -> bool:
    space = case.joined.named("Namespace", case.source.namespace, "") if case.source.namespace else None
    return (
        space is not None
        and labels(space.obj, "metadata", "labels").get("elbv2.k8s.aws/pod-readiness-gate-inject") == "enabled"
    )


def deadline(case: Case) -> Iterator[Finding]:
    """ZD305."""
    if case.source.kind != "Deployment" or "progressDeadlineSeconds" not in case.spec:
        return
    said_s, least_s = whole(case.spec, "progressDeadlineSeconds", 600), whole(case.spec, "minReadySeconds", 0)
    waited = max((case.waited_s(one.pre_stop) or 0.0 for one in case.containers), default=0.0)
    needed_s = int(waited + case.longest.value + least_s + case.start.value)
    if said_s >= needed_s:
        return
    path: Path = ("spec", "progressDeadlineSeconds")
    found = case.source.finding(
        ZD305,
        path,
        f"progressDeadlineSeconds {said_s} is less than one pod may need: {case.start.value:g} s to start, {least_s} s "
        f"minReadySeconds, {waited + case.longest.value:g} s to end the old one",
        remedy=f"progressDeadlineSeconds: {max(600, 2 * needed_s)}",
    )
    fix = Fix(changes=(case.change(path, max(600, 2 * needed_s)),))
    yield with_fix(found, fix, deadline_s=said_s, needed_s=needed_s)


def no_rollback(case: Case) -> Iterator[Finding]:
    """ZD306."""
    if case.spec.get("revisionHistoryLimit") == 0 and not isinstance(case.spec["revisionHistoryLimit"], bool):
        path: Path = ("spec", "revisionHistoryLimit")
        yield with_fix(
            case.source.finding(
                ZD306,
                path,
                "revisionHistoryLimit 0: when a rollout has completed, no earlier version is left to go back to",
                remedy="revisionHistoryLimit: 2, or leave it out (10)",
            ),
            Fix(changes=(case.change(path, 2),)),
        )


def surge_blocked(case: Case) -> Iterator[Finding]:
    """ZD308."""
    if case.source.kind != "Deployment" or case.strategy != "RollingUpdate" or case.surge < 1 or case.n < 1:
        return
    blocked = _blocked_by(case)
    if not blocked or case.unavailable > 0:
        return
    yield with_fix(
        case.source.finding(
            ZD308,
            case.strategy_path,
            f"a rollout starts {counted(case.surge, 'pod')} first (maxSurge {case.surge}, maxUnavailable 0), but "
            f"{blocked}: "
            "the pod may stay Pending, and the rollout stands still",
            remedy="maxSurge: 0 and maxUnavailable: 1" + ("" if case.n > 1 else ", with at least 2 replicas"),
        ),
        Fix(question=f"{blocked[:1].upper()}{blocked[1:]}: what may give way?"),
    )


def _blocked_by(case: Case) -> str:
    for container in case.containers:
        for row in rows(container.raw, "ports"):
            if whole(row, "hostPort", 0):
                return f"container {container.name} takes hostPort {row['hostPort']} of its node"
    if case.pod.get("hostNetwork") is True and any(rows(one.raw, "ports") for one in case.containers):
        return "its pods take ports of their node (hostNetwork)"
    if volume := _lone_volume(case):
        return f"volume {volume} can be mounted by one node at a time"
    return ""


def all_at_once(case: Case) -> Iterator[Finding]:
    """ZD309."""
    if case.source.kind not in {"Deployment", "DeploymentConfig"} or case.strategy != "RollingUpdate":
        return
    if case.n > 1 and case.surge >= case.n and case.unavailable == 0 and case.is_served:
        yield case.source.finding(
            ZD309,
            (*case.strategy_path, "maxSurge"),
            f"maxSurge {_said(case, 'maxSurge')} -> {case.surge} starts all {case.n} new pods at once, but an old "
            f"one is "
            "ended for each new one that becomes available: both versions serve until the last",
            remedy="to have all new ones up before any old one goes: segue release --strategy all-first",
        )


def statefulset_slack(case: Case) -> Iterator[Finding]:
    """ZD310."""
    if case.source.kind != "StatefulSet" or not case.is_served or case.strategy != "RollingUpdate" or case.n < 1:
        return
    said = case.rolling.get("maxUnavailable", 1)
    missing = said if isinstance(said, int) and case.settings.minor >= 37 else 1
    if case.n > missing:
        return
    yield with_fix(
        case.source.finding(
            ZD310,
            ("spec", "replicas"),
            f"a rollout ends {'the only pod' if case.n == 1 else f'all {case.n} pods'} ({case.n_said}) of "
            f"{case.served_by} before the next one starts: nobody serves in between",
            remedy="at least 2 replicas that can stand in for each other",
        ),
        Fix(question=f"Can {case.source.name} run with 2 replicas?"),
        n=case.n,
        u=missing,
    )


def daemonset_gap(case: Case) -> Iterator[Finding]:
    """ZD311."""
    if case.source.kind != "DaemonSet" or case.strategy != "RollingUpdate" or not case.is_served:
        return
    if case.rolling.get("maxSurge") not in (None, 0, "0%"):
        return
    blocked = _blocked_by(case)
    changes: tuple[Change, ...] = (
        case.change((*case.strategy_path, "maxSurge"), 1),
        case.change((*case.strategy_path, "maxUnavailable"), 0),
    )
    found = case.source.finding(
        ZD311,
        case.strategy_path,
        f"on each node the pod behind {case.served_by} is ended before the new one starts (maxSurge 0)"
        + (f"; {blocked}, so the two cannot overlap" if blocked else ""),
        remedy="maxSurge: 1, maxUnavailable: 0"
        if not blocked
        else "free the port, or send clients elsewhere meanwhile",
        severity=Severity.INFO if blocked else None,
    )
    fix = Fix(question=f"{blocked[:1].upper()}{blocked[1:]}: what may give way?") if blocked else Fix(changes=changes)
    yield with_fix(found, fix)


_TAGGED = re.compile(r"^(?P<name>.+?)(?::(?P<tag>[\w][\w.-]*))?(?P<digest>@\S+)?$")


def mutable_image(case: Case) -> Iterator[Finding]:
    """ZD312."""
    if not case.is_served:
        return
    for container in case.containers:
        found = _TAGGED.match(container.image)
        if found is None or found["digest"] or (found["tag"] or "latest") != "latest":
            continue
        shown = "the tag latest" if found["tag"] else "no tag, which means latest"
        yield with_fix(
            case.source.finding(
                ZD312,
                (*container.path, "image"),
                f"image {container.image} of container {container.name} has {shown}: a pod that starts on another node "
                "tomorrow may be another version, without a rollout",
                remedy="a tag per version, or the digest",
            ),
            Fix(question=f"Which version of {container.image} is meant?"),
        )


RULES = (
    ((ZD301,), recreate),
    ((ZD302, ZD303), rounding),
    ((ZD304,), min_ready),
    ((ZD305,), deadline),
    ((ZD306,), no_rollback),
    ((ZD308,), surge_blocked),
    ((ZD309,), all_at_once),
    ((ZD310,), statefulset_slack),
    ((ZD311,), daemonset_gap),
    ((ZD312,), mutable_image),
)
