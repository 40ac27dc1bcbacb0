"""handover: new connections go to the new version at once, existing ones stay where they are until they end.

Up to the switch it is all-first. Then every old pod is taken out of traffic alive, which leaves its connections alone,
and the old ReplicaSet goes to 0: the pin is off within seconds and never waits for connections (A2). The old pods
are ended one by one, each when its last connection has ended or its cap is reached; they end by themselves if nobody
comes back.

Rule: what the old ReplicaSet ends when it goes to 0 are replacements, made after the switch: they never had traffic.
"""

from __future__ import annotations

from segue.model.workloads import ReplicaSet
from segue.release.actions import Resize
from segue.release.decision import Decision, act
from segue.release.memory import Memory
from segue.release.orphans import orphan
from segue.release.plan import Plan
from segue.release.snapshot import Snapshot


def let_go(plan: Plan, snapshot: Snapshot, memory: Memory, old: ReplicaSet) -> Decision:
    """All old pods out of traffic, alive, and nothing that would replace them."""
    own = [pod for pod in snapshot.pods if pod.owner_uid == old.uid and pod.alive]
    served = [pod for pod in own if pod.ready or pod.created_s < int(memory.switched_s)]
    return act(
        *(orphan(plan, snapshot, pod) for pod in served),
        Resize(replica_set=old, replicas=0),
        because="new connections go to the new version, existing ones stay until they end",
        barrier=f"endpoints of {', '.join(memory.services)} are exactly the Ready new pods",
    )
