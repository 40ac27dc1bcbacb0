"""Laws of releases of StatefulSets and DaemonSets: never more away than a step, from any crash point to the same end.

The numbers are counted from the pods of the world, never asked of the code that is judged.
"""

from __future__ import annotations

import pytest

from segue.drive.command import release
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.natives import abort_native, restart_native, steer_native, undo_native
from segue.drive.proposing import prepare
from segue.model.errors import Conflict, Refused
from segue.model.manifest import parse
from segue.model.natives import PLURALS
from segue.model.objects import Obj, name_of
from segue.release.decision import Done, Stopped
from segue.release.plan import Approach
from tests.laws.native_world import SURGES, Away, NativeWorld, native_manifest, released, tags
from tests.laws.release_world import Killed, driver, manifest

BEGUN = 4  # writes: two dry runs, the Lease, the template
ROWS = {
    "stateful": ("StatefulSet", ""),
    "parallel": ("StatefulSet", "podManagementPolicy: Parallel"),
    "partition": ("StatefulSet", "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}"),
    "on delete": ("StatefulSet", "updateStrategy: {type: OnDelete}"),
    "daemon": ("DaemonSet", ""),
    "surge": ("DaemonSet", SURGES),
}


def world_of(row: str) -> NativeWorld:
    kind, strategy = ROWS[row]
    world = NativeWorld(kind=kind)
    world.begin(native_manifest(kind, "v1", strategy=strategy))
    return world


def text_of(row: str, tag: str) -> str:
    kind, strategy = ROWS[row]
    return native_manifest(kind, tag, strategy=strategy)


def one(flow: Flow[Outcome]) -> Flow[tuple[Outcome, ...]]:
    outcome = yield from flow
    return (outcome,)


def command(row: str, kind: str, world: NativeWorld, driving: Driver) -> Flow[tuple[Outcome, ...]]:
    match kind:
        case "release":
            return released(text_of(row, "v2"), driving)
        case "undo":
            return one(undo_native(world.observer(driving), None, driving))
        case "restart":
            return one(restart_native(world.observer(driving), driving))
        case _:
            return one(abort_native(world.observer(driving), driving))


def ready_world(row: str, kind: str) -> NativeWorld:
    world = world_of(row)
    if kind == "undo":
        world.drive(released(text_of(row, "v0"), driver()))
    if kind == "abort":
        ended = world.drive(released(text_of(row, "broken"), driver(timeout_s=4.0)))
        assert isinstance(ended[0].end, Stopped)
    world.run_for(4.0)
    return world


def run(row: str, kind: str, kill_at: int | None) -> tuple[NativeWorld, Away, int]:
    """The command, killed before its write number `kill_at` and run again; how many writes it made."""
    world, away = ready_world(row, kind), Away()
    lost = world.lost
    world.watch.append(away)
    try:
        outcomes = world.drive(command(row, kind, world, driver("first")), kill_at=kill_at)
    except Killed:
        world.run_for(7.0)
        outcomes = world.drive(command(row, kind, world, driver("second", dead=frozenset({"first"}))))
    writes = world.requests
    assert all(isinstance(outcome.end, Done) for outcome in outcomes), outcomes[0].end
    world.run_for(5.0)
    world.lost -= lost
    return world, away, writes


def user_spec(world: NativeWorld) -> Obj:
    return {key: value for key, value in world.native()["spec"].items() if key != "template"}


@pytest.mark.parametrize("row", ROWS)
def test_never_more_than_one_pod_is_away_and_nothing_is_lost(row: str) -> None:
    before = user_spec(world_of(row))
    world, away, _ = run(row, "release", None)

    assert tags(world) == ["v2"] * 3
    assert (away.most, away.alive) == ((0, 4) if row == "surge" else (1, 3))
    assert away.early == []
    assert world.lost == 0
    assert user_spec(world) == before
    assert world.marks() == []


@pytest.mark.parametrize(
    "kind", ["release", "abort", *(pytest.param(one, marks=pytest.mark.full) for one in ("undo", "restart"))]
)
@pytest.mark.parametrize("row", ["stateful", "daemon", "surge"])
@pytest.mark.long
def test_from_every_crash_point_the_same_command_reaches_the_same_end(row: str, kind: str) -> None:
    _, _, writes = run(row, kind, None)
    assert writes > 4
    for kill_at in range(writes):
        world, away, _ = run(row, kind, kill_at)

        assert tags(world) == [{"release": "v2", "undo": "v1"}.get(kind, "v1")] * 3, f"killed before write {kill_at}"
        assert away.most <= 1, f"killed before write {kill_at}"
        assert away.early == [], f"killed before write {kill_at}"
        assert world.lost == 0, f"killed before write {kill_at}"
        assert world.marks() == [], f"killed before write {kill_at}"
        assert world.native()["spec"]["updateStrategy"] == world_of(row).native()["spec"]["updateStrategy"]


@pytest.mark.parametrize("row", ROWS)
def test_a_pod_that_never_becomes_ready_stops_it_and_an_abort_takes_that_one_back(row: str) -> None:
    world, away = world_of(row), Away()
    world.watch.append(away)
    (ended,) = world.drive(released(text_of(row, "broken"), driver(timeout_s=5.0)))

    assert isinstance(ended.end, Stopped)
    assert "is not Ready" in ended.end.message
    assert sorted(tags(world)) == ["broken"] + ["v1"] * (3 if row == "surge" else 2)
    world.run_for(30.0)
    assert sorted(tags(world)) == ["broken"] + ["v1"] * (3 if row == "surge" else 2)
    back = world.drive(abort_native(world.observer(driver()), driver()))
    assert isinstance(back.end, Done)
    assert tags(world) == ["v1"] * 3
    assert away.most <= 1
    assert world.lost == 0
    assert world.marks() == []


def test_the_way_back_of_a_stateful_set_ends_the_broken_pod_first_and_then_goes_up() -> None:
    world = world_of("stateful")
    world.drive(released(text_of("stateful", "v2"), driver(approach=held("2"))))
    world.run_for(5.0)
    back = world.drive(abort_native(world.observer(driver()), driver()))

    ends = [entry.action for entry in back.journal.actions if entry.action.startswith("end pod")]
    assert ends == ["end pod test-1", "end pod test-2"]
    assert tags(world) == ["v1"] * 3


def held(*stops: str) -> Approach:
    return Approach(strategy="canary", stops=stops, waits=False)


@pytest.mark.parametrize("row", ["stateful", "daemon"])
def test_a_stop_holds_and_a_word_lets_it_go_on(row: str) -> None:
    world = world_of(row)
    (first,) = world.drive(released(text_of(row, "v2"), driver(approach=held("1", "2"))))
    assert isinstance(first.end, Done)
    assert first.end.held
    assert sorted(tags(world)) == ["v1", "v1", "v2"]
    steered = world.drive(steer_native(world.observer(driver()), "promote", driver(approach=Approach(waits=False))))

    assert steered.outcome is not None
    assert sorted(tags(world)) == ["v1", "v2", "v2"]
    world.drive(steer_native(world.observer(driver()), "promote", driver()))
    assert tags(world) == ["v2"] * 3
    assert world.marks() == []


@pytest.mark.parametrize("row", ["stateful", "daemon", "surge"])
def test_a_pause_lets_no_further_pod_go(row: str) -> None:
    world = world_of(row)
    with pytest.raises(Killed):
        world.drive(released(text_of(row, "v2"), driver("first")), kill_at=BEGUN)
    dead = frozenset({"first"})
    world.drive(steer_native(world.observer(driver()), "pause", driver(dead=dead)))
    (paused,) = world.drive(released(text_of(row, "v2"), driver(dead=dead, approach=Approach(waits=False))))

    assert isinstance(paused.end, Done)
    assert paused.end.held
    before = sorted(tags(world))
    world.run_for(60.0)
    assert sorted(tags(world)).count("v1") >= before.count("v1") - 1 >= 1
    world.drive(steer_native(world.observer(driver()), "resume", driver()))
    assert tags(world) == ["v2"] * 3


@pytest.mark.parametrize("row", ["parallel", "daemon"])
def test_a_step_is_the_most_that_is_away(row: str) -> None:
    world, away = world_of(row), Away()
    world.watch.append(away)
    world.drive(released(text_of(row, "v2"), driver(approach=Approach(strategy="ramped", step=2))))

    assert tags(world) == ["v2"] * 3
    assert away.most == 2


@pytest.mark.parametrize("row", ["stateful", "daemon", "surge"])
def test_somebody_elses_change_of_the_template_stops_it(row: str) -> None:
    world = world_of(row)
    with pytest.raises(Killed):
        world.drive(released(text_of(row, "v2"), driver("first")), kill_at=BEGUN)
    image = "host.org/images/grace:v9"
    path = f"/apis/apps/v1/namespaces/default/{PLURALS[world.kind]}/test"
    patch: Obj = {"spec": {"template": {"spec": {"containers": [{"name": "service", "image": image}]}}}}
    world.call("PATCH", path, patch, "application/strategic-merge-patch+json")
    world.run_for(0.1)
    (ended,) = world.drive(released(text_of(row, "v2"), driver(dead=frozenset({"first"}))))

    assert isinstance(ended.end, Stopped)
    assert "somebody changed the template" in ended.end.message
    back = world.drive(abort_native(world.observer(driver()), driver()))
    assert isinstance(back.end, Done)
    assert tags(world) == ["v1"] * 3
    assert world.marks() == []


def test_ordinals_below_the_users_partition_stay() -> None:
    world = world_of("stateful")
    strategy = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}"
    text = native_manifest("StatefulSet", "v2", strategy=strategy)
    world.drive(released(text, driver()))

    assert tags(world) == ["v1", "v2", "v2"]
    world.run_for(30.0)
    assert tags(world) == ["v1", "v2", "v2"]
    world.drive(released(text_of("partition", "v2"), driver()))
    assert tags(world) == ["v2"] * 3


def test_a_stateful_set_that_is_broken_gets_its_repair() -> None:
    world = world_of("stateful")
    world.drive(released(text_of("stateful", "broken"), driver(timeout_s=5.0)))
    world.drive(abort_native(world.observer(driver()), driver()))
    path = "/apis/apps/v1/namespaces/default/statefulsets/test"
    patch: Obj = {"spec": {"template": {"spec": {"containers": [{"name": "service", "image": broken()}]}}}}
    world.call("PATCH", path, patch, "application/strategic-merge-patch+json")
    world.run_for(30.0)
    assert tags(world) == ["v1", "v1", "broken"]
    (ended,) = world.drive(released(text_of("stateful", "v3"), driver()))

    assert isinstance(ended.end, Done), ended.end
    assert tags(world) == ["v3"] * 3


def broken() -> str:
    return "host.org/images/grace:broken"


def test_without_a_hook_something_is_lost_and_the_plan_has_said_so() -> None:
    world = NativeWorld(kind="StatefulSet")
    world.begin(native_manifest("StatefulSet", "v1", hook=""))
    notes: list[str] = []

    def flow() -> Flow[None]:

        text = native_manifest("StatefulSet", "v2", hook="")
        preparation = yield from prepare(parse(text, file="test.yaml"), "default", driver())
        (proposal,) = preparation.natives
        assert proposal.plan is not None
        notes.extend(proposal.plan.warnings)
        yield from release(preparation, driver())

    world.drive(flow())

    assert world.lost > 0
    assert any("no preStop hook" in note for note in notes)


def test_what_no_native_controller_can_do_is_refused() -> None:
    world = world_of("stateful")
    for approach, words in (
        (Approach(strategy="blue-green"), "no second set of pods"),
        (Approach(together=True), "--together"),
    ):
        with pytest.raises(Refused, match=words):
            world.drive(released(text_of("stateful", "v2"), driver(approach=approach)))
    assert tags(world) == ["v1"] * 3


def test_another_release_is_a_conflict_and_the_same_one_twice_is_none() -> None:
    world = world_of("stateful")
    with pytest.raises(Killed):
        world.drive(released(text_of("stateful", "v2"), driver("first")), kill_at=BEGUN)
    with pytest.raises(Conflict, match="another segue drives"):
        world.drive(released(text_of("stateful", "v2"), driver("second")))
    with pytest.raises(Conflict, match="another release"):
        world.drive(released(text_of("stateful", "v3"), driver("second", dead=frozenset({"first"}))))
    world.drive(released(text_of("stateful", "v2"), driver("second", dead=frozenset({"first"}))))
    (again,) = world.drive(released(text_of("stateful", "v2"), driver()))

    assert isinstance(again.end, Done)
    assert again.journal.actions == []


def test_a_deployment_of_the_same_name_has_a_lease_of_its_own() -> None:
    world = world_of("stateful")
    with pytest.raises(Killed):
        world.drive(released(text_of("stateful", "v2"), driver("first")), kill_at=BEGUN)

    assert [name_of(lease) for lease in world.leases()] == ["segue-test.statefulset"]


def test_a_stateful_set_of_the_same_file_goes_before_its_deployment_and_a_stopped_one_holds_it_back() -> None:
    world = NativeWorld(kind="StatefulSet")
    beside = manifest("v1").replace("name: test", "name: web").replace("app/name: test", "app/name: web")
    world.begin(native_manifest("StatefulSet", "v1") + "---" + beside)

    def both(tag: str) -> str:
        return native_manifest("StatefulSet", tag) + "---" + beside.replace("grace:v1", "grace:v2")

    (ended,) = world.drive(released(both("broken"), driver(timeout_s=5.0)))
    assert isinstance(ended.end, Stopped)
    assert [tag for name, tag in by_name(world) if name == "web"] == ["v1"] * 3
    world.drive(one(abort_native(world.observer(driver()), driver())))
    outcomes = world.drive(released(both("v2"), driver()))

    assert all(isinstance(outcome.end, Done) for outcome in outcomes)
    assert by_name(world) == [("test", "v2")] * 3 + [("web", "v2")] * 3
    assert world.lost == 0


def by_name(world: NativeWorld) -> list[tuple[str, str]]:
    rows = [(name_of(pod).partition("-")[0], pod["spec"]["containers"][0]["image"]) for pod in world.pods()]
    return sorted((name, image.partition(":")[2]) for name, image in rows)
