"""The loop of a release: observe, decide, apply, look again; the same code in every body.

Rule 1: an action is performed only on a decision made from a snapshot taken just before it.
Rule 2: a refused write is no error but news: look again. Only a write refused again and again ends the run.
Rule 3: the memory is in the cluster. This loop may die anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeAlias

from segue.drain.judge import Policy
from segue.drive.evidence import Collector
from segue.drive.flow import Flow, Progress, Sleep, ask, error_of, get
from segue.drive.journal import ActionEntry, Journal
from segue.drive.observe import Observer
from segue.drive.trying import measure, run_check
from segue.model.http import ApiResponse
from segue.model.workloads import Pod, ReplicaSet, lasting
from segue.release.actions import (
    Action,
    DropLease,
    EndPod,
    EndSet,
    Orphan,
    Point,
    PutSharesBack,
    Select,
    SetShares,
    TakeLease,
)
from segue.release.decision import Decision, Done, End, Stopped
from segue.release.entry import take_lease
from segue.release.memory import RAMPED, Memory
from segue.release.orphans import ORPHANS
from segue.release.requests import request_of
from segue.release.snapshot import Snapshot
from segue.release.telling import describe

RENEW_AFTER_S = 3.0
OBSERVE_EVERY_S = 0.3  # while draining: pods are sampled faster than the objects are read
REFUSED_IN_A_ROW_MAX = 30

Decide: TypeAlias = Callable[[Snapshot, Memory | None], Decision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    end: End
    journal: Journal
    began_s: float
    ended_s: float
    newest: ReplicaSet | None = None  # whose template the Deployment has at the end

    @property
    def goes_on(self) -> bool:
        """Whether the next thing may follow: it has neither stopped nor been held."""
        return isinstance(self.end, Done) and not self.end.held


@dataclass(slots=True, kw_only=True)
class Drive:
    """One run over one Deployment."""

    observer: Observer
    decide: Decide
    policy: Policy
    sampler_image: str = ""
    journal: Journal = field(default_factory=Journal)
    refused_in_a_row: int = 0
    said: str = ""
    now_s: float = 0.0
    measuring: bool = False

    def run(self) -> Flow[Outcome]:
        """Until the end."""
        collector = Collector(
            namespace=self.observer.namespace,
            policy=self.policy,
            sampler_image=self.sampler_image,
            journal=self.journal,
        )
        snapshot = yield from self.observer.observe()
        self.journal.seen.see(snapshot.pods, snapshot.endpoints, snapshot.now_s)
        began_s = snapshot.now_s
        while True:
            decision = self.decide(snapshot, snapshot.memory)
            yield from self._say(decision, snapshot)
            accepted = yield from self._perform(decision, snapshot)
            if decision.end is not None and accepted:
                end = decision.end
                if isinstance(end, Stopped):
                    yield from self._let_go(snapshot)
                    end = yield from self._with_events(end, snapshot)
                ended_s = self.journal.actions[-1].ended_s if self.journal.actions else snapshot.now_s
                return Outcome(end=end, journal=self.journal, began_s=began_s, ended_s=ended_s, newest=snapshot.newest)
            yield from self._try(decision, snapshot)
            if accepted and not decision.actions:
                snapshot = yield from self._wait(decision, snapshot, collector)
            else:
                yield from self._settle(accepted)
                snapshot = yield from self._look(snapshot, collector)

    def _try(self, decision: Decision, snapshot: Snapshot) -> Flow[None]:
        """Run the user's check, or measure, where that is decided; what came of it is in the next snapshot."""
        if decision.check is not None:
            entry = yield from run_check(self.observer, decision.check, decision.barrier, snapshot)
            self.journal.actions.extend(entry)
        if decision.measures is not None or self.measuring:
            yield from measure(self.observer, decision.measures, snapshot)
            self.measuring = decision.measures is not None

    def _settle(self, accepted: bool) -> Flow[None]:
        if not accepted:
            yield Sleep(for_s=min(0.5, 0.02 * self.refused_in_a_row))

    def _say(self, decision: Decision, snapshot: Snapshot) -> Flow[None]:
        if not decision.actions and decision.end is None and decision.because != self.said:
            self.said = decision.because
            yield Progress(because=decision.because, ready=_ready(snapshot))

    def _perform(self, decision: Decision, snapshot: Snapshot) -> Flow[bool]:
        """Perform the actions in order; False where one was refused (the rest is not tried)."""
        for actions in _batches(decision.actions):
            now_s, responses = yield from ask(*(request_of(action) for action in actions))
            refused = False
            for action, response in zip(actions, responses, strict=True):
                accepted = yield from self._answered(action, response, now_s, snapshot, decision)
                refused = refused or not accepted
            if refused:
                return False
            if _moves_traffic(actions[0]):
                # What was quiet before proves nothing now: a pin that somebody took away had let traffic in again.
                self.observer.drain_began_s, self.observer.evidence = now_s, {}
        for drained in decision.drained:
            self.journal.end(drained, self.journal.actions[-1].ended_s)
        return True

    def _answered(
        self, action: Action, response: ApiResponse, now_s: float, snapshot: Snapshot, decision: Decision
    ) -> Flow[bool]:
        """Take note of an action's answer; whether it was accepted."""
        if isinstance(action, EndSet) and response.code == 403:  # who may not do that, keeps one more revision
            return True
        if response.code >= 400 and not (isinstance(action, (DropLease, EndSet)) and response.code == 404):
            self._refused(action, response)
            return False
        self.refused_in_a_row = 0
        if not isinstance(action, TakeLease) or not snapshot.mine:
            # Told once it has been accepted: one that met a conflict is tried, and would be told, again.
            yield Progress(because=decision.because, action=describe(action), barrier=decision.barrier)
            evidence = "; ".join(f"{one.pod}: {one.because}" for one in decision.drained)
            self.journal.actions.append(
                ActionEntry(
                    at_s=snapshot.now_s,
                    ended_s=now_s,
                    action=describe(action),
                    because=decision.because,
                    barrier=decision.barrier,
                    evidence=evidence,
                )
            )
        return True

    def _refused(self, action: Action, response: ApiResponse) -> None:
        """News (somebody changed the object, or it is gone), or a refusal that no second look can change."""
        self.refused_in_a_row += 1
        if not is_news(response) or self.refused_in_a_row > REFUSED_IN_A_ROW_MAX:
            raise error_of(response, describe(action))

    def _let_go(self, snapshot: Snapshot) -> Flow[None]:
        if snapshot.mine and snapshot.lease is not None:
            yield from ask(request_of(DropLease(lease=snapshot.lease)))

    def _with_events(self, end: Stopped, snapshot: Snapshot) -> Flow[Stopped]:
        """Add what the newest warnings about pods that are not Ready say: why a probe fails stands nowhere else."""
        late = {pod.name for pod in snapshot.pods if pod.alive and not pod.ready}
        _, (answer,) = yield from ask(get(f"/api/v1/namespaces/{self.observer.namespace}/events"))
        rows = [row for row in answer.body.get("items") or [] if row.get("involvedObject", {}).get("name") in late]
        warnings = [row for row in rows if row.get("type") == "Warning"]
        said = {f"{row.get('reason')}: {lasting(row.get('message') or '')}" for row in warnings}
        fresh = sorted(text for text in said if not _is_told(text, end.message))
        # A back-off says that something failed, never what.
        fresh = ([text for text in fresh if "BackOff" not in text] or fresh[:1])[:3]
        return replace(end, message=f"{end.message}. Events: {'; '.join(fresh)}") if fresh else end

    def _wait(self, decision: Decision, snapshot: Snapshot, collector: Collector) -> Flow[Snapshot]:
        """Sleep as decided, sampling; a fresh snapshot, or while draining the same one with newer evidence."""
        pause_s = decision.wake_in_s
        if decision.drains:
            pause_s = collector.next_in_s(self.now_s)
        answer = yield Sleep(for_s=pause_s)
        self.now_s = answer.now_s
        if not decision.drains:
            return (yield from self._look(snapshot, collector))
        if self.observer.drain_began_s is None:
            self.observer.drain_began_s = answer.now_s
        collector.draining = True
        now_s = yield from collector.sample(_watched(snapshot, decision.drains), snapshot, answer.now_s)
        self.now_s = now_s
        evidence = collector.evidence(now_s, self.observer.drain_began_s)
        self.observer.evidence = evidence
        draining = replace(snapshot, evidence=evidence, drain_began_s=self.observer.drain_began_s)
        judged = self.decide(replace(draining, now_s=now_s), snapshot.memory)
        if judged.actions or judged.end is not None or now_s - snapshot.now_s >= OBSERVE_EVERY_S:
            return (yield from self._look(snapshot, collector))
        return draining  # as old as it is: only its evidence is newer

    def _look(self, before: Snapshot, collector: Collector) -> Flow[Snapshot]:
        """A fresh snapshot; the Lease is renewed and the serving pods are sampled slowly on the way."""
        if before.mine and before.lease is not None and before.now_s - before.lease.renewed_s > RENEW_AFTER_S:
            # A refused renewal means that the Lease has changed: the next snapshot tells.
            yield from ask(request_of(take_lease(self.observer.name, before)))
        if before.memory is not None and collector.due(before.now_s, self.observer.drain_began_s):
            now_s = yield from collector.sample(_watched(before, ""), before, before.now_s)
            self.observer.evidence = collector.evidence(now_s, self.observer.drain_began_s)
        snapshot = yield from self.observer.observe()
        self.journal.seen.see(snapshot.pods, snapshot.endpoints, snapshot.now_s)
        self.now_s = snapshot.now_s
        return snapshot


def _is_told(text: str, message: str) -> bool:
    """Whether a message has an event's words, without its reason or what it says of itself before them."""
    inner = text.partition(": ")[2]
    return inner in message or (inner.partition(": ")[2] or inner) in message


def _batches(actions: Sequence[Action]) -> Iterator[tuple[Action, ...]]:
    """What may be asked side by side: the pods of one decision, among each other. All else keeps its order."""
    for kind, group in groupby(actions, key=type):
        batch = tuple(group)
        if kind in {Orphan, EndPod}:
            yield batch
        else:
            yield from ((one,) for one in batch)


def _moves_traffic(action: Action) -> bool:
    """Whether a silence begins anew. Not with an unpin: the pods that drain have left the Services by then."""
    if isinstance(action, Point):
        return bool(action.pod_hash)
    return isinstance(action, (Select, Orphan, SetShares, PutSharesBack))


def is_news(response: ApiResponse) -> bool:
    """Whether a refusal only says that somebody was there before."""
    if response.code in {404, 409}:
        return True
    # A JSON patch whose `test` fails is answered 422 without saying more than this.
    message = str(response.body.get("message") or "").lower()
    return response.code == 422 and ("test" in message or "rejected our request" in message)


def _watched(snapshot: Snapshot, drains: str) -> tuple[Pod, ...]:
    """The pods whose traffic matters now: what drains, else what serves."""
    memory = snapshot.memory
    if drains and drains != ORPHANS:
        return snapshot.alive_of(drains)
    if memory is not None and memory.old_hash:
        back = memory.aborting and (memory.serving == "new" or memory.strategy in RAMPED)
        leaving = memory.new_hash if back and memory.new_hash else memory.old_hash
        # What an earlier run took out of traffic is of any version; nobody else watches it.
        return tuple(pod for pod in snapshot.pods if pod.alive and (pod.orphaned or pod.pod_hash == leaving))
    return tuple(pod for pod in snapshot.pods if pod.alive)


def _ready(snapshot: Snapshot) -> dict[str, int]:
    versions = {pod.pod_hash for pod in snapshot.pods if pod.pod_hash}
    return {version: len(snapshot.ready_of(version)) for version in sorted(versions)}
