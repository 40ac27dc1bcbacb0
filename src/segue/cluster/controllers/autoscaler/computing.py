"""From an autoscaler's metrics to a number of pods: the largest that any of them asks for, and what each has found.

Rule: where a metric cannot be had the others may ask for more, never for less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from segue.cluster.controllers.autoscaler.replicas import Crowd, Proposal, Tolerance, by_average, by_utilization
from segue.cluster.controllers.autoscaler.samples import PodUsages, Uncomputable, custom_samples, samples_of
from segue.cluster.controllers.autoscaler.status import Draft
from segue.cluster.metrics.custom import Wanted
from segue.cluster.quotas.amounts import Amount
from segue.cluster.scale import selector_text
from segue.model.objects import Obj, namespace_of
from segue.model.quantities import quantity

_NO_CUSTOM = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"
_NO_EXTERNAL = "unable to fetch metrics from external metrics API: the server could not find the requested resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How many pods there should be now, and what selects them."""

    replicas: int
    selector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What metrics come to; `trouble` is what is wrong with some, and `replicas` None where nothing follows."""

    replicas: int | None
    asked_by: str = ""
    statuses: Sequence[Obj] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What one metric says."""

    proposal: Proposal
    name: str
    status: Obj


def compute(draft: Draft, pods: Sequence[Obj], scale: Scale, usages: PodUsages) -> Computed:
    """All metrics of an autoscaler; sets its condition ScalingActive."""
    spec, replicas = draft.scaler["spec"], scale.replicas
    crowd = Crowd(
        pods=pods,
        replicas=replicas,
        resource="",
        tolerance=_tolerance(spec.get("behavior")),
        now_s=draft.now_s,
        selector=scale.selector,
    )
    statuses: list[Obj] = []
    found: list[_Told] = []
    failures: list[_Failed] = []
    for metric in spec["metrics"]:
        try:
            told = _one(metric, crowd, usages, namespace_of(draft.scaler))
        except _Failed as failed:
            draft.warn(failed.reason, failed.message)
            failures.append(failed)
            statuses.append({"type": ""})
        else:
            found.append(told)
            statuses.append(told.status)
    best = max(found, key=lambda told: told.proposal.replicas, default=None)
    first = failures[0] if failures else None
    trouble = ""
    if first is not None:
        count = f"{len(failures)} invalid out of {len(spec['metrics'])}"
        trouble = f"invalid metrics ({count}), first error is: {first.where}: {first.message}"
    if best is None or (first is not None and best.proposal.replicas < replicas):
        assert first is not None, "an autoscaler has a metric by default"
        message = f"the HPA was unable to compute the replica count: {first.message}"
        draft.set("ScalingActive", holds=False, reason=first.reason, message=message)
        return Computed(replicas=None, statuses=statuses, trouble=trouble)
    able = f"the HPA was able to successfully calculate a replica count from {best.name}"
    draft.set("ScalingActive", holds=True, reason="ValidMetricFound", message=able)
    return Computed(replicas=best.proposal.replicas, asked_by=best.name, statuses=statuses, trouble=trouble)


class _Failed(Exception):
    """A metric that says nothing: the reason of the condition, Kubernetes' words, and those around them."""

    def __init__(self, reason: str, message: str, where: str) -> None:
        super().__init__(message)
        self.reason, self.message, self.where = reason, message, where


def _one(metric: Obj, crowd: Crowd, usages: PodUsages, namespace: str) -> _Told:
    match metric["type"]:
        case "Resource":
            source = metric["resource"]
            where = f"failed to get {source['name']} resource metric value"
            return _of_resource("resource", source, crowd, usages, ("FailedGetResourceMetric", where))
        case "ContainerResource":
            source = metric["containerResource"]
            where = f"failed to get {source['container']} container metric value"
            return _of_resource("containerResource", source, crowd, usages, ("FailedGetContainerResourceMetric", where))
        case "Pods":
            return _of_pods(metric["pods"], crowd, usages, namespace)
        case "Object":
            raise _no_object_metric(metric["object"], namespace)
        case _:
            raise _no_external_metric(metric["external"], namespace)


def _of_pods(source: Obj, crowd: Crowd, usages: PodUsages, namespace: str) -> _Told:
    """A metric that somebody else tells of each pod; its target is always an amount per pod."""
    name, average = source["metric"]["name"], source["target"]["averageValue"]
    wanted = Wanted(namespace=namespace, metric=name, selector=crowd.selector)
    try:
        proposal = by_average(crowd, custom_samples(usages, wanted), int(quantity(average) * 1000))
    except Uncomputable as error:
        message = f"unable to get metric {name}: {error}"
        raise _Failed("FailedGetPodsMetric", message, "failed to get pods metric value") from error
    current = {"averageValue": _amount("", proposal.average_milli)}
    status = {"type": "Pods", "pods": {"current": current, "metric": source["metric"]}}
    return _Told(proposal=proposal, name=f"pods metric {name}", status=status)


def _no_object_metric(source: Obj, namespace: str) -> _Failed:
    """Nobody serves custom metrics here."""
    name, described = source["metric"]["name"], source["describedObject"]
    message = f"unable to get metric {name} on {described['kind']} {namespace}/{described['name']}: {_NO_CUSTOM}"
    where = "failed to get object metric value"
    if "averageValue" in source["target"]:
        where += f": failed to get {name} object metric"
    return _Failed("FailedGetObjectMetric", message, where)


def _no_external_metric(source: Obj, namespace: str) -> _Failed:
    """Nor external ones."""
    name = source["metric"]["name"]
    selector = source["metric"].get("selector")
    chosen = "nil" if selector is None else selector_text(selector)
    message = f"unable to get external metric {namespace}/{name}/{chosen}: {_NO_EXTERNAL}"
    message += f" (get {name}.external.metrics.k8s.io)"
    detail = (
        f"failed to get {name} external metric"
        if "averageValue" in source["target"]
        else f"failed to get external metric {name}"
    )
    return _Failed("FailedGetExternalMetric", message, f"failed to get {name} external metric value: {detail}")


def _of_resource(kind: str, source: Obj, crowd: Crowd, usages: PodUsages, words: tuple[str, str]) -> _Told:
    resource, container, target = source["name"], source.get("container", ""), source["target"]
    crowd = replace(crowd, resource=resource)
    average = target.get("averageValue")
    try:
        samples = samples_of(usages, crowd.pods, resource, container)
        if average is not None:
            proposal = by_average(crowd, samples, int(quantity(average) * 1000))
        else:
            proposal = by_utilization(crowd, samples, target["averageUtilization"], container)
    except Uncomputable as error:
        what = "usage" if average is not None else "utilization"
        raise _Failed(words[0], f"failed to get {resource} {what}: {error}", words[1]) from error
    current: Obj = {"averageValue": _amount(resource, proposal.average_milli)}
    if proposal.utilization is not None:
        current["averageUtilization"] = proposal.utilization
    status = {key: source[key] for key in ("container", "name") if key in source} | {"current": current}
    of = "container resource" if container else "resource"
    name = f"{resource} resource" if average is not None else f"{resource} {of} utilization (percentage of request)"
    return _Told(proposal=proposal, name=name, status={"type": kind[0].upper() + kind[1:], kind: status})


def _amount(resource: str, milli: int) -> str:
    return str(Amount(Decimal(milli).scaleb(-3), twos=resource == "memory"))


def _tolerance(behavior: Obj | None) -> Tolerance:
    found = Tolerance()
    for way, key in (("down", "scaleDown"), ("up", "scaleUp")):
        given = ((behavior or {}).get(key) or {}).get("tolerance")
        if given is not None:
            found = replace(found, **{way: float(quantity(given))})
    return found
