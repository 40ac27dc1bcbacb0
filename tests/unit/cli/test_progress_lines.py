"""Progress of a release for programs: one line per wait, not one per number in it."""

from __future__ import annotations

import pytest

from segue.cli.connection import Lines
from segue.drive.flow import Progress


def shown(because: list[tuple[float, str]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = Lines()
    for now_s, text in because:
        lines(Progress(because=text), now_s)
    return capsys.readouterr().err.splitlines()


def test_a_wait_whose_numbers_change_is_told_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    waits = [(100 + number / 10, f"pod-1: busy: silent {number / 10:.1f} s of 5.0 s") for number in range(50)]

    assert [line.strip()[:6] for line in shown(waits, capsys)] == ["0.00 s", "2.00 s", "4.00 s"]


def test_another_wait_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown([(100, "0 of 3 pods are Ready"), (100.1, "the Deployment has not looked yet")], capsys)

    assert [line.partition("... ")[2] for line in told] == [
        "0 of 3 pods are Ready",
        "the Deployment has not looked yet",
    ]


def test_an_action_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    Lines()(Progress(because="all new pods are Ready", action="switch Service web"), 5.0)

    assert capsys.readouterr().err == "   0.00 s  switch Service web\n            because all new pods are Ready\n"


def test_a_reason_is_said_once_for_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    show = Lines()
    for number, action in enumerate(["end pod web-a", "end pod web-b", "end pod web-c", "unpin Service web"]):
        show(Progress(because="all is quiet", action=action), 10.0 + number)
    show(Progress(because="the pins are gone", action="unpin Service api"), 14.0)
    told = [line.strip() for line in capsys.readouterr().err.splitlines()]

    assert told == [
        "0.00 s  end pod web-a",
        "because all is quiet",
        "1.00 s  end pod web-b",
        "2.00 s  end pod web-c",
        "3.00 s  unpin Service web",
        "because all is quiet",
        "4.00 s  unpin Service api",
        "because the pins are gone",
    ]
