"""The manager: keys, bounds, delays, back-off, restarts; and the view it hands out."""

from __future__ import annotations

import pytest

from segue.cluster.manager import Manager, Settings, back_off_s
from segue.cluster.store import Store
from segue.cluster.view import View
from segue.cluster.writes import Create, Write
from segue.model.errors import StatusError
from segue.model.objects import Obj, Ref, name_of, uid_of
from tests.unit.cluster.controllers.small_world import SETS, Dice, World


class Grudge:
    """A registry that refuses to create pods as long as it is told to."""

    def __init__(self, world: World, error: StatusError) -> None:
        self.world = world
        self.error: StatusError | None = error
        self.tries: list[float] = []

    def perform(self, write: Write) -> None:
        if isinstance(write, Create) and write.resource == "pods":
            self.tries.append(self.world.clock.now_s())
            if self.error is not None:
                raise self.error
        self.world.registry.perform(write)


def grudging(error: StatusError) -> tuple[World, Grudge]:
    world = World()
    world.manager.close()
    grudge = Grudge(world, error)
    world.manager = Manager(world.store, grudge, Dice(2))
    return world, grudge


def test_a_step_does_no_more_than_it_may_and_asks_to_be_called_again() -> None:
    world = World(settings=Settings(reconciles_per_step=1))
    world.registry.create("deployments.apps", _bare("web"))

    assert world.manager.step(world.clock.now_s()) == 0.0
    assert world.names("pods") == []
    world.settle()
    assert len(world.names("pods")) == 1


def test_nothing_to_do_means_nothing_to_wait_for() -> None:
    world = World()

    assert world.manager.step(world.clock.now_s()) is None


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(1, 0.005), (2, 0.01), (5, 0.08), (12, 10.24), (13, 16.0), (99, 16.0)]
)
def test_the_back_off_doubles_from_5_ms_to_16_s(failures: int, wait_s: float) -> None:
    assert back_off_s(failures) == pytest.approx(wait_s)


def test_a_refusal_is_tried_again_ever_more_rarely_and_heals() -> None:
    world, grudge = grudging(StatusError(403, "Forbidden", "quota"))
    world.deploy(replicas=1)
    world.pass_time(60)
    waits = [later - sooner for sooner, later in zip(grudge.tries, grudge.tries[1:], strict=False)]
    assert len(waits) > 8
    assert max(waits) == pytest.approx(16.0, abs=0.01)
    grudge.error = None
    world.pass_time(20)

    assert len(world.names("pods")) == 1


def test_a_lost_race_is_looked_at_again_at_once() -> None:
    world, grudge = grudging(StatusError(409, "Conflict", "changed"))
    world.registry.create("deployments.apps", _bare("web"))
    world.manager.step(world.clock.now_s())
    assert len(grudge.tries) >= 2
    grudge.error = None
    world.pass_time(1)

    assert len(world.names("pods")) == 1


def test_a_race_that_is_lost_for_ever_does_not_keep_the_loop_busy() -> None:
    world, grudge = grudging(StatusError(409, "Conflict", "changed"))
    world.deploy(replicas=1)
    world.pass_time(60)

    assert len(grudge.tries) < 40


def test_a_manager_that_starts_later_finds_everything_that_is_due() -> None:
    """A restart loses nothing: all memory is in the objects."""
    world = World()
    world.manager.close()
    world.registry.create("deployments.apps", _bare("web"))
    store = Store()
    rows = [(resource, obj) for resource in world.store.resources() for obj in world.store.all_of(resource)]
    store.load(rows, version=world.store.version)
    world.store = store
    world.registry = type(world.registry)(store, world.clock, Dice(3))
    world.manager = Manager(store, world.registry, Dice(4))
    world.settle()
    world.kubelet()

    assert len(world.ready_pods()) == 1


def test_delays_are_counted_from_the_first_event_of_a_key() -> None:
    world = World(settings=Settings(replica_set_delay_s=2.0))
    world.registry.create("deployments.apps", _bare("web"))
    world.pass_time(1.5)
    assert world.names("pods") == []
    world.edit(SETS, world.names(SETS)[0], lambda obj: obj["metadata"].update(annotations={"x": "y"}))
    world.pass_time(0.5)

    assert len(world.names("pods")) == 1


def test_the_view_follows_the_store() -> None:
    world = World()
    world.deploy(replicas=2)
    view = world.manager.view
    mine = world.sets()[0]

    assert [name_of(pod) for pod in view.owned_by(uid_of(mine), "pods", "default")] == world.names("pods")
    assert view.owned_by("", "pods", "default") == []
    assert view.selected("default", {"app": "web"}) == world.pods()
    assert view.selected("default", {}) == view.selected("other", {"app": "web"}) == []
    assert view.pods_on("node-0") == 2
    assert view.find(uid_of(mine)) == Ref(resource=SETS, namespace="default", name=name_of(mine))
    world.delete("pods", world.names("pods")[0], grace_s=0)
    assert view.all_of("pods", "default") == view.all_of("pods") == world.pods()
    assert len(view.owned_by(uid_of(mine), "pods", "default")) == 2


def test_a_view_of_a_loaded_store_is_equal_to_one_that_followed() -> None:
    world = World()
    world.deploy(replicas=3)
    world.serve()
    world.kubelet()
    world.set_image("v2")
    followed, fresh = world.manager.view, View(world.store)

    for item in world.sets():
        uid = uid_of(item)
        assert followed.owned_by(uid, "pods", "default") == fresh.owned_by(uid, "pods", "default")
        assert followed.dependents_of(uid) == fresh.dependents_of(uid)
    assert followed.pods_on("node-0") == fresh.pods_on("node-0") == len(world.pods())
    assert followed.resources_in("default") == fresh.resources_in("default")


def _bare(name: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "v1"}]},
            },
        },
    }
