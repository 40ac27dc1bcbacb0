"""Neighbouring actions that differ in one word are one row, and each keeps the place that pictures point to."""

from __future__ import annotations

from segue.model.objects import Obj
from segue.report.markup import render
from segue.report.steps import batches, table


def act(action: str, because: str = "all new pods are Ready") -> Obj:
    return {"atS": 1.0, "action": action, "because": because, "barrier": "", "evidence": ""}


def sizes(*actions: Obj) -> list[int]:
    return [len(batch.rows) for batch in batches(actions)]


def test_neighbours_that_name_another_object_each_are_one_row() -> None:
    rows = [act(f"take pod web-{name} out of traffic, alive") for name in "abcdefgh"]
    html = render(table([act("switch Service web to v2"), *rows, act("unpin Service web")]))

    assert html.count("<tr") == 1 + 3
    assert "8 \u00d7 take pod ... out of traffic, alive" in html
    assert [html.count(f'id="step-{number}"') for number in range(1, 12)] == [1] * 10 + [0]
    assert all(f"web-{name}" in html for name in "abcdefgh")


def test_others_stay_apart() -> None:
    assert sizes(act("end pod a"), act("end pod b", because="it is idle")) == [1, 1]
    assert sizes(act("end pod a"), act("end pod a")) == [1, 1]
    assert sizes(act("end pod a"), act("open pod b")) == [1, 1]
    assert sizes(act("set a b"), act("set c b"), act("set a d")) == [2, 1]
