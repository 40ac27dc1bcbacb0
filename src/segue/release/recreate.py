"""recreate: all old pods end before any new one begins, as Kubernetes' own Recreate does. Requests are lost meanwhile.

For what cannot bear two versions side by side. Only done when asked for; the plan says what it costs.

Rule: the Deployment's own strategy comes back as the user wrote it.
"""

from __future__ import annotations

from segue.release.actions import Release, Replace
from segue.release.decision import Decision, act, stop, wait
from segue.release.entry import opening
from segue.release.leaving import finish
from segue.release.memory import Memory
from segue.release.patience import late, out_of_time, stuck, troubles_of
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


def decide_recreate(plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step."""
    opened = opening(plan, snapshot, memory)
    if opened is not None:
        return opened
    assert memory is not None, "without one it has just begun"
    deployment = snapshot.deployment
    if memory.serving == "new":
        decision = finish(plan, snapshot, memory)
        return decision if decision.actions else late(plan, snapshot, memory, decision)
    if not memory.patched:
        replace = Replace(deployment=deployment, template=plan.target.template, memory=memory.but(patched=True))
        return act(replace, because="all old pods are to end before a new one begins")
    if deployment.template != plan.target.template:
        return stop(
            "unfinished",
            f"somebody changed the template of Deployment {plan.deployment} during this release",
            "release what is wanted",
        )
    new = snapshot.newest
    if new is None or not deployment.observed or new.replicas < deployment.replicas:
        return wait("the old pods end")
    ready = snapshot.ready_of(new.pod_hash)
    if len(ready) >= deployment.replicas:
        known = memory.but(serving="new", switched=True, new_set=new.name, new_hash=new.pod_hash)
        return act(Release(deployment=deployment, memory=known), because=f"all {len(ready)} new pods are Ready")
    alive = snapshot.alive_of(new.pod_hash)
    if out_of_time(plan, snapshot, alive):
        return stop(
            "unfinished",
            f"{len(ready)} of {deployment.replicas} new pods are Ready after {plan.timeout_s:g} s "
            f"({troubles_of([pod for pod in alive if not pod.ready])}); no old pod serves",
            "go back with segue abort, or repair and run the same command again",
        )
    return wait(f"{len(ready)} of {deployment.replicas} new pods are Ready{stuck(alive)}")
