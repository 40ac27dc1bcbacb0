"""Sums of a load."""

from __future__ import annotations

import random

import msgspec
import pytest

from segue.load.outcome import Outcome, Phase
from segue.load.record import Record, from_line, to_line
from segue.load.summary import Latencies, Tally

T0 = 1_800_000_000.0


def record(at_s: float, latency_s: float = 0.001, outcome: Outcome = Outcome.OK, late_s: float = 0.0) -> Record:
    return Record(
        index=1,
        planned_s=T0 + at_s,
        sent_s=T0 + at_s + late_s,
        opened_s=T0 + at_s + late_s,
        connected_s=T0 + at_s,
        first_byte_s=T0 + at_s,
        done_s=T0 + at_s + latency_s,
        local_ip="127.0.0.1",
        local_port=4,
        remote_ip="127.0.0.1",
        remote_port=5,
        conn=1,
        nth=1,
        bytes_out=1,
        bytes_in=1,
        status=200,
        errno="" if outcome is Outcome.OK else "ECONNRESET",
        phase=Phase.DONE,
        outcome=outcome,
        version="v1",
        path="/",
        request_id="x-1",
    )


def test_quantiles_are_at_most_one_percent_off() -> None:
    chance = random.Random(7)
    values = [chance.lognormvariate(-6, 1.5) for _ in range(20_000)]
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    values.sort()

    for share in (0.5, 0.9, 0.99, 0.999):
        assert latencies.quantile_s(share) == pytest.approx(values[int(share * len(values)) - 1], rel=0.011)


def test_latency_counts_from_the_planned_moment() -> None:
    assert record(0, latency_s=0.5, late_s=0.4).latency_s == pytest.approx(0.5)


def test_a_late_start_is_told() -> None:
    tally = Tally(T0, (T0, T0 + 1))
    tally.add(record(0, latency_s=0.5, late_s=0.4))

    assert (tally.as_json()["late"], tally.as_json()["latenessMaxMs"]) == (1, 400.0)


def test_the_longest_gap_lies_between_good_answers_while_requests_were_due() -> None:
    tally = Tally(T0, (T0, T0 + 3))
    for at_s in (0.1, 0.2, 1.7, 1.8, 2.9):
        tally.add(record(at_s, latency_s=0.0))
    tally.add(record(2.95, latency_s=9.0))  # a slow answer after the end is no gap

    assert tally.as_json()["longestGapMs"] == pytest.approx(1500)


def test_without_a_good_answer_the_whole_window_is_a_gap() -> None:
    tally = Tally(T0, (T0, T0 + 2))
    tally.add(record(2.0, latency_s=0.0, outcome=Outcome.CONNECT_REFUSED))

    assert tally.as_json()["longestGapMs"] == pytest.approx(2000)


def test_own_faults_are_counted_but_not_lost() -> None:
    tally = Tally(T0, (T0, T0 + 1))
    for outcome in (Outcome.OK, Outcome.OWN_FAULT, Outcome.EMPTY_ANSWER):
        tally.add(record(0.1, outcome=outcome))

    assert (tally.total, tally.lost, tally.own_faults) == (3, 1, 1)


def test_a_record_survives_its_line() -> None:
    assert from_line(to_line(record(1.25))) == record(1.25)


def test_a_broken_line_is_no_record() -> None:
    with pytest.raises(msgspec.DecodeError):
        from_line(b"[1,2,3]\n")
