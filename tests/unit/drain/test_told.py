"""What apps and Prometheus tell: numbers where they are understood, a word about why where they are not."""

from __future__ import annotations

import json

import pytest

from segue.drain.judge import Policy, Receiver, Verdict, Watch
from segue.drain.samples import ProcText, Sample
from segue.drain.told import ACCEPTED, ACTIVE, WORD, Word, heard, word_of
from segue.model.objects import Obj

PROMETHEUS = {
    WORD: "prometheus:http://prom:9090/",
    ACTIVE: 'in_flight{pod="$SEGUE_POD"}',
    ACCEPTED: 'requests_total{namespace="$SEGUE_NAMESPACE"}',
}


def word(**said: str) -> Word:
    found = word_of(said or {WORD: "http://:8080/traffic"}, pod="web-1", namespace="shop")
    assert isinstance(found, Word), found
    return found


def answer(body: object, *, of: Word | None = None, at_s: float = 100.0) -> Sample | str:
    text = body if isinstance(body, str) else json.dumps(body)
    return heard(of or word(), ProcText(text=text, asked_s=at_s, read_s=at_s + 0.1))


def test_an_endpoint_is_asked_through_the_api_server() -> None:
    assert word().path == "/api/v1/namespaces/shop/pods/web-1:8080/proxy/traffic"
    assert word(**{WORD: "https://:8443/x?y=1"}).path == "/api/v1/namespaces/shop/pods/https:web-1:8443/proxy/x?y=1"
    assert word_of({}, pod="web-1", namespace="shop") is None


def test_series_are_told_which_pod_they_are_about() -> None:
    found = word(**PROMETHEUS)

    assert (found.url, found.active) == ("http://prom:9090", 'in_flight{pod="web-1"}')
    assert found.accepted == 'requests_total{namespace="shop"}'


@pytest.mark.parametrize(
    "said",
    [
        {WORD: "http://elsewhere:8080/x"},
        {WORD: "yes"},
        {WORD: "prometheus:here"},
        {WORD: "prometheus:http://prom:9090"},
        PROMETHEUS | {ACTIVE: "sum(in_flight)"},
        PROMETHEUS | {ACCEPTED: "rate(requests_total[1m])"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_said(said: dict[str, str]) -> None:
    found = word_of(said, pod="web-1", namespace="shop")

    assert isinstance(found, str)
    assert found.startswith(WORD)


def test_an_app_tells_what_must_not_be_lost_and_how_many_came() -> None:
    sample = answer({"active": 2, "accepted": 1700, "peers": ["10.0.0.3:4000"]})
    assert isinstance(sample, Sample)

    assert (sample.active, sample.passive_opens, sample.peers, sample.source) == (2, 1700, ("10.0.0.3:4000",), "app")
    assert isinstance(answer({"active": "0", "accepted": "17.0"}), Sample)


@pytest.mark.parametrize(
    "body",
    [
        "<html>busy</html>",
        "",
        "[]",
        {},
        {"active": 1},
        {"active": -1, "accepted": 1},
        {"active": True, "accepted": 1},
        {"active": None, "accepted": 1},
        {"active": "few", "accepted": 1},
        '{"active": NaN, "accepted": 1}',
        '{"active": 1e400, "accepted": 1}',
    ],
    ids=str,
)
def test_an_answer_that_is_not_understood_is_a_word_and_no_number(body: object) -> None:
    assert isinstance(answer(body), str)


def scraped(*values: tuple[float, str]) -> Obj:
    return {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [*values]}]}}


def test_prometheus_is_as_old_as_its_last_scrape() -> None:
    active, accepted = scraped((70.0, "3"), (85.0, "1")), scraped((70.0, "10"), (85.0, "12"))
    sample = answer({"active": active, "accepted": accepted}, of=word(**PROMETHEUS))
    assert isinstance(sample, Sample)

    assert (sample.at_s, sample.active, sample.passive_opens, sample.source) == (85.0, 1, 12, "prometheus")
    assert sample.fresh_s == 2.5 * 15 + 1


def test_a_clock_that_is_ahead_makes_nothing_newer_than_the_question() -> None:
    ahead = scraped((150.0, "0"), (151.0, "0"))
    sample = answer({"active": ahead, "accepted": ahead}, of=word(**PROMETHEUS))
    assert isinstance(sample, Sample)

    assert sample.at_s == 100.0


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"status": "error", "error": "parse error"},
        {"status": "success", "data": {"result": []}},
        {"status": "success", "data": {"result": [{"values": []}]}},
        {"status": "success", "data": {"result": [{"value": [1, "2"]}]}},
        scraped((99.0, "NaN")),
        scraped((99.0, "-1")),
    ],
    ids=str,
)
def test_prometheus_without_the_series_tells_nothing(body: Obj | None) -> None:
    good = scraped((99.0, "0"))

    assert isinstance(answer({"active": body, "accepted": good}, of=word(**PROMETHEUS)), str)
    assert isinstance(answer({"active": good, "accepted": body}, of=word(**PROMETHEUS)), str)


def test_another_kind_of_source_starts_the_watch_again() -> None:
    watch = Watch(receiver=Receiver(ports=frozenset({8080})))
    for tick in range(100):
        watch.note(Sample(at_s=tick / 10, passive_opens=tick * 10, connections=(), source="app"))
    watch.note(Sample(at_s=10.0, passive_opens=500_000, connections=(), source="exec"))
    watch.note(Sample(at_s=13.0, passive_opens=500_000, connections=(), source="exec"))
    evidence = watch.judge(13.0, 9.0, Policy())

    assert evidence.arrivals == 0
    assert evidence.verdict is Verdict.UNKNOWN, "what it saw before says nothing about another counter"


def test_what_an_app_calls_active_is_live() -> None:
    watch = Watch(receiver=Receiver(ports=frozenset({8080})))
    for tick in range(200):
        active = 1 if tick < 150 else 0
        accepted = min(tick, 100) * 10
        watch.note(Sample(at_s=tick / 10, passive_opens=accepted, connections=(), source="app", active=active))
        if tick == 149:
            assert watch.judge(14.9, 10.0, Policy()).verdict is Verdict.BUSY
    assert watch.judge(19.9, 10.0, Policy()).verdict is Verdict.QUIET
