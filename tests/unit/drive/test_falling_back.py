"""A source that fails ends no pod early: the next one is asked, and the reason is said once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from segue.drain.judge import Drained, Policy, ended
from segue.drain.samples import ProcText
from segue.drain.told import ACCEPTED, ACTIVE, WORD, Word
from segue.drive.evidence import Collector
from segue.drive.flow import Answer, Ask, AskWords, Calls, Flow, Progress, ReadPods
from segue.model.http import ApiResponse
from segue.model.objects import Obj
from segue.model.services import Service
from segue.model.workloads import Deployment, Pod
from segue.release.snapshot import Snapshot

POLICY = Policy()
SWITCH_S = 10.0
SERVICE: Obj = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
APP = {WORD: "http://:8080/traffic"}
PROMETHEUS = {WORD: "prometheus:http://prom:9090", ACTIVE: "a", ACCEPTED: "b"}
Says = Callable[[float], str]


def pod(annotations: dict[str, str]) -> Pod:
    return Pod(
        obj={
            "metadata": {"name": "web-1", "labels": {"app": "web"}, "annotations": annotations},
            "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
            "status": {"podIP": "10.0.0.2", "conditions": [{"type": "Ready", "status": "True"}]},
        }
    )


def good(at_s: float, active: int = 0) -> str:
    """An app of a hundred requests per second until the switch, with so many under way."""
    return json.dumps({"active": active, "accepted": int(min(at_s, SWITCH_S) * 100)})


@dataclass
class Place:
    """A pod's sources: its app (or Prometheus), /proc by exec, or nothing. `{...}` is an answer, all else a failure."""

    app: Says
    exec_until_s: float = 0.0
    said: list[Progress] = field(default_factory=list)
    asked: int = 0
    connected: bool = False

    def run(self, flow: Flow[float], now_s: float) -> float:
        try:
            asked = next(flow)
            while True:
                asked = flow.send(self._answer(asked, now_s))
        except StopIteration as end:
            found: float = end.value
            return found

    def _answer(self, asked: Ask, now_s: float) -> Answer:
        match asked:
            case AskWords(words=words):
                self.asked += 1
                return Answer(now_s=now_s, texts={name: self._told(word, now_s) for name, word in words.items()})
            case Calls(requests=requests):
                gone = ApiResponse(code=404, body={})
                return Answer(now_s=now_s, responses=tuple(gone for _ in requests))
            case ReadPods(looks=looks):
                return Answer(now_s=now_s, texts={look.pod: self._proc(now_s) for look in looks})
            case Progress():
                self.said.append(asked)
                return Answer(now_s=now_s)
            case _:
                raise AssertionError(asked)

    def _told(self, _: Word, now_s: float) -> ProcText | str:
        text = self.app(now_s)
        return ProcText(text=text, asked_s=now_s, read_s=now_s) if text.startswith(("{", "<")) else text

    def _proc(self, now_s: float) -> ProcText | str:
        if now_s >= self.exec_until_s:
            return "Forbidden"
        rows = "   1: 0200000A:0050 0900000A:0FA0 01 0 0 0 0 0 0\n" if self.connected else ""
        text = f"Tcp: A PassiveOpens\nTcp: 1 {int(min(now_s, SWITCH_S) * 100)}\n  sl  local_address rem_address\n{rows}"
        return ProcText(text=text, asked_s=now_s, read_s=now_s)


def drained(place: Place, annotations: dict[str, str], until_s: float = 60.0) -> tuple[float, Drained] | None:
    """When the pod may be ended, and why."""
    one = pod(annotations)
    snapshot = Snapshot(
        now_s=0.0,
        me="",
        deployment=Deployment(obj={"metadata": {"name": "web"}, "spec": {}}),
        sets=(),
        pods=(one,),
        services=(Service(obj=SERVICE),),
        endpoints={},
    )
    collector = Collector(namespace="shop", policy=POLICY)
    for tick in range(int(until_s * 10) + 1):
        now_s = tick / 10
        collector.draining = now_s >= SWITCH_S
        place.run(collector.sample((one,), replace(snapshot, now_s=now_s), now_s), now_s)
        if now_s < SWITCH_S:
            continue
        evidence = collector.evidence(now_s, SWITCH_S)["web-1"]
        end = ended(evidence, now_s=now_s, since_s=SWITCH_S, policy=POLICY)
        if end is not None:
            return now_s, end
    return None


def test_an_app_that_answers_is_believed_and_asked_twice_a_second() -> None:
    place = Place(app=good)
    found = drained(place, APP)
    assert found is not None
    at_s, end = found

    assert (end.reason, SWITCH_S + 2 <= at_s <= SWITCH_S + 3) == ("quiet", True)
    assert "by app" in end.because
    assert place.said == []
    assert place.asked <= 2 * at_s + 2


def test_what_the_app_has_under_way_holds_the_pod_although_nobody_comes() -> None:
    found = drained(Place(app=lambda at_s: good(at_s, active=1 if at_s < 25 else 0)), APP)
    assert found is not None

    assert (found[1].reason, 25 <= found[0] <= 26) == ("quiet", True)


def test_a_pool_that_never_leaves_is_named_and_cut_at_the_cap_only() -> None:
    peers = [f"10.0.0.{number}:4000" for number in range(60)]
    body = lambda at_s: json.dumps({"active": 60, "accepted": int(at_s * 100), "peers": peers})  # noqa: E731 - a table
    found = drained(Place(app=body), APP)
    assert found is not None

    assert (found[1].reason, found[0]) == ("capped", SWITCH_S + POLICY.cap_s)
    assert "60 live connections (10.0.0.0:4000" in found[1].because


FAILURES: dict[str, Says] = {
    "500": lambda _: "http://:8080/traffic answers 500: oops",
    "garbage": lambda _: "<html>",
    "half an answer": lambda _: '{"active": 0}',
    "prometheus down": lambda _: "http://prom:9090/api/v1/query does not answer: refused",
}


@pytest.mark.parametrize("at_s", [0.0, 9.0, 10.5, 11.8])
@pytest.mark.parametrize("name", FAILURES)
def test_a_source_that_fails_falls_back_to_exec_and_says_so(name: str, at_s: float) -> None:
    failing = FAILURES[name]
    annotations = PROMETHEUS if "prometheus" in name and at_s == 0.0 else APP
    place = Place(app=lambda now_s: good(now_s) if now_s < at_s else failing(now_s), exec_until_s=1e9)
    found = drained(place, annotations)
    assert found is not None
    ended_s, end = found

    assert "by exec" in end.because
    assert "no better source: " in end.because, "the receipt says so, too"
    assert ended_s >= SWITCH_S + 2 if at_s < 8 else ended_s >= at_s + POLICY.timer_s, "the other counter begins anew"
    assert [one.action for one in place.said] == ["look at 1 pod in another way"]


@pytest.mark.parametrize("at_s", [0.0, 9.0, 10.5, 11.8])
def test_where_no_source_is_left_the_timer_counts_from_the_last_word(at_s: float) -> None:
    failing = FAILURES["500"]
    found = drained(Place(app=lambda now_s: good(now_s) if now_s < at_s else failing(now_s)), APP)
    assert found is not None
    ended_s, end = found

    assert end.reason == "timer"
    assert "answers 500" in end.because
    assert ended_s >= max(SWITCH_S, at_s) + POLICY.timer_s - 0.6, "the last good answer is up to half a second older"


def test_a_request_that_was_under_way_when_all_sources_failed_is_waited_for_to_the_cap() -> None:
    failing = FAILURES["500"]
    found = drained(Place(app=lambda now_s: good(now_s, active=2) if now_s < 12 else failing(now_s)), APP)
    assert found is not None

    assert (found[1].reason, found[0]) == ("capped", SWITCH_S + POLICY.cap_s)
    assert "2 live connections" in found[1].because


def test_exec_that_is_denied_in_the_middle_cuts_no_connection_that_lived() -> None:
    place = Place(app=good, exec_until_s=12.0, connected=True)
    found = drained(place, {})
    assert found is not None

    assert (found[1].reason, found[0]) == ("capped", SWITCH_S + POLICY.cap_s)
    assert "10.0.0.9:4000" in found[1].because


def scraped(*moments: float) -> Obj:
    values = [[at_s, "0"] for at_s in moments]
    return {"status": "success", "data": {"result": [{"values": values}]}}


def test_a_prometheus_that_scrapes_no_more_is_left_before_it_is_believed() -> None:
    """Its last scrape is from the time of the traffic: for ever the same two numbers, which look like silence."""

    def frozen(now_s: float) -> str:
        last_s = min(now_s, 9.5)
        return json.dumps({"active": scraped(last_s - 1, last_s), "accepted": scraped(last_s - 1, last_s)})

    place = Place(app=frozen)
    found = drained(place, PROMETHEUS)
    assert found is not None

    assert found[1].reason == "timer"
    assert found[0] >= SWITCH_S + POLICY.timer_s - 0.6
    assert "s old" in found[1].because


def test_a_prometheus_that_scrapes_every_fifteen_seconds_proves_silence_by_its_scrapes_only() -> None:
    def slow(now_s: float) -> str:
        last_s = now_s // 15 * 15
        rows = [[at_s, str(int(min(at_s, SWITCH_S) * 100))] for at_s in (last_s - 15, last_s)]
        accepted = {"status": "success", "data": {"result": [{"values": rows}]}}
        return json.dumps({"active": scraped(last_s - 15, last_s), "accepted": accepted})

    found = drained(Place(app=slow), PROMETHEUS)
    assert found is not None

    assert found[1].reason in {"quiet", "timer"}
    assert found[0] >= 30, "the scrape at 15 has still seen who came before 10: only the next one proves silence"
