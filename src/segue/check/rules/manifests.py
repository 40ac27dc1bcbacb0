"""ZD6nn: the manifest itself: versions that are gone, fields that stand where nobody reads them, ignores without "
"reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segue.check.case import POD, with_fix
from segue.check.findings import IGNORE, Change, Finding, Fix, Path, Rule, Severity, Source
from segue.check.reading import labels, part, rows, text

ZD601 = Rule(
    id="ZD601",
    name="removed-api-version",
    severity=Severity.ERROR,
    is_safe=True,
    facts=(),
    says="this apiVersion is no longer served",
    why=(
        "The API server refuses the object, so a release stops in the middle of its files: what came before is "
        "applied, what comes after is not."
    ),
    instead="The version that replaced it. apps/v1 wants spec.selector, which older versions took from the template.",
)
ZD602 = Rule(
    id="ZD602",
    name="misplaced-field",
    severity=Severity.ERROR,
    facts=("D2",),
    says="a field stands where nobody reads it",
    why=(
        "kubectl refuses an unknown field, or, told not to validate, drops it. Then the default counts instead, and "
        "the manifest says one thing while the cluster does another."
    ),
    instead="Move the field to where its API has it.",
)
ZD603 = Rule(
    id="ZD603",
    name="ignore-without-reason",
    severity=Severity.WARNING,
    facts=(),
    says="a rule is ignored without a reason, or there is no such rule",
    why="The next reader cannot tell whether the exception still holds, so it stays for ever.",
    instead="The reason as the value of the annotation: segue.dev/ignore-ZD401: one writer by design.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """An API version and what took its place."""

    kinds: frozenset[str]
    to: str
    since: int  # the minor version that no longer serves it
    is_same: bool  # whether the fields are the same ones


_WORKLOADS = frozenset({"Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"})
_MOVED: dict[str, tuple[Moved, ...]] = {
    "extensions/v1beta1": (
        Moved(kinds=_WORKLOADS, to="apps/v1", since=16, is_same=True),
        Moved(kinds=frozenset({"Ingress"}), to="networking.k8s.io/v1", since=22, is_same=False),
    ),
    "apps/v1beta1": (Moved(kinds=_WORKLOADS, to="apps/v1", since=16, is_same=True),),
    "apps/v1beta2": (Moved(kinds=_WORKLOADS, to="apps/v1", since=16, is_same=True),),
    "networking.k8s.io/v1beta1": (
        Moved(kinds=frozenset({"Ingress"}), to="networking.k8s.io/v1", since=22, is_same=False),
    ),
    "policy/v1beta1": (Moved(kinds=frozenset({"PodDisruptionBudget"}), to="policy/v1", since=25, is_same=True),),
    "batch/v1beta1": (Moved(kinds=frozenset({"CronJob"}), to="batch/v1", since=25, is_same=True),),
    "rbac.authorization.k8s.io/v1beta1": (
        Moved(
            kinds=frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}),
            to="rbac.authorization.k8s.io/v1",
            since=22,
            is_same=True,
        ),
    ),
    "apiextensions.k8s.io/v1beta1": (
        Moved(kinds=frozenset({"CustomResourceDefinition"}), to="apiextensions.k8s.io/v1", since=22, is_same=False),
    ),
    "autoscaling/v2beta1": (
        Moved(kinds=frozenset({"HorizontalPodAutoscaler"}), to="autoscaling/v2", since=25, is_same=False),
    ),
    "autoscaling/v2beta2": (
        Moved(kinds=frozenset({"HorizontalPodAutoscaler"}), to="autoscaling/v2", since=26, is_same=True),
    ),
}


def removed_api(source: Source, minor: int) -> Iterator[Finding]:
    """ZD601."""
    said = text(source.obj, "apiVersion")
    for moved in _MOVED.get(said, ()):
        if source.kind not in moved.kinds or minor < moved.since:
            continue
        changes = [Change(source=source, path=("apiVersion",), value=moved.to)]
        pod_labels = labels(source.obj, "spec", "template", "metadata", "labels")
        lacks = source.kind in _WORKLOADS and not part(source.obj, "spec", "selector")
        if lacks:
            changes.append(Change(source=source, path=("spec", "selector"), value={"matchLabels": pod_labels}))
        is_safe = moved.is_same and not (lacks and not pod_labels)
        if source.kind == "PodDisruptionBudget" and not part(source.obj, "spec", "selector"):
            is_safe = False  # an empty selector selected nothing, and selects everything now
        extra = ", and spec.selector, which it took from the template's labels" if lacks else ""
        if lacks and not pod_labels:
            extra = ", spec.selector and the labels of the template that it selects"
        yield with_fix(
            Finding(
                rule=ZD601,
                severity=ZD601.severity,
                source=source,
                path=("apiVersion",),
                message=f"Kubernetes 1.{moved.since} and later do not serve {said} of {source.kind}: the object is "
                f"refused, and "
                "a release stops half way through its files",
                remedy=f"apiVersion: {moved.to}{extra}",
            ),
            Fix(changes=tuple(changes))
            if is_safe
            else Fix(question=f"Rewrite {source.title} for {moved.to}: fields differ."),
            since=moved.since,
        )


_IN_CONTAINER = {
    "terminationGracePeriodSeconds": "spec.template.spec",
    "preStop": "lifecycle",
    "minReadySeconds": "spec",
}
_IN_POD = {
    "strategy": "spec",
    "minReadySeconds": "spec",
    "progressDeadlineSeconds": "spec",
    "readinessProbe": "a container",
    "livenessProbe": "a container",
    "startupProbe": "a container",
    "lifecycle": "a container",
    "replicas": "spec",
}


def misplaced(source: Source) -> Iterator[Finding]:
    """ZD602."""
    if source.kind not in {"Deployment", "StatefulSet", "DaemonSet", "DeploymentConfig"}:
        return
    spec = part(source.obj, "spec")
    place = "rollingParams" if source.kind == "DeploymentConfig" else "rollingUpdate"
    strategy = "strategy" if source.kind in {"Deployment", "DeploymentConfig"} else "updateStrategy"
    for at, parent in (((strategy,), part(spec, strategy)), ((), spec)):
        for key in ("maxSurge", "maxUnavailable"):
            if key in parent:
                yield _misplaced(source, ("spec", *at, key), parent[key], f"spec.{strategy}.{place}")
    for wrong in {"strategy", "updateStrategy"} - {strategy}:
        if wrong in spec:
            yield _misplaced(source, ("spec", wrong), None, f"spec.{strategy}")
    for wrong in {"rollingParams", "rollingUpdate"} - {place}:
        if wrong in part(spec, strategy):
            yield _misplaced(source, ("spec", strategy, wrong), None, f"spec.{strategy}.{place}")
    pod = part(spec, "template", "spec")
    for key, where in _IN_POD.items():
        if key in pod:
            yield _misplaced(source, (*POD, key), pod[key], where, spec.get(key) if where == "spec" else None)
    for index, container in enumerate(rows(pod, "containers")):
        for key, where in _IN_CONTAINER.items():
            if key in container:
                yield _misplaced(source, (*POD, "containers", index, key), container[key], where)


def _misplaced(source: Source, path: Path, value: object, where: str, counts: object = None) -> Finding:
    """`counts`: what stands where it is read."""
    key = str(path[-1])
    shown = f"{key} {value}" if isinstance(value, int | str) else key
    said = "without it the default counts"
    if counts is not None:
        said = "that of spec counts" if counts == value else f"that of spec counts, {counts}"
    return with_fix(
        Finding(
            rule=ZD602,
            severity=Severity.WARNING if counts == value else ZD602.severity,
            source=source,
            path=path,
            message=f"{shown} of {source.title} is not read here: {said}",
            remedy=f"move it to {where}" if counts is None else "leave it out",
        ),
        Fix(question=f"Move {key} to {where}; is its value still what you want?")
        if counts is None
        else Fix(changes=(Change(source=source, path=path, remove=True),))
        if counts == value
        else Fix(question=f"Which {key} do you want, {value} or {counts}? Only spec.{key} counts."),
    )


def bad_ignores(source: Source, rules: frozenset[str]) -> Iterator[Finding]:
    """ZD603."""
    for key, value in part(source.obj, "metadata", "annotations").items():
        if not key.startswith(IGNORE):
            continue
        rule = key.removeprefix(IGNORE)
        if rule in rules and isinstance(value, str) and value.strip():
            continue
        known = rule in rules
        said = (
            f"{rule} of {source.title} is ignored without a reason" if known else f"there is no rule {rule} to ignore"
        )
        yield Finding(
            rule=ZD603,
            severity=ZD603.severity,
            source=source,
            path=("metadata", "annotations", key),
            message=said + (", and so it still counts" if known else ""),
            remedy=f"{key}: why this is right here" if known else "segue check --list-rules shows all rules",
        )


RULES = (ZD601, ZD602, ZD603)
