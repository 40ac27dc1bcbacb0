"""Single pods out of traffic, alive: an orphan leaves its ReplicaSet and its Services, drains, and is ended when quiet.

Rule: an orphan ends by itself (activeDeadlineSeconds) if nobody comes back to end it, and never while a Service
reaches it.
"""

from __future__ import annotations

from collections import Counter

from segue.drain.judge import NOTHING_SEEN, ended
from segue.model.workloads import HASH_LABEL, Pod
from segue.release.actions import EndPod, Orphan
from segue.release.decision import LOOK_AGAIN_S, Decision, PodDrained, act, wait
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot

ORPHANS = "orphans"  # what `Decision.drains` names instead of a version


def orphans_of(snapshot: Snapshot) -> tuple[Pod, ...]:
    """Pods that were taken out of traffic and are not over."""
    return tuple(pod for pod in snapshot.pods if pod.orphaned and not is_over(pod))


def orphan(plan: Plan, snapshot: Snapshot, victim: Pod) -> Orphan:
    """Take a pod out of its ReplicaSet and all its Services; it ends by itself if nobody comes back to end it."""
    age_s = max(0.0, snapshot.now_s - victim.created_s)
    grace_s = float(victim.obj["spec"].get("terminationGracePeriodSeconds") or 30)
    return Orphan(
        pod=victim,
        deployment=snapshot.deployment.name,
        labels=_labels_to_change(snapshot, victim),
        deadline_s=int(age_s + plan.policy.cap_s + grace_s) + 60,
    )


def idleness(snapshot: Snapshot, pod: Pod) -> tuple[int, float, float, str]:
    """What the idlest pod has least of: connections, arrivals; then the youngest."""
    evidence = snapshot.evidence.get(pod.name, NOTHING_SEEN)
    return evidence.live, round(evidence.rate), -pod.ready_since_s, pod.name


def _labels_to_change(snapshot: Snapshot, pod: Pod) -> tuple[str, ...]:
    """One label that takes the pod out of its ReplicaSet and all its Services, else one for each of them."""
    selector = set(snapshot.deployment.selector.get("matchLabels") or {})
    keys = [set(service.plain_selector) for service in snapshot.services if service.selects_version(pod.labels)]
    common = selector.intersection(*keys) if keys else selector
    if common:
        return (min(common),)
    return tuple(sorted({min(selector or {HASH_LABEL}), *(min(one) for one in keys)}))


def drain_orphans(plan: Plan, snapshot: Snapshot, orphans: tuple[Pod, ...]) -> Decision | None:
    """End those that are quiet, wait for the others; None where there is none."""
    waiting = ""
    ends: list[EndPod] = []
    drained: list[PodDrained] = []
    for pod in orphans:
        if pod.terminating:
            waiting = waiting or f"{pod.name} is ending, within its own grace"
            continue
        evidence = snapshot.evidence.get(pod.name, NOTHING_SEEN)
        reached = any(pod.name in snapshot.ready_endpoints(service.name) for service in snapshot.services)
        since_s = snapshot.drain_began_s if snapshot.drain_began_s is not None else snapshot.now_s
        end = None if reached else ended(evidence, now_s=snapshot.now_s, since_s=since_s, policy=plan.policy)
        if end is None:
            seen = evidence.because if pod.name in snapshot.evidence else "nobody has looked yet"
            waiting = waiting or f"{pod.name}: {seen}"
            continue
        ends.append(EndPod(pod=pod))
        drained.append(
            PodDrained(
                pod=pod.name, version=pod.pod_hash, reason=end.reason, because=end.because, source=evidence.source
            )
        )
    if ends:
        return Decision(
            actions=tuple(ends),
            because=_in_words(drained),
            barrier="no Service reaches them",
            drained=tuple(drained),
            drains=ORPHANS,
            wake_in_s=0.0,
        )
    return wait(waiting, wake_in_s=min(0.1, LOOK_AGAIN_S), drains=ORPHANS) if waiting else None


def _in_words(drained: list[PodDrained]) -> str:
    if len(drained) == 1:
        return f"{drained[0].pod} is drained ({drained[0].reason})"
    reasons = Counter(each.reason for each in drained)
    return (
        f"{len(drained)} old pods are drained ({', '.join(f'{count} {reason}' for reason, count in reasons.items())})"
    )


def is_over(pod: Pod) -> bool:
    """Whether nothing of it runs and its object is on its way out."""
    return pod.ended and pod.terminating  # one that ended by its own deadline still has to be deleted


def end_surplus(snapshot: Snapshot) -> Decision | None:
    """Hurry those that took an orphan's place for a moment; None where there is none."""
    surplus = tuple(EndPod(pod=pod, grace_s=1) for pod in snapshot.pods if is_surplus(snapshot, pod))
    return act(*surplus, because="it took an orphan's place for a moment and was never Ready") if surplus else None


def is_surplus(snapshot: Snapshot, pod: Pod) -> bool:
    """A replacement that was ended at once. Told to end before its process could listen for SIGTERM it would sit out
    its whole grace (X6)."""
    memory = snapshot.memory
    grace_s = float(pod.obj["metadata"].get("deletionGracePeriodSeconds") or 0)
    fresh = memory is not None and pod.created_s >= int(memory.begun_s)
    return fresh and pod.never_served and not pod.ended and grace_s > 1 and not pod.orphaned
