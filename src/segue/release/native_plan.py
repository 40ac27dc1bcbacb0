"""What a release of a StatefulSet or a DaemonSet is going to do, and what cannot be had, said before it begins.

Rule 1: what no native controller can do is refused with a remedy, never done half.
Rule 2: what is lost all the same is said in plain words: a hook that is missing, a pod that is away.
"""

from __future__ import annotations

from dataclasses import replace

from segue.drain.judge import Policy
from segue.model.errors import Refused
from segue.model.natives import STATEFUL_SET, Native, partition_of, stop_sleep_s, surge_of
from segue.model.objects import Obj
from segue.release.memory import RAMPED, Memory
from segue.release.native_snapshot import NODES, ORDINALS, SURGE, NativeSnapshot
from segue.release.natives import NativePlan
from segue.release.plan import Approach, Target, stops_of
from segue.release.promised import propagation_s

TIMEOUT_S = 600.0  # of each pod; neither kind has a progressDeadlineSeconds
PROPAGATION_S = Policy().timer_s  # how long a data plane may still send to a pod that has begun to end
STUCK_S = 20.0


def make_native_plan(target: Target, seen: NativeSnapshot, approach: Approach) -> NativePlan:
    """The plan where nothing is under way; a strategy of Deployments is not its business."""
    native = seen.native
    approach = approach if approach.strategy in {"", *RAMPED} else replace(approach, strategy="", stops=(), step=None)
    way = way_of(native, target, approach)
    _check(seen, target, way)
    timeout_s = approach.timeout_s or TIMEOUT_S
    newest = seen.newest
    assert newest is not None, "checked"
    desired = native.desired
    plan = NativePlan(
        target=target,
        namespace=native.namespace,
        kind=native.kind,
        name=native.name,
        way=way,
        services=tuple(service.name for service in seen.services),
        desired=desired,
        wanted=_wanted(native, target),
        old_revision=newest.name,
        partition=_partition(native.kind, target.after),
        step=min(max(1, approach.step or 1), max(1, desired)),
        stops=() if way == SURGE else stops_of(approach, desired),
        waits=approach.waits,
        timeout_s=timeout_s,
        deadline_s=seen.now_s + timeout_s,
    )
    return replace(plan, warnings=tuple(_warnings(plan, seen)))


def resume_native_plan(target: Target, seen: NativeSnapshot, memory: Memory, approach: Approach) -> NativePlan:
    """The plan of a release that somebody's run has begun, from what that run remembered."""
    native = seen.native
    timeout_s = approach.timeout_s or TIMEOUT_S
    return NativePlan(
        target=target,
        namespace=native.namespace,
        kind=native.kind,
        name=native.name,
        way=memory.strategy,
        services=memory.services,
        desired=native.desired,
        wanted=_wanted(native, target),
        old_revision=memory.old_set,
        partition=_partition(native.kind, memory.after),
        step=memory.step,
        stops=memory.stops,
        waits=approach.waits,
        timeout_s=timeout_s,
        deadline_s=seen.now_s + timeout_s,
    )


def check_manner(native: Native, approach: Approach) -> None:
    """Refused where the command line asks for what its controller cannot do."""
    if approach.strategy not in {"", *RAMPED}:
        raise Refused(
            f"{native.said} cannot be released as {approach.strategy}: its controller has no second set of pods beside "
            "the first",
            remedy="leave --strategy out, or say ramped or canary: its pods are replaced in their places",
        )
    if approach.checks or approach.analysis.hooks or approach.analysis.metrics:
        raise Refused(
            f"a check or an analysis does not go with {native.said}",
            remedy="--strategy canary --stop 1 --no-wait holds at its first pod; check it, then segue promote or abort",
        )


def way_of(native: Native, target: Target, approach: Approach) -> str:
    """How its pods are replaced."""
    if native.kind == STATEFUL_SET:
        return ORDINALS
    surges = surge_of(target.after.get("updateStrategy") or native.strategy) != 0
    return SURGE if surges and not approach.stops and approach.strategy != "canary" and not _ties(target) else NODES


def _ties(target: Target) -> str:
    """What ties a pod to its node so that no second one can run there; "" for nothing."""
    spec: Obj = target.template.get("spec") or {}
    if spec.get("hostNetwork"):
        return "hostNetwork"
    ports = [port for one in spec.get("containers") or [] for port in one.get("ports") or []]
    return "hostPort" if any(port.get("hostPort") for port in ports) else ""


def _wanted(native: Native, target: Target) -> int:
    return int(target.after.get("replicas", native.desired)) if native.kind == STATEFUL_SET else native.desired


def _partition(kind: str, after: Obj) -> int:
    return partition_of(after.get("updateStrategy") or {}) if kind == STATEFUL_SET else 0


def _check(seen: NativeSnapshot, target: Target, way: str) -> None:
    native, newest = seen.native, seen.newest
    if newest is None:
        raise Refused(
            f"the controller of {native.said} has not seen its newest spec yet", remedy="try again in a moment"
        )
    if int(target.after.get("replicas", 1)) == 0:
        raise Refused(
            "the manifest asks for 0 replicas: nothing would serve", remedy="say how many serve, or use kubectl scale"
        )
    if native.strategy.get("type") != "RollingUpdate":
        return
    low = partition_of(native.strategy) if way == ORDINALS else 0
    old = [pod for pod in seen.pods if not newest.bears(pod) and (way != ORDINALS or seen.place(pod) >= low)]
    if old and not any(seen.is_long_broken(pod, STUCK_S) for pod in seen.pods):
        raise Refused(
            f"{native.said} is in the middle of a native rollout: {len(old)} pods are of an earlier version",
            remedy=f"wait for it: kubectl rollout status {native.kind.lower()}/{native.name}",
        )


def _warnings(plan: NativePlan, seen: NativeSnapshot) -> list[str]:
    spec: Obj = plan.target.template.get("spec") or {}
    found = [_away(plan), *_hook(plan, seen)]
    grace_s = seen.native.template.get("spec", {}).get("terminationGracePeriodSeconds", 30)
    found.append(
        f"a connection to a pod that is replaced ends with it, {grace_s:g} s after it began to end at the latest "
        "(its grace)"
    )
    found += [
        f"container {container.get('name')} has no readinessProbe: it counts as Ready the moment it starts"
        for container in spec.get("containers") or []
        if not container.get("readinessProbe")
    ]
    if plan.partition:
        found.append(f"the updateStrategy has partition {plan.partition}: the ordinals below it stay as they are")
    ties = _ties(plan.target)
    if ties and surge_of(plan.target.after.get("updateStrategy") or {}):
        found.append(f"the pods use {ties}: no second one can run on a node, so maxSurge cannot help")
    if plan.way == NODES:
        found.append("a pod that ends by itself meanwhile comes back as the new version")
    if plan.wanted != plan.desired:
        found.append(f"replicas change from {plan.desired} to {plan.wanted} at the end, by the controller's own hand")
    return found


def _away(plan: NativePlan) -> str:
    if plan.way == SURGE:
        return "each node has two pods for a while: the next one is Ready before the one before it ends"
    what = "ordinal" if plan.way == ORDINALS else "node"
    nothing = "; with one pod nothing answers meanwhile" if plan.desired <= plan.step else ""
    return f"never more than {plan.desired} pods: each {what} is without its pod for one stop and one start{nothing}"


def _hook(plan: NativePlan, seen: NativeSnapshot) -> list[str]:
    """Whether what runs now waits, when it is told to end, until nothing is sent to it any more."""
    if not plan.services:
        return []
    slept_s = stop_sleep_s(seen.native.template)
    lost = "what is sent to a pod that ends, until the data plane knows, is lost"
    needed_s = propagation_s(seen.native.obj) or PROPAGATION_S
    hook = f"preStop: {{sleep: {{seconds: {needed_s:g}}}}}"
    if slept_s is None:
        return [f"whether its preStop hook waits for {needed_s:g} s cannot be read from here: else {lost}"]
    if slept_s == 0:
        return [f"what runs has no preStop hook: {lost}; {hook} in the template helps from the release after this"]
    if slept_s < needed_s:
        return [f"its preStop hook waits {slept_s:g} s, a data plane may need {needed_s:g} s: else {lost}"]
    return []


def native_steps(plan: NativePlan) -> tuple[str, ...]:
    """What will happen, in sentences for people."""
    stops = ", ".join(f"{count} of {plan.desired}" for count in plan.stops)
    hold = (f"with {stops} new pods: hold until segue promote {plan.name}",) if stops else ()
    many = plan.step > 1
    served = f"the new pod is Ready{_reached(plan, 'an endpoint')}"
    again = f"wait until {served} (at most {plan.timeout_s:g} s); then the next one"
    settled = f"wait until the {plan.desired} pods are Ready{_reached(plan)}"
    home = "put your own updateStrategy back"
    if plan.way == SURGE:
        return (
            settled,
            "change the template with maxSurge "
            f"{plan.step} and maxUnavailable 0: each node's new pod comes up beside the old one",
            f"each old pod ends when the new one has been Ready for its time (at most {plan.timeout_s:g} s)",
            home,
        )
    if plan.way == NODES:
        return (
            settled,
            "change the template with OnDelete: nothing moves",
            f"end the pod of {f'{plan.step} nodes' if many else 'one node'}",
            again,
            *hold,
            home,
        )
    return (
        settled,
        f"change the template with partition {plan.desired}: nothing moves",
        f"lower the partition by {plan.step}: from the highest ordinal down each pod ends, then its next one is made",
        again,
        *hold,
        home,
    )


def _reached(plan: NativePlan, what: str = "endpoints") -> str:
    return f" and {what} of Service {', '.join(plan.services)}" if plan.services else ""
