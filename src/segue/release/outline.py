"""What a plan is going to do, in sentences for people: one list of steps per strategy.

Rule: nothing is decided here. A sentence says what a module of the strategy does, in the order in which it does it.
"""

from __future__ import annotations

from segue.release.beside import Beside
from segue.release.memory import RAMPED
from segue.release.plan import Plan
from segue.release.weights import Weights, requests_for, sentences


def steps_of(plan: Plan) -> tuple[str, ...]:
    """What will happen."""
    if plan.beside is not None:
        return _shifted(plan, plan.beside) if plan.strategy in RAMPED else _beside(plan, plan.beside)
    if plan.strategy in RAMPED:
        return _ramped(plan)
    if plan.strategy == "recreate":
        return _recreate(plan)
    return (*_until_switch(plan), *_let_go(plan))


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
    if plan.route:
        count = requests_for(Weights.of(plan.route))
        said = f"until the new pods are Ready, about {count:,} requests, plus about {low:g} s"
        return f"{said}; no share is given up for time"
    if plan.strategy == "handover":
        return f"until the new pods are Ready; then as long as connections last, at most {plan.policy.cap_s:g} s"
    if plan.strategy == "recreate":
        return f"until the old pods have ended and the new ones are Ready, at most {plan.timeout_s:g} s"
    return f"until the new pods are Ready plus about {low:g} s with traffic; at most {high:g} s plus the grace"


def _names(plan: Plan) -> str:
    return ", ".join(plan.services)


def _settled(plan: Plan) -> str:
    return f"wait until the {plan.replicas} pods of version {plan.old_hash} are what Service {_names(plan)} reaches"


def _checks(plan: Plan) -> str:
    return "the check (" + ", then ".join(hook.said for hook in plan.hooks) + ")"


def _at_stop(plan: Plan) -> str:
    word = f"hold until segue promote {plan.deployment}"
    if not plan.metrics:
        return word
    most_s = plan.analysis.most_s
    return f"measure {plan.analysis.names}: pass goes on, fail goes back; without a verdict after {most_s:g} s {word}"


def _quiet(plan: Plan) -> str:
    policy = plan.policy
    return (
        f"proved quiet (at least {policy.quiet_min_s:g} s, at most {policy.cap_s:g} s; without traffic to judge by "
        f"{policy.timer_s:g} s)"
    )


def _tries(plan: Plan) -> tuple[str, ...]:
    """What comes between Ready and the switch."""
    tries = [f"let Service {plan.preview} reach the new pods alone"] if plan.preview else []
    if plan.route:
        tries.extend(sentences(Weights.of(plan.route)))
        if plan.stops:
            tries.append(f"at {', '.join(f'{stop} %' for stop in plan.stops)} also {_at_stop(plan)}")
        return tuple(tries)
    if plan.hooks:
        tries.append(f"run {_checks(plan)}; if it fails, go back to version {plan.old_hash}")
    if plan.group:
        tries.append(f"wait until {', '.join(plan.group)} have come so far; if one cannot, take all of them back")
    elif plan.stops:
        tries.append(_at_stop(plan))
    return tuple(tries)


def _until_switch(plan: Plan) -> tuple[str, ...]:
    names = _names(plan)
    return (
        _settled(plan),
        f"pin Service {names} to version {plan.old_hash}: nothing moves",
        f"change the template with surge 100 % and the brake: {plan.wanted} new pods come up beside the old ones",
        f"detach ReplicaSet {plan.old_set}, take the brake off: the Deployment's spec is yours again",
        f"wait until all {plan.wanted} new pods are Ready (at most {plan.timeout_s:g} s)",
        *_tries(plan),
        f"switch Service {names} to the new version",
    )


_HOME = "attach the old ReplicaSet again, unpin the Service: history and undo stay native"


def _let_go(plan: Plan) -> tuple[str, ...]:
    stand_by = (f"let the old pods stand by for {plan.keep_s:g} s",) if plan.keep_s else ()
    if plan.keeps_labels:
        return (*stand_by, f"wait until each old pod is {_quiet(plan)}, then end the old pods", _HOME)
    end = (
        f"end each old pod when its last connection has ended (at most {plan.policy.cap_s:g} s)"
        if plan.policy.keeps_idle
        else f"end each old pod as soon as it is {_quiet(plan)}"
    )
    left = (
        "take the old pods out of traffic, alive: their connections stay; what Kubernetes makes in their place "
        "is given no node and ends at once"
    )
    return (*stand_by, left, _HOME, end)


def _recreate(plan: Plan) -> tuple[str, ...]:
    return (
        _settled(plan),
        f"change the template: all {plan.replicas} old pods end; from here on requests are lost",
        f"wait until all {plan.wanted} new pods are Ready (at most {plan.timeout_s:g} s): no request is answered",
        "put your strategy back",
    )


def _beside(plan: Plan, beside: Beside) -> tuple[str, ...]:
    names = _names(plan)
    unhidden = any(beside.common(selector) == selector for selector in beside.selectors.values())
    pin = (f"pin Service {names} to version {plan.old_hash}: nothing moves",) if unhidden else ()
    stand_by = (f"let the old pods stand by for {plan.keep_s:g} s",) if plan.keep_s else ()
    then = "delete it" if beside.delete_old else f"keep it for segue undo {beside.app}"
    return (
        _settled(plan),
        f"make Deployment {beside.new} without pods",
        *pin,
        f"give it {plan.wanted} pods, and wait until all are Ready (at most {plan.timeout_s:g} s)",
        *_tries(plan),
        f"let Service {names} select {beside.label}: {beside.version}",
        *stand_by,
        f"wait until each old pod is {_quiet(plan)}, then scale Deployment {beside.old} to 0; {then}",
    )


def _shifted(plan: Plan, beside: Beside) -> tuple[str, ...]:
    many = plan.step > 1
    first = min(plan.step, plan.stops[0]) if plan.stops else plan.step
    narrow = any(beside.label in selector for selector in beside.selectors.values())
    widen = (f"let Service {_names(plan)} select all versions",) if narrow else ()
    return (
        _settled(plan),
        f"make Deployment {beside.new} without pods",
        *widen,
        f"give it {first} pod{'s' if first > 1 else ''}, which share the traffic of Service {_names(plan)} when Ready",
        *_holds(plan),
        f"take as many of the idlest pods of Deployment {beside.old} out of traffic, alive, and make it smaller",
        f"wait until {'each of them' if many else 'that pod'} is {_quiet(plan)}, then end it",
        f"the same again, {plan.step} at a time, until Deployment {beside.old} has no pod left (new pods have at most "
        f"{plan.timeout_s:g} s each time)",
        f"delete Deployment {beside.old}",
    )


def _holds(plan: Plan) -> tuple[str, ...]:
    """Where it stops on the way, and for what."""
    stops = ", ".join(f"{count} of {plan.replicas}" for count in plan.stops)
    word = f"run {_checks(plan)}; if it fails, go back" if plan.hooks else ""
    if plan.metrics or not plan.hooks:
        word = "; ".join(part for part in (word, _at_stop(plan)) if part)
    return (f"with {stops} new pods: {word}",) if stops else ()


def _ramped(plan: Plan) -> tuple[str, ...]:
    many = plan.step > 1
    first = min(plan.step, plan.stops[0]) if plan.stops else plan.step
    return (
        _settled(plan),
        f"change the template with the brake and room for {first} more pod{'s' if first > 1 else ''}: new pods share "
        f"the traffic of Service {_names(plan)} as soon as they are Ready",
        *_holds(plan),
        f"when all new pods are Ready, take the idlest {f'{plan.step} old pods' if many else 'old pod'} out of "
        "traffic, alive",
        f"wait until {'each' if many else 'it'} is {_quiet(plan)}, then end it",
        f"the same again until no old pod is left, each time as soon as the new pods are Ready (at most "
        f"{plan.timeout_s:g} s)",
        "take the brake off: the Deployment's spec is yours again",
    )
