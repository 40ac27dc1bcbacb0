"""The live page over HTTP: the page, what it is told (server-sent events), and its buttons.

Rule: every answer but the door's own refusals has passed the door, and every answer carries its headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from segue.host.lean_uvicorn import Config, Server
from segue.host.web.board import Board
from segue.host.web.commands import Commands
from segue.host.web.door import HEADERS, Door
from segue.host.wsexec import Receive, Send
from segue.model.objects import Obj

READERS_MAX = 32
BEAT_S = 10.0  # a proxy between ends what is silent
FORM_TOKEN = b"@FORM_TOKEN@"
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


@dataclass(slots=True, kw_only=True)
class LivePage:
    """The ASGI application."""

    door: Door
    board: Board
    commands: Commands
    readers: int = 0
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        here = Path(__file__).parent
        self.files = {path: (here / name).read_bytes() for path, (name, _) in FILES.items()}
        self.files["/"] = self.files["/"].replace(FORM_TOKEN, self.door.form_token.encode())

    async def __call__(self, scope: Obj, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = str(scope["method"]), str(scope["path"])
        said = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if method == "GET" and path == "/" and said and self.door.knows_host(headers) and self.door.opens(said):
            # Out of the address at once: it would stay in the history, and be sent along.
            await _answer(send, 303, b"", {"location": "/", "set-cookie": self.door.set_cookie()})
            return
        refusal = self.door.refusal(method, headers)
        if refusal is not None:
            await _say(send, *refusal)
        elif method == "GET" and path in FILES:
            await _answer(send, 200, self.files[path], {"content-type": FILES[path][1]})
        elif method == "GET" and path == "/events":
            await self._stream(receive, send)
        elif method == "POST" and path.startswith("/do/"):
            wrong = self.commands.begin(path.removeprefix("/do/"))
            await _say(send, 409 if wrong else 202, wrong)
        else:
            await _say(send, 404, "there is nothing here")

    async def _stream(self, receive: Receive, send: Send) -> None:
        if self.readers >= READERS_MAX:
            await _say(send, 503, f"{READERS_MAX} pages are open already")
            return
        self.readers += 1
        gone = asyncio.create_task(_until_gone(receive))
        try:
            headers = {"content-type": "text/event-stream", **HEADERS}
            await send({"type": "http.response.start", "status": 200, "headers": _encoded(headers)})
            await send(_piece(b"retry: 500\n\n"))
            number = -1
            while not gone.done():
                news = asyncio.create_task(self.board.newer(number, BEAT_S))
                await asyncio.wait({gone, news}, return_when=asyncio.FIRST_COMPLETED)
                if not news.done():
                    news.cancel()
                    break
                text = b"data: " + self.board.text + b"\n\n" if news.result() else b": still here\n\n"
                number = self.board.number
                await send(_piece(text))
        finally:
            self.readers -= 1
            gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _piece(data: bytes) -> Obj:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _say(send: Send, code: int, text: str) -> None:
    await _answer(send, code, (text + "\n").encode() if text else b"", {"content-type": "text/plain; charset=utf-8"})


async def _answer(send: Send, code: int, body: bytes, headers: dict[str, str]) -> None:
    told = {**headers, **HEADERS, "content-length": str(len(body))}
    await send({"type": "http.response.start", "status": code, "headers": _encoded(told)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class _Body(Server):
    """uvicorn without its hands on signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_page(page: LivePage, listener: socket.socket) -> None:
    """Serve until cancelled."""
    config = Config(
        app=page,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    await _Body(config).serve([listener])
