"""A Job's pods: what one is made of, when it has succeeded or failed, and how long the next one has to wait.

Rule: a pod bears a finalizer until its end has been counted; so no end is lost when its object is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segue.cluster.controllers import owners
from segue.model.objects import Obj, condition_of, is_terminating, name_of, namespace_of, seconds_of

FINALIZER = "batch.kubernetes.io/job-tracking"
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 10.0, 600.0


def pod_for(job: Obj, name: str) -> Obj:
    """A pod of the Job, held by the finalizer."""
    template = job["spec"]["template"]
    given = template.get("metadata") or {}
    finalizers = given.get("finalizers") or []
    metadata: Obj = {
        "name": name,
        "generateName": f"{name_of(job)}-",
        "namespace": namespace_of(job),
        "finalizers": finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER],
        "ownerReferences": [owners.owner_reference(job)],
    }
    for field in ("labels", "annotations"):
        if given.get(field):
            metadata[field] = given[field]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def is_held(pod: Obj) -> bool:
    """Whether the end of a pod has still to be counted."""
    return FINALIZER in (pod["metadata"].get("finalizers") or [])


def let_go(pod: Obj) -> Obj:
    """The pod without the finalizer."""
    rest = [item for item in pod["metadata"].get("finalizers") or [] if item != FINALIZER]
    metadata = {key: value for key, value in pod["metadata"].items() if key != "finalizers"}
    return {**pod, "metadata": {**metadata, "finalizers": rest} if rest else metadata}


def phase_of(pod: Obj) -> str:
    """status.phase."""
    return str(pod.get("status", {}).get("phase") or "Pending")


def has_failed(job: Obj, pod: Obj) -> bool:
    """Whether a pod counts as failed; one that is deleted does at once, unless only failed ones are replaced."""
    if phase_of(pod) == "Failed":
        return True
    return not replaces_failed_only(job) and is_terminating(pod) and phase_of(pod) != "Succeeded"


def replaces_failed_only(job: Obj) -> bool:
    """Whether a pod is replaced when it has ended, not when it begins to."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed")


def is_leaving(pod: Obj) -> bool:
    """Whether a pod is on its way out and has not ended."""
    return is_terminating(pod) and phase_of(pod) not in {"Succeeded", "Failed"}


def restarts(pods: Iterable[Obj]) -> int:
    """How often containers of pods that go on were started again."""
    return sum(
        int(state.get("restartCount") or 0)
        for pod in pods
        if phase_of(pod) in {"Running", "Pending"}
        for key in ("initContainerStatuses", "containerStatuses")
        for state in pod.get("status", {}).get(key) or []
    )


def back_off_s(job: Obj, pods: Sequence[Obj], now_s: float) -> float:
    """How long no pod is made: 10 s after a failure, twice that after each more since the last success."""
    succeeded_s = max((ended_s(pod) for pod in pods if phase_of(pod) == "Succeeded"), default=0.0)
    failures = [ended_s(pod) for pod in pods if has_failed(job, pod) and ended_s(pod) > succeeded_s]
    if not failures:
        return 0.0
    wanted_s = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(len(failures) - 1, 20))
    return max(0.0, max(failures) + wanted_s - now_s)


def ended_s(pod: Obj) -> float:
    """When a pod ended: its last container, else when it was no longer Ready, else when its deletion was asked for."""
    states = pod.get("status", {}).get("containerStatuses") or []
    ends = [((one.get("state") or {}).get("terminated") or {}).get("finishedAt") for one in states]
    known = [seconds_of(end) for end in ends if end]
    if known and len(known) == len(ends):
        return max(known)
    ready = condition_of(pod, "Ready")
    if ready is not None and ready.get("status") == "False" and ready.get("lastTransitionTime"):
        return seconds_of(ready["lastTransitionTime"])
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):
        return seconds_of(metadata["deletionTimestamp"]) - float(metadata.get("deletionGracePeriodSeconds") or 0)
    return seconds_of(metadata["creationTimestamp"])
