"""One probe from the node to a pod: a new TCP connection each time, past every Service rule (P7, P8).

It says what came of it and nothing more; what that means is decided by the probe's worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from segue.model.objects import Obj

BODY_BYTES = 10 * 1024
REDIRECTS = 10
_HEAD_BYTES = 64 * 1024
_LINGER = struct.pack("ii", 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a probe; `succeeded` None where it could not be tried."""

    succeeded: bool | None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """One HTTP request of a probe or hook."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    agent: str = "kube-probe/1.37"

    @property
    def url(self) -> str:
        """As messages show it."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


def http_call(handler: Obj, ports: tuple[tuple[str, int], ...], ip: str, *, agent: str = "kube-probe/1.37") -> HttpCall:
    """The call of an httpGet handler; ValueError where its port has no number."""
    headers = tuple((one["name"], one["value"]) for one in handler.get("httpHeaders") or [])
    path = str(handler.get("path") or "/")
    return HttpCall(
        scheme=str(handler.get("scheme") or "HTTP").lower(),
        host=str(handler.get("host") or ip),
        port=port_number(handler.get("port"), ports),
        path=path if path.startswith("/") else f"/{path}",
        headers=headers,
        agent=agent,
    )


def port_number(port: int | str | None, ports: tuple[tuple[str, int], ...]) -> int:
    """The number of a port given by number or name."""
    if isinstance(port, int):
        return port
    text = str(port)
    if text.isdigit():
        return int(text)
    for name, number in ports:
        if name == text:
            return number
    raise ValueError(f"couldn't find port: {text}")


async def probe_http(call: HttpCall, timeout_s: float) -> Outcome:
    """GET and judge the status: 200 to 399 is success; redirects are followed on the same host only."""
    try:
        async with asyncio.timeout(timeout_s):
            for _ in range(REDIRECTS + 1):
                code, location, body = await get(call)
                if not (code in {301, 302, 303, 307, 308} and location):
                    break
                target = urlsplit(urljoin(call.url, location))
                if target.hostname != call.host:
                    return Outcome(
                        succeeded=True,
                        message=f"Probe terminated redirects, Response body: {body.decode(errors='replace')}",
                    )
                call = _redirected(call, target.geturl())
            else:
                return Outcome(succeeded=False, message=f'Get "{call.url}": stopped after {REDIRECTS} redirects')
    except TimeoutError:
        message = f'Get "{call.url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return Outcome(succeeded=False, message=message)
    except (OSError, ValueError, EOFError) as error:
        return Outcome(succeeded=False, message=f'Get "{call.url}": {_said(call.host, call.port, error)}')
    if 200 <= code < 400:
        return Outcome(succeeded=True)
    return Outcome(succeeded=False, message=f"HTTP probe failed with statuscode: {code}")


async def probe_tcp(host: str, port: int, timeout_s: float) -> Outcome:
    """Whether the kernel completes a handshake: a hung program with a live listener passes (P9)."""
    try:
        async with asyncio.timeout(timeout_s):
            _reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(succeeded=False, message=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(succeeded=False, message=_said(host, port, error))
    await _close(writer)
    return Outcome(succeeded=True)


async def get(call: HttpCall) -> tuple[int, str, bytes]:
    """One GET on a fresh connection: status, Location header, at most 10 KiB of body."""
    tls = _no_questions_asked() if call.scheme == "https" else None
    reader, writer = await asyncio.open_connection(call.host, call.port, ssl=tls, limit=_HEAD_BYTES)
    try:
        writer.write(_request(call))
        head = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        code = int(status_line.split(" ", 2)[1])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = fields.get("content-length", "")
        body = await reader.read(min(int(length), BODY_BYTES) if length.isdigit() else BODY_BYTES)
        return code, fields.get("location", ""), body
    except IndexError as error:
        raise ValueError("malformed HTTP response") from error
    finally:
        await _close(writer)


def _request(call: HttpCall) -> bytes:
    lines = [f"GET {call.path} HTTP/1.1"]
    given = {name.lower() for name, _ in call.headers}
    defaults = (
        ("Host", f"{call.host}:{call.port}"),
        ("User-Agent", call.agent),
        ("Accept", "*/*"),
        ("Connection", "close"),
    )
    lines += [f"{name}: {value}" for name, value in defaults if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in call.headers if value]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _close(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await writer.wait_closed()


def _redirected(call: HttpCall, url: str) -> HttpCall:
    target = urlsplit(url)
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    port = target.port or (443 if target.scheme == "https" else 80)
    return replace(call, scheme=target.scheme, port=port, path=path)


def _no_questions_asked() -> ssl.SSLContext:
    """Probes do not verify certificates (P7)."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _said(host: str, port: int, error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return f"read tcp {host}:{port}: connection reset by peer"
    if isinstance(error, EOFError):
        return "EOF"
    return str(error)
