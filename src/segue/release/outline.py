"""What a plan is going to do, in sentences for people: one list of steps per strategy.

Rule: nothing is decided here. A sentence says what a module of the strategy does, in the order in which it does it.
"""

from __future__ import annotations

from segue.release.memory import RAMPED
from segue.release.plan import Plan


def steps_of(plan: Plan) -> tuple[str, ...]:
    """What will happen."""
    if plan.strategy in RAMPED:
        return _ramped(plan)
    if plan.strategy == "recreate":
        return _recreate(plan)
    return (*_until_switch(plan), *(_handover(plan) if plan.strategy == "handover" else _end_old(plan)))


def time_of(plan: Plan) -> str:
    """How long it takes, as far as that can be known before."""
    low, high = plan.policy.quiet_min_s + 0.5, plan.timeout_s + plan.policy.cap_s
    if plan.strategy in RAMPED:
        rounds = -(-plan.replicas // plan.step)
        pods = f"{plan.step} new pods are" if plan.step > 1 else "a new pod is"
        times = f"{rounds} times " if rounds > 1 else ""
        said = (
            f"{times}until {pods} Ready plus about {low:g} s with traffic; at most {rounds * high:g} s plus the grace"
        )
        return said + (" of each" if rounds > 1 else "")
    if plan.strategy == "handover":
        return f"until the new pods are Ready; then as long as connections last, at most {plan.policy.cap_s:g} s"
    if plan.strategy == "recreate":
        return f"until the old pods have ended and the new ones are Ready, at most {plan.timeout_s:g} s"
    return f"until the new pods are Ready plus about {low:g} s with traffic; at most {high:g} s plus the grace"


def _names(plan: Plan) -> str:
    return ", ".join(plan.services)


def _settled(plan: Plan) -> str:
    return f"wait until the {plan.replicas} pods of version {plan.old_hash} are what Service {_names(plan)} reaches"


def _quiet(plan: Plan) -> str:
    policy = plan.policy
    return (
        f"proved quiet (at least {policy.quiet_min_s:g} s, at most {policy.cap_s:g} s; without traffic to judge by "
        f"{policy.timer_s:g} s)"
    )


def _until_switch(plan: Plan) -> tuple[str, ...]:
    names = _names(plan)
    tries = [f"let Service {plan.preview} reach the new pods alone"] if plan.preview else []
    if plan.check:
        tries.append(f"run the check ({plan.check}); if it fails, go back to version {plan.old_hash}")
    if plan.stops:
        tries.append(f"hold until segue promote {plan.deployment}")
    return (
        _settled(plan),
        f"pin Service {names} to version {plan.old_hash}: nothing moves",
        f"change the template with surge 100 % and the brake: {plan.wanted} new pods come up beside the old ones",
        f"detach ReplicaSet {plan.old_set}, take the brake off: the Deployment's spec is yours again",
        f"wait until all {plan.wanted} new pods are Ready (at most {plan.timeout_s:g} s)",
        *tries,
        f"switch Service {names} to the new version",
    )


_HOME = "attach the old ReplicaSet again, unpin the Service: history and undo stay native"


def _end_old(plan: Plan) -> tuple[str, ...]:
    stand_by = (f"let the old pods stand by for {plan.keep_s:g} s",) if plan.keep_s else ()
    return (*stand_by, f"wait until each old pod is {_quiet(plan)}, then end the old pods", _HOME)


def _handover(plan: Plan) -> tuple[str, ...]:
    return (
        "take the old pods out of traffic, alive: their connections stay",
        _HOME,
        f"end each old pod when its last connection has ended (at most {plan.policy.cap_s:g} s)",
    )


def _recreate(plan: Plan) -> tuple[str, ...]:
    return (
        _settled(plan),
        f"change the template: all {plan.replicas} old pods end; from here on requests are lost",
        f"wait until all {plan.wanted} new pods are Ready (at most {plan.timeout_s:g} s): no request is answered",
        "put your strategy back",
    )


def _ramped(plan: Plan) -> tuple[str, ...]:
    many = plan.step > 1
    first = min(plan.step, plan.stops[0]) if plan.stops else plan.step
    stops = ", ".join(f"{count} of {plan.replicas}" for count in plan.stops)
    word = (
        f"run the check ({plan.check}); if it fails, go back"
        if plan.check
        else f"hold until segue promote {plan.deployment}"
    )
    hold = (f"with {stops} new pods: {word}",) if stops else ()
    return (
        _settled(plan),
        f"change the template with the brake and room for {first} more pod{'s' if first > 1 else ''}: new pods share "
        f"the traffic of Service {_names(plan)} as soon as they are Ready",
        *hold,
        f"when all new pods are Ready, take the idlest {f'{plan.step} old pods' if many else 'old pod'} out of "
        "traffic, alive",
        f"wait until {'each' if many else 'it'} is {_quiet(plan)}, then end it",
        f"the same again until no old pod is left, each time as soon as the new pods are Ready (at most "
        f"{plan.timeout_s:g} s)",
        "take the brake off: the Deployment's spec is yours again",
    )
