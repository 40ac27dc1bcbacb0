"""What sources say is read as it is meant, or is silence with a reason."""

from __future__ import annotations

import json

import pytest

from segue.analysis.answers import Heard, Silence, from_command, from_prometheus, is_good_answer, series_from
from segue.analysis.counting import Series, Tally
from segue.analysis.values import Counts, PrometheusSource
from segue.model.objects import Obj

COUNTED = PrometheusSource(url="http://p", good="g", bad="b")
TOTAL = PrometheusSource(url="http://p", bad="b", total="t")
VALUE = PrometheusSource(url="http://p", value="v", below=0.3)


@pytest.mark.parametrize(
    ("code", "output", "wanted"),
    [
        (0, "", Heard(trial=True)),
        (1, "no answer\n", Heard(trial=False)),
        (0, 'looking\n{"good": 10, "bad": 2}\n', Heard(counters={"good": {"": 10.0}, "bad": {"": 2.0}})),
        (1, '{"good": 1, "bad": 0}', Heard(counters={"good": {"": 1.0}, "bad": {"": 0.0}})),
    ],
)
def test_a_command_says_counts_or_one_trial(code: int, output: str, wanted: Heard) -> None:
    assert from_command(code, output) == wanted


@pytest.mark.parametrize(
    ("code", "output", "words"),
    [
        (127, "sh: curl: not found", "exit code 127: sh: curl: not found"),
        (-9, "", "exit code -9: no output"),
        (0, '{"good": 10}', "not {"),
        (0, '{"good": "ten", "bad": 0}', "not {"),
        (0, '{"good": -1, "bad": 0}', "not counts"),
        (0, '{"good": NaN, "bad": 0}', "not counts"),
        (0, "{broken", "not {"),
    ],
)
def test_a_command_that_cannot_be_understood_is_silent(code: int, output: str, words: str) -> None:
    found = from_command(code, output)

    assert isinstance(found, Silence)
    assert words in found.because


def vector(*rows: tuple[Obj, str]) -> Obj:
    result = [{"metric": labels, "value": [1.0, value]} for labels, value in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_series_are_told_apart_by_their_labels() -> None:
    found = series_from(vector(({"pod": "a", "code": "200"}, "3"), ({"code": "200", "pod": "b"}, "4")))

    assert found == {json.dumps({"code": "200", "pod": "a"}): 3.0, json.dumps({"code": "200", "pod": "b"}): 4.0}
    assert series_from({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "7"]}}) == {"{}": 7.0}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"status": "error", "error": "parse error"}, "Prometheus: parse error"),
        ({}, "not an answer of its API"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "gives a matrix"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}, "cannot be read"),
        ({"status": "success", "data": {}}, "cannot be read"),
    ],
)
def test_an_answer_that_is_none_is_silence(body: Obj, words: str) -> None:
    found = series_from(body)

    assert isinstance(found, Silence)
    assert words in found.because


def test_no_series_of_bad_ones_is_no_bad_one_but_nothing_at_all_is_silence() -> None:
    good: dict[str, Series] = {"good": {"a": 1.0}, "bad": {}}
    nothing: dict[str, Series] = {"good": {}, "bad": {}}

    assert from_prometheus(COUNTED, good) == Heard(counters=good)
    assert from_prometheus(COUNTED, nothing) == Silence(because="no series for good and bad: b")
    assert from_prometheus(TOTAL, {"bad": {}, "total": {}}) == Silence(because="no series for bad and total: t")
    assert from_prometheus(TOTAL, {"bad": {"a": 1.0}, "total": {}}) == Silence(because="no series for total: t")
    assert from_prometheus(COUNTED, {"good": {"a": float("nan")}, "bad": {}}) == Silence(
        because="a query gives no number (NaN or Inf)"
    )


def test_a_value_is_a_trial_when_there_is_one() -> None:
    assert from_prometheus(VALUE, {"value": {"a": 0.2}}) == Heard(trial=True)
    assert from_prometheus(VALUE, {"value": {"a": 0.3}}) == Heard(trial=False)
    assert from_prometheus(VALUE, {"value": {}}) == Silence(because="no series: v")
    assert from_prometheus(VALUE, {"value": {"a": 0.1, "b": 0.1}}) == Silence(because="2 series, not one: v")


def test_counters_count_from_their_first_reading_and_through_restarts() -> None:
    tally = Tally()
    for good, bad in [
        ({"a": 100.0}, {}),
        ({"a": 110.0}, {"a": 2.0}),  # a series that appears began at 0
        ({"a": 4.0, "b": 5.0}, {"a": 2.0}),  # a was restarted, b is new
        ({"b": 6.0}, {"a": 3.0}),  # a went away
        ({"a": 5.0, "b": 6.0}, {"a": 3.0}),  # and came again
    ]:
        tally.note({"good": good, "bad": bad})

    assert tally.counts == Counts(good=10 + 4 + 5 + 1 + 1, bad=3)


def test_of_two_queries_the_part_is_never_more_than_the_whole() -> None:
    tally = Tally()
    tally.note({"bad": {"": 0.0}, "total": {"": 0.0}})
    tally.note({"bad": {"": 12.0}, "total": {"": 10.0}})
    assert tally.counts == Counts(good=0, bad=10)
    other = Tally()
    other.note({"good": {"": 0.0}, "total": {"": 0.0}})
    other.note({"good": {"": 7.0}, "total": {"": 10.0}})
    other.trial(True)
    assert other.counts == Counts(good=8, bad=3)


def test_an_http_answer_is_good_by_status_and_words() -> None:
    assert is_good_answer(204, "", wanted=0, contains="")
    assert not is_good_answer(404, "", wanted=0, contains="")
    assert is_good_answer(404, "gone", wanted=404, contains="gone")
    assert not is_good_answer(200, "ko", wanted=0, contains="ok")
