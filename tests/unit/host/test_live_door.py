"""The door of the live page: who is let in, what its buttons may begin, and what every answer carries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from segue.host.web.board import Board
from segue.host.web.commands import Commands
from segue.host.web.door import HEADERS, Door
from segue.host.web.server import LivePage
from segue.model.objects import Obj

HOST = "127.0.0.1:9379"
DOOR = Door(token="t0ken", form_token="f0rm", cookie="segue-9379", names=frozenset({"localhost", "box.example"}))
READER = {"host": HOST, "cookie": "other=1; segue-9379=t0ken"}
PRESSER = {**READER, "origin": f"http://{HOST}", "x-segue-token": "f0rm", "sec-fetch-site": "same-origin"}


def asked(method: str, path: str, headers: Mapping[str, str], query: str = "") -> tuple[int, dict[str, str], str]:
    """One request to the application, whose commands only write down what they were begun with."""
    sent: list[Obj] = []

    async def receive() -> Obj:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Obj) -> None:
        sent.append(message)

    async def whole() -> None:
        board = Board()
        page = LivePage(door=DOOR, board=board, commands=Commands(board, ["true"], ["web"]))
        rows = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": rows,
        }  # fmt: skip
        await page(scope, receive, send)
        await page.commands.close()

    asyncio.run(whole())
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(one.get("body", b"") for one in sent[1:]).decode()


@pytest.mark.parametrize(
    ("host", "known"),
    [
        (HOST, True), ("localhost:1", True), ("[::1]:9379", True), ("192.0.2.7", True), ("BOX.example:80", True),
        ("evil.example:9379", False), ("127.0.0.1.evil.example:9379", False), ("", False),
        ("localhost.evil:9379", False),
    ],
)  # fmt: skip
def test_a_host_name_that_may_have_been_pointed_here_is_refused(host: str, known: bool) -> None:
    refusal = DOOR.refusal("GET", {**READER, "host": host})

    assert (refusal is None) == known
    assert known or (refusal is not None and refusal[0] == 421)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, 202),
        ({"cookie": ""}, 401),
        ({"cookie": "segue-9379=t0ke"}, 401),
        ({"cookie": "segue-9380=t0ken"}, 401),
        ({"origin": ""}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9380"}, 403),
        ({"x-segue-token": ""}, 403),
        ({"x-segue-token": "f0rn"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 421),
    ],
)
def test_a_button_is_pressed_by_the_page_itself_or_not_at_all(changed: dict[str, str], code: int) -> None:
    assert asked("POST", "/do/pause", {**PRESSER, **changed})[0] == code


@pytest.mark.parametrize("word", ["", "release", "pause web", "../pause", "pause;abort", "--help", "PAUSE"])
def test_nothing_but_a_known_word_becomes_a_command(word: str) -> None:
    assert asked("POST", f"/do/{word}", PRESSER)[0] == 409


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/icon.svg", "/events"])
def test_nothing_is_told_without_the_cookie(path: str) -> None:
    code, headers, body = asked("GET", path, {"host": HOST})

    assert code == 401
    assert headers.items() >= HEADERS.items()
    assert "f0rm" not in body


def test_the_token_leaves_the_address_at_once_for_a_cookie_that_no_script_reads() -> None:
    code, headers, _ = asked("GET", "/", {"host": HOST}, "token=t0ken")

    assert (code, headers["location"]) == (303, "/")
    assert headers["set-cookie"] == "segue-9379=t0ken; Path=/; HttpOnly; SameSite=Strict"


@pytest.mark.parametrize(
    ("host", "query", "code"),
    [(HOST, "token=wrong", 401), (HOST, "token=", 401), ("evil.example", "token=t0ken", 421), (HOST, "token=%FF", 401)],
)
def test_a_wrong_token_or_a_foreign_name_gets_no_cookie(host: str, query: str, code: int) -> None:
    got, headers, _ = asked("GET", "/", {"host": host}, query)

    assert got == code
    assert "set-cookie" not in headers


def test_the_page_lets_nothing_foreign_in_and_has_the_token_of_its_buttons() -> None:
    code, headers, body = asked("GET", "/", READER)

    assert code == 200
    assert 'content="f0rm"' in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "http://" not in body + asked("GET", "/page.js", READER)[2].replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in asked("GET", "/page.js", READER)[2]


@pytest.mark.parametrize(("method", "path"), [("GET", "/do/pause"), ("POST", "/"), ("GET", "/../etc/passwd")])
def test_all_else_is_not_there(method: str, path: str) -> None:
    assert asked(method, path, PRESSER)[0] == 404
