"""Looks at one workload whenever the API tells of a change, and puts what it sees on the board.

A watch on each kind of object says when to look; the look itself is the engine's own, one round of reads. So a page is
late by one round, and shows one moment, never halves of two.
Rule: where something may not be watched, or a watch breaks, the look comes by the clock until it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from segue.drain.judge import Evidence, Policy
from segue.drain.sights import Sight, sight_of
from segue.drive.evidence import Collector
from segue.drive.flow import Flow, Progress, Sleep
from segue.drive.looking_on import Onlooker
from segue.drive.native_observe import NativeObserver, native_named
from segue.drive.native_standing import native_standing_of
from segue.drive.observe import Observer
from segue.drive.standing import standing_of
from segue.host.client import KubeClient
from segue.host.performing import holder_is_gone, identity, run_flow
from segue.host.web.board import Board
from segue.model.errors import SegueError
from segue.model.workloads import Deployment
from segue.release.native_snapshot import NativeSnapshot
from segue.release.snapshot import Snapshot
from segue.report.live import Seen, live_page

PAUSE_S = 0.03  # between two looks, however many changes there are
LOOK_ANYWAY_S = 5.0  # a Lease that runs out changes nothing
WATCH_AGAIN_S = 1.0
RATE_OVER_S = 2.0  # long enough for a number, short enough to show a switch
SAMPLE_EVERY_S = 0.5  # as segue traffic does: at a slower rhythm probes of each second cannot be told apart


@dataclass(slots=True, kw_only=True)
class Watcher:
    """One workload of one namespace."""

    client: KubeClient
    namespace: str
    said: str  # the name, as on a command line
    board: Board
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    deaf: set[str] = field(default_factory=set)  # paths without a watch now
    native: NativeObserver | None = None
    observer: Observer | None = None
    snapshot: Snapshot | NativeSnapshot | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    sights: Mapping[str, Sight] = field(default_factory=dict)
    onlooker: Onlooker = field(default_factory=Onlooker)

    async def begin(self) -> None:
        """The first look: an error of it is the user's to hear."""
        self.native = await run_flow(
            native_named(self.namespace, self.said, identity(), holder_is_gone), self.client, _silent
        )
        await self._look()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for path in self._paths():
                group.create_task(self._listen(path))
            group.create_task(self._sample())
            group.create_task(self._look_again())

    def _paths(self) -> list[str]:
        apps, core = f"/apis/apps/v1/namespaces/{self.namespace}", f"/api/v1/namespaces/{self.namespace}"
        kinds = ("deployments", "replicasets") if self.native is None else ("statefulsets", "daemonsets")
        return [
            *(f"{apps}/{kind}" for kind in kinds),
            f"{core}/pods",
            f"{core}/services",
            f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices",
            f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases",
        ]

    async def _listen(self, path: str) -> NoReturn:
        while True:
            try:
                async for _ in self.client.stirrings(path):
                    self.deaf.discard(path)
                    self.stirred.set()
            except SegueError:
                self.deaf.add(path)
            await asyncio.sleep(WATCH_AGAIN_S if path in self.deaf else PAUSE_S)

    async def _look_again(self) -> NoReturn:
        while True:
            try:
                async with asyncio.timeout(WATCH_AGAIN_S if self.deaf else LOOK_ANYWAY_S):
                    await self.stirred.wait()
            except TimeoutError:
                pass
            self.stirred.clear()
            try:
                await self._look()
            except SegueError as error:
                self.observer = None
                self.board.put(trouble=error.message)
                await asyncio.sleep(WATCH_AGAIN_S)
                self.stirred.set()
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        if self.native is not None:
            self.snapshot = await run_flow(self.native.observe(), self.client, _silent)
        else:
            if self.observer is None:
                self.observer = Observer(
                    namespace=self.namespace, name=self.said, me=identity(), holder_is_gone=holder_is_gone
                )
            self.snapshot = seen = await run_flow(self.observer.observe(), self.client, _silent)
            if seen.memory is None:  # what begins next may be of two Deployments: that is found out by new eyes only
                self.observer = None
        self._tell()

    def _tell(self) -> None:
        snapshot = self.snapshot
        assert snapshot is not None, "nobody tells before the first look"
        if isinstance(snapshot, NativeSnapshot):
            standing = native_standing_of(snapshot)
        else:
            standing = standing_of(snapshot)
            self.onlooker.see(snapshot, self.evidence)
        seen = Seen(
            standing=standing,
            snapshot=snapshot,
            sights=self.sights,
            onlooker=self.onlooker,
            namespace=self.namespace,
        )
        self.board.put(workload=live_page(seen), trouble=None)

    async def _sample(self) -> NoReturn:
        while True:
            try:
                await run_flow(self._sampling(), self.client, _silent)
            except SegueError:
                self.sights = {}
                await asyncio.sleep(WATCH_AGAIN_S)

    def _sampling(self) -> Flow[NoReturn]:
        """Look at the pods' traffic for ever."""
        policy = Policy()
        collector = Collector(namespace=self.namespace, policy=policy)
        began_s: float | None = None
        while True:
            now_s = (yield Sleep(for_s=SAMPLE_EVERY_S)).now_s
            began_s = began_s if began_s is not None else now_s
            seen = self.snapshot
            assert seen is not None, "the first look came before"
            pods = tuple(pod for pod in seen.pods if pod.alive)
            for name in set(collector.watches) - {pod.name for pod in pods}:
                del collector.watches[name]
            now_s = yield from collector.sample(pods, _for_the_collector(seen, now_s), now_s)
            since_s = self.onlooker.drain_began_s
            self.evidence = collector.evidence(now_s, began_s if since_s is None else since_s)
            self.sights = {
                pod.name: sight_of(
                    pod.name,
                    collector.watches[pod.name],
                    self.evidence[pod.name],
                    now_s,
                    policy,
                    rate_over_s=RATE_OVER_S,
                )
                for pod in pods
                if pod.name in collector.watches
            }
            self._tell()


def _for_the_collector(seen: Snapshot | NativeSnapshot, now_s: float) -> Snapshot:
    if isinstance(seen, Snapshot):
        return seen
    return Snapshot(
        now_s=now_s,
        me="",
        deployment=Deployment(obj={"metadata": {"name": seen.native.name}, "spec": {}}),
        sets=(),
        pods=seen.pods,
        services=seen.services,
        endpoints={},
    )


def _silent(_progress: Progress, _now_s: float) -> None:
    """Who looks on has nothing to tell of its own."""
