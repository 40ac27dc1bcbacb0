"""What becomes of the old pods once the new ones serve: they leave traffic alive, and end when they are quiet.

Every old pod is taken out of its ReplicaSet and its Services by a label, which leaves its connections alone, and the
old ReplicaSet goes to 0. The pin is then off within two seconds of the switch and never waits for connections: as long
as it is on, another template would empty the Service (A2). The pods are ended one by one, each when it is quiet or
its cap is reached; they end by themselves if nobody comes back.

Rule 1: where a NetworkPolicy selects the pods by the label that would have to change, the change could cut their
connections (A3). There they keep their labels, and the pin stays until all of them are quiet.
Rule 2: the old ReplicaSet goes to 0 only when it owns none of them: its controller hears of pods and of sizes on two
ways, and one that has not yet seen the labels would end what it takes for its own. It drops its mark of ownership from
a pod when it has (R4). What it ends are replacements, made after the switch: they never had traffic. They start no
process either: a gate in the detached ReplicaSet's template keeps them from any node, so they end at once and leave
nothing to see. The gate goes when the ReplicaSet comes home.
"""

from __future__ import annotations

from segue.model.workloads import ReplicaSet
from segue.release.actions import HoldBack, Resize
from segue.release.decision import Decision, PodDrained, act, wait
from segue.release.leaving import drain
from segue.release.memory import Memory
from segue.release.orphans import orphan
from segue.release.patience import held
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


def let_go(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    """The next step from "the new pods serve" to "the old ReplicaSet is at 0"."""
    if snapshot.now_s < memory.switched_s + memory.keep_s and not plan.hands_over:
        said = f"the old pods stand by for {memory.keep_s:g} s: segue abort {plan.deployment} goes back at once"
        return Decision(because=said, wake_in_s=0.5, holds=True)
    if memory.paused and not plan.hands_over:
        return held(plan, snapshot, "paused while the old pods stand by", "resume")
    if memory.keeps_labels:
        return _end_when_all_are_quiet(plan, snapshot, memory, old)
    own = [pod for pod in snapshot.pods if pod.owner_uid == old.uid and pod.alive]
    served = [pod for pod in own if not pod.orphaned and (pod.ready or pod.created_s < int(memory.switched_s))]
    if served:
        gate = () if old.held_back else (HoldBack(replica_set=old, held=True),)
        return act(
            *gate,
            *(orphan(plan, snapshot, pod) for pod in served),
            because="new connections go to the new version, existing ones stay until they end",
            barrier=f"endpoints of {', '.join(memory.services)} are exactly the Ready new pods",
        )
    out = sum(pod.orphaned for pod in own)
    if out:
        return wait(f"ReplicaSet {old.name} has not let go of {out} old pods yet", wake_in_s=0.02)
    return act(
        Resize(replica_set=old, replicas=0),
        because="all old pods are out of traffic, alive",
        barrier=f"ReplicaSet {old.name} owns none of them",
    )


def _end_when_all_are_quiet(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    drained = drain(plan, snapshot, old.pod_hash)
    if isinstance(drained, Decision):
        return drained
    ready = len(snapshot.ready_of(memory.new_hash))
    return Decision(
        actions=(Resize(replica_set=old, replicas=0),),
        because=f"all {len(drained)} old pods are drained ({_reasons(drained)})",
        barrier=f"endpoints of {', '.join(memory.services)} are exactly the {ready} Ready new pods",
        drained=drained,
        wake_in_s=0.0,
    )


def _reasons(drained: tuple[PodDrained, ...]) -> str:
    kinds = sorted({one.reason for one in drained})
    return ", ".join(f"{sum(one.reason == kind for one in drained)} {kind}" for kind in kinds)
