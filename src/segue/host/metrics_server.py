"""`segue metrics` on sockets: looks at pods again and again, and serves what was seen last.

Rule: what is older than `FRESH_S` is not served: an autoscaler rather knows nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qsl

import msgspec

from segue.drain.judge import Policy
from segue.drive.flow import Flow, Progress, Sleep, ask, body_of, get
from segue.drive.traffic import Eyes
from segue.host.certificates import Tls
from segue.host.client import KubeClient
from segue.host.lean_uvicorn import Config, Server
from segue.host.metering import Metered, answer, prometheus_text
from segue.host.performing import run_flow
from segue.host.wsexec import Receive, Send
from segue.model.errors import HostError
from segue.model.objects import Obj, name_of

LOOK_EVERY_S = 1.0
NAMESPACES_EVERY_S = 10.0
FRESH_S = 15.0


@dataclass(slots=True, kw_only=True)
class Board:
    """What was seen last, by namespace."""

    metered: dict[str, tuple[Metered, ...]] = field(default_factory=dict)

    def fresh(self) -> list[Metered]:
        """All that is not too old."""
        oldest_s = time.time() - FRESH_S
        return [one for rows in self.metered.values() for one in rows if one.at_s >= oldest_s]


def watching(board: Board, namespace: str, *, outgoing: bool) -> Flow[None]:
    """Look for ever at one namespace, or at all of them ("")."""
    eyes: dict[str, Eyes] = {}
    listed_s = float("-inf")
    while True:
        now_s = (yield Sleep(for_s=LOOK_EVERY_S)).now_s
        if now_s - listed_s >= NAMESPACES_EVERY_S:
            listed_s = now_s
            names = [namespace]
            if not namespace:
                _, (found,) = yield from ask(get("/api/v1/namespaces"))
                names = [name_of(obj) for obj in body_of(found, "listing namespaces").get("items") or []]
            policy = Policy(outgoing=outgoing)
            eyes = {name: eyes.get(name) or Eyes(namespace=name, policy=policy) for name in names}
            board.metered = {name: rows for name, rows in board.metered.items() if name in eyes}
        for name, one in eyes.items():
            traffic = yield from one.look()
            pairs = zip(one.pods, traffic.sights, strict=True)
            board.metered[name] = tuple(Metered.of(pod, sight, traffic.at_s) for pod, sight in pairs)


def listen(address: str) -> socket.socket:
    """A socket at HOST:PORT; HostError where it cannot be had."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, ValueError, OverflowError) as error:
        said = error.strerror if isinstance(error, OSError) else "it must be HOST:PORT"
        raise HostError(f"cannot listen at {address}: {said}", remedy="name another address") from error


Door: TypeAlias = tuple[socket.socket, Tls | None]


async def serve(client: KubeClient, board: Board, flow: Flow[None], doors: list[Door]) -> None:
    """Look and serve until cancelled; without certificates Prometheus' text, with them the custom metrics API."""
    async with asyncio.TaskGroup() as group:
        group.create_task(run_flow(flow, client, _silent))
        for listener, tls in doors:
            config = Config(
                app=_Application(board),
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
            group.create_task(_Body(config).serve([listener]))


def _silent(_progress: Progress, _now_s: float) -> None:
    """Which source a pod is seen by is told in the metrics."""


class _Body(Server):
    """uvicorn without its hands on signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Application:
    """The ASGI application of both doors."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def __call__(self, scope: Obj, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics":
            kind, code = b"text/plain; version=0.0.4; charset=utf-8", 200
            body = prometheus_text(self._board.fresh()).encode()
        else:
            query = dict(parse_qsl(scope["query_string"].decode()))
            code, found = answer(scope["path"], query, self._board.fresh())
            kind, body = b"application/json", msgspec.json.encode(found)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": body})
