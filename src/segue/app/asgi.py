"""An ASGI application that leaves without losing a request once too many of its threads have died (uvicorn and others).

    from segue.app.asgi import Leaving, Rules
    app = Leaving(app, 8081, Rules(dead_threads=2, told=3))

Its probes are answered on a port of their own by a thread of its own, so that a blocked event loop is seen, too.
Rule: one process. Under several workers of one server each has its own loop, threads and end: let gunicorn hold them,
or run one per container.
Standard library only.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from segue.app import backlog
from segue.app.board import Board
from segue.app.keeper import Keeper, end_process, listen
from segue.app.leaving import Rules

__all__ = ["Leaving", "Rules"]

Message: TypeAlias = MutableMapping[str, Any]  # type: ignore[explicit-any]  # ASGI: what is in it depends on its type
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
_NO_THREAD = 0  # tasks share the loop's
_UNSEEN_S = 2.0  # then it is taken to listen


class Leaving:
    """The application; it begins to watch with its lifespan, or with its first request."""

    def __init__(self, application: Application, port: int | str, rules: Rules) -> None:
        self._application = application
        self._where = str(port)
        self._rules = rules
        self._keeper: Keeper | None = None
        self._started_s = -math.inf  # when its own start was complete; a server without a lifespan has been through it

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection's scope."""
        keeper = self._keeper = self._keeper or self._begin()
        if scope["type"] == "lifespan":
            self._started_s = math.inf
            try:
                await self._application(scope, receive, self._noting(send))
            finally:
                if self._started_s == math.inf:  # it knows no lifespan, and servers go on without
                    self._started_s = -math.inf
            return
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start" and keeper.leaves:
                kept = [one for one in message.get("headers") or [] if one[0].lower() != b"connection"]
                message = {**message, "headers": [*kept, (b"connection", b"close")]}
            await send(message)

        sender = str((scope.get("client") or [""])[0])
        with keeper.requests.during(sender, _NO_THREAD):
            await self._application(scope, receive, last)

    def _noting(self, send: Send) -> Send:
        async def noted(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._started_s = time.monotonic()
            await send(message)

        return noted

    def _begin(self) -> Keeper:
        listener = listen(self._where)
        keeper = Keeper(Board(), self._rules, listener, 0)
        probes = {listener.getsockname()[1]}

        def begun() -> bool:
            """A server listens only after the application's start; behind a Unix socket that is not seen."""
            keeper.ports = frozenset(backlog.own_ports() - probes)
            since_s = time.monotonic() - self._started_s
            return since_s >= 0 and (bool(keeper.ports) or since_s > _UNSEEN_S)

        keeper.begun = begun
        keeper.start(frozenset(), end_process(os.getpid()))
        return keeper
