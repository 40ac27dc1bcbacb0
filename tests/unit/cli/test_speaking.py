"""What goes to terminals and what goes to programs."""

from __future__ import annotations

import io
import json

import pytest
import yaml

from segue.cli.output import Output, coloured, complain, emit, table
from segue.model.errors import ManifestError, Place

LONG = "the replicas of this Deployment are neither here nor there " * 4


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error as a terminal of 72 columns."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_an_error_on_a_terminal_is_red_and_wrapped_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    code = complain(ManifestError(LONG, place=Place(file="a.yaml", line=3, path="$.spec"), remedy=LONG))
    plain = terminal.getvalue().replace("\033[31m", "").replace("\033[0m", "")

    assert code == 3
    assert terminal.getvalue().startswith("\033[31merror:\033[0m a.yaml:3 $.spec: the replicas")
    assert max(map(len, plain.splitlines())) <= 72
    assert plain.split() == ["error:", "a.yaml:3", "$.spec:", *LONG.split(), *LONG.split()]


def test_an_error_for_a_program_is_one_line_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ManifestError(LONG, remedy=LONG))

    assert capsys.readouterr().err == f"error: {LONG}\n  {LONG}\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    terminal = a_terminal(monkeypatch)
    assert coloured(terminal)
    monkeypatch.setenv(name, value)

    assert not coloured(terminal)


def test_json_and_yaml_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"b": [1, 2.5, None, True], "a": {"x": "ä: y"}}
    emit(value, Output.JSON)
    as_json = capsys.readouterr().out
    emit(value, Output.YAML)

    assert json.loads(as_json) == yaml.safe_load(capsys.readouterr().out) == value
    assert list(json.loads(as_json)) == ["b", "a"]


def test_columns_stand_under_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    table(["NAME", "READY"], [["a-long-name", "1/1"], ["b", ""]])

    assert capsys.readouterr().out == "NAME          READY\na-long-name   1/1\nb\n"
