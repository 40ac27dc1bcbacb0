"""The loop over one StatefulSet or DaemonSet: observe, decide, apply, look again.

Rule 1: an action is performed only on a decision made from a snapshot taken just before it.
Rule 2: a refused write is no error but news: look again. Only a write refused again and again ends the run.
Rule 3: the memory is in the cluster. This loop may die anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from segue.drive.flow import Flow, Progress, Sleep, ask, error_of
from segue.drive.journal import ActionEntry, Journal
from segue.drive.loop import REFUSED_IN_A_ROW_MAX, RENEW_AFTER_S, Outcome, is_news
from segue.drive.native_observe import NativeObserver
from segue.model.http import ApiResponse
from segue.release.actions import DropLease, TakeLease
from segue.release.decision import Stopped
from segue.release.memory import Memory
from segue.release.native_actions import CleanRevision, NativeAction, native_request, told
from segue.release.native_release import take_lease
from segue.release.native_snapshot import NativeSnapshot
from segue.release.natives import NativeDecision

DecideNative: TypeAlias = Callable[[NativeSnapshot, Memory | None], NativeDecision]


@dataclass(slots=True, kw_only=True)
class NativeDrive:
    """One run."""

    observer: NativeObserver
    decide: DecideNative
    journal: Journal = field(default_factory=Journal)
    refused_in_a_row: int = 0
    said: str = ""

    def run(self) -> Flow[Outcome]:
        """Until the end."""
        seen = yield from self.observer.observe()
        began_s = seen.now_s
        while True:
            self.journal.seen.see(seen.pods, seen.endpoints, seen.now_s)
            decision = self.decide(seen, seen.memory)
            yield from self._say(decision, seen)
            accepted = yield from self._perform(decision, seen)
            if decision.end is not None and accepted:
                if isinstance(decision.end, Stopped) and seen.mine and seen.lease is not None:
                    yield from ask(native_request(DropLease(lease=seen.lease)))
                ended_s = self.journal.actions[-1].ended_s if self.journal.actions else seen.now_s
                return Outcome(end=decision.end, journal=self.journal, began_s=began_s, ended_s=ended_s)
            if not accepted:
                yield Sleep(for_s=min(0.5, 0.02 * self.refused_in_a_row))
            elif not decision.actions:
                yield Sleep(for_s=decision.wake_in_s)
            if seen.mine and seen.lease is not None and seen.now_s - seen.lease.renewed_s > RENEW_AFTER_S:
                # A refused renewal means that the Lease has changed: the next look tells.
                yield from ask(native_request(take_lease(seen)))
            seen = yield from self.observer.observe()

    def _say(self, decision: NativeDecision, seen: NativeSnapshot) -> Flow[None]:
        if not decision.actions and decision.end is None and decision.because != self.said:
            self.said = decision.because
            versions = sorted({seen.version_of(pod) for pod in seen.pods})
            ready = {
                version: sum(pod.ready for pod in seen.pods if seen.version_of(pod) == version) for version in versions
            }
            yield Progress(because=decision.because, ready=ready)

    def _perform(self, decision: NativeDecision, seen: NativeSnapshot) -> Flow[bool]:
        """Perform the actions in order; False where one was refused (the rest is not tried)."""
        for action in decision.actions:
            now_s, (response,) = yield from ask(native_request(action))
            if isinstance(action, CleanRevision) and response.code == 403:  # who may not, leaves a note in the history
                continue
            if response.code >= 400 and not (isinstance(action, DropLease) and response.code == 404):
                self._refused(action, response)
                return False
            self.refused_in_a_row = 0
            if isinstance(action, TakeLease) and seen.mine:
                continue
            yield Progress(because=decision.because, action=told(action), barrier=decision.barrier)
            entry = ActionEntry(
                at_s=seen.now_s,
                ended_s=now_s,
                action=told(action),
                because=decision.because,
                barrier=decision.barrier,
            )
            self.journal.actions.append(entry)
        return True

    def _refused(self, action: NativeAction, response: ApiResponse) -> None:
        self.refused_in_a_row += 1
        if not is_news(response) or self.refused_in_a_row > REFUSED_IN_A_ROW_MAX:
            raise error_of(response, told(action))
