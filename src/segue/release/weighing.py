"""A canary by weight: all new pods are Ready behind a Service of their own, and a route sends them a growing share.

It lies between "all new pods are Ready" and the switch. Each share is set, waited for until the gateway says that it
has taken it over, and proved by requests that were counted; then comes the next one. With all requests at the new
version the Service itself is switched (which moves nothing any more), and the route is what it was.

Rule 1: what has not been proved is not passed; without requests, or without anybody who counts them, the share is held.
Rule 2: what the route says is read from it each time, so a run that died goes on, and a lost share is set again.
Rule 3: the way back begins with the route: the new pods end when it sends them nothing.
"""

from __future__ import annotations

from segue.analysis.share import needed, prove
from segue.model.errors import SegueError
from segue.model.objects import name_of
from segue.release.actions import PutSharesBack, Remember, SetShares
from segue.release.analysing import at_stop
from segue.release.decision import Decision, act, stop, wait
from segue.release.memory import Memory
from segue.release.patience import held
from segue.release.plan import Plan
from segue.release.snapshot import Routed, Snapshot
from segue.release.weights import Weights
from segue.route.gateway import GatewayRoute
from segue.route.shares import WHOLE, Reading, percent

LOOK_S = 0.3


# -- forward -----------------------------------------------------------------------------------------------------------


def weigh(plan: Plan, snapshot: Snapshot, memory: Memory) -> Decision | None:
    """Share after share; None when all requests reach the new version, and that is proved."""
    weights = Weights.of(memory.route)
    found = _read(plan, snapshot, weights)
    if isinstance(found, Decision):
        return found
    routed, reading = found
    share = weights.steps[memory.proved - 1] if memory.proved else 0
    here = f"{percent(share)} of the requests reach the new version"
    if memory.next_stop is not None and share >= memory.next_stop * 100:
        return at_stop(plan, snapshot, memory, here)
    if memory.paused:
        return held(plan, snapshot, f"paused while {here}", "resume")
    if memory.proved == len(weights.steps):
        if reading.share == share and reading.in_effect:
            return None
        wanted = share
    else:
        wanted = weights.steps[memory.proved]
    if not memory.switched:
        known = memory.but(switched=True)
        return act(Remember(deployment=snapshot.deployment, memory=known), because="the new pods are to get traffic")
    if reading.share != wanted:
        return _set(plan, snapshot, weights, routed, wanted)
    if not reading.in_effect:
        return wait(f"{weights.kind} {weights.name} is not in effect: {reading.because}", wake_in_s=0.05)
    return _proof(snapshot, memory, weights, routed)


def _set(plan: Plan, snapshot: Snapshot, weights: Weights, routed: Routed, share: int) -> Decision:
    assert routed.seen is not None
    split = weights.split(snapshot.deployment.name, share)
    canary = next((one for one in snapshot.services if one.name == weights.canary), None)
    if canary is None or not snapshot.ready_endpoints(canary.name):
        return wait(f"Service {weights.canary} reaches no Ready pod")
    ready = len(snapshot.ready_endpoints(canary.name))
    return act(
        SetShares(kind=weights.kind, route=routed.seen, split=split, forces=plan.forces),
        because="the share before it is proved" if share != weights.steps[0] else "all new pods are Ready",
        barrier=f"Service {weights.canary} reaches {ready} Ready new pods",
    )


def _proof(snapshot: Snapshot, memory: Memory, weights: Weights, routed: Routed) -> Decision:
    wanted = weights.steps[memory.proved]
    if routed.counts is None:
        said = routed.trouble or "counting has just begun"
        return Decision(because=f"{percent(wanted)} is set and not proved: {said}", wake_in_s=LOOK_S, holds=True)
    stable, canary = routed.counts
    margin = weights.margin_of(wanted)
    proof = prove(stable=stable, canary=canary, share=wanted / WHOLE, margin=margin)
    if proof.kind == "proved":
        known = memory.but(proved=memory.proved + 1)
        return act(
            Remember(deployment=snapshot.deployment, memory=known),
            because=f"{percent(wanted)} is proved within {margin * 100:g} points: {proof.said}",
            barrier=f"the gateway serves what {weights.kind} {weights.name} says, and the new version answers",
        )
    if proof.kind == "off":
        said = f"{percent(wanted)} is asked for, but {proof.said}: held"
    elif not proof.requests:
        said = f"{percent(wanted)} is held: {proof.said} since it is in effect"
    else:
        about = f"about {needed(wanted / WHOLE, margin):,} requests"
        said = f"{percent(wanted)} is not proved within {margin * 100:g} points yet ({about})"
    return Decision(because=said, wake_in_s=LOOK_S, holds=True)


def _read(plan: Plan, snapshot: Snapshot, weights: Weights) -> tuple[Routed, Reading] | Decision:
    """The route and what it says; where that cannot be told, what is done about it."""
    said = f"{weights.kind} {weights.name}"
    routed = snapshot.route
    if routed is None or routed.seen is None:
        trouble = routed.trouble if routed is not None else "nobody has looked at it yet"
        return wait(f"{said}: {trouble}")
    try:
        reading = GatewayRoute(kind=weights.kind).read_back(routed.seen, snapshot.deployment.name)
    except SegueError as error:
        return stop("conflict", error.message, error.remedy)
    if reading.changed:
        return stop(
            "conflict",
            f"somebody changed the rules of {said} during this release",
            f"segue abort {plan.deployment} takes the canary out of it and leaves what they wrote; then release again",
        )
    return routed, reading


# -- back --------------------------------------------------------------------------------------------------------------


def put_back(snapshot: Snapshot, memory: Memory) -> Decision | None:
    """The route says what it said before the release, and that is in effect; None where it is so."""
    if not memory.route:
        return None
    weights = Weights.of(memory.route)
    routed = snapshot.route
    if routed is None:
        return wait(f"{weights.kind} {weights.name} has not been looked at yet", wake_in_s=0.05)
    forgotten = Remember(deployment=snapshot.deployment, memory=memory.but(route={}))
    if routed.seen is None:
        return act(forgotten, because=f"{weights.kind} {weights.name} is gone") if routed.gone else wait(routed.trouble)
    way = GatewayRoute(kind=weights.kind)
    app = snapshot.deployment.name
    if way.put_back(routed.seen, app) is not None:
        back = PutSharesBack(kind=weights.kind, route=routed.seen, app=app)
        return act(back, because=f"Service {weights.service} is to get all requests of {name_of(routed.seen)}")
    reading = way.read_back(routed.seen, app)
    if not reading.in_effect:
        return wait(f"{weights.kind} {weights.name} is not in effect: {reading.because}", wake_in_s=0.05)
    return act(forgotten, because=f"{weights.kind} {weights.name} is as it was")
