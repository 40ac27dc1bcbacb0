"""exec over WebSocket: Kubernetes' channel protocol between a client and a running command.

A binary message is one channel byte and data: 0 stdin, 1 stdout, 2 stderr, 3 the end as a Status, 4 the terminal's
size. In v5 a message of 255 and a channel byte closes that channel; in v4 standard input cannot be closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec

from segue.host.doors import ExecSession
from segue.model.errors import StatusError
from segue.model.objects import Obj

Receive: TypeAlias = Callable[[], Awaitable[Obj]]
Send: TypeAlias = Callable[[Obj], Awaitable[None]]
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, ERROR, RESIZE, CLOSE = 0, 1, 3, 4, 255


def choose_protocol(offered: Sequence[str]) -> str | None:
    """The best protocol both sides speak, or None."""
    return next((one for one in PROTOCOLS if one in offered), None)


async def converse(session: ExecSession, receive: Receive, send: Send, *, merged: bool) -> None:
    """Carry a session until the command ends or the client leaves; `merged` (a terminal) sends all output as stdout."""
    listening = asyncio.create_task(_listen(session, receive))
    speaking = asyncio.create_task(_speak(session, send, merged=merged))
    try:
        await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
        if not speaking.done():  # the client left
            return
        error = speaking.exception()
        status = _failure_of(error) if error else exit_status(speaking.result())
        await send({"type": "websocket.send", "bytes": bytes([ERROR]) + msgspec.json.encode(status)})
        await send({"type": "websocket.close", "code": 1000})
    finally:
        session.close()
        for task in (listening, speaking):
            task.cancel()
        await asyncio.gather(listening, speaking, return_exceptions=True)


def exit_status(code: int) -> Obj:
    """The Status that tells a command's exit code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure_of(error: BaseException) -> Obj:
    if isinstance(error, StatusError):
        return error.body()
    return {"metadata": {}, "status": "Failure", "message": str(error), "reason": "InternalError", "code": 500}


async def _speak(session: ExecSession, send: Send, *, merged: bool) -> int:
    async for channel, data in session.output():
        await send({"type": "websocket.send", "bytes": bytes([STDOUT if merged else channel]) + data})
    return await session.wait()


async def _listen(session: ExecSession, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        data: bytes = message.get("bytes") or (message.get("text") or "").encode()
        if not data:
            continue
        match data[0]:
            case 0 if len(data) > 1:
                await session.write_stdin(data[1:])
            case 255 if data[1:] == bytes([STDIN]):
                await session.write_stdin(b"")
            case 4:
                _resize(session, data[1:])
            case _:
                continue


def _resize(session: ExecSession, data: bytes) -> None:
    try:
        size = msgspec.json.decode(data, type=dict[str, int])
    except msgspec.DecodeError:
        return
    session.resize(size.get("Width", 80), size.get("Height", 24))
