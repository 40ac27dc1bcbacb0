"""What users of other release tools lost requests to, tried here with every strategy: nothing is lost, the laws hold.

Each test bears the number of the thread it is about. What was seen there stands first in its docstring, then what must
hold here. The clusters, data planes and people of these threads are played by a world in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from segue.drain.judge import Policy
from segue.drive.command import abort, release, scale
from segue.drive.driver import Driver
from segue.drive.flow import Answer, Ask, Flow, Progress
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import Word, steer
from segue.model.http import MERGE_PATCH
from segue.model.manifest import parse
from segue.model.objects import Obj, is_ready, is_terminating, name_of
from segue.model.workloads import HASH_LABEL
from segue.release.decision import Done
from segue.release.laws import Bounds, all_first_bounds, check_traces, ramped_bounds
from segue.release.memory import RAMPED
from segue.release.plan import Approach
from tests.laws.release_world import Killed, World, driver, manifest
from tests.laws.test_release_crashes import Judge, seen
from tests.laws.test_release_interference import once_at, scale_to

CAP_S = 60.0
LOOK_EVERY_S = 0.5
WAYS = {
    "all-first": Approach(strategy="all-first"),
    "ramped": Approach(strategy="ramped"),
    "canary": Approach(strategy="canary", stops=("1",), waits=False),
    "blue-green": Approach(strategy="blue-green", waits=False),
    "handover": Approach(strategy="handover", policy=Policy(cap_s=CAP_S)),
}
SWITCHING = [way for way in WAYS if way not in RAMPED]
MIXING = [way for way in WAYS if way in RAMPED]
# A canary by pods is a ramped release with stops, blue-green is all-first with one: the short run tries them where
# stops matter.
HOLDING = frozenset({"canary", "blue-green"})
every_way = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.full] if way in HOLDING else []) for way in WAYS]
)

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/test"
TEMPLATE = "change the template"
DETACHED = "detach ReplicaSet"
SWITCH = "switch Service"
LEAVE = "take pod"  # out of traffic, alive: what a strategy that mixes versions does instead of a switch
EVERYBODY = frozenset({"first", "second", "third", "somebody"})


def enumerated(name: str, pinned: object, *others: object) -> pytest.MarkDecorator:
    """One value always, the others in the full run."""
    return pytest.mark.parametrize(name, [pinned, *(pytest.param(one, marks=pytest.mark.full) for one in others)])


def turning(way: str) -> str:
    """The action with which traffic begins to move."""
    return LEAVE if way in RAMPED else SWITCH


class Sparing(Judge):
    """Looks closely only where an object has changed, or some time has passed: most ticks change nothing."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self.version, self.looked_s = -1, 0.0

    def __call__(self, world: World) -> None:
        version, now_s = world.store.version, world.clock.at_s
        if version != self.version or self.last is None or now_s - self.looked_s >= LOOK_EVERY_S:
            self.version, self.looked_s = version, now_s
            super().__call__(world)
        else:
            live = {name: 1 for name in world.backends() if name not in world.endpoints()}
            self.last = replace(self.last, at_s=now_s, live=live)


@dataclass
class Stage(World):
    """A world in which things happen on the cue of the tool's actions; one of the new pods may straggle."""

    way: str = "all-first"
    sized: bool = True  # whether the manifest says how many replicas
    straggles_s: float = 0.0
    cues: list[tuple[str, Callable[[World], None]]] = field(default_factory=list)
    raised: set[str] = field(default_factory=set)
    served_s: dict[str, float] = field(default_factory=dict)  # by pod: when it was an endpoint last
    ended_s: dict[str, float] = field(default_factory=dict)  # by pod that has been one: when it began to end

    # --- what is played ---------------------------------------------------------------------------------------

    def answer(self, asked: Ask) -> Answer:
        if isinstance(asked, Progress):
            for cue in [cue for cue in self.cues if asked.action.startswith(cue[0])][:1]:
                self.cues.remove(cue)
                cue[1](self)
        return super().answer(asked)

    def _start(self, pod: Obj, uid: str) -> None:
        if self.straggles_s and pod["spec"]["containers"][0]["image"].endswith(":v2"):
            self.raised.add(uid)
            if len(self.raised) == 2 and uid not in self.began:
                self.began[uid] = self.clock.at_s + self.straggles_s
        super()._start(pod, uid)

    # --- the tool ---------------------------------------------------------------------------------------------

    def driver(self, me: str) -> Driver:
        return driver(me, dead=EVERYBODY - {me}, approach=WAYS[self.way])

    def command(self, tag: str, me: str) -> Flow[tuple[Outcome, ...]]:
        text = manifest(tag) if self.sized else manifest(tag).replace("  replicas: 3\n", "")
        preparation = yield from prepare(parse(text, file="test.yaml"), "default", self.driver(me))
        return (yield from release(preparation, self.driver(me)))

    def say(self, word: Word) -> Outcome:
        outcome = self.drive(steer("default", "test", word, self.driver("somebody"))).outcome
        assert outcome is not None
        return outcome

    def release(self, tag: str = "v2", me: str = "first") -> Outcome:
        """To its end; promoted wherever it holds."""
        outcome = self.drive(self.command(tag, me))[-1]
        while isinstance(outcome.end, Done) and outcome.end.held:
            outcome = self.say("promote")
        assert isinstance(outcome.end, Done), outcome.end
        return outcome

    def die_after(self, action: str, times: int = 1) -> None:
        """A release whose tool dies when it has done this so many times."""

        def die(_: World) -> None:
            raise Killed

        self.cues += [*[(action, _nothing)] * (times - 1), (action, die)]
        with pytest.raises(Killed):
            self.release()

    def abort(self) -> Outcome:
        outcome = self.drive(abort("default", "test", self.driver("third")))
        assert isinstance(outcome.end, Done), outcome.end
        return outcome

    # --- what must hold ---------------------------------------------------------------------------------------

    def watched_by(self, bounds: Bounds) -> Stage:
        self.judge = Sparing(bounds)
        self.watch += [self.judge, lambda _: self._note()]
        self.spec = _lasting(self.deployment())
        return self

    def _note(self) -> None:
        now = self.judge.last
        assert now is not None, "it has just looked"
        alive = {name_of(pod) for pod in now.pods if not is_terminating(pod)}
        self.served_s |= dict.fromkeys(now.endpoints["test"], self.clock.at_s)
        self.ended_s |= dict.fromkeys(set(self.served_s) - alive - set(self.ended_s), self.clock.at_s)

    def waits(self) -> list[float]:
        """For each pod that had served and was ended: how long it lived on after it had left the Service."""
        return [ended_s - self.served_s[name] for name, ended_s in self.ended_s.items()]

    def check(self, tag: str, replicas: int = 3) -> None:
        """Nothing lost, no law broken, one version of that size, and the rest of the spec as the user wrote it."""
        self.run_for(3.0)
        pods = {name_of(pod) for pod in self.pods() if is_ready(pod) and not is_terminating(pod)}

        assert self.lost == 0
        assert self.judge.broken == []
        assert check_traces(seen(self), self.leases()) == []
        assert self.images() == {tag}
        assert self.endpoints() == pods
        assert len(pods) == len(self.pods()) == self.deployment()["spec"]["replicas"] == replicas
        assert _lasting(self.deployment()) == self.spec


def _nothing(_: World) -> None:
    pass


def _lasting(deployment: Obj) -> Obj:
    return {key: value for key, value in deployment["spec"].items() if key not in {"template", "replicas"}}


def bounds_of(way: str, replicas: int = 3, *, most: int = 0, died: bool = False) -> Bounds:
    """From the user's numbers: `most` where somebody scales meanwhile. What has left traffic when a tool dies is
    replaced, and drains on."""
    most = most or replicas
    both = ramped_bounds(most, "25%") if way in RAMPED else all_first_bounds(most, most)
    return Bounds(floor=replicas, ceiling=both.ceiling + (replicas if died else 0))


def staged(way: str, *, lag_s: float = 0.1, start_s: float = 0.6, died: bool = False) -> Stage:
    """Three pods of v1 serve; from now on the data plane and the pods are as slow as that."""
    world = Stage(way=way)
    world.apply(manifest("v1"))
    world.run_for(3.0)
    world.lag_s, world.start_s = lag_s, start_s
    return world.watched_by(bounds_of(way, died=died))


# -- order: the change of traffic and what follows it ------------------------------------------------------------------


@enumerated("lag_s", 5.0, 8.0, 18.0)
@every_way
def test_argo_4710_4433_selector_and_weight_changed_in_one_go(way: str, lag_s: float) -> None:
    """There 503s for 8 to 36 s per deploy, since selector and weight changed in one loop and the load balancer followed
    8 and 18 s later; here no old pod ends before the data plane has really left it."""
    world = staged(way, lag_s=lag_s)
    outcome = world.release()

    assert len(world.waits()) == 3
    assert min(world.waits()) > lag_s
    assert {end.reason for end in outcome.journal.ends} == {"quiet"}
    world.check("v2")


@pytest.mark.parametrize(("way", "action"), [("canary", ""), ("canary", LEAVE), ("blue-green", "")])
def test_argo_4195_promote_full_skips_the_wait(way: str, action: str) -> None:
    """There a pause was the only wait, and promote-full skipped it: 503 NC; here it skips stops and no barrier, also
    when it is said the moment after a pod has left traffic."""
    world = staged(way, lag_s=5.0, died=bool(action))
    if action:
        world.die_after(action)
    else:
        world.drive(world.command("v2", "first"))
    outcome = world.say("promote-full")

    assert isinstance(outcome.end, Done)
    assert not outcome.end.held
    assert len(world.waits()) == 3
    assert min(world.waits()) > 5.0
    world.check("v2")


@every_way
def test_argo_4195_abort_skips_the_wait(way: str) -> None:
    """There an abort set all weight back at once; here an abort in the moment after traffic began to move waits until
    the data plane has left the new pods."""
    world = staged(way, lag_s=5.0, died=True)
    world.die_after(turning(way))
    world.abort()

    assert len(world.waits()) == (2 if way in RAMPED else 3)
    assert min(world.waits()) > 5.0
    world.check("v1")


@enumerated("evidence", "seen", "unseen")
@every_way
def test_argo_3333_scale_down_while_still_referenced_by_traffic(way: str, evidence: str) -> None:
    """There the old ReplicaSet went to 0 while the load balancer, throttled by its API, still sent it everything; here
    the data plane gets slow in the very moment of the change, and is waited for. Where nobody can look into the pods
    time alone counts: 5 s."""
    world = staged(way)
    world.sources = evidence == "seen"

    def throttle(now: World) -> None:
        now.lag_s = 6.0 if evidence == "seen" else 4.5

    world.cues.append((turning(way), throttle))
    outcome = world.release()

    assert {end.reason for end in outcome.journal.ends} == {"quiet" if evidence == "seen" else "timer"}
    assert min(world.waits()) > world.lag_s
    world.check("v2")


@pytest.mark.parametrize("lag_s", [0.1, 6.0])
def test_argo_3333_pods_scaled_away_while_still_referenced_by_traffic(lag_s: float) -> None:
    """The same of a plain scale-down: the pods that are too many leave traffic, are waited for, and end then."""
    world = staged("all-first", lag_s=lag_s)
    world.judge.bounds = Bounds(floor=1, ceiling=4)  # a replacement lives for a moment
    outcome = world.drive(scale("default", "test", 1, world.driver("first")))

    assert isinstance(outcome.end, Done)
    assert len(world.waits()) == 2
    assert min(world.waits()) > lag_s
    world.check("v1", 1)


# -- size: what runs, not what is on paper -----------------------------------------------------------------------------


@enumerated("when", "as traffic moves", "before", "with the template")
@every_way
def test_flagger_1600_stable_scaled_to_its_hpa_minimum(way: str, when: str) -> None:
    """There a promotion began the stable version at the HPA's minimum whatever ran: a thundering herd; here 6 serve
    all the time although the first manifest said 3 and this one says nothing, and where somebody scales to 8 in
    mid-release there are 8 at the end."""
    world = Stage(way=way, sized=False)
    world.apply(manifest("v1"))
    scale_to(6)(world)
    world.run_for(5.0)
    world.lag_s = 1.0
    wanted = 6 if when == "before" else 8
    world.watched_by(bounds_of(way, 6, most=wanted))
    if when != "before":
        world.cues.append((TEMPLATE if when == "with the template" else turning(way), scale_to(8)))
    world.release()

    assert world.cues == []
    world.check("v2", wanted)


# -- the way back ------------------------------------------------------------------------------------------------------


def lose_pods(world: World) -> None:
    """The node of two old pods goes: those that come in their place need seconds."""
    old = [pod for pod in world.pods() if name_of(pod) not in world.endpoints()]
    for pod in old[:2]:
        world.call("DELETE", f"/api/v1/namespaces/default/pods/{name_of(pod)}")


def shrink_old(world: World) -> None:
    """Somebody saves money with pods that have no traffic."""
    pinned = world.service()["spec"]["selector"][HASH_LABEL]
    for one in world.store.all_of("replicasets.apps", "default"):
        if one["metadata"]["labels"][HASH_LABEL] != pinned:
            path = f"/apis/apps/v1/namespaces/default/replicasets/{name_of(one)}"
            world.call("PATCH", path, {"spec": {"replicas": 1}}, MERGE_PATCH)


@pytest.mark.parametrize("act", [lose_pods, shrink_old])
@pytest.mark.parametrize("way", SWITCHING)
def test_argo_3372_abort_onto_an_unscaled_stable(way: str, act: Callable[[World], None]) -> None:
    """There an abort sent all traffic to an old version that had been scaled down: an outage; here the old version is
    at full size and Ready before it gets any."""
    world = staged(way, start_s=3.0, died=True)
    world.die_after(SWITCH)
    world.run_for(3.0)
    act(world)
    world.run_for(0.5)
    began_s = world.clock.at_s
    outcome = world.abort()
    back_s = next(one.at_s for one in outcome.journal.actions if one.action.startswith(SWITCH))

    assert back_s - began_s > 2.0
    world.check("v1")


@pytest.mark.parametrize("way", MIXING)
def test_argo_3372_abort_when_most_old_pods_have_gone(way: str) -> None:
    """The same where versions mix: two of three old pods have left when it is taken back, and new ones stay until
    others of the old version are Ready."""
    world = staged(way, start_s=2.0, died=True)
    world.die_after(LEAVE, times=2)
    world.run_for(4.0)
    world.abort()

    world.check("v1")


@enumerated("moment", "as traffic moves", "before traffic moves")
@every_way
def test_argo_3372_a_newer_release_in_mid_release(way: str, moment: str) -> None:
    """There a newer release in mid-rollout sent all traffic to a stable version without pods; here what stopped there
    is taken back first, at full size, or, where its pods have served, brought to its end, but for what still drains."""
    world = staged(way, start_s=1.0, lag_s=1.0, died=True)
    world.die_after(turning(way) if moment == "as traffic moves" else TEMPLATE)
    world.run_for(2.0)
    world.release("v3", "second")

    world.check("v3")


@enumerated("offset_s", 0.3, 0.01, 0.7, 2.0, 4.0)
@every_way
def test_argo_4973_scale_up_during_abort(way: str, offset_s: float) -> None:
    """There an HPA's step during an abort brought the given-up version back, and the selector went to and fro several
    times a second; here the step reaches the old version, and the selector has no value twice."""
    world = staged(way, lag_s=1.0, died=True)
    world.judge.bounds = bounds_of(way, most=5, died=True)
    world.die_after(turning(way))
    selectors: list[str] = []

    def look(now: World) -> None:
        pin = now.service()["spec"]["selector"].get(HASH_LABEL, "")
        if selectors[-1:] != [pin]:
            selectors.append(pin)

    world.watch.append(look)
    once_at(offset_s, scale_to(5), world)
    world.abort()

    assert len(selectors) == len(set(selectors))
    assert selectors[-1] == ""
    world.check("v1", 5)


# -- what lives on a pod -----------------------------------------------------------------------------------------------


@enumerated("until_s", 10.0, 25.0, 1e9)
@every_way
def test_argo_3761_websockets_cut_on_promotion(way: str, until_s: float) -> None:
    """There WebSockets died when traffic was promoted, before an old pod had been told to end; here each old pod lives
    while it holds a connection, and to its cap where that does not end."""
    world = staged(way)
    old = sorted(name_of(pod) for pod in world.pods())
    world.held = dict.fromkeys(old, 1)
    began_s = world.clock.at_s
    once_at(until_s, lambda now: now.held.clear(), world)
    outcome = world.release()
    cap_s = WAYS[way].policy.cap_s

    if until_s < CAP_S:
        assert len(world.ended_s) == 3
        assert min(world.ended_s.values()) - began_s > until_s
        assert {end.reason for end in outcome.journal.ends} == {"quiet"}
    else:
        assert min(world.waits()) > cap_s - 1
        assert {end.reason for end in outcome.journal.ends} == {"capped"}
    world.check("v2")


@every_way
def test_knative_15889_argo_1966_old_pods_gone_before_all_new_are_ready(way: str) -> None:
    """There old pods ended when some new ones were up, and the rest took minutes: 24 stable replicas to none; here the
    new pods start slowly, one of them much later, and no serving pod leaves before another is Ready in its place."""
    world = staged(way, start_s=2.0)
    world.straggles_s = 10.0
    early: list[float] = []
    old = frozenset(name_of(pod) for pod in world.pods())

    def look(now: World) -> None:
        new = sum(is_ready(pod) and name_of(pod) not in old for pod in now.pods())
        if len(old - now.endpoints()) > (new if way in RAMPED else 3 * (new == 3)):
            early.append(now.clock.at_s)

    world.watch.append(look)
    began_s = world.clock.at_s
    world.release()

    assert early == []
    assert world.clock.at_s - began_s > 12.0
    world.check("v2")


def test_these_scenes_can_lose_what_a_native_rollout_loses() -> None:
    """The same world, the same slow data plane, and Kubernetes' own rolling update: without this the tests above would
    hold of a world that loses nothing."""
    world = staged("all-first", lag_s=8.0)
    container = {"name": "service", "image": "host.org/images/grace:v2"}
    body: Obj = {"spec": {"template": {"spec": {"containers": [container]}}}}
    world.call("PATCH", DEPLOYMENT, body, "application/strategic-merge-patch+json")
    world.run_for(20.0)

    assert world.images() == {"v2"}
    assert world.lost > 1000
