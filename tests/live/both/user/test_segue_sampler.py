"""Containers without `ss`, looked at from an image that has it: idle connections are told from busy ones."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from segue.model.objects import Obj
from testbed.image_recipes import SAMPLER
from tests.live.both.callers import kept
from tests.live.both.user.app import LABEL, App
from tests.live.both.user.app import V1 as SHELL_V1
from tests.live.both.user.app import V2 as SHELL_V2

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.only("real", "the embedded cluster's own way to see connections is asked first"),
]

STATEMENTS = {
    "sampler": "A --sampler-image that has ss sees the bytes of pods without a shell: their idle kept connections hold "
    "no old pod. By an exec in an image without ss every connection holds it to the cap.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
PORT, IDLE = 10002, 20
STATIC_V1, STATIC_V2 = (text.replace("images/grace:", "images/grace-static:") for text in (SHELL_V1, SHELL_V2))


def released(app: App, before: str, after: str, *options: str) -> list[Obj]:
    """The old pods as the receipt tells of them: each had idle connections meanwhile."""
    app.place.kubectl("apply", "-f", app.file(before, "before.yaml"))
    with ExitStack() as many:
        for pod in app.place.wait_ready_pods(3, LABEL):
            for _ in range(IDLE):
                talk = many.enter_context(kept(app.place, pod["status"]["podIP"], PORT))
                talk.ask()
                assert talk.is_open
        told = app.done("release", "-f", app.file(after), "-o", "json", *options)
    pods: list[Obj] = json.loads(told)["pods"]
    return pods


@pytest.mark.states("sampler")
def test_by_a_sampler_with_ss_idle_connections_hold_no_pod(app: App) -> None:
    pods = released(app, STATIC_V1, STATIC_V2, "--sampler-image", SAMPLER)

    assert [(pod["evidenceSource"], pod["reason"]) for pod in pods] == [("ephemeral", pods[0]["reason"])] * 3
    assert {pod["reason"] for pod in pods} <= {"quiet", "timer"}


@pytest.mark.states("sampler")
def test_by_an_exec_without_ss_they_hold_it_to_the_cap(app: App) -> None:
    pods = released(app, SHELL_V1, SHELL_V2, "--drain-cap", "8")

    assert {(pod["evidenceSource"], pod["reason"]) for pod in pods} == {("exec", "capped")}
