"""The user's own checks: scripts, URLs and logs as they are, not as they are imagined."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from segue.app.checks import Log, Script, Url


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("true", ""),
        ("exit 3", "the script exits with 3"),
        ("echo first >&2; echo too many >&2; false", "the script exits with 1: too many"),
        ("no-such-command", "the script exits with 127"),
    ],
)
def test_a_script_fails_by_its_exit_code(line: str, why: str) -> None:
    assert Script(line).fails().startswith(why)
    assert bool(Script(line).fails()) == bool(why)


@pytest.fixture
def answering() -> Iterator[str]:
    """A server that answers /CODE with that code."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("code", "well"), [(200, True), (302, True), (399, True), (404, False), (500, False)])
def test_a_url_fails_by_its_code_and_is_no_arrival(answering: str, code: int, well: bool) -> None:
    own: list[int] = []
    why = Url(f"{answering}/{code}", lambda: own.append(1)).fails()

    assert why == ("" if well else f"{answering}/{code} answers {code}")
    assert own == [1]


def test_a_url_that_nobody_answers_fails_and_counts_nothing() -> None:
    own: list[int] = []

    assert "does not answer" in Url("http://127.0.0.1:1/", lambda: own.append(1)).fails()
    assert own == []


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "127.0.0.1:80", "http://"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be http"):
        Url(url, lambda: None)


def test_a_log_fails_at_so_many_lines_and_begins_anew_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path), r"thread \d+ died", 2)
    assert log.fails() == ""

    path.write_text("thread 1 died\nall is well\nthread 2 di")
    assert log.fails() == ""
    with path.open("a") as more:
        more.write("ed\n")
    assert log.fails() == rf"2 lines of {path} match thread \d+ died"
    path.write_text("")
    assert log.fails() == ""
    path.unlink()
    path.write_text("thread 7 died\nthread 8 died\n")
    assert "2 lines" in log.fails()


def test_a_log_that_cannot_be_read_has_failed(tmp_path: Path) -> None:
    assert "cannot be read" in Log(str(tmp_path), "x", 1).fails()
    with pytest.raises(ValueError, match="at least one"):
        Log("x", "x", 0)
