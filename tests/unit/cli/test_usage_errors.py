"""Mistakes on the command line become one line, a remedy and exit code 2; our own faults are kept in a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segue.cli import main
from segue.cli.main import Ended, run
from segue.model.errors import Conflict, ManifestError, Place, StatusError


@pytest.mark.parametrize(
    ("argv", "says", "remedy"),
    [
        (["relase"], 'unknown command "relase". Did you mean "release"?', "segue --help"),
        (["--nope"], 'unknown command "--nope"', "segue --help"),
        (["cluster", "stat"], 'unknown command "stat". Did you mean "status"?', "segue cluster --help"),
        (["up", "--prot", "3"], "unknown option: --prot. Did you mean --port?", "segue up --help"),
        (["release", "--quux"], "unknown option: --quux", "segue release --help"),
        (["release"], "release is told nothing to release", "segue release -f FILE"),
        (["release", "-f"], "-f needs a value", "segue release --help"),
        (["up", "--set"], "--set needs a value", "segue up --help"),
        (["scale", "web"], "REPLICAS is missing", "segue scale --help"),
        (["scale", "web", "many"], 'invalid value for REPLICAS: "many" is not a whole number', "segue scale --help"),
        (["load", "http://x/", "--rate", "fast"], 'invalid value for --rate: "fast" is not a number', "segue load"),
        (["status", "a", "b", "c"], "too many arguments: b c", "segue status --help"),
        (["up", "-o", "xml"], 'invalid value "xml" for -o. Choose from: "table", "json", "yaml"', "segue up --help"),
        (["completion", "tcsh"], 'invalid value "tcsh" for SHELL. Choose from: "bash", "zsh", "fish"', "completion"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy(
    argv: list[str], says: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(argv)
    error, hint = capsys.readouterr().err.splitlines()

    assert code == 2
    assert error == f"error: {says}"
    assert remedy in hint


def command_that_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def app(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(main, "make_app", lambda _argv: app)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (Conflict("somebody is at it", remedy="wait"), 6, "error: somebody is at it\n  wait\n"),
        (
            ManifestError("unknown field", place=Place(file="a.yaml", line=3, path="$.spec")),
            3,
            "error: a.yaml:3 $.spec: unknown field\n",
        ),
        (StatusError(404, "NotFound", "there is no Deployment web"), 1, "error: there is no Deployment web\n"),
        (StatusError(500, "InternalError", "oh"), 1, "error: the API server answered 500 InternalError: oh\n"),
        (OSError(28, "No space left on device", "/full/x"), 10, "error: /full/x: No space left on device\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (Ended(15), 143, "stopped\n"),
        (BrokenPipeError(), 141, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_has_its_exit_code(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_that_raises(error, monkeypatch)
    monkeypatch.setattr(main, "_drop_stdout", lambda: None)

    assert run(["status"]) == code
    assert capsys.readouterr().err.startswith(says)


def test_a_fault_of_our_own_shows_no_traceback_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command_that_raises(AssertionError("this cannot be"), monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = run(["status"])
    said = capsys.readouterr().err
    kept = re.search(r"please report it, with (\S+)", said)

    assert code == 1
    assert "a fault of segue itself: AssertionError: this cannot be" in said
    assert "Traceback" not in said
    assert kept is not None
    assert "Traceback" in Path(kept.group(1)).read_text()


def test_a_lone_hyphen_after_the_file_option_is_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", __import__("io").StringIO("words\n"))

    assert run(["plan", "-f", "-"]) == 3
    assert capsys.readouterr().err.startswith("error: <stdin>:1 $: ")
