"""Runners end when they are told to, also where the news they wait for comes in that very moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from segue.cluster.dataplane.rules import RuleTable
from segue.cluster.manager import Manager
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.host.clock import SystemChance, SystemClock
from segue.host.network.plane import PlaneRunner, PlaneSettings
from segue.host.reconciling import ManagerRunner
from segue.host.timeline import Timeline
from segue.model.objects import Obj

LIMIT_S = 2.0


class Paper:
    """A data plane that is effective as soon as it is written down."""

    async def apply(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Nothing to do."""

    async def tidy(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Nothing to do."""


def manager(store: Store) -> ManagerRunner:
    registry = Registry(store, SystemClock(), SystemChance())
    return ManagerRunner(Manager(store, registry, SystemChance()), store, SystemClock())


def plane(store: Store) -> PlaneRunner:
    return PlaneRunner(store, Paper(), Timeline(), SystemClock(), PlaneSettings(node="node-1"))


def service(number: int) -> Obj:
    spec = {"clusterIP": f"10.96.0.{number}", "ports": [{"port": 80}]}
    return {"metadata": {"namespace": "default", "name": f"web-{number}"}, "spec": spec}


@pytest.mark.parametrize("make", [manager, plane])
@pytest.mark.parametrize("turns", range(6))
def test_a_runner_that_is_woken_while_it_is_stopped_ends(
    make: Callable[[Store], ManagerRunner | PlaneRunner], turns: int
) -> None:
    """Seen as a cluster that outlived its SIGTERM for ever: it was reconciling what the last client had just left."""

    async def body() -> None:
        store = Store()
        runner = make(store)
        await runner.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        store.put("services", service(turns + 1))
        async with asyncio.timeout(LIMIT_S) as limit:
            await runner.stop()

        assert not limit.expired()  # stop() swallows the limit's own cancellation

    asyncio.run(body())


@pytest.mark.parametrize("make", [manager, plane])
def test_a_runner_that_never_started_ends_too(make: Callable[[Store], ManagerRunner | PlaneRunner]) -> None:
    async def body() -> None:
        async with asyncio.timeout(LIMIT_S):
            await make(Store()).stop()

    asyncio.run(body())
