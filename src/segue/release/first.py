"""Waiting for pods of a Deployment that has nothing to lose: a first apply, or one that changes no pod."""

from __future__ import annotations

from segue.release.decision import Decision, stop, wait
from segue.release.leaving import leave
from segue.release.memory import Memory
from segue.release.patience import stuck, troubles_of
from segue.release.snapshot import Snapshot


def decide_first(deadline_s: float, timeout_s: float, snapshot: Snapshot, _: Memory | None) -> Decision:
    """Wait until all pods are Ready and its Services reach them."""
    deployment = snapshot.deployment
    new = snapshot.newest
    ready = snapshot.ready_of(new.pod_hash) if new is not None else ()
    if deployment.observed and new is not None and len(ready) >= deployment.replicas:
        late = [
            service.name
            for service in snapshot.services
            if not {pod.name for pod in ready if service.selects_pod(pod.labels)}
            <= snapshot.ready_endpoints(service.name)
        ]
        if not late:
            message = f"Deployment {deployment.name} has {len(ready)} Ready pods"
            return leave(snapshot, message)
    if snapshot.now_s > deadline_s:
        pods = snapshot.alive_of(new.pod_hash) if new is not None else ()
        reasons = troubles_of([pod for pod in pods if not pod.ready])
        return stop(
            "unfinished",
            f"{len(ready)} of {deployment.replicas} pods are Ready after {timeout_s:g} s ({reasons})",
            "repair what keeps them from being Ready and run the same command again",
        )
    alive = snapshot.alive_of(new.pod_hash) if new is not None else ()
    return wait(f"{len(ready)} of {deployment.replicas} pods are Ready{stuck(alive)}")
