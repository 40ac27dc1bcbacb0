"""An ASGI application that leaves without losing a request once too many of its threads have died (uvicorn and others).

    from segue.app.asgi import Leaving, Rules
    app = Leaving(app, 8081, Rules(dead_threads=2, told=3))

Its probes are answered on a port of their own by a thread of its own, so that a blocked event loop is seen, too.
Rule: one process. Under several workers of one server each has its own loop, threads and end: let gunicorn hold them,
or run one per container.
Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from segue.app.board import Board
from segue.app.keeper import Keeper, end_process, listen
from segue.app.leaving import Rules

__all__ = ["Leaving", "Rules"]

Message: TypeAlias = MutableMapping[str, Any]  # type: ignore[explicit-any]  # ASGI: what is in it depends on its type
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
_NO_THREAD = 0  # tasks share the loop's


class Leaving:
    """The application; it begins to watch with its lifespan, or with its first request."""

    def __init__(self, application: Application, port: int | str, rules: Rules) -> None:
        self._application = application
        self._where = str(port)
        self._rules = rules
        self._keeper: Keeper | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        keeper = self._keeper = self._keeper or self._begin()
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        if not keeper.ports and scope.get("server"):
            keeper.ports = frozenset({int(scope["server"][1])})

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start" and keeper.leaves:
                kept = [one for one in message.get("headers") or [] if one[0].lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
            await send(message)

        sender = str((scope.get("client") or [""])[0])
        with keeper.requests.during(sender, _NO_THREAD):
            await self._application(scope, receive, last)

    def _begin(self) -> Keeper:
        keeper = Keeper(Board(), self._rules, listen(self._where), 0)
        keeper.start(frozenset(), end_process(os.getpid()))
        return keeper
