"""One probe of one container: when it runs, and what its results mean. A worker is a value; each step gives the next.

Rule 1: the worker ticks from the pod's admission on the node, not from the container's start (P2), so the first probe
        that counts falls 0 to one period after the start. Its phase never changes; a poke adds a probe between ticks.
Rule 2: at most one probe of a worker is under way; one tick and one poke that arrive meanwhile are kept, not more.
It must never run a probe: it says that one is due and is told the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class ProbeKind(StrEnum):
    """The three probes a container may have."""

    READINESS = "readiness"
    LIVENESS = "liveness"
    STARTUP = "startup"


class Verdict(StrEnum):
    """What a worker holds of its container; UNKNOWN is a startup probe that has not decided."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


class Turn(StrEnum):
    """What a worker wants at this moment."""

    WAIT = "wait"
    PROBE = "probe"
    END = "end"  # it will never probe again


_BEFORE_ANY_PROBE = {  # P3
    ProbeKind.READINESS: Verdict.FAILURE,
    ProbeKind.LIVENESS: Verdict.SUCCESS,
    ProbeKind.STARTUP: Verdict.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTimes:
    """The numbers of a probe, with Kubernetes' defaults (P1)."""

    kind: ProbeKind
    period_s: int = 10
    timeout_s: int = 1
    initial_delay_s: int = 0
    successes_needed: int = 1
    failures_needed: int = 3

    def __post_init__(self) -> None:
        assert self.period_s > 0
        assert self.timeout_s > 0
        assert self.successes_needed > 0
        assert self.failures_needed > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The container as the worker sees it; `container_id` is "" until the first start."""

    container_id: str
    running: bool
    started_at_s: float
    started: bool  # the startup probe, where there is one, has succeeded
    restarts: bool  # once exited, it will be started again
    terminating: bool  # the pod is being deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker. `verdict` is what counts outside; the rest is its own."""

    times: ProbeTimes
    admitted_s: float
    next_tick_s: float
    verdict: Verdict
    container_id: str = ""
    probing: bool = False
    poked: bool = False
    on_hold: bool = False  # it has said its last word about this container; the next one wakes it
    run_of: Verdict | None = None
    run_length: int = 0


def new_worker(times: ProbeTimes, admitted_s: float) -> Worker:
    """A worker whose ticks start now."""
    return Worker(
        times=times,
        admitted_s=admitted_s,
        next_tick_s=admitted_s,
        verdict=_BEFORE_ANY_PROBE[times.kind],
    )


def poke(worker: Worker) -> Worker:
    """Ask for one probe outside the rhythm (P4)."""
    return worker if worker.poked else replace(worker, poked=True)


def caught_up(worker: Worker, now_s: float) -> Worker:
    """The worker without the ticks that passed while there was nothing to probe; its phase stays."""
    return worker if worker.next_tick_s >= now_s else replace(worker, next_tick_s=_tick_after(worker, now_s))


def wake_s(worker: Worker) -> float:
    """When the worker has to be asked again if nothing happens; infinite while a probe is under way."""
    if worker.probing:
        return math.inf
    return 0.0 if worker.poked else worker.next_tick_s


def turn(worker: Worker, subject: Subject, now_s: float) -> tuple[Worker, Turn]:
    """What is due now. PROBE means that `after_probe` will be called with the outcome."""
    if worker.probing or not (worker.poked or now_s >= worker.next_tick_s):
        return worker, Turn.WAIT
    worker = replace(worker, poked=False, next_tick_s=_tick_after(worker, now_s))
    if not subject.container_id:
        return worker, Turn.WAIT
    worker = about(worker, subject)
    if worker.on_hold:
        return worker, Turn.WAIT
    if not subject.running:
        return replace(worker, verdict=Verdict.FAILURE), Turn.WAIT if subject.restarts else Turn.END
    kind = worker.times.kind
    if subject.terminating and kind is not ProbeKind.READINESS:
        # P10: a pod on its way out is not restarted, but it still says whether it serves
        return replace(worker, verdict=Verdict.SUCCESS), Turn.END
    if int(now_s - subject.started_at_s) < worker.times.initial_delay_s:  # P6: whole seconds, truncated
        return worker, Turn.WAIT
    if subject.started == (kind is ProbeKind.STARTUP):  # P4: startup goes first and alone
        return worker, Turn.WAIT
    return replace(worker, probing=True), Turn.PROBE


def about(worker: Worker, subject: Subject) -> Worker:
    """The worker for this container: one that was about an earlier container begins afresh."""
    if subject.container_id == worker.container_id:
        return worker
    return replace(
        worker,
        container_id=subject.container_id,
        verdict=_BEFORE_ANY_PROBE[worker.times.kind],
        on_hold=False,
        run_of=None,
        run_length=0,
    )


def after_probe(worker: Worker, container_id: str, succeeded: bool | None) -> Worker:
    """The worker after a probe of `container_id`; None is an error that is no result and changes nothing (P8)."""
    assert worker.probing
    worker = replace(worker, probing=False)
    if succeeded is None or container_id != worker.container_id:
        return worker
    verdict = Verdict.SUCCESS if succeeded else Verdict.FAILURE
    length = worker.run_length + 1 if worker.run_of is verdict else 1
    worker = replace(worker, run_of=verdict, run_length=length)
    times = worker.times
    if length < (times.successes_needed if succeeded else times.failures_needed):  # P5
        return worker
    if not succeeded and times.kind is not ProbeKind.READINESS:
        # L1: the container will be killed; probing it any further could only kill the next one
        return replace(worker, verdict=verdict, on_hold=True, run_length=0)
    return replace(worker, verdict=verdict)


def _tick_after(worker: Worker, now_s: float) -> float:
    ticks = math.floor((now_s - worker.admitted_s) / worker.times.period_s) + 1
    return worker.admitted_s + ticks * worker.times.period_s
