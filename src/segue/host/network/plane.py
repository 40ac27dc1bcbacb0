"""Keeps a node's data plane up to date: watches the store, plans, applies in kube-proxy's rhythm, tells the timeline.

RULE_ADDED and RULE_REMOVED are recorded when the target has applied them, not when they were planned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from segue.cluster.dataplane.nftables import KEEPER, Frame, render, render_change
from segue.cluster.dataplane.rules import Endpoint, RuleTable, plan
from segue.cluster.dataplane.sync import Rhythm, Syncer, SyncNow
from segue.cluster.dataplane.udp import has_udp, stale_flows
from segue.cluster.store import Store, StoreEvent
from segue.host.network.conntrack import FlowTable
from segue.host.network.netns import sysctls
from segue.host.network.nft import run_nft
from segue.model.errors import HostError
from segue.model.timeline import Happening, What
from segue.ports import Clock, Recorder

SERVICES = "services"
SLICES = "endpointslices.discovery.k8s.io"
_log = logging.getLogger(__name__)

# Present once something tracks connections. Ended connections are forgotten early, so that the table of a small machine
# (65,536 entries) holds a load of 1,500 connections per second.
_CONNTRACK_SYSCTLS: dict[str, str | int] = {"net/netfilter/nf_conntrack_tcp_timeout_time_wait": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """Which node this is and how fast its data plane follows."""

    node: str
    rhythm: Rhythm = field(default_factory=Rhythm)


class PlaneTarget(Protocol):
    """What carries the rules out: nftables, or loopback mode's proxy."""

    async def apply(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Make `after` effective; HostError where it could not, and then `before` still holds."""
        ...

    async def tidy(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Clean up behind a change that has taken effect; HostError where it could not."""
        ...


class NftTarget:
    """The kernel's data plane in the network namespace of this process."""

    def __init__(self, frame: Frame | None = None) -> None:
        self.frame = frame or Frame()
        self._flows = FlowTable()
        self._kept = False

    async def apply(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """One transaction."""
        await asyncio.to_thread(self._apply, before, after, full)

    async def tidy(self, before: RuleTable, after: RuleTable, *, full: bool) -> None:
        """Delete what nothing refers to any more, and end UDP flows whose backend is gone (K7)."""
        await asyncio.to_thread(self._tidy, before, after, full)

    def close(self) -> None:
        """Close what it holds; the rules end with the namespace."""
        self._flows.close()

    def _apply(self, before: RuleTable, after: RuleTable, full: bool) -> None:
        if not self._kept:
            run_nft(KEEPER)
            with contextlib.suppress(OSError):  # an older kernel shows it to the first user namespace only
                sysctls(_CONNTRACK_SYSCTLS)
            self._kept = True
        text = render(after, self.frame) if full else render_change(before, after, self.frame).apply
        if text:
            run_nft(text)

    def _tidy(self, before: RuleTable, after: RuleTable, full: bool) -> None:
        text = "" if full else render_change(before, after, self.frame).tidy
        if text:
            run_nft(text)
        if has_udp(after):
            flows = self._flows.udp_flows()
            self._flows.end(flows[flow] for flow in stale_flows(after, self.frame.node_ips, flows))


class PlaneRunner:
    """One node's data plane at work."""

    def __init__(
        self, store: Store, target: PlaneTarget, recorder: Recorder, clock: Clock, settings: PlaneSettings
    ) -> None:
        self._store = store
        self._target = target
        self._recorder = recorder
        self._clock = clock
        self._node = settings.node
        self._syncer = Syncer(settings.rhythm)
        self._seen: deque[tuple[float, RuleTable]] = deque()  # what was known when, while the node lives in the past
        self._table = RuleTable(node=settings.node)
        self._planned = self._table  # what the store asked for last
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self.syncs = 0

    @property
    def table(self) -> RuleTable:
        """The rules in effect."""
        return self._table

    def set_rhythm(self, rhythm: Rhythm) -> None:
        """Follow faster or slower from now on (drills)."""
        self._syncer.rhythm = rhythm
        self._changed.set()

    async def start(self) -> None:
        """Make the first full sync, then follow the store."""
        self._unsubscribe = self._store.subscribe(self._on_event)
        await self._sync_now()
        self._task = asyncio.create_task(self._follow(), name="data plane")

    async def stop(self) -> None:
        """Follow no more; the rules stay as they are."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _sync_now(self) -> None:
        now_s = self._clock.now_s()
        self._planned = self._plan()
        self._syncer.on_change(now_s - self._syncer.rhythm.delay_s)  # what is there at the start is no change
        due = self._syncer.step(now_s)
        assert due is not None
        await self._sync(due)

    def _on_event(self, event: StoreEvent) -> None:
        if event.ref.resource not in (SERVICES, SLICES):
            return
        planned = self._plan()
        if planned == self._planned:
            return  # kube-proxy compares, too: a new selector alone starts no sync and delays none
        self._planned = planned
        now_s = self._clock.now_s()
        if self._syncer.rhythm.delay_s:
            self._seen.append((now_s, planned))
        self._syncer.on_change(now_s)
        self._changed.set()

    def _plan(self) -> RuleTable:
        return plan(self._store.all_of(SERVICES), self._store.all_of(SLICES), self._node)

    async def _follow(self) -> None:
        while True:
            wake_s = self._syncer.wake_s()
            wait_s = None if wake_s is None else wake_s - self._clock.now_s()
            if wait_s is None or wait_s > 0:
                # Not wait_for: before Python 3.12 it forgets a cancellation that comes together with the change.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                self._changed.clear()
            due = self._syncer.step(self._clock.now_s())
            if due is not None:
                await self._sync(due)

    async def _sync(self, due: SyncNow) -> None:
        wanted = self._known_at(due.as_of_s)
        before, ok = self._table, False
        try:
            await self._target.apply(before, wanted, full=due.full)
            self._table = wanted
            self.syncs += 1
            self._tell(before, wanted, self._clock.now_s())
            await self._target.tidy(before, wanted, full=due.full)
            ok = True
        except HostError as error:
            _log.error("data plane sync failed, next try in %s s: %s", self._syncer.rhythm.retry_s, error.message)
        finally:
            self._syncer.done(self._clock.now_s(), ok=ok)

    def _known_at(self, as_of_s: float) -> RuleTable:
        """What the node knew then; without a delay what the store holds now."""
        if not self._syncer.rhythm.delay_s:
            self._seen.clear()
            return self._plan()
        known = self._table if self.syncs else self._plan()
        while self._seen and self._seen[0][0] <= as_of_s:
            known = self._seen.popleft()[1]
        return known

    def _tell(self, before: RuleTable, after: RuleTable, now_s: float) -> None:
        old, new = _used(before), _used(after)
        for what, ones, others in ((What.RULE_ADDED, new, old), (What.RULE_REMOVED, old, new)):
            for service, ip in sorted(ones.keys() - others.keys()):
                data = {"service": service, "ip": ip, "node": self._node}
                self._recorder.record(Happening(at_s=now_s, what=what, pod=ones[service, ip].pod, data=data))


def _used(table: RuleTable) -> dict[tuple[str, str], Endpoint]:
    """(service, ip) of everything that may get a new connection."""
    return {(rule.service, endpoint.ip): endpoint for rule in table.rules for endpoint in rule.endpoints()}
