from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.lifecycle.probes import (
    ProbeKind,
    ProbeTimes,
    Subject,
    Turn,
    Verdict,
    Worker,
    about,
    after_probe,
    caught_up,
    new_worker,
    poke,
    turn,
    wake_s,
)

RUNNING = Subject(container_id="c0", running=True, started_at_s=100.3, started=True, restarts=True, terminating=False)


def worker_of(kind: ProbeKind = ProbeKind.READINESS, *, admitted_s: float = 100.0, **numbers: int) -> Worker:
    return new_worker(ProbeTimes(kind=kind, **numbers), admitted_s)


def moments_of_probes(worker: Worker, subject: Subject, until_s: float) -> list[float]:
    """When the worker probes if every probe succeeds at once and it is asked exactly when it wants to be."""
    moments = []
    while (now_s := wake_s(worker)) < until_s:
        worker, wanted = turn(worker, subject, now_s)
        if wanted is Turn.PROBE:
            moments.append(now_s)
            worker = after_probe(worker, subject.container_id, True)
    return moments


def test_ticks_count_from_the_admission_and_not_from_the_start() -> None:
    """P2: admitted at 100.0, started at 100.3, period 10: the first tick that finds it running is the one at 110."""
    worker = caught_up(worker_of(period_s=10), RUNNING.started_at_s)

    assert moments_of_probes(worker, RUNNING, 135) == [110.0, 120.0, 130.0]


def test_the_initial_delay_skips_ticks_in_whole_seconds_since_the_start() -> None:
    """P6: started at 100.3 with delay 1: at 101.0 only 0.7 s are over, at 102.0 it is 1.7 s."""
    worker = caught_up(worker_of(period_s=1, initial_delay_s=1), RUNNING.started_at_s)

    assert moments_of_probes(worker, RUNNING, 104.5) == [102.0, 103.0, 104.0]


@given(
    period_s=st.integers(1, 30),
    delay_s=st.integers(0, 60),
    start_s=st.floats(0, 40),
)
def test_the_first_probe_falls_within_one_period_after_the_delay(period_s: int, delay_s: int, start_s: float) -> None:
    started_at_s = 1000.0 + start_s
    subject = replace(RUNNING, started_at_s=started_at_s)
    worker = caught_up(worker_of(admitted_s=1000.0, period_s=period_s, initial_delay_s=delay_s), started_at_s)
    first_s = moments_of_probes(worker, subject, started_at_s + delay_s + period_s + 1.0)[0]

    assert started_at_s + delay_s - 1e-6 <= first_s <= started_at_s + delay_s + period_s + 1e-6


def test_a_poke_probes_at_once_and_leaves_the_rhythm_alone() -> None:
    """P4."""
    worker = poke(caught_up(worker_of(period_s=10), 100.3))
    worker, wanted = turn(worker, RUNNING, 100.8)
    worker = after_probe(worker, "c0", True)

    assert wanted is Turn.PROBE
    assert wake_s(worker) == 110.0


def test_a_poke_within_the_initial_delay_probes_nothing() -> None:
    worker = poke(caught_up(worker_of(period_s=10, initial_delay_s=1), 100.3))

    assert turn(worker, RUNNING, 100.8)[1] is Turn.WAIT


def test_two_ticks_that_pass_during_a_probe_give_one_probe() -> None:
    worker, first = turn(caught_up(worker_of(period_s=1), 100.3), RUNNING, 101.0)
    assert first is Turn.PROBE
    assert turn(worker, RUNNING, 102.0)[1] is Turn.WAIT

    worker, second = turn(after_probe(worker, "c0", True), RUNNING, 103.4)

    assert second is Turn.PROBE
    assert worker.next_tick_s == 104.0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ProbeKind.READINESS, Verdict.FAILURE),
        (ProbeKind.LIVENESS, Verdict.SUCCESS),
        (ProbeKind.STARTUP, Verdict.UNKNOWN),
    ],
)
def test_before_any_probe_each_kind_has_its_own_verdict(kind: ProbeKind, expected: Verdict) -> None:
    """P3."""
    assert worker_of(kind).verdict is expected


def fed(worker: Worker, *outcomes: bool | None) -> Worker:
    worker = about(worker, RUNNING)
    for outcome in outcomes:
        worker = after_probe(replace(worker, probing=True), "c0", outcome)
    return worker


def test_a_verdict_turns_after_that_many_equal_results_in_a_row() -> None:
    """P5: three failures needed; a success in between begins the count afresh."""
    passed = fed(worker_of(), True)

    assert passed.verdict is Verdict.SUCCESS
    assert fed(passed, False, False, True, False, False).verdict is Verdict.SUCCESS
    assert fed(passed, False, False, True, False, False, False).verdict is Verdict.FAILURE


def test_several_successes_may_be_needed_to_become_ready() -> None:
    worker = worker_of(successes_needed=2)

    assert fed(worker, True).verdict is Verdict.FAILURE
    assert fed(worker, True, True).verdict is Verdict.SUCCESS


def test_an_error_that_is_no_result_changes_nothing() -> None:
    """P8."""
    assert fed(worker_of(failures_needed=2), True, False, None, False).verdict is Verdict.FAILURE
    assert fed(worker_of(), None, None, None) == fed(worker_of())


def test_a_result_of_an_earlier_container_is_dropped() -> None:
    worker = about(worker_of(ProbeKind.LIVENESS, failures_needed=1), replace(RUNNING, container_id="c1"))

    assert after_probe(replace(worker, probing=True), "c0", False).verdict is Verdict.SUCCESS


def test_a_failed_liveness_worker_holds_until_the_next_container() -> None:
    """L1: the container is being killed; nothing it answers now may count for the one that follows."""
    worker = fed(worker_of(ProbeKind.LIVENESS, period_s=1, failures_needed=1), False)

    assert worker.verdict is Verdict.FAILURE
    assert turn(worker, RUNNING, 105.0)[1] is Turn.WAIT
    fresh, wanted = turn(worker, replace(RUNNING, container_id="c1", started_at_s=105.0), 106.0)
    assert wanted is Turn.PROBE
    assert fresh.verdict is Verdict.SUCCESS


def test_readiness_never_holds() -> None:
    worker = fed(worker_of(period_s=1, failures_needed=1), False)

    assert turn(worker, RUNNING, 105.0)[1] is Turn.PROBE


def test_startup_goes_first_and_alone() -> None:
    """P4."""
    starting = replace(RUNNING, started=False)

    assert turn(worker_of(ProbeKind.STARTUP), starting, 110.0)[1] is Turn.PROBE
    assert turn(worker_of(ProbeKind.READINESS), starting, 110.0)[1] is Turn.WAIT
    assert turn(worker_of(ProbeKind.LIVENESS), starting, 110.0)[1] is Turn.WAIT
    assert turn(worker_of(ProbeKind.STARTUP), RUNNING, 110.0)[1] is Turn.WAIT


def test_in_a_pod_on_its_way_out_readiness_goes_on_and_the_others_end() -> None:
    """P10."""
    leaving = replace(RUNNING, terminating=True)

    assert turn(worker_of(ProbeKind.READINESS), leaving, 110.0)[1] is Turn.PROBE
    assert turn(worker_of(ProbeKind.LIVENESS), leaving, 110.0)[1] is Turn.END
    assert turn(worker_of(ProbeKind.STARTUP), leaving, 110.0)[1] is Turn.END


def test_a_container_that_is_gone_for_good_ends_its_worker() -> None:
    gone = replace(RUNNING, running=False, restarts=False)

    assert turn(worker_of(), gone, 110.0)[1] is Turn.END
    assert turn(worker_of(), replace(gone, restarts=True), 110.0)[1] is Turn.WAIT


def test_while_a_probe_is_under_way_the_worker_wants_nothing() -> None:
    worker, _ = turn(worker_of(), RUNNING, 110.0)

    assert wake_s(worker) == math.inf
