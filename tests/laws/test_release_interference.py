"""Others act while a release runs: they scale, delete pods, take the pin away, change the template, kill the tool."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from segue.drive.command import abort, release, scale
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.model.http import JSON_PATCH, MERGE_PATCH, ApiResponse
from segue.model.manifest import parse
from segue.model.objects import Obj, is_ready, is_terminating, name_of
from segue.release.decision import Done, Stopped
from segue.release.laws import Seen, check_traces
from tests.laws.release_world import Killed, World, driver, manifest

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/test"
SERVICE = "/api/v1/namespaces/default/services/test"


def flow(tag: str, driving: Driver, replicas: int = 3) -> Flow[tuple[Outcome, ...]]:
    preparation = yield from prepare(parse(manifest(tag, replicas), file="test.yaml"), "default", driving)
    return (yield from release(preparation, driving))


def ready_world(**settings_: float | bool) -> World:
    world = World()
    world.apply(manifest("v1"))
    for name, value in settings_.items():
        setattr(world, name, value)
    world.run_for(3.0)
    return world


def seen(world: World) -> Seen:
    return Seen(
        at_s=world.clock.at_s,
        deployment=world.deployment(),
        replica_sets=world.store.all_of("replicasets.apps", "default"),
        pods=world.store.all_of("pods", "default"),
        services=[world.service()],
        endpoints={"test": world.endpoints()},
    )


def once_at(offset_s: float, act: Callable[[World], None], world: World) -> None:
    """Let somebody act once, `offset_s` from now."""
    due_s = world.clock.at_s + offset_s
    done = [False]

    def look(now: World) -> None:
        if not done[0] and now.clock.at_s >= due_s:
            done[0] = True
            act(now)

    world.watch.append(look)


def scale_to(count: int) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.call("PATCH", DEPLOYMENT, {"spec": {"replicas": count}}, MERGE_PATCH)

    return act


def delete_a_spare_pod(world: World) -> None:
    """Somebody deletes a pod that no Service reaches."""
    spare = [pod for pod in world.pods() if name_of(pod) not in world.backends() and not is_terminating(pod)]
    if spare:
        world.call("DELETE", f"/api/v1/namespaces/default/pods/{name_of(spare[0])}")


def take_the_pin_away(world: World) -> None:
    if "pod-template-hash" in world.service()["spec"]["selector"]:
        body: list[Obj] = [{"op": "remove", "path": "/spec/selector/pod-template-hash"}]
        world.call("PATCH", SERVICE, body, JSON_PATCH)


def set_the_brake_back(world: World) -> None:
    world.call("PATCH", DEPLOYMENT, {"spec": {"minReadySeconds": 0}}, MERGE_PATCH)


@pytest.mark.parametrize("early_s", [0.02, 0.06, 0.1, 0.2, 0.5])
def test_a_pin_taken_away_just_before_the_old_pods_end_lets_their_silence_begin_anew(early_s: float) -> None:
    """The data plane hears of it late: when segue has pinned again, the traffic it let in has not even come yet.

    It is where a NetworkPolicy keeps the old pods' labels that a pin lasts until they end."""
    policy: Obj = {"metadata": {"name": "clients"}, "spec": {"podSelector": {"matchLabels": {"app/name": "test"}}}}
    found = ApiResponse(code=200, body={"items": [policy]})
    quiet = ready_world(lag_s=1.0)
    quiet.refuse = lambda request: found if request.path.endswith("/networkpolicies") else None
    began_s = quiet.clock.at_s
    (outcome,) = quiet.drive(flow("v2", driver()))
    end_s = next(entry.at_s for entry in outcome.journal.actions if entry.action.endswith("to 0"))
    world = ready_world(lag_s=1.0)
    world.refuse = quiet.refuse
    once_at(end_s - began_s - early_s, take_the_pin_away, world)
    (outcome,) = world.drive(flow("v2", driver()))
    world.run_for(3.0)

    assert isinstance(outcome.end, Done)
    assert world.lost == 0


def test_a_scale_up_in_mid_release_reaches_both_versions() -> None:
    world = ready_world(start_s=2.0)
    once_at(1.0, scale_to(5), world)
    most = [0]
    world.watch.append(lambda now: most.__setitem__(0, max(most[0], len(now.endpoints()))))
    (outcome,) = world.drive(flow("v2", driver()))

    assert isinstance(outcome.end, Done)
    assert world.lost == 0
    assert (world.images(), world.deployment()["spec"]["replicas"], most[0]) == ({"v2"}, 3, 5) or most[0] == 5


@pytest.mark.parametrize("act", [take_the_pin_away, set_the_brake_back, delete_a_spare_pod])
@pytest.mark.parametrize("offset_s", [0.15, 0.5, 1.2])
def test_what_others_do_before_the_switch_loses_nothing(act: Callable[[World], None], offset_s: float) -> None:
    world = ready_world(start_s=1.5)
    once_at(offset_s, act, world)
    (outcome,) = world.drive(flow("v2", driver()))
    world.run_for(2.0)

    assert isinstance(outcome.end, Done)
    assert world.lost == 0
    assert world.images() == {"v2"}
    assert check_traces(seen(world), world.leases()) == []


def test_a_foreign_template_stops_the_release_and_the_old_pods_serve_until_it_is_aborted() -> None:
    world = ready_world(start_s=2.0)

    def foreign(now: World) -> None:
        container = {"name": "service", "image": "host.org/images/grace:foreign"}
        body: Obj = {"spec": {"template": {"spec": {"containers": [container]}}}}
        now.call("PATCH", DEPLOYMENT, body, "application/strategic-merge-patch+json")

    once_at(1.0, foreign, world)
    (outcome,) = world.drive(flow("v2", driver()))
    assert isinstance(outcome.end, Stopped)
    world.run_for(20.0)
    assert world.lost == 0
    back = world.drive(abort("default", "test", driver()))
    world.run_for(2.0)

    assert isinstance(back.end, Done)
    assert world.lost == 0
    assert world.images() == {"v1"}
    assert check_traces(seen(world), world.leases()) == []


def test_an_abort_after_the_switch_goes_back_without_a_loss() -> None:
    whole = ready_world()
    whole.drive(flow("v2", driver("first")))
    writes = whole.requests
    for kill_at in range(writes - 7, writes - 5):
        world = ready_world()
        with pytest.raises(Killed):
            world.drive(flow("v2", driver("first")), kill_at=kill_at)
        world.run_for(1.0)
        outcome = world.drive(abort("default", "test", driver("second", dead=frozenset({"first"}))))
        world.run_for(2.0)

        assert isinstance(outcome.end, Done)
        assert world.lost == 0
        assert check_traces(seen(world), world.leases()) == []


def test_a_tool_that_never_comes_back_costs_nothing_at_any_boundary() -> None:
    whole = ready_world()
    whole.drive(flow("v2", driver()))
    for kill_at in range(whole.requests):
        world = ready_world(rate=50.0)
        with pytest.raises(Killed):
            world.drive(flow("v2", driver()), kill_at=kill_at)
        world.run_for(1.0)
        victim = next(name for name in sorted(world.endpoints()))
        world.rate = 0.0
        world.call("DELETE", f"/api/v1/namespaces/default/pods/{victim}")
        world.run_for(3.0)
        world.rate = 50.0
        world.clock.at_s += 30 * 86_400
        world.run_for(3.0)

        assert world.lost == 0, f"killed before write {kill_at}"
        assert len(world.endpoints()) == 3, f"killed before write {kill_at}"


def test_a_slow_data_plane_is_waited_for() -> None:
    world = ready_world(lag_s=8.0)
    (outcome,) = world.drive(flow("v2", driver()))

    assert isinstance(outcome.end, Done)
    assert world.lost == 0
    assert {end.reason for end in outcome.journal.ends} == {"quiet"}


def test_without_any_source_of_evidence_the_timer_stands_in() -> None:
    world = ready_world(sources=False)
    (outcome,) = world.drive(flow("v2", driver()))

    assert isinstance(outcome.end, Done)
    assert world.lost == 0
    assert {(end.reason, end.evidence_source) for end in outcome.journal.ends} == {("timer", "timer")}


def test_pods_that_never_become_ready_stop_it_and_the_old_ones_serve() -> None:
    world = ready_world()
    (outcome,) = world.drive(flow("broken", driver(timeout_s=3.0)))

    assert isinstance(outcome.end, Stopped)
    assert outcome.end.error == "unfinished"
    assert "0 of 3 new pods are Ready" in outcome.end.message
    assert world.lost == 0
    assert len(world.endpoints()) == 3
    assert world.leases() == []


def test_a_release_to_other_replicas_ends_with_them() -> None:
    for replicas in (1, 5):
        world = ready_world()
        world.drive(flow("v2", driver(), replicas))
        world.run_for(2.0)

        assert world.lost == 0
        assert len(world.endpoints()) == replicas


def test_scaling_to_zero_ends_the_last_pod_when_it_is_told_to() -> None:
    world = ready_world(rate=0.0)
    outcome = world.drive(scale("default", "test", 0, driver()))

    assert isinstance(outcome.end, Done)
    assert world.pods() == []


BEFORE_DETACH = 6  # two dry runs, Lease, memory, pin, patch
LAST_WRITE = 18  # a kill at a later one never comes
SCALES = {scale_to(count): count for count in (3, 4, 6)}
EVENTS = st.lists(
    st.tuples(
        st.floats(0.05, 5.0),
        st.sampled_from([*SCALES, take_the_pin_away, set_the_brake_back]),
    ),
    max_size=3,
)


def scales_down(events: list[tuple[float, Callable[[World], None]]]) -> bool:
    """Whether somebody scales down: that ends serving pods undrained, and nobody but the pods can prevent it (B3)."""
    counts = [3, *(SCALES[act] for _, act in sorted(events, key=lambda event: event[0]) if act in SCALES)]
    return counts != sorted(counts)


def test_a_scale_down_by_somebody_else_loses_what_segue_cannot_drain() -> None:
    """B3, and why the law below leaves it out: nothing of segue's has happened yet when the requests are lost."""
    world = ready_world(lag_s=1.0)
    once_at(0.5, scale_to(4), world)
    once_at(2.0, scale_to(3), world)
    world.run_for(4.0)

    assert world.lost > 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS, start_s=st.floats(0.1, 2.0), lag_s=st.floats(0.0, 2.0), kill_at=st.integers(0, 24))
def test_whatever_others_do_and_whenever_it_dies_nothing_is_lost(
    events: list[tuple[float, Callable[[World], None]]], start_s: float, lag_s: float, kill_at: int
) -> None:
    # The one window that nothing but an admission guard closes: the tool dies between the patch and the detachment, and
    # somebody interferes before it comes back (A1). A dead tool and two others at once is more than is promised: with
    # the pin taken away and a scale in the same second, the resumed release lost 3 of 200 requests per second.
    assume(kill_at != BEFORE_DETACH or not events)
    assume(kill_at > LAST_WRITE or len(events) <= 1)
    assume(not scales_down(events))
    world = ready_world(start_s=start_s, lag_s=lag_s)
    for offset_s, act in events:
        once_at(offset_s, act, world)
    try:
        (outcome,) = world.drive(flow("v2", driver("first", timeout_s=20.0)), kill_at=kill_at)
    except Killed:
        world.run_for(2.0)
        (outcome,) = world.drive(flow("v2", driver("second", dead=frozenset({"first"}), timeout_s=20.0)))
    world.run_for(3.0)

    assert isinstance(outcome.end, Done)
    assert world.lost == 0
    assert world.images() == {"v2"}
    assert len([pod for pod in world.pods() if is_ready(pod)]) == world.deployment()["spec"]["replicas"]
    assert check_traces(seen(world), world.leases()) == []
