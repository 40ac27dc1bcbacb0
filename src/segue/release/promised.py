"""Which rules of quiet a run goes by: what its user asks for, what the release under way promised, what the app says.

Rule 1: no run ends a pod sooner than the one before it promised: what was asked for is kept in the memory.
Rule 2: where traffic is too rare to be judged the wait is the propagation time P; a Deployment (or its pod template)
says its own by an annotation, which `segue check` reads, too. Of several the largest counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from segue.drain.judge import Policy
from segue.model.objects import Obj, annotations_of
from segue.model.workloads import Deployment
from segue.release.memory import Memory

PROPAGATION = "segue.dev/propagation-seconds"
PROPAGATION_MAX_S = 3600.0


def promised(
    policy: Policy,
    memory: Memory | None,
    deployment: Deployment,
    *,
    cap_said: bool = False,
    comes: Iterable[Mapping[str, str]] = (),
) -> Policy:
    """The policy of a run over what is there. `cap_said`: the policy's cap is its user's own; `comes` are annotations
    that a new version brings."""
    if memory is not None:
        keeps_idle, outgoing = policy.keeps_idle or memory.keeps_idle, policy.outgoing or memory.outgoing
        policy = replace(policy, keeps_idle=keeps_idle, outgoing=outgoing)
        if memory.cap_s and not cap_said:  # a promotion must not cut its handover
            policy = replace(policy, cap_s=memory.cap_s, timer_s=min(policy.timer_s, memory.cap_s))
            cap_said = True
    known = [said_s for each in (*_said_by(deployment.obj), *comes) if (said_s := _seconds(each.get(PROPAGATION, "")))]
    if not known:
        return policy
    # Who is sent here until P may come at its very end; only as much silence again proves anything.
    cap_s = policy.cap_s if cap_said else max(policy.cap_s, 2 * max(known))
    return replace(policy, timer_s=min(max(policy.quiet_min_s, *known), cap_s), cap_s=cap_s)


def propagation_s(obj: Obj) -> float | None:
    """P as a workload or its template says it, the larger of the two; None where neither does."""
    return max((said for each in _said_by(obj) if (said := _seconds(each.get(PROPAGATION, "")))), default=None)


def _said_by(obj: Obj) -> tuple[dict[str, str], dict[str, str]]:
    return annotations_of(obj), annotations_of(obj.get("spec", {}).get("template") or {})


def _seconds(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) and 0 < found <= PROPAGATION_MAX_S else None
