"""Retire one pod without losing a request: another one first, then it leaves traffic, is proved quiet, and ends.

One more replica comes up and is Ready before the named pod is orphaned; the Deployment shrinks back at once, which ends
the orphan's own replacement that is not Ready yet (R1, A3). What follows is a scale-down's.

Rule: a pod that is not Ready serves nobody and needs no successor before it ends.
"""

from __future__ import annotations

from dataclasses import replace

from segue.model.workloads import Pod
from segue.release.actions import EndPod, Remember, ScaleTo
from segue.release.decision import Decision, act, stop, wait
from segue.release.entry import take_lease
from segue.release.leaving import leave
from segue.release.memory import Memory
from segue.release.orphans import is_over, orphan
from segue.release.plan import Plan
from segue.release.scaling import down_or_done, give_up, in_the_way, owned_pods
from segue.release.snapshot import Snapshot


def purpose_of(pod: str) -> str:
    """What a retirement's Lease says it is for."""
    return f"retire-{pod}"


def decide_retire(pod: str, plan: Plan, snapshot: Snapshot, memory: Memory | None) -> Decision:
    """The next step until the pod named `pod` is gone and as many as before are Ready."""
    refusal = in_the_way(plan, snapshot, memory, "retire")
    if refusal is not None:
        return refusal
    if memory is not None and memory.pod != pod:
        return stop(
            "conflict",
            f"pod {memory.pod} of Deployment {plan.deployment} is being retired",
            f"finish that with: segue retire {memory.pod}",
        )
    victim = next((one for one in snapshot.pods if one.name == pod and not is_over(one)), None)
    if memory is None and victim is None:
        return leave(snapshot, f"pod {pod} is gone, {len(_ready(snapshot))} pods are Ready")
    if memory is None or not snapshot.mine:
        kept = memory or Memory(
            id=purpose_of(pod),
            kind="retire",
            digest="",
            begun_s=round(snapshot.now_s, 3),
            services=plan.services,
            outgoing=plan.policy.outgoing,
            target=snapshot.deployment.replicas,
            pod=pod,
        )
        return act(
            take_lease(plan.deployment, snapshot, purpose_of(pod)),
            Remember(deployment=snapshot.deployment, memory=kept),
            because=f"pod {pod} is to go",
        )
    wanted = replace(plan, wanted=memory.target)
    if victim is None or victim.terminating or victim.orphaned:
        return down_or_done(wanted, snapshot)
    return _let_go(wanted, snapshot, victim)


def _ready(snapshot: Snapshot) -> list[Pod]:
    return [pod for pod in owned_pods(snapshot) if pod.ready]


def _let_go(plan: Plan, snapshot: Snapshot, victim: Pod) -> Decision:
    deployment = snapshot.deployment
    if not victim.ready:
        return act(EndPod(pod=victim), because="it serves nobody: it is not Ready")
    if deployment.replicas <= plan.wanted:
        return act(
            ScaleTo(deployment=deployment, replicas=plan.wanted + 1),
            because=f"another pod is to be Ready before {victim.name} goes",
        )
    ready = _ready(snapshot)
    active = [one for one in snapshot.owned if one.replicas > 0]
    settled = deployment.observed and len(active) == 1 and active[0].replicas == deployment.replicas
    if len(ready) < deployment.replicas or not settled:
        if snapshot.now_s > plan.deadline_s:
            return give_up(plan, owned_pods(snapshot))
        return wait(f"{len(ready)} of {deployment.replicas} pods are Ready")
    return act(
        orphan(plan, snapshot, victim),
        because="another pod has taken its place",
        barrier=f"{len(ready)} Ready pods serve",
    )
