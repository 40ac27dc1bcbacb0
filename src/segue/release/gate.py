"""Between "all new pods are Ready" and the switch: the preview, the checks, the analysis, somebody's word.

Rule: nothing in here moves traffic. The preview Service reaches the new pods alone, whatever else selects them.
"""

from __future__ import annotations

from segue.model.services import Service
from segue.model.workloads import ReplicaSet
from segue.release.actions import MakePreview, Point
from segue.release.analysing import at_stop, trial
from segue.release.decision import Decision, act, wait
from segue.release.memory import Memory
from segue.release.patience import held
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot
from segue.release.weighing import weigh


def before_switch(
    plan: Plan, snapshot: Snapshot, memory: Memory, new: ReplicaSet, like: Service | None
) -> Decision | None:
    """What is still to happen before the switch, None for nothing. A preview is made after the Service `like`."""
    if memory.route:
        like = next((one for one in snapshot.services if one.name == memory.route["service"]), like)
    if memory.preview:
        preview = _preview(plan, snapshot, memory, new, like)
        if preview is not None:
            return preview
    if memory.route:
        return weigh(plan, snapshot, memory)
    ready = len(snapshot.ready_of(new.pod_hash))
    here = f"all {ready} new pods are Ready and have no traffic"
    if memory.next_stop is not None:
        return at_stop(plan, snapshot, memory, here)
    tried = None if memory.stops else trial(plan, snapshot, memory, here)
    if tried is not None:
        return tried
    if memory.paused:
        return held(plan, snapshot, f"paused with {ready} new pods Ready, before the switch", "resume")
    return None


def _preview(plan: Plan, snapshot: Snapshot, memory: Memory, new: ReplicaSet, like: Service | None) -> Decision | None:
    because = "the new version can be tried before it has traffic"
    service = next((one for one in snapshot.services if one.name == memory.preview), None)
    if service is None:
        if like is None:
            return wait("there is no Service any more that the preview could be made after")
        made = MakePreview(like=like, name=memory.preview, deployment=plan.deployment, pod_hash=new.pod_hash)
        return act(made, because=because)
    if service.pinned_to != new.pod_hash:
        return act(Point(service=service, pod_hash=new.pod_hash), because=because)
    if not snapshot.reaches(service, snapshot.ready_of(new.pod_hash)):
        return wait(f"the endpoints of Service {service.name} are not yet the new pods", wake_in_s=0.05)
    return None
