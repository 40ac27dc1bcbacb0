"""A sharper world for laws, and trials in it: staggered starts, slow controllers, a second node that hears late.

Laws are checked at every tick, and between any two writes of Deployment, ReplicaSets and Services.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from segue.cluster.manager import Manager, Settings
from segue.cluster.store import StoreEvent
from segue.drive.command import abort, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow, Progress
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.drive.steering import steer
from segue.model.http import ApiRequest, ApiResponse
from segue.model.manifest import parse
from segue.model.objects import Obj, is_ready, is_terminating, labels_of, name_of, seconds_of
from segue.model.workloads import HASH_LABEL, Lease
from segue.release.decision import Done
from segue.release.laws import Bounds, Broken, Seen, all_first_bounds, check_ends, check_moment, check_traces
from segue.release.plan import Approach
from tests.laws.faults import LAWS
from tests.laws.release_world import World, driver, manifest

T = TypeVar("T")
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/test"
SERVICE = "/api/v1/namespaces/default/services/test"
QUIET_S = 2.0  # the shortest silence that proves anything, written out: a law borrows no number from what it judges
SLACK_S = 0.1  # what is seen of a pod is as old as one look
PATIENCE_S = 60.0  # no scenario takes longer: what does has no end
JUDGED = {"deployments.apps", "replicasets.apps", "services"}  # between two writes of these, too
USUAL = all_first_bounds(3, 3)


class Endless(Exception):
    """It takes longer than anything here may take."""


class Noticed(Exception):
    """A law is broken that is to tell."""


# -- the world ---------------------------------------------------------------------------------------------------------


@dataclass
class Town(World):
    """A world in which pods may start one after the other, controllers may be busy with other things for a while, and
    which may have a second node: what goes on is heard of there `late_s` later, and a client behind it comes to each
    pod every `every_s`."""

    stagger_s: float = 0.0
    busy: Settings = field(default_factory=Settings)
    late_s: float = 0.0
    every_s: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.manager.close()
        self.manager = Manager(self.store, self.registry, self.chance, self.busy)
        self.history: deque[tuple[float, frozenset[str]]] = deque()
        self.visits: dict[str, list[float]] = {}
        self.next_visit_s = 0.0

    def _start(self, pod: Obj, uid: str) -> None:
        self.began.setdefault(uid, self.clock.at_s + self.stagger_s * (len(self.began) % 3))
        super()._start(pod, uid)

    def _traffic(self, step_s: float) -> None:
        super()._traffic(step_s)
        if not self.late_s:
            return
        self.history.append((self.clock.at_s, self.endpoints()))
        while len(self.history) > 1 and self.history[1][0] <= self.clock.at_s - self.late_s:
            self.history.popleft()
        if self.clock.at_s < self.next_visit_s:
            return
        self.next_visit_s = self.clock.at_s + self.every_s
        alive = self.store.all_of("pods", "default")  # what has left its Service serves whoever still comes
        serving = {name_of(pod) for pod in alive if is_ready(pod) and not is_terminating(pod)}
        for name in self.history[0][1]:
            if name not in serving:
                self.lost += 1
                continue
            self.arrived[name] = self.arrived.get(name, 0.0) + 1
            self.visits.setdefault(name, []).append(self.clock.at_s)

    def _call(self, request: ApiRequest) -> ApiResponse:
        answer = super()._call(request)
        if self.late_s and request.path.endswith("/traffic") and answer.code == 200:
            # Whoever came within the last second is to be seen, all of them alike.
            name = request.path.split("/")[-2]
            visits, since_s = self.visits.get(name, []), self.clock.at_s - 1.0
            newest = int(self.arrived.get(name, 0.0)) - len(visits)
            many = range(max(0, newest - int(self.rate) // 3), newest)
            few = [number for number, at_s in enumerate(visits) if at_s > since_s]
            rows = [*(("10.9.0.1", number) for number in many), *(("10.9.0.2", number) for number in few)]
            answer.body["connections"] = [
                {"localPort": 10002, "remote": remote, "remotePort": 20_000 + number % 30_000, "state": "TIME_WAIT"}
                for remote, number in rows
            ]
        return answer


# -- a trial: a world, its laws, and what is done in it ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is done in which world; `exempt` are laws that its strategy breaks on purpose."""

    run: Callable[[Trial], None]
    approach: Approach = field(default_factory=lambda: Approach(waits=False))
    bounds: Bounds = USUAL
    world: Callable[[], Town] = Town
    exempt: frozenset[str] = frozenset()


class Trial:
    """A world with a version that serves, judged tick by tick; collects which laws were broken, and how at first."""

    def __init__(self, scenario: Scenario, enough: frozenset[str]) -> None:
        self.scenario = scenario
        self.enough = enough
        self.broken: dict[str, str] = {}
        self.me = "first"
        self.world = scenario.world()
        self.world.apply(manifest("v1"))
        self.world.run_for(3.0)
        self.old = sorted(name_of(pod) for pod in self.world.pods())
        self.spec = self.world.deployment()["spec"]
        self.arrived = dict(self.world.arrived)
        self.heard_s: dict[str, float] = {}  # when somebody came to a pod for the last time
        self.before: Seen | None = None
        self.ends_s = self.world.clock.at_s + PATIENCE_S
        self.world.watch.append(lambda _: self.look())
        self.world.store.subscribe(self.look_at_a_write)

    def notice(self, law: str, what: str) -> None:
        assert law in LAWS, law
        if law not in self.scenario.exempt:
            self.broken.setdefault(law, what)

    # What is judged ---------------------------------------------------------------------------------------------------

    def seen(self, services: list[Obj]) -> Seen:
        world = self.world
        backends, endpoints = world.backends(), world.endpoints()
        return Seen(
            at_s=world.clock.at_s,
            deployment=world.deployment(),
            replica_sets=world.store.all_of("replicasets.apps", "default"),
            pods=world.store.all_of("pods", "default"),
            services=services,
            endpoints={"test": endpoints},
            live={**dict.fromkeys(backends - endpoints, 1), **world.held},
        )

    def look_at_a_write(self, event: StoreEvent) -> None:
        """What the objects say must hold between any two writes, whoever makes them."""
        if event.ref.resource in JUDGED:
            for one in check_moment(self.seen([self.world.service()]), self.scenario.bounds):
                self.notice(one.law, one.what)

    def look(self) -> None:
        """All laws of one tick; enough is known when one of those that are to tell is broken."""
        if self.enough & self.broken.keys():
            raise Noticed
        now = self.seen([self.world.service()])
        broken: list[Broken] = check_moment(now, self.scenario.bounds)
        if self.before is not None:
            broken += check_ends(self.before, now, cap_s=30.0, switched_s=None)
            self._ends_are_silent(self.before, now)
        self.before = now
        for one in broken:
            self.notice(one.law, one.what)
        self._one_version(now)
        self._orphans_end(now)
        self._lease_lives()
        if self.world.lost:
            self.notice("nothing lost", f"{self.world.lost:.1f} of {self.world.sent:.0f}")
        if now.at_s > self.ends_s:
            raise Endless

    def _ends_are_silent(self, before: Seen, now: Seen) -> None:
        """Nobody has come to a pod for a while when it is told to end."""
        for name, count in self.world.arrived.items():
            if count != self.arrived.get(name):
                self.arrived[name], self.heard_s[name] = count, now.at_s
        already = {name_of(pod) for pod in before.pods if is_terminating(pod)}
        for name in {name_of(pod) for pod in now.pods if is_terminating(pod)} - already:
            silent_s = now.at_s - self.heard_s.get(name, 0.0)
            if silent_s < QUIET_S - SLACK_S:
                self.notice("silent before its end", f"{name} had been silent for {silent_s:.2f} s")

    def _one_version(self, now: Seen) -> None:
        """Unless both versions are to serve side by side, a Service reaches one of them."""
        if self.scenario.approach.strategy in {"ramped", "canary"}:
            return
        versions = {labels_of(pod).get(HASH_LABEL) for pod in now.pods if name_of(pod) in now.endpoints["test"]}
        if len(versions) > 1:
            self.notice("one version at a time", f"{sorted(map(str, versions))} both serve")

    def _orphans_end(self, now: Seen) -> None:
        """What was taken out of traffic ends by itself if nobody comes back for it."""
        for pod in now.pods:
            if "segue.dev/orphan-of" in labels_of(pod) and "activeDeadlineSeconds" not in pod["spec"]:
                self.notice("orphans end by themselves", f"{name_of(pod)} would stay for ever")

    def _lease_lives(self) -> None:
        """Who drives keeps the Lease that says so."""
        for lease in (Lease(obj=obj) for obj in self.world.leases()):
            if lease.holder == self.me and not lease.held_at(self.world.clock.at_s):
                self.notice("the Lease lives", f"it is of {seconds_of(lease.obj['spec']['renewTime'])}")

    # What is done -----------------------------------------------------------------------------------------------------

    def driver(self, *, timeout_s: float | None = None) -> Driver:
        dead = frozenset({"first", "second"} - {self.me})
        return driver(self.me, dead=dead, approach=self.scenario.approach, timeout_s=timeout_s)

    def drive(self, flow: Flow[T], *, dies_after: tuple[str, ...] = ()) -> T | None:
        """Run a flow to its end, or until it has done the first of these actions."""
        try:
            asked = next(flow)
            while True:
                if dies_after and isinstance(asked, Progress) and asked.action.startswith(dies_after):
                    flow.close()
                    self.me = "second"
                    return None
                asked = flow.send(self.world.answer(asked))
        except StopIteration as end:
            if dies_after:
                self.notice("it ends", f"it never came to: {' or '.join(dies_after)}")
            result: T = end.value
            return result

    def must_end(self, outcome: Outcome | None, *, held: bool = False) -> None:
        """The run reached its goal, or (held) the place where somebody is to say how it goes on."""
        assert outcome is not None
        if not isinstance(outcome.end, Done):
            self.notice("it ends", outcome.end.message)
        elif outcome.end.held != held:
            self.notice("holds where it is told to", outcome.end.message)

    def flow(self, tag: str = "v2", timeout_s: float | None = None) -> Flow[Outcome]:
        driving = self.driver(timeout_s=timeout_s)
        preparation = yield from prepare(parse(manifest(tag), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))[-1]

    def release(self, tag: str = "v2") -> None:
        self.must_end(self.drive(self.flow(tag)))

    def dies(self, *actions: str) -> None:
        self.drive(self.flow(), dies_after=actions)

    def abort(self) -> None:
        self.must_end(self.drive(abort("default", "test", self.driver())))

    def say(self, word: str) -> Outcome | None:
        assert word in {"pause", "promote"}
        driving = driver("somebody", dead=frozenset({"first"}), approach=self.scenario.approach)
        steered = self.drive(steer("default", "test", "pause" if word == "pause" else "promote", driving))
        return steered.outcome if steered is not None else None

    def once(self, due: Callable[[], bool], act: Callable[[], object]) -> None:
        """Somebody acts once, at the first tick at which it is due."""
        done: list[object] = []

        def look(_: World) -> None:
            if not done and due():
                done.append(True)
                act()

        self.world.watch.append(look)

    def silent_s(self) -> float:
        """For how long nobody has come to any old pod."""
        return self.world.clock.at_s - max(self.heard_s.get(name, 0.0) for name in self.old)

    # How it ends ------------------------------------------------------------------------------------------------------

    def settles_at(self, tag: str, *, history: frozenset[str] = frozenset({"v1", "v2"}), replicas: int = 3) -> None:
        """All is as if nothing but this version had ever been applied, and nothing of segue's is left."""
        world = self.world
        world.run_for(3.0)
        services = world.store.all_of("services", "default")
        for one in check_traces(self.seen(services), world.leases()):
            self.notice(one.law, one.what)
        (container,) = self.spec["template"]["spec"]["containers"]
        container = {**container, "image": f"host.org/images/grace:{tag}"}
        template = {**self.spec["template"], "spec": {**self.spec["template"]["spec"], "containers": [container]}}
        found = world.deployment()["spec"]
        wanted = {**self.spec, "template": template, "replicas": replicas}
        differs = {key for key in {**found, **wanted} if found.get(key) != wanted.get(key)}
        if differs:
            self.notice("end state", f"of the spec {sorted(differs)} differ")
        pods = {name_of(pod) for pod in world.store.all_of("pods", "default")}
        if world.images() != {tag} or not len(pods) == replicas == len(world.endpoints()):
            self.notice("end state", f"{world.images()} run, {len(pods)} pods, {len(world.endpoints())} endpoints")
        sets = [str(one["spec"]["template"]["spec"]["containers"][0]["image"]) for one in self.seen([]).replica_sets]
        if {image.rpartition(":")[2] for image in sets} != history:
            self.notice("end state", f"the history is {sets}")
        names = {name_of(one) for one in services} - {"kubernetes"}
        if names != {"test"}:
            self.notice("end state", f"there are Services {sorted(names)}")
