"""Several flows in one: calls travel together, nobody waits for another's sleep, and an error stays with its flow."""

from __future__ import annotations

from segue.drive.flow import Answer, Ask, Calls, Flow, Progress, Sleep, ask, get
from segue.drive.lanes import Lane, in_parallel
from segue.model.errors import Refused
from segue.model.http import ApiResponse


def drive(flow: Flow[None]) -> tuple[list[Ask], float]:
    """Answer everything; what was asked, and when it ended. A call takes 1 s, a sleep as long as it says."""
    asked: list[Ask] = []
    now_s = 100.0
    try:
        wants = next(flow)
        while True:
            asked.append(wants)
            responses: tuple[ApiResponse, ...] = ()
            if isinstance(wants, Calls):
                now_s += 1.0
                responses = tuple(ApiResponse(code=200, body={"path": one.path}) for one in wants.requests)
            elif isinstance(wants, Sleep):
                now_s += wants.for_s
            wants = flow.send(Answer(now_s=now_s, responses=responses))
    except StopIteration:
        return asked, now_s - 100.0


def calls_twice(name: str, sleeps_s: float) -> Flow[str]:
    _, (first,) = yield from ask(get(f"/{name}/1"))
    yield Sleep(for_s=sleeps_s)
    _, (second,) = yield from ask(get(f"/{name}/2"))
    return f"{first.body['path']} {second.body['path']}"


def tells() -> Flow[str]:
    yield Progress(because="it begins")
    yield Progress(because="so it is", action="do it")
    return "told"


def refuses() -> Flow[str]:
    yield from ask(get("/refused"))
    raise Refused("no")


def test_calls_travel_together_and_each_gets_its_own_answer() -> None:
    lanes = [Lane(name=name, flow=calls_twice(name, 2.0)) for name in ("a", "b")]
    asked, took_s = drive(in_parallel(lanes, until_one_fails=False))

    assert [lane.value for lane in lanes] == ["/a/1 /a/2", "/b/1 /b/2"]
    assert [len(one.requests) for one in asked if isinstance(one, Calls)] == [2, 2]
    assert took_s == 4.0


def test_nobody_waits_for_anothers_sleep() -> None:
    lanes = [Lane(name="long", flow=calls_twice("long", 50.0)), Lane(name="short", flow=calls_twice("short", 1.0))]
    asked, took_s = drive(in_parallel(lanes, until_one_fails=False))
    paths = [one.path for each in asked if isinstance(each, Calls) for one in each.requests]

    assert paths == ["/long/1", "/short/1", "/short/2", "/long/2"]
    assert took_s == 52.0


def test_what_is_told_says_who_tells_it() -> None:
    lanes = [Lane(name="web", flow=tells())]
    asked, _ = drive(in_parallel(lanes, until_one_fails=False))

    told = [one for one in asked if isinstance(one, Progress)]
    assert [(one.because, one.action) for one in told] == [("web: it begins", ""), ("so it is", "web: do it")]


def test_an_error_stays_with_its_flow_and_the_others_end() -> None:
    lanes = [Lane(name="bad", flow=refuses()), Lane(name="good", flow=calls_twice("good", 5.0))]
    drive(in_parallel(lanes, until_one_fails=False))

    assert isinstance(lanes[0].error, Refused)
    assert lanes[1].value == "/good/1 /good/2"


def test_where_all_are_needed_one_error_leaves_the_others_where_they_stand() -> None:
    lanes = [Lane(name="bad", flow=refuses()), Lane(name="good", flow=calls_twice("good", 5.0))]
    _, took_s = drive(in_parallel(lanes, until_one_fails=True))

    assert isinstance(lanes[0].error, Refused)
    assert (lanes[1].value, lanes[1].ended, took_s) == (None, True, 1.0)
