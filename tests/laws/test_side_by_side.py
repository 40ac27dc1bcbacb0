"""Two Deployments, one Service: floor, ceiling and one version at a time, from every crash point and on the way back.

The laws count for themselves, from the user's manifest and what the Service selects at each moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from segue.analysis.values import Hook
from segue.drive.command import abort, release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.side_by_side import prepare_beside, prepare_either, undo_either
from segue.drive.steering import Word, steer
from segue.model.errors import Conflict, ManifestError, Refused
from segue.model.manifest import parse
from segue.model.objects import Obj, Ref, annotations_of, is_ready, is_terminating, labels_of, name_of, selects
from segue.release.beside import Naming
from segue.release.decision import Done, Stopped
from segue.release.laws import Seen, check_ends, is_momentary
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest

BLUE = Approach(strategy="all-first", naming=Naming(), waits=False)
HELD = replace(BLUE, strategy="blue-green")
TRIED = replace(HELD, checks=(Hook.of("true"),), preview="test-preview")
GONE = replace(BLUE, naming=Naming(delete_old=True))
CANARY = Approach(strategy="ramped", naming=Naming(), step=1, waits=False)
TWO = replace(CANARY, step=2)


def tag_of(pod: Obj) -> str:
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


@dataclass
class Judge:
    """Looks at the world after every tick and collects broken laws."""

    floor: int
    ceiling: int
    mixes: bool
    broken: list[str] = field(default_factory=list)
    last: Seen | None = None

    def __call__(self, world: World) -> None:
        selector = world.service()["spec"]["selector"]
        pods = world.store.all_of("pods", "default")
        ready = [pod for pod in pods if is_ready(pod) and not is_terminating(pod)]
        serving = [pod for pod in ready if selects(selector, labels_of(pod))]
        alive = sum(not is_momentary(pod, world.clock.at_s) for pod in pods)
        at = f"{world.clock.at_s:.2f}"
        if len(serving) < self.floor:
            self.broken.append(f"{at}: {len(serving)} serve")
        if alive > self.ceiling:
            self.broken.append(f"{at}: {alive} are alive: {sorted(name_of(pod) for pod in pods)}")
        if not self.mixes and len({tag_of(pod) for pod in serving}) > 1:
            self.broken.append(f"{at}: two versions serve, {selector}")
        now = Seen(
            at_s=world.clock.at_s,
            deployment={},
            replica_sets=(),
            pods=pods,
            services=(),
            endpoints={},
            live={name: 1 for name in world.backends() if name not in world.endpoints()},
        )
        if self.last is not None:
            self.broken += [one.what for one in check_ends(self.last, now, cap_s=30.0, switched_s=None)]
        self.last = now


@dataclass
class Trial:
    """A world in which v1 serves, as `test` (the first run) or as `test-v1` (any later one), watched by the laws."""

    approach: Approach
    later: bool = False
    dies: bool = False
    world: World = field(default_factory=World)
    judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        world, mixes = self.world, self.approach.strategy in {"ramped", "canary"}
        world.verdict = Checked(passed=True, said="fine")
        self.judge = Judge(floor=0, ceiling=100, mixes=mixes)
        if self.later:
            world.drive(self.flow("v1", replace(BLUE, strategy="")))
        else:
            world.apply(manifest("v1"))
        world.run_for(6.0)
        ceiling = 3 + (self.approach.step or 1) if mixes else 6
        self.judge = Judge(floor=3, ceiling=ceiling + (self.approach.step or 1) * (mixes and self.dies), mixes=mixes)
        world.watch.append(self.judge)

    def driver(self, me: str = "first", dead: str = "", approach: Approach | None = None) -> Driver:
        return driver(me, dead=frozenset({dead}), approach=approach or self.approach)

    def flow(self, tag: str = "v2", approach: Approach | None = None, me: str = "first") -> Flow[Outcome]:
        driving = self.driver(me, "" if me == "first" else "first", approach)
        preparation = yield from prepare_beside(parse(manifest(tag), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))[0]

    def release(self, kill_at: int | None = None, tag: str = "v2") -> Outcome:
        """The release, killed before a write and run again."""
        try:
            return self.world.drive(self.flow(tag), kill_at=kill_at)
        except Killed:
            self.world.run_for(7.0)
            return self.world.drive(self.flow(tag, me="second"))

    def killed(self, kill_at: int) -> None:
        with pytest.raises(Killed):
            self.world.drive(self.flow(), kill_at=kill_at)
        self.world.run_for(7.0)

    def abort(self, name: str = "test", kill_at: int | None = None, me: str = "third") -> Outcome:
        dead = "first" if me == "third" else "third"
        return self.world.drive(abort("default", name, self.driver(me, dead)), kill_at=kill_at)

    def say(self, word: Word, name: str = "test") -> Outcome | None:
        return self.world.drive(steer("default", name, word, self.driver("somebody"))).outcome

    # -- what is there -------------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        return {name_of(one): one["spec"]["replicas"] for one in self.world.store.all_of("deployments.apps", "default")}

    def selector(self) -> dict[str, str]:
        found: dict[str, str] = self.world.service()["spec"]["selector"]
        return found

    def check(self, tag: str, when: str = "") -> None:
        """No law broken, nothing lost, one version serves, no trace left."""
        world = self.world
        world.run_for(4.0)
        assert self.judge.broken == [], when
        assert world.lost == 0, when
        pods = world.store.all_of("pods", "default")
        assert {tag_of(pod) for pod in pods} == {tag}, when
        assert world.endpoints() == {name_of(pod) for pod in pods}, when
        kinds = ("deployments.apps", "replicasets.apps", "services", "pods")
        traces = [
            f"{name_of(one)}: {key}"
            for kind in kinds
            for one in world.store.all_of(kind, "default")
            for key in [*annotations_of(one), *labels_of(one)]
            if key.startswith("segue.dev/")
        ]
        assert traces == [], when
        assert "pod-template-hash" not in self.selector(), when
        assert world.leases() == [], when


ENDS = {
    "all-first": (BLUE, {"test": 0, "test-v2": 3}, {"app/name": "test", "version": "v2"}),
    "checked": (TRIED, {"test": 0, "test-v2": 3}, {"app/name": "test", "version": "v2"}),
    "deleted": (GONE, {"test-v2": 3}, {"app/name": "test", "version": "v2"}),
    "ramped": (CANARY, {"test-v2": 3}, {"app/name": "test"}),
    "two at once": (TWO, {"test-v2": 3}, {"app/name": "test"}),
}
EVERY = pytest.mark.parametrize("name", ENDS)
ENUMERATED = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in {"all-first", "ramped"} else pytest.mark.full) for name in ENDS]
)
LATER = pytest.mark.parametrize(
    "later", [pytest.param(False, id="first run"), pytest.param(True, id="later run", marks=pytest.mark.full)]
)


def expected(name: str, *, later: bool) -> dict[str, int]:
    """The Deployments at the end; the one that began without a version is called by its app's name."""
    return {("test-v1" if later and one == "test" else one): size for one, size in ENDS[name][1].items()}


@LATER
@EVERY
def test_a_release_side_by_side_keeps_the_laws(name: str, later: bool) -> None:
    approach, _, selector = ENDS[name]
    trial = Trial(approach, later=later)
    outcome = trial.release()

    assert isinstance(outcome.end, Done), outcome.end
    assert trial.sizes() == expected(name, later=later)
    assert trial.selector() == selector
    assert {end.reason for end in outcome.journal.ends} == {"quiet"}
    trial.check("v2")


@LATER
@ENUMERATED
@pytest.mark.long
def test_from_every_crash_point_the_same_command_ends_the_same(name: str, later: bool) -> None:
    whole = Trial(ENDS[name][0], later=later)
    whole.release()
    writes = whole.world.requests
    assert writes > 7
    for kill_at in range(writes):
        trial = Trial(ENDS[name][0], later=later, dies=True)
        outcome = trial.release(kill_at)

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}: {outcome.end}"
        assert trial.sizes() == expected(name, later=later), f"killed before write {kill_at}"
        assert trial.selector() == ENDS[name][2], f"killed before write {kill_at}"
        trial.check("v2", f"killed before write {kill_at}")


@LATER
@ENUMERATED
@pytest.mark.long
def test_an_abort_goes_back_from_every_write(name: str, later: bool) -> None:
    whole = Trial(ENDS[name][0], later=later)
    before, selector = whole.sizes(), whole.selector()
    whole.release()
    writes = whole.world.requests
    backs = 0
    for kill_at in range(1, writes):
        trial = Trial(ENDS[name][0], later=later, dies=True)
        trial.killed(kill_at)
        was_begun = "test-v2" in trial.sizes()
        outcome = trial.abort()

        when = f"killed before write {kill_at}"
        assert isinstance(outcome.end, Done), f"{when}: {outcome.end}"
        if trial.sizes().get("test-v2"):  # it had arrived, or what served before is deleted
            trial.check("v2", when)
            continue
        backs += was_begun
        assert trial.sizes() == before, when
        assert trial.selector() == selector, when
        trial.check("v1", when)
    assert backs > 3


@dataclass
class UnevenWorld(World):
    """Pods start one after the other: what waits for all of them cannot take the first one for all."""

    def _start(self, pod: Obj, uid: str) -> None:
        if uid not in self.began:
            self.began[uid] = self.clock.at_s + 0.7 * (len(self.began) % 3)
        super()._start(pod, uid)


@pytest.mark.parametrize("name", ["all-first", "ramped", "two at once"])
def test_all_new_pods_are_waited_for_forwards_and_backwards(name: str) -> None:
    forwards = Trial(ENDS[name][0], world=UnevenWorld())
    outcome = forwards.release()
    backwards = Trial(replace(ENDS[name][0], keep_s=30.0), world=UnevenWorld())
    writes = forwards.world.requests
    backwards.killed(writes - 6)
    scaled = backwards.sizes()["test"]
    aborted = backwards.abort()

    assert isinstance(outcome.end, Done)
    forwards.check("v2")
    assert isinstance(aborted.end, Done)
    assert scaled > 0 or name != "all-first"
    assert backwards.sizes() == {"test": 3}
    backwards.check("v1")


def test_an_abort_waits_for_old_pods_that_have_to_come_back() -> None:
    trial = Trial(BLUE, world=UnevenWorld())
    whole = Trial(BLUE, world=UnevenWorld())
    whole.release()
    kill_at = whole.world.requests
    while trial.sizes().get("test", 3) or trial.sizes()["test-v2"] != 3:
        kill_at -= 1
        trial = Trial(BLUE, world=UnevenWorld())
        trial.killed(kill_at)
        if "segue.dev/release" not in json.dumps(trial.world.store.all_of("deployments.apps", "default")):
            trial = Trial(BLUE, world=UnevenWorld())
    outcome = trial.abort()

    assert isinstance(outcome.end, Done)
    assert trial.sizes() == {"test": 3}
    trial.check("v1")


# -- what holds it, and what takes it back -----------------------------------------------------------------------------


@LATER
def test_it_holds_before_the_switch_and_goes_on_when_promoted(later: bool) -> None:
    trial = Trial(HELD, later=later)
    held = trial.release()
    trial.world.run_for(20.0)
    serving = {
        tag_of(pod) for pod in trial.world.store.all_of("pods", "default") if name_of(pod) in trial.world.endpoints()
    }
    outcome = trial.say("promote")

    assert isinstance(held.end, Done)
    assert "all 3 new pods are Ready and have no traffic; segue promote test goes on" in held.end.message
    assert serving == {"v1"}
    assert outcome is not None
    assert isinstance(outcome.end, Done)
    trial.check("v2")


@pytest.mark.parametrize("name", ["test", "test-v2"])
def test_a_canary_holds_at_its_stops_by_the_apps_name_and_by_its_own(name: str) -> None:
    trial = Trial(replace(CANARY, strategy="canary", stops=("1", "2")))
    first = trial.release()
    sizes = trial.sizes()
    trial.say("pause", name)
    assert trial.say("resume", name) is not None
    second = trial.say("promote", name)
    third = trial.say("promote", name)

    assert "1 new pod beside 3 old; segue promote test goes on" in first.end.message
    assert sizes == {"test": 3, "test-v2": 1}
    assert second is not None
    assert "2 new pods beside 2 old" in second.end.message
    assert third is not None
    assert isinstance(third.end, Done)
    trial.check("v2")


@LATER
@pytest.mark.parametrize("name", ["checked", "ramped"])
def test_a_check_that_fails_takes_all_back(name: str, later: bool) -> None:
    approach = ENDS[name][0]
    if name == "ramped":
        approach = replace(approach, stops=("2",), checks=(Hook.of("true"),))
    whole = Trial(approach, later=later)
    before, selector = whole.sizes(), whole.selector()
    whole.world.verdict = Checked(passed=False, said="exit code 1")
    outcome = whole.release()

    assert isinstance(outcome.end, Stopped)
    assert "the check failed (exit code 1); Deployment test is at version" in outcome.end.message
    assert whole.sizes() == before
    assert whole.selector() == selector
    whole.check("v1")


def test_the_preview_reaches_the_new_pods_alone() -> None:
    trial = Trial(replace(HELD, preview="test-preview"), later=True)
    trial.release()
    trial.world.run_for(2.0)
    new = trial.world.endpoints("test-preview")

    assert len(new) == 3
    assert not new & trial.world.endpoints()
    trial.say("promote")
    trial.check("v2")


def test_old_pods_stand_by_and_an_abort_goes_back_at_once() -> None:
    trial = Trial(replace(BLUE, keep_s=60.0))
    kill_at = 8
    while "v2" not in trial.selector().values():  # the first write after the switch
        kill_at, trial = kill_at + 1, Trial(trial.approach)
        trial.killed(kill_at)
    assert len(trial.world.store.all_of("pods", "default")) == 6
    began_s = trial.world.clock.at_s
    outcome = trial.abort()
    back = next(entry.at_s for entry in outcome.journal.actions if entry.action.startswith("let Service"))

    assert back - began_s < 0.5
    assert trial.sizes() == {"test": 3}
    trial.check("v1")


# -- later runs and undo -----------------------------------------------------------------------------------------------


def test_each_later_run_works_the_same_way_and_keeps_one_old_version() -> None:
    trial = Trial(BLUE)
    for tag in ("v2", "v3", "v4"):
        assert isinstance(trial.release(tag=tag).end, Done)
        trial.check(tag)

    assert trial.sizes() == {"test": 0, "test-v3": 0, "test-v4": 3}


def test_the_same_command_again_changes_nothing() -> None:
    trial = Trial(BLUE)
    trial.release()
    trial.world.run_for(5.0)
    before = [one["metadata"]["resourceVersion"] for one in trial.world.store.all_of("deployments.apps", "default")]
    again = trial.release()

    assert isinstance(again.end, Done)
    assert again.end.message == "Deployment test-v2 has 3 Ready pods"
    assert [
        one["metadata"]["resourceVersion"] for one in trial.world.store.all_of("deployments.apps", "default")
    ] == before
    trial.check("v2")


def test_one_that_was_left_is_taken_again_and_another_template_replaces_it() -> None:
    trial = Trial(BLUE, later=True)
    trial.release(tag="v2")
    uid = trial.world.store.get(Ref(resource="deployments.apps", namespace="default", name="test-v1"))
    trial.release(tag="v1")
    again = trial.world.store.get(Ref(resource="deployments.apps", namespace="default", name="test-v1"))
    trial.check("v1")
    named = replace(BLUE, naming=Naming(version="v2"))
    trial.world.drive(trial.flow("v9", named))
    trial.check("v9")

    assert uid is not None
    assert again is not None
    assert again["metadata"]["uid"] == uid["metadata"]["uid"]
    assert trial.sizes() == {"test-v1": 0, "test-v2": 3}


def undone(later: bool, kill_at: int | None = None) -> Trial:
    trial = Trial(BLUE, later=later)
    trial.release()
    trial.world.run_for(5.0)
    trial.judge.ceiling = 6
    try:
        trial.world.drive(undo_either("default", "test", None, trial.driver("first")), kill_at=kill_at)
    except Killed:
        trial.world.run_for(7.0)
        outcome = trial.world.drive(undo_either("default", "test", None, trial.driver("second", "first")))
        assert isinstance(outcome.end, Done), outcome.end
    return trial


@LATER
@pytest.mark.long
def test_an_undo_switches_back_from_every_crash_point(later: bool) -> None:
    old = "test-v1" if later else "test"
    whole = undone(later)
    writes = whole.world.requests
    selector = {"app/name": "test", **({"version": "v1"} if later else {})}
    assert whole.sizes() == {old: 3, "test-v2": 0}
    assert whole.selector() == selector
    whole.check("v1")
    for kill_at in range(writes):
        trial = undone(later, kill_at)

        when = f"killed before write {kill_at}"
        assert trial.sizes() == {old: 3, "test-v2": 0}, when
        assert trial.selector() == selector, when
        trial.check("v1", when)


# -- what others do meanwhile ------------------------------------------------------------------------------------------


def after(trial: Trial, offset_s: float, act: Callable[[World], object]) -> list[bool]:
    """Do something once so long after now."""
    due_s, done = trial.world.clock.at_s + offset_s, list[bool]()

    def look(world: World) -> None:
        if not done and world.clock.at_s >= due_s:
            done.append(True)
            act(world)

    trial.world.watch.append(look)
    return done


def scale_old(world: World) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/test/scale"
    world.call("PATCH", path, {"spec": {"replicas": 5}}, "application/merge-patch+json")


def crash_an_old_pod(world: World) -> None:
    pod = next(pod for pod in world.store.all_of("pods", "default") if tag_of(pod) == "v1" and is_ready(pod))
    world.call("DELETE", f"/api/v1/namespaces/default/pods/{name_of(pod)}")


OFFSETS_S = [0.3, 0.8, 1.2, 1.6, 2.0, 3.0, 4.5, 6.0]


@pytest.mark.parametrize("offset_s", OFFSETS_S)
@pytest.mark.parametrize("name", ["all-first", "ramped"])
def test_somebody_scales_the_old_one_meanwhile(name: str, offset_s: float) -> None:
    trial = Trial(ENDS[name][0])
    trial.judge.ceiling += 8
    done = after(trial, offset_s, scale_old)
    outcome = trial.release()
    trial.world.watch.pop()

    assert isinstance(outcome.end, Done), outcome.end
    if offset_s < 0.7:
        assert done
        assert 5 <= trial.sizes()["test-v2"] <= 6  # a canary takes the pod of the step under way for one more
    assert trial.sizes()["test-v2"] >= 3
    trial.check("v2")


@pytest.mark.parametrize("offset_s", OFFSETS_S)
@pytest.mark.parametrize("name", ["all-first", "ramped"])
def test_a_pod_of_the_old_side_crashes(name: str, offset_s: float) -> None:
    trial = Trial(ENDS[name][0])
    floor, trial.judge.floor = trial.judge.floor, 2
    after(trial, offset_s, crash_an_old_pod)
    trial.judge.ceiling += 2
    lost_before = trial.world.lost
    outcome = trial.release()
    trial.world.watch.pop()
    crashed = {name for _, name in trial.world.lost_when}

    assert floor == 3
    assert isinstance(outcome.end, Done), outcome.end
    assert len(crashed) <= 1, "what a crash loses is lost at the pod that crashed, and nowhere else"
    trial.world.lost = lost_before
    trial.judge.broken = [one for one in trial.judge.broken if "carried" not in one]
    trial.check("v2")


@LATER
@pytest.mark.parametrize("offset_s", [0.1, 0.2, 0.4, 0.6])
def test_another_template_of_the_old_one_takes_this_one_back_before_the_service_is_empty(
    offset_s: float, later: bool
) -> None:
    """The rollout that somebody began ends serving pods undrained, as anywhere; segue adds nothing to that."""
    trial = Trial(BLUE, later=later)
    old = "test-v1" if later else "test"
    container: Obj = {"name": "service", "image": "host.org/images/grace:v7"}
    patch: Obj = {"spec": {"template": {"spec": {"containers": [container]}}}}
    path = f"/apis/apps/v1/namespaces/default/deployments/{old}"
    empty: list[float] = []
    trial.world.watch.append(lambda world: empty.append(world.clock.at_s) if not world.endpoints() else None)
    after(trial, offset_s, lambda world: world.call("PATCH", path, patch, "application/strategic-merge-patch+json"))
    stopped = trial.release()
    trial.world.run_for(8.0)

    assert isinstance(stopped.end, Stopped)
    assert "somebody changed the template" in stopped.end.message
    assert empty == []
    assert trial.sizes() == {old: 3}
    assert "pod-template-hash" not in trial.selector()
    assert {tag_of(pod) for pod in trial.world.store.all_of("pods", "default")} == {"v7"}


@pytest.mark.parametrize("name", ["all-first", "ramped"])
@pytest.mark.parametrize("offset_s", [0.4, 1.2, 1.7, 3.0])
def test_somebody_deletes_the_old_one_and_the_new_one_serves_as_soon_as_it_can(name: str, offset_s: float) -> None:
    trial = Trial(ENDS[name][0])
    path = "/apis/apps/v1/namespaces/default/deployments/test"
    after(trial, offset_s, lambda world: world.call("DELETE", path))
    outcome = trial.release()
    trial.world.run_for(5.0)

    assert isinstance(outcome.end, Done), outcome.end
    assert trial.sizes() == {"test-v2": 3}
    assert len(trial.world.endpoints()) == 3
    assert trial.world.leases() == []


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_another_version_meanwhile_is_a_conflict() -> None:
    trial = Trial(HELD)
    trial.release()
    with pytest.raises(Conflict, match="a release of test to version v2 is under way"):
        trial.release(tag="v3")


def test_a_release_in_place_of_an_app_with_versions_is_refused() -> None:
    trial = Trial(BLUE, later=True)
    driving = trial.driver(approach=Approach())
    with pytest.raises(Refused, match="test is served by a Deployment of its own for each version, test-v1 now"):
        trial.world.drive(prepare_either(parse(manifest("v2"), file="test.yaml")[:1], "default", driving))


def test_a_version_that_names_no_deployment_is_refused_at_its_line() -> None:
    trial = Trial(BLUE)
    with pytest.raises(ManifestError, match="version V2_x is no DNS label") as wrong:
        trial.release(tag="V2_x")

    assert wrong.value.place is not None
    assert wrong.value.place.line == 19
    assert wrong.value.remedy == "name it: --version v2-x"


def test_two_that_serve_at_once_are_refused() -> None:
    trial = Trial(BLUE)
    other = next(iter(parse(manifest("v1").replace("name: test", "name: other", 1), file="other.yaml"))).obj
    trial.world.call("POST", "/apis/apps/v1/namespaces/default/deployments", other)
    trial.world.run_for(3.0)
    with pytest.raises(Refused, match="reach pods of several Deployments: other, test"):
        trial.release()
