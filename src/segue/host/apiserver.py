"""The API on sockets: TLS, tokens, JSON, streaming watches, logs, exec. Everything else is `cluster.api`'s.

Runs in the event loop of the cluster process. A watch sleeps on a queue that the store fills; a watcher that cannot
keep up is let go and lists again, so that nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import parse_qsl

import msgspec

from segue.cluster.api import protobuf
from segue.cluster.api.access import unauthorized
from segue.cluster.api.podcalls import VALUES_APART
from segue.cluster.api.results import ADMIN, Answer, ApiUser, PodCall, Proxied, WatchStart
from segue.cluster.api.server import ApiServer
from segue.cluster.api.watching import Watch
from segue.cluster.store import StoreEvent
from segue.host.certificates import Tls
from segue.host.doors import LogQuery, PodDoor
from segue.host.lean_uvicorn import Config, Server
from segue.host.wsexec import Receive, Send, choose_protocol, converse
from segue.model.errors import ManifestError, StatusError
from segue.model.http import APPLY_PATCH, JSON, ApiRequest
from segue.model.objects import Obj

BACKLOG_MAX = 10_000  # events a watcher may lag behind before it is let go
BODY_MAX = 8 * 1024 * 1024  # kube-apiserver takes 3 MB; kubectl's own limit lies below this
BOOKMARK_EVERY_S = 60.0
FIRST_LOG_WAIT_S = 0.3  # how long a log call may take to fail before its headers are sent
KEEP_ALIVE_S = 120

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


async def serve(
    server: ApiServer, door: PodDoor, sockets: list[socket.socket], tls: Tls, tokens: Mapping[str, ApiUser]
) -> None:
    """Serve until cancelled, on sockets that are bound already."""
    app = Application(server, door, tokens)
    config = Config(
        app=app,
        http="httptools",
        ws=_WebSockets,  # type: ignore[arg-type]  # stands for the class it becomes
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
        ssl_certfile=tls.certificate,
        ssl_keyfile=tls.key,
    )
    body = _Body(config)
    running = asyncio.ensure_future(body.serve(sockets))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        app.close()
        body.should_exit = True
        await running
        raise


class _Body(Server):
    """uvicorn without its hands on signals: those belong to the cluster process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _WebSockets:
    """Becomes uvicorn's WebSocket protocol at the first upgrade: its library is loaded by those who exec."""

    def __new__(cls, **options: object) -> asyncio.Protocol:  # type: ignore[misc]  # see the class's docstring
        from uvicorn.protocols.websockets.websockets_sansio_impl import (  # noqa: PLC0415 - 60 ms at start otherwise
            WebSocketsSansIOProtocol,
        )

        return WebSocketsSansIOProtocol(**options)  # type: ignore[arg-type]  # handed through as they come


class Application:
    """The ASGI application."""

    def __init__(self, server: ApiServer, door: PodDoor, tokens: Mapping[str, ApiUser]) -> None:
        self._server = server
        self._door = door
        self._tokens = tokens
        self._watchers: set[_Watcher] = set()
        self._closed = False

    async def __call__(self, scope: Obj, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            if scope["type"] == "websocket":
                await self._websocket(scope, receive, send)
            else:
                await self._http(scope, receive, send)
        except StatusError as refusal:
            await _refuse(scope, send, refusal)
        except Exception:  # noqa: BLE001 - the last resort: a fault of ours is a 500, not a lost connection
            _log.exception("%s %s", scope.get("method", "WS"), scope["path"])
            await _refuse(
                scope, send, StatusError(500, "InternalError", "Internal error occurred: see the cluster's log")
            )

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        for watcher in tuple(self._watchers):
            watcher.end()

    def _user(self, scope: Obj) -> ApiUser:
        if self._server.is_open(scope["path"]):
            return ADMIN
        for key, value in scope["headers"]:
            if key == b"authorization":
                scheme, _, token = value.decode("latin-1").partition(" ")
                if scheme.lower() != "bearer":
                    continue
                user = self._tokens.get(token.strip()) or self._server.user_of(token.strip())
                if user is not None:
                    return self._acting_as(user, scope)
        raise unauthorized()

    def _acting_as(self, user: ApiUser, scope: Obj) -> ApiUser:
        """The user of `kubectl --as`, where the call names one."""
        named = {key: value.decode("latin-1") for key, value in scope["headers"] if key.startswith(b"impersonate-")}
        if b"impersonate-user" not in named:
            return user
        groups = [value.decode("latin-1") for key, value in scope["headers"] if key == b"impersonate-group"]
        asked = _request({"method": "GET", **scope}, b"")
        return self._server.acting_as(user, named[b"impersonate-user"], groups, asked)

    async def _http(self, scope: Obj, receive: Receive, send: Send) -> None:
        user = self._user(scope)
        request = _request(scope, await _body(receive))
        match self._server.handle(request, user):
            case Answer() as answer:
                await _send_answer(send, answer, silent=request.method == "HEAD")
            case WatchStart(watch=watch):
                # Nothing is awaited between the store's state in `watch.backlog` and the subscription.
                await self._watch(_Watcher(self._server, watch), receive, send)
            case PodCall(verb="log") as call:
                await self._logs(call, receive, send)
            case PodCall(verb="traffic") as call:
                body = self._door.traffic(call.namespace, call.name)
                await _send_answer(send, Answer(code=200, body=body), silent=False)
            case Proxied(url=url):
                await _proxy(url, request, send)
            case PodCall():
                raise StatusError(400, "BadRequest", "Upgrade request required: exec is served over WebSocket")

    async def _watch(self, watcher: _Watcher, receive: Receive, send: Send) -> None:
        self._watchers.add(watcher)
        leaving = asyncio.create_task(_until_gone(receive, watcher))
        try:
            if self._closed:
                watcher.end()
            await _send_start(send, 200, [(b"content-type", b"application/json")])
            async for chunk in watcher.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._watchers.discard(watcher)
            watcher.close()
            leaving.cancel()

    async def _logs(self, call: PodCall, receive: Receive, send: Send) -> None:
        query = LogQuery(
            container=call.container,
            follow=call.follow,
            previous=call.previous,
            timestamps=call.timestamps,
            tail_lines=call.tail_lines,
            since_s=call.since_s,
        )
        lines = self._door.logs(call.namespace, call.name, query)
        sending = asyncio.create_task(_send_lines(lines, call.bytes_max, send))
        leaving = asyncio.create_task(_until_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _websocket(self, scope: Obj, receive: Receive, send: Send) -> None:
        message = await receive()
        assert message["type"] == "websocket.connect"
        user = self._user(scope)
        result = self._server.handle(_request({**scope, "method": "GET"}, b""), user)
        if isinstance(result, Answer) and result.code >= 400:
            raise StatusError(
                result.code, result.body["reason"], result.body["message"], result.body.get("details", {})
            )
        if not isinstance(result, PodCall) or result.verb != "exec":
            raise StatusError(400, "BadRequest", "only exec is served over WebSocket here")
        protocol = choose_protocol(scope.get("subprotocols") or [])
        if protocol is None:
            raise StatusError(400, "BadRequest", "the subprotocol must be v5.channel.k8s.io or v4.channel.k8s.io")
        session = await self._door.exec(
            result.namespace,
            result.name,
            container=result.container,
            argv=result.argv,
            stdin=result.stdin,
            tty=result.tty,
        )
        await send({"type": "websocket.accept", "subprotocol": protocol})
        await converse(session, receive, send, merged=result.tty)


class _Watcher:
    """One watch being served: the store fills its queue, `chunks` empties it."""

    def __init__(self, server: ApiServer, watch: Watch) -> None:
        self._store = server.store
        self._watch = watch
        self._resource = watch.scope.kind.resource
        self._queue: asyncio.Queue[StoreEvent | None] = asyncio.Queue()
        self._ended = False
        self._unsubscribe = self._store.subscribe(self._hear)

    def _hear(self, event: StoreEvent) -> None:
        if event.ref.resource != self._resource or self._ended:
            return
        self._queue.put_nowait(event)
        if self._queue.qsize() > BACKLOG_MAX:
            self.end()

    def end(self) -> None:
        """No more events."""
        if not self._ended:
            self._ended = True
            self._queue.put_nowait(None)

    def close(self) -> None:
        """Leave the store."""
        self._unsubscribe()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What to send, as it happens, until the watch's time is over."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._watch.scope.timeout_s
        if self._watch.backlog:
            yield b"".join(_line(frame) for frame in self._watch.backlog)
            if self._watch.backlog[-1]["type"] == "ERROR":
                return
            self._watch.backlog.clear()
        marks = self._watch.scope.bookmarks
        mark_s = loop.time() + BOOKMARK_EVERY_S
        while True:
            until_s = min(ends_s, mark_s) if marks else ends_s
            try:
                async with asyncio.timeout_at(until_s):
                    event = await self._queue.get()
            except TimeoutError:
                if marks:
                    yield _line(self._watch.bookmark(self._store.version))
                    mark_s = loop.time() + BOOKMARK_EVERY_S
                if loop.time() >= ends_s:
                    return
                continue
            frames: list[bytes] = []
            while event is not None:
                frame = self._watch.frame_of(event)
                if frame is not None:
                    frames.append(_line(frame))
                if self._queue.empty():
                    break
                event = self._queue.get_nowait()
            if frames:
                yield b"".join(frames)
            if event is None:
                return


async def _until_gone(receive: Receive, watcher: _Watcher) -> None:
    await _until_disconnected(receive)
    watcher.end()


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_lines(lines: AsyncIterator[bytes], bytes_max: int | None, send: Send) -> None:
    """Send a log; a refusal that comes at once is raised before anything is sent."""
    left = bytes_max
    started = False
    first = asyncio.ensure_future(anext(lines, None))
    await asyncio.wait({first}, timeout=FIRST_LOG_WAIT_S)
    try:
        if not first.done():
            await _send_start(send, 200, [(b"content-type", b"text/plain")])
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            started = True
        chunk = await first
        if not started:
            await _send_start(send, 200, [(b"content-type", b"text/plain")])
        while chunk is not None:
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if left == 0:
                break
            chunk = await anext(lines, None)
    finally:
        first.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _line(frame: Obj) -> bytes:
    return _encode(frame) + b"\n"


def _request(scope: Obj, body: bytes) -> ApiRequest:
    headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
    query: dict[str, str] = {}
    for key, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        query[key] = f"{query[key]}{VALUES_APART}{value}" if key in query else value
    content_type = headers.get(b"content-type", JSON)
    parsed: Obj | list[Obj] | None = None
    if body:
        if content_type.startswith(protobuf.MEDIA_TYPE):
            parsed, content_type = protobuf.decode(body), JSON
        elif "json" in content_type:
            parsed = _parsed(body)
        elif content_type.startswith(APPLY_PATCH):
            parsed = _applied(body)
        elif "apply-patch" not in content_type:  # another form of it is answered where the kind is known
            message = f"the body of the request was in an unknown format ({content_type}); send application/json"
            raise StatusError(415, "UnsupportedMediaType", message)
    return ApiRequest(
        method=scope["method"],
        path=scope["path"],
        query=query,
        body=parsed,
        content_type=content_type,
        accept=headers.get(b"accept", JSON),
        user_agent=headers.get(b"user-agent", ""),
    )


def _parsed(body: bytes) -> Obj | list[Obj]:
    try:
        return msgspec.json.decode(body, type=Obj | list[Obj])
    except msgspec.DecodeError as error:
        raise StatusError(400, "BadRequest", f"the request body is not JSON: {error}") from error


def _applied(body: bytes) -> Obj:
    """An applied configuration: YAML, though kubectl and segue send it as JSON."""
    try:
        return msgspec.json.decode(body, type=Obj)
    except msgspec.DecodeError:
        from segue.model.manifest import parse_mapping  # noqa: PLC0415 - a parser that most clusters never need

        try:
            return parse_mapping(body.decode(), file="patch").obj
        except (UnicodeDecodeError, ManifestError) as error:
            raise StatusError(400, "BadRequest", f"error decoding patch: {error}") from error


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise StatusError(400, "BadRequest", "the client left before its request was complete")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_MAX:
            raise StatusError(413, "RequestEntityTooLarge", f"the request is larger than {BODY_MAX} bytes")
        if not message.get("more_body"):
            return b"".join(chunks)


async def _send_answer(send: Send, answer: Answer, *, silent: bool) -> None:
    body = _encode(answer.body) if answer.text is None else answer.text.encode()
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-cache, private"),
    ]
    headers += [(b"warning", f'299 - "{_quoted(warning)}"'.encode()) for warning in answer.warnings]
    await _send_start(send, answer.code, headers)
    await send({"type": "http.response.body", "body": b"" if silent else body, "more_body": False})


async def _proxy(url: str, request: ApiRequest, send: Send) -> None:
    from segue.host.podproxy import ask_pod  # noqa: PLC0415 - an HTTP client, for those who ask for it

    code, content_type, body = await ask_pod(url, request.query)
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await _send_start(send, code, headers)
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body, "more_body": False})


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


async def _send_start(send: Send, code: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": code, "headers": headers})


async def _refuse(scope: Obj, send: Send, refusal: StatusError) -> None:
    """Send a Status; where an answer has begun already there is nobody to send it to."""
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    body = _encode(refusal.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    with contextlib.suppress(RuntimeError):
        await send({"type": f"{prefix}.response.start", "status": refusal.code, "headers": headers})
        await send({"type": f"{prefix}.response.body", "body": body, "more_body": False})
